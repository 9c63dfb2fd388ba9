/* resolve.h - from a nexthop to the addresses that are tried, in order.
 * Ownership: the result is borrowed for the callback.  The callback comes once, from the loop, never after
 * relay_resolve_cancel. */
#ifndef QMGR_RELAY_RESOLVE_H
#define QMGR_RELAY_RESOLVE_H

#include "qmgr/relay/nexthop.h"
#include "qmgr/relay/relay_conf.h"
#include "qmgr/relay/verdict.h"

struct relay_target {
	char host[DNS_NAME_MAX];
	unsigned preference;          /* of the MX record, 0 = there is none */
	struct sockaddr_storage addr; /* with port */
	bool
	    is_named_safely; /* nobody but the domain, or our admin, can have named this host (RFC 8689 4.2.1) */
	/* of the look-up of its addresses (RFC 7672 2.2.2) */
	bool is_secure;
	char canonical[DNS_NAME_MAX]; /* behind CNAMEs; "": none */
	char domain[DNS_NAME_MAX];    /* of the MX record, behind CNAMEs; "": none */
};

struct relay_resolve;
/* cb(arg, targets, count, failure): count is 0 if and only if failure is not NULL. */
struct relay_resolve *relay_resolve_start(struct loop *l, struct ipc_edge *dnsd,
    const struct relay_conf *conf, const struct relay_nexthop *hop,
    void (*cb)(void *arg, const struct relay_target *targets, size_t count,
	const struct relay_verdict *failure),
    void *arg);
void relay_resolve_cancel(struct relay_resolve *r); /* NULL is allowed */

#endif
