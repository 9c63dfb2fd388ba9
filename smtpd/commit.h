/* commit.h - hands a complete message to qmgr. */
#ifndef SMTPD_COMMIT_H
#define SMTPD_COMMIT_H

#include "smtpd/command_table.h"

/* Makes headers and envelope and asks qmgr to take responsibility.  250 is sent when, and only when, qmgr has said that
 * the message is durable (DESIGN 5.5): a lost answer is 451, and the client's retry may then make a duplicate, never a loss.
 * CMD_WAIT, or CMD_DONE when it failed at once; the transaction is over in both cases, sooner or later. */
enum cmd_result smtpd_commit(struct smtpd_session *s);

#endif
