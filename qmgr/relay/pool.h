/* pool.h - idle connections, kept for a moment for the next message (smtp_connection_cache_time_limit).
 * The pool owns what is in it. */
#ifndef QMGR_RELAY_POOL_H
#define QMGR_RELAY_POOL_H

#include "qmgr/relay/session.h"

struct relay_pool;
struct relay_pool *relay_pool_new(struct loop *l, const struct relay_conf *conf);
void relay_pool_free(struct relay_pool *p); /* says QUIT to all */
/* Found again under the nexthop it was opened for, and under its address, by who has the same identity.  When it cannot be
 * kept it is closed; the oldest goes when there are more than half of smtp_connection_limit. */
void relay_pool_put(struct relay_pool *p, struct relay_session *s, const char *nexthop);
/* The caller's now (relay_session_give); NULL: none. */
struct relay_session *relay_pool_take(
    struct relay_pool *p, const char *nexthop, const char *identity);
struct relay_session *relay_pool_take_peer(
    struct relay_pool *p, const struct relay_target *target, const char *identity);

#endif
