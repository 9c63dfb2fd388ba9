/* dialer.h - connects to milters and policy servers for smtpd, which may make no connection (DESIGN 3), and hands the
 * sockets over: dialer itself never reads or writes a byte of them.  It connects to what the configuration names, to
 * nothing else.  Everything is bounded: connections on their way per caller, and the time of each. */
#ifndef EDGE_DIALER_H
#define EDGE_DIALER_H

#include "common/base/map.h"
#include "common/ipc/conn.h"

struct dialer;

/* endpoints: of endpoint.h, taken over.  stale(arg): the directory of a socket has gone, or was never there, and only a
 * process that is not in its cage yet can open it anew; at most once. */
struct dialer *dialer_new(struct loop *l, struct ipc_edge *dnsd, const struct map *endpoints,
    void (*stale)(void *arg), void *arg);
void dialer_free(struct dialer *d);

/* For daemon_serve: a caller's connection.  arg is the struct dialer. */
extern const struct ipc_conn_ops dialer_caller_ops;
void dialer_caller_open(void *arg, struct ipc_conn *c);

/* idle(arg) once nothing is on its way; new requests are still served until then. */
void dialer_drain(struct dialer *d, void (*idle)(void *arg), void *arg);

#endif
