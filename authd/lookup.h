/* lookup.h - the tables that smtpd asks for, in the database worker: those of smtpd_lookup_tables and no others; and the
 * passwords of smtp_sasl_password_maps and policies of smtp_tls_policy_maps, for relay and nobody else.
 *
 * A table that cannot be opened fails its own lookups (AUTHD_TEMP); authd starts and answers the rest.  Files are looked
 * at again once a second at most, when something is looked up. */
#ifndef AUTHD_LOOKUP_H
#define AUTHD_LOOKUP_H

#include "common/ipc/frame.h"

/* Once a process, as root: opens the tables' directories. */
void lookup_prepare(const char *specs, const char *password_maps, const char *tls_policy_maps);
/* Can all of them be opened?  -1: one cannot; the others that cannot are logged. */
int lookup_test(struct err *err);
/* in: a checked DB_LOOKUP, DB_PASSWORD or DB_TLS_POLICY; *o gets the fields of its answer. */
void lookup_answer(struct ipc_in *in, struct ipc_out *o);

#endif
