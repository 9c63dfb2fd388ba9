/* login_pop3.h - POP3 before login: the AUTHORIZATION state (RFC 1939 4, RFC 2449, RFC 2595, RFC 5034). */
#ifndef POP3D_LOGIN_POP3_H
#define POP3D_LOGIN_POP3_H

#include "common/login/login.h"

extern const struct login_protocol login_pop3_protocol;

#endif
