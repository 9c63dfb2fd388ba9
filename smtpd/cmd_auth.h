/* cmd_auth.h - AUTH (RFC 4954): carries a SASL exchange between the client and authd, which alone understands it. */
#ifndef SMTPD_CMD_AUTH_H
#define SMTPD_CMD_AUTH_H

#include "common/base/view.h"

struct smtpd_session;

/* In ST_SASL: the client's next line, `used` bytes of the input with its CRLF. */
void smtpd_sasl_line(struct smtpd_session *s, struct view line, size_t used);
void smtpd_sasl_too_long(struct smtpd_session *s);
/* The delay of a failure's answer is over.  May free the session. */
void smtpd_sasl_delayed(struct smtpd_session *s);
/* tell: authd is told that the exchange is given up. */
void smtpd_sasl_free(struct smtpd_session *s, bool tell);

#endif
