/* login_imap.h - IMAP before login: CAPABILITY, ID, STARTTLS, AUTHENTICATE, LOGIN and the few beside them. */
#ifndef IMAPD_LOGIN_IMAP_H
#define IMAPD_LOGIN_IMAP_H

#include "common/login/login.h"

extern const struct login_protocol login_imap_protocol;

#endif
