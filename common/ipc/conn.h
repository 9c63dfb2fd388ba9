/* conn.h - one IPC connection on the loop: messages in by table, requests out with their answers.
 *
 * Everything a peer sends is hostile: a message whose type is not in the table, that the present state
 * does not allow, or whose fields are not exactly those of its row ends the connection (DESIGN 3), and
 * so does a peer that does not read what it is sent.  The process goes on.
 *
 * Requests carry an id; the answer is a message of type IPC_REPLY with the same id.  A request is
 * answered, or its callback gets NULL: time-out, connection lost, answer of wrong shape.
 */
#ifndef COMMON_IPC_CONN_H
#define COMMON_IPC_CONN_H

#include "common/event/loop.h"
#include "common/ipc/frame.h"

#include <sys/types.h>

enum { IPC_REPLY = 0xffff, IPC_STATE_ANY = ~0u };

struct ipc_conn;

/* One row says all about a message: "There is no second list" (STYLE 3.8). */
struct ipc_handler {
	uint16_t type;
	const char *signature; /* exact fields, see frame.h */
	unsigned states;       /* bit mask of ipc_conn_set_state values in which it may come */
	/* May free the connection by ipc_conn_close. */
	void (*fn)(void *arg, struct ipc_conn *c, struct ipc_in *in);
};

struct ipc_conn_ops {
	const struct ipc_handler *handlers; /* ends with a row whose fn is NULL; may be NULL */
	/* The connection has ended and is freed after this returns; not called for ipc_conn_close. */
	void (*on_close)(void *arg, struct ipc_conn *c, const struct err *why);
};

/* Takes fd (SOCK_SEQPACKET, made non-blocking here).  arg is passed to handlers and on_close.  State 1. */
struct ipc_conn *ipc_conn_new(struct loop *l, int fd, const struct ipc_conn_ops *ops, void *arg);
/* Pending requests get NULL; then it is gone.  NULL is allowed. */
void ipc_conn_close(struct ipc_conn *c);
/* fn(arg) when the connection is freed, by whomever. */
void ipc_conn_on_free(struct ipc_conn *c, void (*fn)(void *arg), void *arg);
void ipc_conn_set_state(struct ipc_conn *c, unsigned state_bit);
void ipc_conn_set_arg(struct ipc_conn *c, void *arg);
void *ipc_conn_arg(const struct ipc_conn *c);
/* Kernel's word on who connected; of a socketpair: who made it. */
void ipc_conn_peer(const struct ipc_conn *c, pid_t *pid, uid_t *uid, gid_t *gid);
/* Bytes waiting because the peer does not read; a sender that can wait looks here first. */
size_t ipc_conn_backlog(const struct ipc_conn *c);
/* Handles what has arrived already: before the connection of a peer that is known to be dead is closed. */
void ipc_conn_read(struct ipc_conn *c);
/* Stops and resumes reading from the peer (back-pressure). */
void ipc_conn_pause(struct ipc_conn *c, bool paused);

/* Both send calls clear *o, sent or not.  -1 (ERR_LIMIT): the message did not fit, or the peer's
 * backlog passed its bound; in the second case on_close follows from the loop. */
int ipc_conn_send(struct ipc_conn *c, struct ipc_out *o);
/* Answers in->id; a no-op (0) when the request wanted no answer. */
int ipc_conn_reply(struct ipc_conn *c, uint32_t id, struct ipc_out *o);
static inline void
ipc_reply_init(struct ipc_out *o)
{
	ipc_out_init(o, IPC_REPLY);
}

struct ipc_call;
/* cb(arg, in): in is the checked answer (signature), or NULL.  Never called from within ipc_conn_call,
 * and never after ipc_call_cancel.  Clears *o.  Never returns NULL. */
struct ipc_call *ipc_conn_call(struct ipc_conn *c, struct ipc_out *o, const char *signature,
    int64_t timeout_ms, void (*cb)(void *arg, struct ipc_in *in), void *arg);
void ipc_call_cancel(struct ipc_call *call); /* NULL is allowed */

/* An outgoing edge: connects when first used and again after a loss; the listener outlives its server, so
 * a call made while the server restarts waits for the new one (within its time-out). */
struct ipc_edge;
/* path: of the edge's socket as seen from inside the cage.  ops may be NULL (no messages but replies);
 * ops->on_close tells of a lost connection. */
struct ipc_edge *ipc_edge_new(struct loop *l, const char *path, const struct ipc_conn_ops *ops, void *arg);
/* An edge over a descriptor that was handed in (minted edges); when it is lost, calls fail. */
struct ipc_edge *ipc_edge_new_fd(struct loop *l, int fd, const struct ipc_conn_ops *ops, void *arg);
void ipc_edge_free(struct ipc_edge *e);
struct ipc_call *ipc_edge_call(struct ipc_edge *e, struct ipc_out *o, const char *signature,
    int64_t timeout_ms, void (*cb)(void *arg, struct ipc_in *in), void *arg);
/* As ipc_edge_call, for a question: a request without descriptors that changes nothing at the server.  It is asked again
 * (twice at most, within its time-out) when the connection ends before the answer: the server was exchanged or died. */
struct ipc_call *ipc_edge_ask(struct ipc_edge *e, struct ipc_out *o, const char *signature,
    int64_t timeout_ms, void (*cb)(void *arg, struct ipc_in *in), void *arg);
int ipc_edge_send(struct ipc_edge *e, struct ipc_out *o);
/* The present connection, NULL while there is none. */
struct ipc_conn *ipc_edge_conn(struct ipc_edge *e);
/* Connects now if it is not; 0 or -1 (ERR_TEMP). */
int ipc_edge_connect(struct ipc_edge *e, struct err *err);

/* Blocking request for tools and for start-up before the loop runs: sends *o (cleared) on the
 * SEQPACKET socket fd and waits for one packet.  The reply lives in packet (IPC_MAX_PACKET bytes). */
int ipc_call_blocking(int fd, struct ipc_out *o, const char *signature, int timeout_ms, void *packet,
    struct ipc_in *in, struct err *err);
/* The next packet of any type, which ipc_in_check has not seen yet. */
int ipc_recv_blocking(int fd, int timeout_ms, void *packet, struct ipc_in *in, struct err *err);
/* Connects a blocking SEQPACKET socket to a path of any length.  Descriptor or -1. */
int ipc_connect_path(const char *path, struct err *err);

/* Raw packet with descriptors: >= 0 bytes (0 = end), -1 with errno.  recv fills *nfds; all received
 * descriptors are CLOEXEC.  A packet that was cut short, or with too many descriptors, gives EBADMSG. */
ssize_t ipc_send_packet(int fd, const void *p, size_t len, const int *fds, unsigned nfds);
ssize_t ipc_recv_packet(int fd, void *p, size_t cap, int fds[IPC_MAX_FDS], unsigned *nfds);

#endif
