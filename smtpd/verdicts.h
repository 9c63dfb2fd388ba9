/* verdicts.h - what access(5) actions, header checks and milters decide about a message beside yes and no, and what
 * becomes of it (struct smtpd_verdicts). */
#ifndef SMTPD_VERDICTS_H
#define SMTPD_VERDICTS_H

#include "smtpd/action.h"
#include "smtpd/gates.h"

#include <stdbool.h>

struct smtpd_transaction;

/* HOLD, DISCARD, REDIRECT, FILTER, PREPEND, BCC.  False: the argument is not what the action needs. */
bool smtpd_verdict_apply(struct smtpd_transaction *tx, enum action_kind kind, const char *argument);
void smtpd_verdicts_clear(struct smtpd_transaction *tx);

/* At STAGE_END_OF_DATA, behind all who may still decide: puts the recipient of a redirection in the place of all, and
 * adds those of BCC; each is resolved as RCPT TO is. */
smtpd_gate smtpd_verdicts_gate;

#endif
