/* header_rewrite.h - the gate that completes the addresses in a message's header (append_at_myorigin, append_dot_mydomain,
 * remote_header_rewrite_domain; postconf(5)): behind header_checks, before the milters, as in Postfix's cleanup.
 *
 * Who is local (local_header_rewrite_clients) gets $myorigin and $mydomain, and the fields that are missing; others get
 * remote_header_rewrite_domain, or nothing. */
#ifndef SMTPD_HEADER_REWRITE_H
#define SMTPD_HEADER_REWRITE_H

#include "common/config/conf.h"
#include "common/mime/address_complete.h"
#include "common/net/own_addresses.h"
#include "smtpd/gates.h"

struct smtpd_tables;

struct rewrite_config {
	unsigned permits;              /* private: those that need no question */
	struct own_addresses own;      /* with permit_inet_interfaces */
	struct smtpd_tables **clients; /* owned; of check_address_map */
	size_t nclients;
	bool asks_clientcerts; /* permit_tls_clientcerts: relay_clientcerts */
	struct address_completion local, remote;
	bool always_adds; /* always_add_missing_headers */
};
/* -1: ERR_SYNTAX and the like, naming the parameter. */
int rewrite_config_read(struct rewrite_config *c, const struct conf *conf, struct err *err);
void rewrite_config_clear(struct rewrite_config *c);

smtpd_gate smtpd_rewrite_gate;
struct smtpd_rewrite;
void smtpd_rewrite_free(struct smtpd_rewrite *w); /* the transaction ends; NULL is allowed */

#endif
