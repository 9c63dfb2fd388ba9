/* lookup.h - the tables that smtpd asks for, in the database worker: those of smtpd_lookup_tables and no others; and the
 * own ones of relay (smtp_sasl_password_maps, smtp_tls_policy_maps, smtp_bind_address_maps) and of qmgr (limits), for these
 * and nobody else.
 *
 * A table that cannot be opened fails its own lookups (AUTHD_TEMP); authd starts and answers the rest.  Files are looked
 * at again once a second at most, when something is looked up. */
#ifndef AUTHD_LOOKUP_H
#define AUTHD_LOOKUP_H

#include "common/ipc/frame.h"

/* Tables that are asked for by what they are, not by their names. */
enum lookup_own {
	LOOKUP_PASSWORDS,
	LOOKUP_TLS_POLICIES,
	LOOKUP_BIND_ADDRESSES,
	LOOKUP_DESTINATION_LIMITS,
	LOOKUP_TENANT_LIMITS,
	LOOKUP_OWN
};
extern const char *const lookup_own_params[LOOKUP_OWN]; /* their names in main.cf */

/* Once a process, as root: opens the tables' directories. */
void lookup_prepare(const char *specs, const char *const own[LOOKUP_OWN]);
/* Can all of them be opened?  -1: one cannot; the others that cannot are logged. */
int lookup_test(struct err *err);
/* in: a checked DB_LOOKUP or DB_LOOKUP_OWN; *o gets the fields of its answer. */
void lookup_answer(struct ipc_in *in, struct ipc_out *o);

#endif
