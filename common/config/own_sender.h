/* own_sender.h - the senders of our own programs: qmgr sends as them, smtpd takes mail for them, authd throws it away. */
#ifndef COMMON_CONFIG_OWN_SENDER_H
#define COMMON_CONFIG_OWN_SENDER_H

#include "common/config/conf.h"

/* Of double_bounce_sender or address_verify_sender: in lower case, with $myorigin where it has no domain; "" = <>.  The caller
 * frees. */
char *own_sender(const struct conf *c, const char *param);

#endif
