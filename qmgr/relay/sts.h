/* sts.h - the MTA-STS policy of a domain (RFC 8461): its TXT record from dnsd, then what fetchd has of it. */
#ifndef QMGR_RELAY_STS_H
#define QMGR_RELAY_STS_H

#include "common/ipc/conn.h"
#include "common/ipc/msg/fetch.h"
#include "common/proto/sts.h"

/* Borrowed for the callback. */
struct relay_sts_policy {
	enum sts_mode mode;
	const char *id, *mx; /* patterns, a line each */
	enum fetch_sts_fault fault;
};
struct relay_sts_query;
/* cb(arg, policy), once, from the loop, never after a cancel.  Whatever goes wrong is no policy (RFC 8461 3.1, 3.3). */
struct relay_sts_query *relay_sts_start(struct ipc_edge *dnsd, struct ipc_edge *fetchd,
    const char *domain, void (*cb)(void *arg, const struct relay_sts_policy *p), void *arg);
void relay_sts_cancel(struct relay_sts_query *q); /* NULL is allowed */

#endif
