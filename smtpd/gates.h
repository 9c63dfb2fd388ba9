/* gates.h - what a command has to pass before it acts: limits, tests of the client, restrictions, milters, in the
 * order of the table in gates.c.  A gate is given the stage and answers "permitted" or not, now or later; what is
 * refused at one gate never reaches the next. */
#ifndef SMTPD_GATES_H
#define SMTPD_GATES_H

#include "smtpd/command_table.h"

#include <stdbool.h>

enum smtpd_stage {
	STAGE_CONNECT, /* before the greeting; a refusal's reply is 421 or 5xx, and the session ends */
	STAGE_HELO,
	STAGE_STARTTLS,
	STAGE_AUTH,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_END_OF_DATA, /* the content is complete and stored */
	STAGE_UNKNOWN,     /* a command that is not known; s->args->text is its line */
};

/* What comes after a gate. */
typedef enum cmd_result gate_then(struct smtpd_session *s, bool permitted);
/* A gate calls then(s, permitted) and returns its result; or it returns CMD_WAIT and calls smtpd_gate_settled with
 * the result of then() later.  It has replied and logged before it calls then(s, false). */
typedef enum cmd_result smtpd_gate(
    struct smtpd_session *s, enum smtpd_stage stage, gate_then *then);

/* Where the command under way stands; part of the session. */
struct gate_walk {
	enum smtpd_stage stage;
	unsigned at; /* number of the next gate */
	gate_then *then;
};

/* Passes all gates of this stage, then calls then(s, permitted); the result is that of then(), or CMD_WAIT. */
enum cmd_result smtpd_gates_start(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then);
/* A gate that had to wait goes on with the session: r is what then() gave.  May free the session. */
void smtpd_gate_settled(struct smtpd_session *s, enum cmd_result r);

#endif
