/* ext_config.h - the parameters of the SMTP extensions. */
#ifndef SMTPD_EXT_CONFIG_H
#define SMTPD_EXT_CONFIG_H

#include "common/config/conf.h"
#include "common/net/addr.h"
#include "common/proto/idn.h"

struct net_list {
	struct net_prefix *items; /* owned */
	size_t count;
};
static inline bool
net_list_has(const struct net_list *l, const struct sockaddr_storage *a)
{
	return net_list_match(l->items, l->count, a);
}

struct smtpd_ext_config {
	unsigned discarded; /* smtpd_discard_ehlo_keywords: mask of 1 << enum smtpd_extension */
	struct net_list xclient_hosts, xforward_hosts;
	bool is_proxied; /* smtpd_upstream_proxy_protocol */
	int64_t proxy_timeout_ms;
	bool is_lmtp;                       /* smtpd_lmtp */
	bool has_utf8;                      /* smtputf8_enable */
	bool normalizes_bare_lf;            /* for everyone */
	struct net_list bare_lf_exclusions; /* and else for these */
	struct view *dropped_headers; /* message_drop_headers: names in the configuration; owned */
	size_t ndropped_headers;
	char authserv_id[IDN_DOMAIN_MAX]; /* as header_drop.h compares it */
	struct net_list authserv_trusted_hosts;
};

struct smtpd_config;
int smtpd_ext_config_read(struct smtpd_ext_config *c, const struct conf *conf, struct err *err);
void smtpd_ext_config_clear(struct smtpd_ext_config *c);

/* config.c: a value of addresses and networks. */
int smtpd_config_networks(
    struct net_list *l, const struct conf *conf, const char *name, struct err *err);

#endif
