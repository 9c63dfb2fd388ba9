/* authd_conf.h - the parameters that authd reads, in its own words.  Strings are borrowed from
 * the configuration. */
#ifndef AUTHD_AUTHD_CONF_H
#define AUTHD_AUTHD_CONF_H

#include "authd/lookup.h"
#include "authd/resolve.h"
#include "common/config/conf.h"
#include "common/user/user_password.h"

struct authd_conf {
	const char *user_database;
	const char *tables[RESOLVE_TABLES]; /* resolve_table_params */
	const char *lookup_tables;          /* what smtpd may ask for: table_config.h */
	const char *own_maps[LOOKUP_OWN];
	const char *mailbox_domains;        /* virtual_mailbox_domains */
	const char *destination;            /* mydestination */
	const char *relay_domains;
	bool relay_parents, transport_parents; /* as struct resolve_conf's, and the rest */
	struct rewrite_conf rewrite;
	bool keeps_extension;
	bool keeps_alias_extension, keeps_include_extension, expand_owner, owner_is_special,
	    reset_owner;
	const char *directory;  /* config_directory: where :include: files are */
	const char *srs_domain; /* "" = no SRS */
	const char *srs_secret_file;
	int64_t srs_days; /* srs_max_age */
	struct way virtual_way, relay_way, default_way;
	const char *null_relayhost_key, *null_transport_key;
	const char *origin; /* myorigin */
	const char *sinks[2]; /* double_bounce_sender, address_verify_sender */
	const char *relayhost;
	const char *delimiter;         /* recipient_delimiter */
	const char *mail_base;         /* virtual_mailbox_base */
	uint32_t owner_uid, owner_gid; /* of mailbox_owner */
	uint32_t min_uid, max_uid;
	unsigned workers;
	bool plain_needs_tls; /* disable_plaintext_auth */
	struct password_policy policy;
};

/* Looks mailbox_owner up (NSS): before the cage.  -1: no such user. */
int authd_conf_read(const struct conf *from, struct authd_conf *out, struct err *err);

#endif
