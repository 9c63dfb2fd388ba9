/* relay_conf.h - the parameters of relay, read once. */
#ifndef QMGR_RELAY_RELAY_CONF_H
#define QMGR_RELAY_RELAY_CONF_H

#include "common/config/conf.h"
#include "qmgr/relay/mx.h"
#include "qmgr/relay/source.h"
#include "qmgr/relay/tls_session.h"

struct relay_conf {
	const char *myhostname, *helo_name; /* borrowed from the struct conf */
	struct relay_tls_defaults tls_defaults;
	bool has_tls_policies; /* smtp_tls_policy_maps, which only authd reads */
	bool mta_sts, tlsrpt;
	struct relay_tls *tls; /* owned; NULL: TLS is never used */
	unsigned port, lmtp_port;
	int64_t connect_ms, helo_ms, starttls_ms, mail_ms, rcpt_ms;
	int64_t data_init_ms, data_xfer_ms, data_done_ms, quit_ms;
	int64_t transaction_ms; /* all of one transaction, however slowly it goes on */
	int64_t cache_ms, reuse_ms;
	size_t address_limit, session_limit, recipient_limit, connection_limit, line_limit;
	bool sends_xforward, lmtp_sends_xforward;
	int64_t xforward_ms;
	bool sends_8bit_anyway; /* disable_mime_output_conversion */
	unsigned mime_nesting;
	unsigned discarded, lmtp_discarded; /* enum relay_capability: what servers offer in vain */
	bool sasl_enable, sasl_by_sender, sasl_soft_bounce;
	unsigned sasl_security, sasl_tls_security; /* enum relay_sasl_security */
	const char *sasl_filter, *delimiters;      /* borrowed from the struct conf */
	bool use_ipv4, use_ipv6;
	enum relay_family first_family;
	struct relay_source source, lmtp_source;
	bool has_source_maps; /* smtp_bind_address_maps, which only authd reads */
	bool has_generic, lmtp_has_generic; /* *_generic_maps, the same */
	bool balances_families;
	struct own_addresses own; /* under which this machine itself receives mail */
};

/* Asks the kernel for the machine's addresses and loads what TLS needs: before the cage closes.  0 or -1. */
int relay_conf_read(struct relay_conf *rc, const struct conf *conf, struct err *err);
void relay_conf_clear(struct relay_conf *rc);

#endif
