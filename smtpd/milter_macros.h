/* milter_macros.h - Sendmail's macros, as far as Postfix has them, from what a session knows. */
#ifndef SMTPD_MILTER_MACROS_H
#define SMTPD_MILTER_MACROS_H

#include "smtpd/milter_config.h"

struct smtpd_session;

/* Appends the packet with those of the names (separated by white space or commas) that have a value; nothing if none has. */
void milter_put_macros(
    struct smtpd_session *s, enum milter_command command, struct view names, struct buf *out);

#endif
