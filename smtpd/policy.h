/* policy.h - the step between a command's check and its act: evaluates the restriction lists of that stage and
 * looks up, without waiting, the facts they ask for (restrict.h). */
#ifndef SMTPD_POLICY_H
#define SMTPD_POLICY_H

#include "smtpd/command_table.h"

#include <stdbool.h>

enum smtpd_stage { STAGE_HELO, STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_END_OF_DATA };

/* Evaluates, then calls then(s, permitted): at once, and gives its result, or later, and gives CMD_WAIT; in that
 * case smtpd_session_done follows when then() returns CMD_DONE, smtpd_session_continue when it returns CMD_MORE.
 * A refusal is replied and logged before then() is called. */
enum cmd_result smtpd_policy_start(struct smtpd_session *s, enum smtpd_stage stage,
    enum cmd_result (*then)(struct smtpd_session *s, bool permitted));
void smtpd_policy_free(struct smtpd_session *s);

/* For client_name.c: the name is known now. */
bool smtpd_policy_needs_name(const struct smtpd_session *s);
void smtpd_policy_continue(struct smtpd_session *s);

#endif
