/* limits.h - asks authd what the admin has set for a destination or a tenant (destination_limit_maps,
 * tenant_limit_maps). */
#ifndef QMGR_LIMITS_H
#define QMGR_LIMITS_H

#include "common/ipc/conn.h"
#include "qmgr/throttle.h"

struct limits_query;
/* question: AUTHD_LIMITS or AUTHD_TENANT_LIMITS; keys best first, AUTHD_LOOKUP_KEYS at most.  cb comes once, from the loop, unless the query
 * is cancelled; limits NULL: there is no answer for now. */
struct limits_query *limits_ask(struct ipc_edge *authd, uint16_t question, const char *const *keys,
    size_t nkeys, void (*cb)(void *arg, const struct limits *l), void *arg);
void limits_cancel(struct limits_query *q); /* NULL is allowed */

#endif
