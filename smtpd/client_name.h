/* client_name.h - the client of a session: its address, its verified name, its place in the log.
 *
 * Postfix looks the name up before it greets.  Here the greeting goes out at once; the name is looked up
 * meanwhile, MAIL and AUTH wait for it for smtpd_peername_timeout at most, and a line that must be logged earlier says
 * "unknown".  Once the name was logged it does not change.
 *
 * While nobody's name comes in time - the name servers are down - each wait is shorter than the last, down to nothing:
 * mail must not be held up for a name that will not come.  The first good answer restores the patience. */
#ifndef SMTPD_CLIENT_NAME_H
#define SMTPD_CLIENT_NAME_H

#include "smtpd/session.h"

void smtpd_client_init(struct smtpd_session *s, const struct sockaddr_storage *peer);
/* One that is only claimed (struct smtpd_claim). */
void smtpd_client_claim(
    struct smtpd_session *s, const struct sockaddr_storage *peer, const char *name);
/* Another client takes its place (XCLIENT).  name: NULL is to be looked up, "" has none (for now, is_temporary). */
void smtpd_client_replace(struct smtpd_session *s, const struct sockaddr_storage *peer,
    const char *name, bool is_temporary);
void smtpd_client_clear(struct smtpd_session *s);
/* smtpd_session_continue follows when the name is known, or will not be. */
void smtpd_client_await_name(struct smtpd_session *s);
/* TLS is up: logged as soon as the name is. */
void smtpd_client_tls_up(struct smtpd_session *s);

#endif
