/* daemon.h - the life that every worker's main() shares (STYLE 3.9).
 *
 *	struct daemon *d = daemon_start(argc, argv, ROLE_SMTPD);
 *	struct smtpd *s = smtpd_new(d);                   // reads its configuration, opens what it needs
 *	daemon_configured(d);                             // a test of the configuration ends here
 *	daemon_serve(d, ROLE_X, &ops, on_open, s);        // edges that call us
 *	daemon_accept(d, on_client, s);                   // inet listeners that master bound for us
 *	sandbox_enter happens inside daemon_run, before READY is told to master and the first byte is read
 *	return daemon_run(d, &plan);
 *
 * Master starts the program with descriptor 3 as the control channel and sends START on it
 * (common/ipc/msg/master.h); daemon_start waits for it.  A program started by hand says so and exits 64.
 *
 * `NAME -t` tests a configuration (estafeta check): daemon_start reads the effective one, as conf_dump writes it, from
 * standard input; what is wrong goes to standard error as log lines, and daemon_configured ends the process with 0.
 * So what decides is the start-up code itself.  Until then a main() opens no state, no queue, no database, no socket.
 */
#ifndef COMMON_DAEMON_DAEMON_H
#define COMMON_DAEMON_DAEMON_H

#include "common/config/conf.h"
#include "common/event/loop.h"
#include "common/ipc/conn.h"
#include "common/ipc/edges.h"
#include "common/log/log.h"
#include "common/sandbox/sandbox.h"

#include <sys/socket.h>

struct daemon;

struct daemon *daemon_start(int argc, char **argv, enum role role);
/* All that the configuration can be wrong about has been looked at: ends a test, else does nothing. */
void daemon_configured(const struct daemon *d);
/* For what a start leaves to its helpers. */
bool daemon_is_test(const struct daemon *d);
struct loop *daemon_loop(struct daemon *d);
/* Effective parameters of this service: defaults, main.cf, -o overrides; borrowed for the process's life. */
const struct conf *daemon_conf(struct daemon *d);
const char *daemon_service(struct daemon *d); /* first column of master.cf, e.g. "127.0.0.1:25" */
/* For the roles that run as a mailbox's owner: account ("" for delivery). */
const char *daemon_account(struct daemon *d);

/* An outgoing edge of this role (must be in the edge table).  Usable at once: it connects lazily,
 * inside the cage.  ops may be NULL.  MINTED edges: see daemon_on_message, MASTER_EDGE. */
struct ipc_edge *daemon_edge(struct daemon *d, enum role server, const struct ipc_conn_ops *ops, void *arg);

/* Incoming edge: connections from caller are accepted once the loop runs; on_open(arg, conn) gets each
 * (it may set state and arg with ipc_conn_set_*); ops->on_close tells of its end.
 * max_conns: connections accepted at a time, 0 = no bound. */
void daemon_serve(struct daemon *d, enum role caller, const struct ipc_conn_ops *ops,
    void (*on_open)(void *arg, struct ipc_conn *c), void *arg, unsigned max_conns);

/* Clients on the inet listeners of this service; fd is non-blocking and owned by the callee. */
void daemon_accept(struct daemon *d, void (*on_client)(void *arg, int fd, const struct sockaddr_storage *peer),
    void *arg);
void daemon_pause_accept(struct daemon *d, bool paused); /* too many sessions, out of descriptors */

/* The control channel to master, and the rows for messages of it that this role understands beside the
 * common ones (set before daemon_run). */
struct ipc_conn *daemon_master(struct daemon *d);
void daemon_on_message(struct daemon *d, const struct ipc_handler *rows, void *arg);

/* Master wants this worker to end after its present work (reload, stop): listeners are closed already.
 * The callback calls daemon_exit when nothing is left, at once if it is idle.  Without one the process
 * exits at once.  It comes again when a stop follows a reload: daemon_is_stopping tells them apart. */
void daemon_on_drain(struct daemon *d, void (*fn)(void *arg), void *arg);
void daemon_exit(struct daemon *d, int status); /* ends daemon_run with this status */
bool daemon_is_draining(const struct daemon *d);
/* The whole suite stops: sessions are broken off where no promise is, instead of taking their time. */
bool daemon_is_stopping(const struct daemon *d);

/* Fills uid, gid, root, permissive of *plan from what master said, closes the cage, tells READY (as soon as
 * accepting is not paused), runs the loop.  before_loop(arg), if any, runs inside the cage before the first event: threads start here. */
int daemon_run(struct daemon *d, struct sandbox_plan *plan, void (*before_loop)(void *arg), void *arg);

/* For a role that forks helpers before daemon_run: role, uid, gid, root and permissive of the helper's own cage. */
void daemon_helper_plan(const struct daemon *d, struct sandbox_plan *plan);

/* Descriptors that master attached to START by name (msg/master.h, MASTER_ATTACH); -1: none.
 * The caller owns it.  daemon_next_attachment walks all names with that prefix, starting with *at = 0. */
int daemon_attachment(struct daemon *d, const char *name);
const char *daemon_next_attachment(struct daemon *d, const char *prefix, size_t *at);
/* One that is a configuration, into *out; conf_clear it.  0 or -1. */
int daemon_attached_conf(struct daemon *d, const char *name, struct conf *out, struct err *err);

#endif
