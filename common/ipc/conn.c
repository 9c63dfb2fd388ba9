#include "common/ipc/conn.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BACKLOG_MAX = 4 << 20, /* bytes a peer may leave unread before it is dropped */
	PACKETS_PER_TURN = 32, /* so that one busy peer does not starve the others */
	CALL_HASH = 64,
	ASKED_MAX = 3, /* a question that kills its server must not do so for ever */
};

struct packet {
	STAILQ_ENTRY(packet) link;
	size_t len;
	int fds[IPC_MAX_FDS]; /* owned duplicates */
	unsigned nfds;
	char data[];
};
STAILQ_HEAD(packet_list, packet);

struct ipc_call {
	LIST_ENTRY(ipc_call) link;
	/* with its connection, or with the edge that asks it again; else the callback comes from the timer */
	bool is_listed;
	uint32_t id;
	unsigned asked;          /* times; 0: not to be asked again */
	struct ipc_out question; /* kept while it may be asked again */
	const char *signature;
	void (*cb)(void *arg, struct ipc_in *in);
	void *arg;
	struct loop_timer timer;
};
LIST_HEAD(call_list, ipc_call);

struct ipc_conn {
	struct loop *loop;
	int fd;
	struct ipc_conn_ops ops;
	void *arg;
	struct ipc_edge *edge; /* borrowed: whose present connection this is, or NULL */
	unsigned state;
	bool paused;
	bool dying; /* on_close is on its way */
	void (*on_free)(void *arg);
	void *on_free_arg;
	bool *gone; /* set to true when the connection is freed inside a handler */
	struct err why;
	struct loop_watch watch;
	struct loop_timer die;
	struct packet_list backlog;
	size_t backlog_bytes;
	uint32_t next_id;
	struct call_list calls[CALL_HASH];
};

struct ipc_edge {
	struct loop *loop;
	char *path; /* owned; NULL for a handed descriptor */
	struct ipc_conn *conn;
	struct call_list lost; /* questions whose connection ended before the answer */
	struct loop_timer ask_again;
	struct ipc_conn_ops ops;
	void *arg;
};

ssize_t
ipc_send_packet(int fd, const void *p, size_t len, const int *fds, unsigned nfds)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * IPC_MAX_FDS)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)p, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds > 0) {
		struct cmsghdr *c;

		m.msg_control = control.space;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	do
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

ssize_t
ipc_recv_packet(int fd, void *p, size_t cap, int fds[IPC_MAX_FDS], unsigned *nfds)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * IPC_MAX_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { p, cap };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof control.space };
	ssize_t n;

	*nfds = 0;
	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof got);
			if (*nfds < IPC_MAX_FDS)
				fds[(*nfds)++] = got;
			else
				close(got);
		}
	}
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (unsigned i = 0; i < *nfds; i++)
			close(fds[i]);
		*nfds = 0;
		errno = EBADMSG;
		return -1;
	}
	return n;
}

static void
packet_free(struct packet *p)
{
	for (unsigned i = 0; i < p->nfds; i++)
		close(p->fds[i]);
	mem_wipe(p->data, p->len);
	free(p);
}

static void
call_unlist(struct ipc_call *call)
{
	if (call->is_listed)
		LIST_REMOVE(call, link);
	call->is_listed = false;
}

static void
call_list_in(struct ipc_call *call, struct call_list *list)
{
	LIST_INSERT_HEAD(list, call, link);
	call->is_listed = true;
}

static void
call_free(struct ipc_call *call)
{
	loop_timer_stop(&call->timer);
	call_unlist(call);
	ipc_out_clear(&call->question);
	free(call);
}

static void
call_finish(struct ipc_call *call, struct ipc_in *in)
{
	loop_timer_stop(&call->timer);
	call_unlist(call);
	call->cb(call->arg, in);
	call_free(call);
}

static void
on_call_timer(void *arg)
{
	call_finish(arg, NULL);
}

/* Takes every pending call from the connection, and the connection from its edge.  A question goes to the edge, to be
 * asked again; who made another call is told from the loop, never from here. */
static void
conn_leave_edge(struct ipc_conn *c)
{
	struct ipc_edge *e = c->edge;

	for (size_t i = 0; i < CALL_HASH; i++) {
		struct ipc_call *call;

		while ((call = LIST_FIRST(&c->calls[i])) != NULL) {
			call_unlist(call);
			if (e == NULL || call->asked == 0 || call->asked == ASKED_MAX) {
				loop_timer_soon(&call->timer);
				continue;
			}
			call_list_in(call, &e->lost);
			loop_timer_soon(&e->ask_again);
		}
	}
	if (e != NULL)
		e->conn = NULL;
	c->edge = NULL;
}

