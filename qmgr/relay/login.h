/* login.h - who we are at a server: smtp_sasl_password_maps, which only authd reads. */
#ifndef QMGR_RELAY_LOGIN_H
#define QMGR_RELAY_LOGIN_H

#include "common/ipc/conn.h"

struct relay_login;
enum relay_login_result { RELAY_LOGIN_FOUND, RELAY_LOGIN_NONE, RELAY_LOGIN_TEMP };

/* Looks for the sender (NULL or "": not), with and without what stands behind one of delimiters, and @domain; for the host;
 * for the nexthop as it was given.  user and password are borrowed for the callback, which comes once, from the
 * loop, never after a cancel. */
struct relay_login *relay_login_start(struct ipc_edge *authd, const char *sender,
    const char *delimiters, const char *host, const char *nexthop,
    void (*cb)(void *arg, enum relay_login_result r, const char *user, const char *password),
    void *arg);
void relay_login_cancel(struct relay_login *l); /* NULL is allowed */

#endif
