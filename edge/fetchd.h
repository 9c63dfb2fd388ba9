/* fetchd.h - MTA-STS policies (RFC 8461) for relay: fetched from mta-sts.DOMAIN, whose address dnsd tells, kept until they
 * expire, also over a restart, and fetched anew before that while mail goes there.
 *
 * Names come from strangers, and so do policies: what is kept is bounded, and so are the fetches under way and the time of
 * each.  A server at an address that is not public is asked only with fetch_private_addresses; else anybody's DNS could
 * make us connect to what our own network hides.  With tlsrpt_enable it counts for tlsrpt.h, too. */
#ifndef EDGE_FETCHD_H
#define EDGE_FETCHD_H

#include "common/config/conf.h"
#include "common/ipc/conn.h"

struct fetchd;
/* Before the cage closes.  directory: where policies and counts are kept, as seen from inside the cage.  NULL: *err. */
struct fetchd *fetchd_new(struct loop *l, struct ipc_edge *dnsd, struct ipc_edge *qmgr,
    const struct conf *conf, const char *directory, struct err *err);
/* Reads what is kept and starts the thread that writes: once the cage is closed. */
void fetchd_start(struct fetchd *f);
/* What is asked gets no answer; what is to be written is written. */
void fetchd_free(struct fetchd *f);

/* For daemon_serve: a relay's connection.  arg is the struct fetchd. */
extern const struct ipc_conn_ops fetchd_caller_ops;
void fetchd_caller_open(void *arg, struct ipc_conn *c);

#endif
