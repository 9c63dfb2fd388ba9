/* limits.h - asks authd what the admin has set for a destination or a tenant (destination_limit_maps,
 * tenant_limit_maps). */
#ifndef QMGR_LIMITS_H
#define QMGR_LIMITS_H

#include "common/ipc/conn.h"
#include "qmgr/throttle.h"

struct limits_query;
/* Of a next hop, or of mail exchangers with commas between, and of their parents.  cb comes once, from the loop, unless the
 * query is cancelled; limits NULL: there is no answer for now. */
struct limits_query *limits_ask_destination(struct ipc_edge *authd, const char *names,
    void (*cb)(void *arg, const struct limits *l), void *arg);
/* Of a login, of which the domain is a key, too, or of "@domain". */
struct limits_query *limits_ask_tenant(struct ipc_edge *authd, const char *name,
    void (*cb)(void *arg, const struct limits *l), void *arg);
void limits_cancel(struct limits_query *q); /* NULL is allowed */

#endif