static void
conn_free(struct ipc_conn *c)
{
	struct packet *p;

	conn_leave_edge(c);
	if (c->gone != NULL)
		*c->gone = true;
	loop_watch_set(&c->watch, 0);
	loop_timer_stop(&c->die);
	while ((p = STAILQ_FIRST(&c->backlog)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->backlog, link);
		packet_free(p);
	}
	fd_close(&c->fd);
	if (c->on_free != NULL)
		c->on_free(c->on_free_arg);
	free(c);
}

static void
on_die(void *arg)
{
	struct ipc_conn *c = arg;

	conn_leave_edge(c);
	if (c->ops.on_close != NULL)
		c->ops.on_close(c->arg, c, &c->why);
	conn_free(c);
}

static void
conn_die(struct ipc_conn *c, const struct err *why)
{
	if (c->dying)
		return;
	c->dying = true;
	c->why = *why;
	loop_watch_set(&c->watch, 0);
	loop_timer_soon(&c->die);
}

static void
conn_set_watch(struct ipc_conn *c)
{
	short what = c->paused ? 0 : LOOP_READ;

	if (c->dying)
		return;
	if (!STAILQ_EMPTY(&c->backlog))
		what |= LOOP_WRITE;
	loop_watch_set(&c->watch, what);
}

/* 0 sent, 1 would block, -1 connection broken. */
static int
conn_try_send(struct ipc_conn *c, const void *data, size_t len, const int *fds, unsigned nfds)
{
	struct err e;

	if (ipc_send_packet(c->fd, data, len, fds, nfds) >= 0)
		return 0;
	if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
		return 1;
	err_sys(&e, errno == EPIPE || errno == ECONNRESET ? ERR_GONE : ERR_TEMP, "ipc: send");
	conn_die(c, &e);
	return -1;
}

static void
conn_flush(struct ipc_conn *c)
{
	struct packet *p;

	while (!c->dying && (p = STAILQ_FIRST(&c->backlog)) != NULL) {
		if (conn_try_send(c, p->data, p->len, p->fds, p->nfds) != 0)
			break;
		STAILQ_REMOVE_HEAD(&c->backlog, link);
		c->backlog_bytes -= p->len;
		packet_free(p);
	}
	conn_set_watch(c);
}

static void
conn_answered(struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_call *call;
	struct err e;

	LIST_FOREACH (call, &c->calls[in->id % CALL_HASH], link)
		if (call->id == in->id)
			break;
	if (call == NULL)
		return; /* cancelled or timed out before the answer came */
	if (ipc_in_check(in, call->signature, &e) < 0) {
		conn_die(c, &e);
		in = NULL;
	}
	call_finish(call, in);
}

static void
conn_dispatch(struct ipc_conn *c, struct ipc_in *in)
{
	const struct ipc_handler *h = c->ops.handlers;
	struct err e;

	if (in->type == IPC_REPLY) {
		conn_answered(c, in);
		return;
	}
	while (h != NULL && h->fn != NULL && h->type != in->type)
		h++;
	if (h == NULL || h->fn == NULL)
		err_set(&e, ERR_SYNTAX, "ipc: unknown message %u", in->type);
	else if ((h->states & c->state) == 0)
		err_set(&e, ERR_SYNTAX, "ipc: message %u out of turn", in->type);
	else if (ipc_in_check(in, h->signature, &e) == 0) {
		h->fn(c->arg, c, in);
		return;
	}
	conn_die(c, &e);
}

void
ipc_conn_read(struct ipc_conn *c)
{
	static _Thread_local unsigned char packet[IPC_MAX_PACKET];
	bool gone = false;
	bool *outer = c->gone;

	c->gone = &gone;
	for (int i = 0; i < PACKETS_PER_TURN && !c->dying && !c->paused; i++) {
		struct ipc_in in = { 0 };
		struct err e;
		ssize_t n = ipc_recv_packet(c->fd, packet, sizeof packet, in.fds, &in.nfds);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			err_sys(&e, errno == ECONNRESET ? ERR_GONE : ERR_TEMP, "ipc: receive");
		if (n == 0)
			err_set(&e, ERR_GONE, "ipc: closed by peer");
		if (n <= 0 || ipc_in_parse(&in, packet, (size_t)n, &e) < 0) {
			ipc_in_close_fds(&in);
			conn_die(c, &e);
			break;
		}
		conn_dispatch(c, &in);
		ipc_in_close_fds(&in);
		if (gone) {
			if (outer != NULL)
				*outer = true;
			return;
		}
	}
	c->gone = outer;
}

