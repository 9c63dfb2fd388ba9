/* header_rewrite.h - the gate that rewrites a message's sender, and the addresses in its header: completed (append_at_myorigin,
 * append_dot_mydomain, remote_header_rewrite_domain; postconf(5)), then as canonical_maps and masquerade_domains have it, which
 * authd knows; behind header_checks, before the milters, as in Postfix's cleanup.
 *
 * The header of who is local (local_header_rewrite_clients) gets $myorigin and $mydomain, and the fields that are missing;
 * others' gets remote_header_rewrite_domain; where that is empty, it stays as it is.  The sender of all mail is rewritten;
 * recipients are where they are resolved. */
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
	bool has_remote;  /* remote_header_rewrite_domain is not empty */
	unsigned classes; /* of addresses that authd is to be asked for */
	bool always_adds; /* always_add_missing_headers */
};
/* -1: ERR_SYNTAX and the like, naming the parameter. */
int rewrite_config_read(struct rewrite_config *c, const struct conf *conf, struct err *err);
void rewrite_config_clear(struct rewrite_config *c);

smtpd_gate smtpd_rewrite_gate;
struct smtpd_rewrite;
void smtpd_rewrite_free(struct smtpd_rewrite *w); /* the transaction ends; NULL is allowed */

#endif
