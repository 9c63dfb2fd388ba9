/* policy.h - the gate of the restriction lists: evaluates those of the stage and looks up, without waiting, the
 * facts they ask for (restrict.h). */
#ifndef SMTPD_POLICY_H
#define SMTPD_POLICY_H

#include "smtpd/gates.h"
#include "smtpd/restrict.h"

/* Evaluates the lists of this stage. */
smtpd_gate smtpd_policy_gate;
void smtpd_policy_free(struct smtpd_session *s);

/* For client_name.c: the name is known now. */
bool smtpd_policy_needs_name(const struct smtpd_session *s);
void smtpd_policy_continue(struct smtpd_session *s);
/* For rcpt_lookup.c: whether the sender is somebody here (FACT_SENDER_USER). */
void smtpd_policy_sender_found(struct smtpd_session *s, enum restrict_fact fact, const char *why);

#endif
