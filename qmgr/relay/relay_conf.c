#include "qmgr/relay/relay_conf.h"
#include "common/base/mem.h"
#include "common/net/addr.h"
#include "qmgr/relay/esmtp.h"
#include "qmgr/relay/nexthop.h"
#include "qmgr/relay/sasl.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_LIMIT_LEAST = 12, QUIT_MS_MOST = 10000 };

static int
bind_read(const struct conf *conf, const char *protocol, const char *what, sa_family_t family,
    bool *has, struct sockaddr_storage *a, struct err *err)
{
	char name[40];
	const char *text;

	snprintf(name, sizeof name, "%s_%s", protocol, what);
	text = conf_str(conf, name);

	*has = *text != '\0';
	if (*has && (!addr_parse(view_of(text), a) || a->ss_family != family))
		return err_set(err, ERR_PERM, "%s: \"%s\" is no such address", name, text);
	return 0;
}

static int
source_read(const struct conf *conf, const char *protocol, struct relay_source *s, struct err *err)
{
	char name[40];

	snprintf(name, sizeof name, "%s_bind_address_enforce", protocol);
	s->must_bind = conf_bool(conf, name);
	if (bind_read(conf, protocol, "bind_address", AF_INET, &s->has4, &s->ip4, err) < 0)
		return -1;
	return bind_read(conf, protocol, "bind_address6", AF_INET6, &s->has6, &s->ip6, err);
}

/* qmgr names it with each job: only its form matters here. */
static int
relayhost_check(const struct conf *conf, struct err *err)
{
	const char *text = conf_str(conf, "relayhost");
	struct relay_nexthop hop;

	if (text[0] == '\0' ||
	    relay_nexthop_parse(text, (unsigned)conf_int(conf, "smtp_tcp_port"), &hop, err) == 0)
		return 0;
	return err_prefix(err, "relayhost: \"%s\"", text);
}

static int64_t
ms(const struct conf *conf, const char *name)
{
	return conf_seconds(conf, name) * 1000;
}

static void
read_times(struct relay_conf *rc, const struct conf *conf)
{
	rc->connect_ms = ms(conf, "smtp_connect_timeout");
	rc->helo_ms = ms(conf, "smtp_helo_timeout");
	rc->starttls_ms = ms(conf, "smtp_starttls_timeout");
	rc->mail_ms = ms(conf, "smtp_mail_timeout");
	rc->rcpt_ms = ms(conf, "smtp_rcpt_timeout");
	rc->xforward_ms = ms(conf, "smtp_xforward_timeout");
	rc->data_init_ms = ms(conf, "smtp_data_init_timeout");
	rc->data_xfer_ms = ms(conf, "smtp_data_xfer_timeout");
	rc->data_done_ms = ms(conf, "smtp_data_done_timeout");
	rc->transaction_ms = ms(conf, "smtp_transaction_time_limit");
	rc->cache_ms = ms(conf, "smtp_connection_cache_time_limit");
	rc->reuse_ms = ms(conf, "smtp_connection_reuse_time_limit");
	/* nobody waits for the answer to QUIT: this only bounds how long its six bytes may be stuck */
	rc->quit_ms = ms(conf, "smtp_quit_timeout");
	if (rc->quit_ms > QUIT_MS_MOST)
		rc->quit_ms = QUIT_MS_MOST;
}

static int
read_sasl(struct relay_conf *rc, const struct conf *conf, struct err *err)
{
	rc->sasl_enable = conf_bool(conf, "smtp_sasl_auth_enable");
	rc->sasl_by_sender = conf_bool(conf, "smtp_sender_dependent_authentication");
	rc->sasl_soft_bounce = conf_bool(conf, "smtp_sasl_auth_soft_bounce");
	rc->sasl_security = relay_sasl_security_read(conf_str(conf, "smtp_sasl_security_options"));
	rc->sasl_tls_security =
	    relay_sasl_security_read(conf_str(conf, "smtp_sasl_tls_security_options"));
	rc->sasl_filter = conf_str(conf, "smtp_sasl_mechanism_filter");
	rc->delimiters = conf_str(conf, "recipient_delimiter");
	if (rc->sasl_enable && conf_str(conf, "smtp_sasl_password_maps")[0] == '\0')
		return err_set(
		    err, ERR_PERM, "smtp_sasl_auth_enable: smtp_sasl_password_maps is empty");
	if (relay_sasl_filter_check(rc->sasl_filter, err) < 0)
		return err_prefix(err, "smtp_sasl_mechanism_filter");
	return 0;
}

/* What destinations without a policy of their own get is tried now: of the others each is told when its turn comes. */
static int
check_tls(const struct relay_conf *rc, struct err *err)
{
	struct relay_tls_policy policy;
	struct relay_tls_peer peer = { &policy, NULL, "localhost", "localhost", "", "" };
	int r = relay_tls_policy_read(&rc->tls_defaults, NULL, RELAY_TLS_SECURE, &policy, err);
	SSL *ssl;

	if (r == 0 && policy.level > RELAY_TLS_NONE) {
		ssl = relay_tls_start(rc->tls, &peer, err);
		r = ssl != NULL ? 0 : -1;
		SSL_free(ssl);
	}
	relay_tls_policy_clear(&policy);
	return r < 0 ? err_prefix(err, "smtp_tls_security_level") : 0;
}

