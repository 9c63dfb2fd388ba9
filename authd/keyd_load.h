/* keyd_load.h - what keyd takes from the configuration of a service with TLS listeners.  As root, before the cage closes:
 * the files are named in tables, and only keyd is to read those. */
#ifndef AUTHD_KEYD_LOAD_H
#define AUTHD_KEYD_LOAD_H

#include "authd/keyd.h"
#include "common/config/master_cf.h"

/* -1: a certificate named in main.cf cannot be used.  One in the table of names can be missing or broken without harm to
 * the others: report is told, and its name gets the default.  Returns 0 and adds to *count the sets loaded. */
int keyd_load_service(struct keyd *k, const struct role_tls *tls, const struct conf *conf,
    void (*report)(void *arg, const char *text), void *arg, size_t *count, struct err *err);

#endif