static void
on_ready(void *arg, short what)
{
	struct ipc_conn *c = arg;

	if (what & LOOP_WRITE)
		conn_flush(c);
	if ((what & LOOP_READ) && !c->dying)
		ipc_conn_read(c);
}

struct ipc_conn *
ipc_conn_new(struct loop *l, int fd, const struct ipc_conn_ops *ops, void *arg)
{
	struct ipc_conn *c = x_calloc(1, sizeof *c);
	struct err e;

	c->loop = l;
	c->fd = fd;
	if (ops != NULL)
		c->ops = *ops;
	c->arg = arg;
	c->state = 1;
	STAILQ_INIT(&c->backlog);
	loop_watch_init(&c->watch, l, fd, on_ready, c);
	loop_timer_init(&c->die, l, on_die, c);
	if (fd_set_nonblock(fd, &e) < 0)
		conn_die(c, &e);
	conn_set_watch(c);
	return c;
}

void
ipc_conn_close(struct ipc_conn *c)
{
	if (c != NULL)
		conn_free(c);
}

void
ipc_conn_on_free(struct ipc_conn *c, void (*fn)(void *arg), void *arg)
{
	c->on_free = fn;
	c->on_free_arg = arg;
}

void
ipc_conn_set_state(struct ipc_conn *c, unsigned state_bit)
{
	c->state = state_bit;
}

void
ipc_conn_set_arg(struct ipc_conn *c, void *arg)
{
	c->arg = arg;
}

void *
ipc_conn_arg(const struct ipc_conn *c)
{
	return c->arg;
}