static int
read_tls(struct relay_conf *rc, const struct conf *conf, struct err *err)
{
	struct relay_tls_defaults *d = &rc->tls_defaults;

	*d = (struct relay_tls_defaults){
		.protocols = { conf_str(conf, "smtp_tls_protocols"),
		    conf_str(conf, "smtp_tls_mandatory_protocols") },
		.grade = { conf_str(conf, "smtp_tls_ciphers"),
		    conf_str(conf, "smtp_tls_mandatory_ciphers") },
		.exclude = { conf_str(conf, "smtp_tls_exclude_ciphers"),
		    conf_str(conf, "smtp_tls_mandatory_exclude_ciphers") },
		.high_cipherlist = conf_str(conf, "tls_high_cipherlist"),
		.fingerprint_match = conf_str(conf, "smtp_tls_fingerprint_cert_match"),
		.verify_match = conf_str(conf, "smtp_tls_verify_cert_match"),
		.secure_match = conf_str(conf, "smtp_tls_secure_cert_match"),
		.servername = conf_str(conf, "smtp_tls_servername"),
		.is_wrapped = conf_bool(conf, "smtp_tls_wrappermode"),
	};
	(void)relay_tls_level_read(
	    view_of(conf_str(conf, "smtp_tls_security_level")), &d->level); /* an ENUM */
	rc->mta_sts = conf_bool(conf, "smtp_mta_sts");
	rc->tlsrpt = conf_bool(conf, "tlsrpt_enable");
	rc->has_tls_policies = conf_str(conf, "smtp_tls_policy_maps")[0] != '\0';
	if (d->level == RELAY_TLS_NONE && !d->is_wrapped && !rc->has_tls_policies)
		return 0;
	rc->tls = relay_tls_new(conf, err);
	return rc->tls != NULL ? check_tls(rc, err) : -1;
}

/* Keywords of extensions that we do not know need no discarding. */
static unsigned
read_discarded(const struct conf *conf, const char *name)
{
	struct view rest = view_of(conf_str(conf, name)), word;
	unsigned mask = 0;

	while (view_token(&rest, ", \t\r\n", &word))
		mask |= relay_capability(word);
	return mask;
}

static void
read_words(struct relay_conf *rc, const struct conf *conf)
{
	const char *protocols = conf_str(conf, "inet_protocols");
	const char *first = conf_str(conf, "smtp_address_preference");
	bool all = strstr(protocols, "all") != NULL;

	rc->discarded = read_discarded(conf, "smtp_discard_ehlo_keywords");
	rc->lmtp_discarded = read_discarded(conf, "lmtp_discard_lhlo_keywords");
	rc->has_source_maps = conf_str(conf, "smtp_bind_address_maps")[0] != '\0';
	rc->has_generic = conf_str(conf, "smtp_generic_maps")[0] != '\0';
	rc->lmtp_has_generic = conf_str(conf, "lmtp_generic_maps")[0] != '\0';
	rc->balances_families = conf_bool(conf, "smtp_balance_inet_protocols");
	rc->use_ipv4 = all || strstr(protocols, "ipv4") != NULL;
	rc->use_ipv6 = all || strstr(protocols, "ipv6") != NULL;
	rc->first_family = strcmp(first, "ipv4") == 0   ? RELAY_FAMILY_IPV4
			   : strcmp(first, "ipv6") == 0 ? RELAY_FAMILY_IPV6
							: RELAY_FAMILY_ANY;
}

int
relay_conf_read(struct relay_conf *rc, const struct conf *conf, struct err *err)
{
	memset(rc, 0, sizeof *rc);
	rc->myhostname = conf_str(conf, "myhostname");
	rc->helo_name = conf_str(conf, "smtp_helo_name");
	rc->port = (unsigned)conf_int(conf, "smtp_tcp_port");
	rc->lmtp_port = (unsigned)conf_int(conf, "lmtp_tcp_port");
	rc->address_limit = (size_t)conf_int(conf, "smtp_mx_address_limit");
	rc->session_limit = (size_t)conf_int(conf, "smtp_mx_session_limit");
	rc->recipient_limit = (size_t)conf_int(conf, "smtp_destination_recipient_limit");
	rc->connection_limit = (size_t)conf_int(conf, "smtp_connection_limit");
	rc->line_limit = (size_t)conf_size(conf, "smtp_line_length_limit");
	if (rc->line_limit > 0 && rc->line_limit < LINE_LIMIT_LEAST)
		rc->line_limit = LINE_LIMIT_LEAST;
	rc->sends_8bit_anyway = conf_bool(conf, "disable_mime_output_conversion");
	rc->sends_xforward = conf_bool(conf, "smtp_send_xforward_command");
	rc->lmtp_sends_xforward = conf_bool(conf, "lmtp_send_xforward_command");
	rc->mime_nesting = (unsigned)conf_int(conf, "mime_nesting_limit");
	read_times(rc, conf);
	read_words(rc, conf);
	if (relayhost_check(conf, err) < 0 || read_sasl(rc, conf, err) < 0 ||
	    own_addresses_read(&rc->own, conf, "inet_interfaces", err) < 0 ||
	    own_addresses_read(&rc->own, conf, "proxy_interfaces", err) < 0 ||
	    source_read(conf, "smtp", &rc->source, err) < 0 ||
	    source_read(conf, "lmtp", &rc->lmtp_source, err) < 0)
		return -1;
	return read_tls(rc, conf, err);
}

void
relay_conf_clear(struct relay_conf *rc)
{
	own_addresses_clear(&rc->own);
	relay_tls_free(rc->tls);
	rc->tls = NULL;
}
