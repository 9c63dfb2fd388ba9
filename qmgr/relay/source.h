/* source.h - the addresses that a message leaves from: smtp_bind_address, or a pool of smtp_bind_address_maps, which only authd
 * reads. */
#ifndef QMGR_RELAY_SOURCE_H
#define QMGR_RELAY_SOURCE_H

#include "common/ipc/conn.h"

#include <netinet/in.h>

struct relay_source {
	bool has4, has6; /* else the system's choice */
	struct sockaddr_storage ip4, ip6;
	bool must_bind; /* smtp_bind_address_enforce: from nowhere else */
	bool is_pool;   /* then not even by another family */
};

/* NULL: the system's choice. */
const struct sockaddr_storage *relay_source_for(const struct relay_source *s, int family);

/* value: addresses, with commas or blanks between them.  Of each family one is taken, in place of that in *s: which follows from
 * queue id and nexthop, so that messages take turns, while one that is tried again at the same destination comes from the
 * same address as before, whichever process sends it (RFC 6647: greylisting).  -1: not addresses. */
int relay_source_pick(const char *value, const char *queue_id, const char *nexthop,
    struct relay_source *s, struct err *err);

struct relay_source_lookup;
/* Looks for the sender, "<>" if there is none, its @domain, then the login ("": none).  cb(arg, is_known, value), once, from the
 * loop, never after a cancel: is_known false = no answer for now; value NULL = none, else borrowed for the callback. */
struct relay_source_lookup *relay_source_lookup_start(struct ipc_edge *authd, const char *sender,
    const char *login, void (*cb)(void *arg, bool is_known, const char *value), void *arg);
void relay_source_lookup_cancel(struct relay_source_lookup *l); /* NULL is allowed */

#endif
