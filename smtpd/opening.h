/* opening.h - a session's beginning, up to the greeting (RFC 5321 3.1): who the client is, TLS in wrapper mode, the
 * gates of STAGE_CONNECT, 220. */
#ifndef SMTPD_OPENING_H
#define SMTPD_OPENING_H

#include "smtpd/command_table.h"

struct smtpd_session;

/* May free the session. */
void smtpd_opening_start(struct smtpd_session *s);
/* The handshake of wrapper mode is over: goes on. */
void smtpd_opening_secured(struct smtpd_session *s);
/* XCLIENT: the client is another one now; it passes the gates of a connection and is greeted. */
enum cmd_result smtpd_opening_again(struct smtpd_session *s);

#endif
