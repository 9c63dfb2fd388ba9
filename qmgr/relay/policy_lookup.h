/* policy_lookup.h - what smtp_tls_policy_maps says of a destination, which only authd reads. */
#ifndef QMGR_RELAY_POLICY_LOOKUP_H
#define QMGR_RELAY_POLICY_LOOKUP_H

#include "common/ipc/conn.h"

struct relay_policy_lookup;
/* Looks for the nexthop as it was given; for a domain also under each .PARENT.  cb(arg, is_known, entry), once, from the
 * loop, never after a cancel: is_known false = no answer for now; entry NULL = none, else borrowed for the callback. */
struct relay_policy_lookup *relay_policy_lookup_start(struct ipc_edge *authd, const char *nexthop,
    void (*cb)(void *arg, bool is_known, const char *entry), void *arg);
void relay_policy_lookup_cancel(struct relay_policy_lookup *l); /* NULL is allowed */

#endif