void
ipc_conn_peer(const struct ipc_conn *c, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct ucred cred = { .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t len = sizeof cred;

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		cred = (struct ucred){ .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	if (pid != NULL)
		*pid = cred.pid;
	if (uid != NULL)
		*uid = cred.uid;
	if (gid != NULL)
		*gid = cred.gid;
}

size_t
ipc_conn_backlog(const struct ipc_conn *c)
{
	return c->backlog_bytes;
}

void
ipc_conn_pause(struct ipc_conn *c, bool paused)
{
	c->paused = paused;
	conn_set_watch(c);
}

static int
conn_queue(struct ipc_conn *c, const char *data, size_t len, const int *fds, unsigned nfds)
{
	struct packet *p;
	struct err e;

	if (c->backlog_bytes + len > BACKLOG_MAX) {
		err_set(&e, ERR_LIMIT, "ipc: peer does not read");
		conn_die(c, &e);
		return -1;
	}
	p = x_malloc(sizeof *p + len);
	p->len = len;
	p->nfds = 0;
	memcpy(p->data, data, len);
	for (unsigned i = 0; i < nfds; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (copy < 0) {
			packet_free(p);
			return -1;
		}
		p->fds[p->nfds++] = copy;
	}
	STAILQ_INSERT_TAIL(&c->backlog, p, link);
	c->backlog_bytes += len;
	conn_set_watch(c);
	return 0;
}

static size_t
frame_make(const struct ipc_out *o, uint32_t id, char *packet)
{
	size_t len = o->body.len;

	for (size_t i = 0; i < 4; i++) {
		packet[i] = i < 2 ? (char)(o->type >> (8 * i)) : '\0';
		packet[4 + i] = (char)(id >> (8 * i));
		packet[8 + i] = (char)(len >> (8 * i));
	}
	if (len > 0)
		memcpy(packet + IPC_HEADER, o->body.p, len);
	return IPC_HEADER + len;
}

static int
conn_send_id(struct ipc_conn *c, uint32_t id, struct ipc_out *o)
{
	static _Thread_local char packet[IPC_MAX_PACKET];
	int r = -1;

	if (!o->failed && !c->dying) {
		size_t len = frame_make(o, id, packet);

		r = STAILQ_EMPTY(&c->backlog) ? conn_try_send(c, packet, len, o->fds, o->nfds) : 1;
		if (r == 1)
			r = conn_queue(c, packet, len, o->fds, o->nfds);
		mem_wipe(packet, len); /* passwords go through here */
	}
	ipc_out_clear(o);
	return r;
}

int
ipc_conn_send(struct ipc_conn *c, struct ipc_out *o)
{
	return conn_send_id(c, 0, o);
}

int
ipc_conn_reply(struct ipc_conn *c, uint32_t id, struct ipc_out *o)
{
	if (id == 0) {
		ipc_out_clear(o);
		return 0;
	}
	return conn_send_id(c, id, o);
}

static struct ipc_call *
call_new(struct loop *l, const char *signature, void (*cb)(void *arg, struct ipc_in *in), void *arg)
{
	struct ipc_call *call = x_calloc(1, sizeof *call);

	call->signature = signature;
	call->cb = cb;
	call->arg = arg;
	loop_timer_init(&call->timer, l, on_call_timer, call);
	return call;
}

/* Sends the call's message (cleared); the call then waits with the connection, or fails from its timer.  A question
 * waits with a broken connection too, whose end has it asked again. */
static void
conn_ask(struct ipc_conn *c, struct ipc_call *call, struct ipc_out *o)
{
	if (++c->next_id == 0)
		c->next_id = 1;
	call->id = c->next_id;
	if (conn_send_id(c, call->id, o) < 0 && !(c->dying && call->asked > 0))
		loop_timer_soon(&call->timer);
	else
		call_list_in(call, &c->calls[call->id % CALL_HASH]);
}

struct ipc_call *
ipc_conn_call(struct ipc_conn *c, struct ipc_out *o, const char *signature, int64_t timeout_ms,
    void (*cb)(void *arg, struct ipc_in *in), void *arg)
{
	struct ipc_call *call = call_new(c->loop, signature, cb, arg);

	loop_timer_start(&call->timer, timeout_ms);
	conn_ask(c, call, o);
	return call;
}

void
ipc_call_cancel(struct ipc_call *call)
{
	if (call != NULL)
		call_free(call);
}

static void
edge_adopt(struct ipc_edge *e, int fd)
{
	e->conn = ipc_conn_new(e->loop, fd, &e->ops, e->arg);
	e->conn->edge = e;
}

static void
edge_ask(struct ipc_edge *e, struct ipc_call *call)
{
	struct ipc_out o;

	if (ipc_edge_connect(e, NULL) < 0) {
		loop_timer_soon(&call->timer);
		return;
	}
	call->asked++;
	ipc_out_init(&o, call->question.type);
	buf_append(&o.body, call->question.body.p, call->question.body.len);
	conn_ask(e->conn, call, &o);
}

static void
on_ask_again(void *arg)
{
	struct ipc_edge *e = arg;
	struct ipc_call *call;

	while ((call = LIST_FIRST(&e->lost)) != NULL) {
		call_unlist(call);
		edge_ask(e, call);
	}
}

struct ipc_edge *
ipc_edge_new(struct loop *l, const char *path, const struct ipc_conn_ops *ops, void *arg)
{
	struct ipc_edge *e = x_calloc(1, sizeof *e);

	e->loop = l;
	if (path != NULL)
		e->path = x_strdup(path);
	if (ops != NULL)
		e->ops = *ops;
	e->arg = arg;
	LIST_INIT(&e->lost);
	loop_timer_init(&e->ask_again, l, on_ask_again, e);
	return e;
}

struct ipc_edge *
ipc_edge_new_fd(struct loop *l, int fd, const struct ipc_conn_ops *ops, void *arg)
{
	struct ipc_edge *e = ipc_edge_new(l, NULL, ops, arg);

	edge_adopt(e, fd);
	return e;
}

void
ipc_edge_free(struct ipc_edge *e)
{
	struct ipc_call *call;

	if (e == NULL)
		return;
	ipc_conn_close(e->conn);
	while ((call = LIST_FIRST(&e->lost)) != NULL) {
		call_unlist(call);
		loop_timer_soon(&call->timer);
	}
	loop_timer_stop(&e->ask_again);
	free(e->path);
	free(e);
}

int
ipc_edge_connect(struct ipc_edge *e, struct err *err)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (e->conn != NULL)
		return 0;
	if (e->path == NULL)
		return err_set(err, ERR_TEMP, "ipc: the edge is gone");
	if (strlen(e->path) >= sizeof sun.sun_path)
		return err_set(err, ERR_BUG, "ipc: edge path too long");
	memcpy(sun.sun_path, e->path, strlen(e->path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "ipc: socket");
	if (connect(fd, (struct sockaddr *)&sun, sizeof sun) < 0) {
		err_sys(err, ERR_TEMP, "ipc: connect %s", e->path);
		fd_close(&fd);
		return -1;
	}
	edge_adopt(e, fd);
	return 0;
}

struct ipc_call *
ipc_edge_call(struct ipc_edge *e, struct ipc_out *o, const char *signature, int64_t timeout_ms,
    void (*cb)(void *arg, struct ipc_in *in), void *arg)
{
	struct ipc_call *call;

	if (ipc_edge_connect(e, NULL) == 0)
		return ipc_conn_call(e->conn, o, signature, timeout_ms, cb, arg);
	ipc_out_clear(o);
	call = call_new(e->loop, signature, cb, arg);
	loop_timer_soon(&call->timer);
	return call;
}

struct ipc_call *
ipc_edge_ask(struct ipc_edge *e, struct ipc_out *o, const char *signature, int64_t timeout_ms,
    void (*cb)(void *arg, struct ipc_in *in), void *arg)
{
	struct ipc_call *call = call_new(e->loop, signature, cb, arg);

	if (o->nfds > 0)
		bug("ipc: a question carries no descriptors");
	call->question = *o;
	loop_timer_start(&call->timer, timeout_ms);
	if (o->failed)
		loop_timer_soon(&call->timer);
	else
		edge_ask(e, call);
	return call;
}

int
ipc_edge_send(struct ipc_edge *e, struct ipc_out *o)
{
	if (ipc_edge_connect(e, NULL) == 0)
		return ipc_conn_send(e->conn, o);
	ipc_out_clear(o);
	return -1;
}

struct ipc_conn *
ipc_edge_conn(struct ipc_edge *e)
{
	return e->conn;
}

int
ipc_recv_blocking(int fd, int timeout_ms, void *packet, struct ipc_in *in, struct err *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	ssize_t n;

	*in = (struct ipc_in){ 0 };
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - clock_mono_ms();
		int r = poll(&pfd, 1, left > 0 ? (int)left : 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(err, ERR_TEMP, "ipc: poll");
		if (r == 0)
			return err_set(err, ERR_TEMP, "ipc: no answer in time");
		break;
	}
	n = ipc_recv_packet(fd, packet, IPC_MAX_PACKET, in->fds, &in->nfds);
	if (n < 0)
		return err_sys(err, ERR_TEMP, "ipc: receive");
	if (n == 0)
		return err_set(err, ERR_GONE, "ipc: closed by peer");
	if (ipc_in_parse(in, packet, (size_t)n, err) == 0)
		return 0;
	ipc_in_close_fds(in);
	return -1;
}

int
ipc_call_blocking(int fd, struct ipc_out *o, const char *signature, int timeout_ms, void *packet,
    struct ipc_in *in, struct err *err)
{
	size_t len;
	ssize_t n;

	*in = (struct ipc_in){ 0 };
	if (o->failed) {
		ipc_out_clear(o);
		return err_set(err, ERR_LIMIT, "ipc: message too long");
	}
	len = frame_make(o, 1, packet);
	n = ipc_send_packet(fd, packet, len, o->fds, o->nfds);
	ipc_out_clear(o);
	if (n < 0)
		return err_sys(err, ERR_TEMP, "ipc: send");
	if (ipc_recv_blocking(fd, timeout_ms, packet, in, err) < 0)
		return -1;
	if (ipc_in_check(in, signature, err) < 0) {
		ipc_in_close_fds(in);
		return -1;
	}
	if (in->type != IPC_REPLY) {
		ipc_in_close_fds(in);
		return err_set(err, ERR_SYNTAX, "ipc: not an answer");
	}
	return 0;
}

int
ipc_connect_path(const char *path, struct err *err)
{
	char *dir = x_strdup(path), *base = x_strdup(path);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int dirfd = -1, fd = -1, n;

	/* sun_path holds 108 bytes; a directory of any depth is reached through its descriptor */
	dirfd = open(dirname(dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0) {
		err_sys(err, ERR_TEMP, "open %s", dir);
		goto out;
	}
	n = snprintf(
	    sun.sun_path, sizeof sun.sun_path, "/proc/self/fd/%d/%s", dirfd, basename(base));
	if (n < 0 || (size_t)n >= sizeof sun.sun_path) {
		err_set(err, ERR_LIMIT, "socket name too long: %s", path);
		goto out;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err_sys(err, ERR_TEMP, "socket");
		goto out;
	}
	if (connect(fd, (struct sockaddr *)&sun, sizeof sun) < 0) {
		err_sys(err, ERR_TEMP, "connect %s", path);
		fd_close(&fd);
	}
out:
	fd_close(&dirfd);
	free(dir);
	free(base);
	return fd;
}
