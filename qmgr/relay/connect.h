/* connect.h - a TCP connection to one host: its addresses side by side (RFC 8305 5).  The next one is tried 250 ms behind the
 * former (8), or as soon as that has failed; the first that answers is taken, the others are closed.  Each has
 * smtp_connect_timeout for itself. */
#ifndef QMGR_RELAY_CONNECT_H
#define QMGR_RELAY_CONNECT_H

#include "common/net/stream.h"
#include "qmgr/relay/resolve.h"
#include "qmgr/relay/source.h"

enum { RELAY_PEER_MAX = DNS_NAME_MAX + 80 };

struct relay_connect;
struct relay_connect_ops {
	/* Once for each address that fails. */
	void (*on_failed)(void *arg, const struct relay_verdict *v);
	/* The end: a stream, the owner's now (stream_give), to targets[index]; before it stand those that have failed, in their
	 * order, behind it the rest.  NULL: all have failed. */
	void (*on_end)(void *arg, struct stream *stream, size_t index);
};

/* targets (count > 0, of one host) and source: borrowed until the end.  Callbacks come from the loop, none after a cancel. */
struct relay_connect *relay_connect_start(struct loop *l, int64_t timeout_ms,
    struct relay_target *targets, size_t count, const struct relay_source *source,
    const struct relay_connect_ops *ops, void *arg);
void relay_connect_cancel(struct relay_connect *c); /* NULL is allowed */

/* "host[ip]:port", shorter than RELAY_PEER_MAX. */
void relay_target_peer(const struct relay_target *t, char *out, size_t size);

#endif
