/* milter.h - the gate of the milters: each session has a connection to each milter, from CONNECT to its end.
 *
 * The milters are asked one after the other; each sees the message as those before it have left it.  What one answers at
 * CONNECT or HELO holds for the whole session and is told with every later command, as in Postfix; a refusal at RCPT is
 * for this recipient alone.  A milter that is not there, does not answer in time or answers what makes no sense is cut off,
 * and its default_action stands for its answers from then on.
 *
 * The content is sent when it is complete, from where it is stored, in pieces, as fast as the milter takes it. */
#ifndef SMTPD_MILTER_H
#define SMTPD_MILTER_H

#include "smtpd/gates.h"

/* Asks all milters; nothing to do where there are none. */
smtpd_gate smtpd_milter_gate;
/* The transaction is over without a message. */
void smtpd_milter_abort(struct smtpd_session *s);
/* The session ends. */
void smtpd_milter_free(struct smtpd_session *s);

/* For client_name.c: the name is known now. */
bool smtpd_milter_needs_name(const struct smtpd_session *s);
void smtpd_milter_named(struct smtpd_session *s);
/* For rcpt_lookup.c: s->tx->found is filled for a recipient that a milter adds. */
void smtpd_milter_resolved(struct smtpd_session *s);

#endif
