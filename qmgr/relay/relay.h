/* relay.h - the service: jobs of one qmgr connection, run side by side within smtp_connection_limit.
 * A lost connection drops every job: what had not been ended by a dot is delivered nowhere. */
#ifndef QMGR_RELAY_RELAY_H
#define QMGR_RELAY_RELAY_H

#include "common/ipc/conn.h"
#include "qmgr/relay/relay_conf.h"

struct relay;
/* authd: for logins; fetchd: for MTA-STS and TLS reports; NULL: without them. */
struct relay *relay_new(struct loop *l, const struct relay_conf *conf, struct ipc_edge *dnsd,
    struct ipc_edge *authd, struct ipc_edge *fetchd);
void relay_free(struct relay *r); /* with the connection; NULL is allowed */

/* For daemon_serve, one connection at a time.  arg is the struct relay. */
extern const struct ipc_conn_ops relay_qmgr_ops;
void relay_qmgr_open(void *arg, struct ipc_conn *c);

/* Takes no more jobs; idle(arg) once the present ones are done, from the loop. */
void relay_drain(struct relay *r, void (*idle)(void *arg), void *arg);

#endif
