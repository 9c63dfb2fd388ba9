/* From the ticket to the last byte: hand the client over to its session process, then carry bytes. */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/login.h"
#include "common/ipc/msg/master.h"
#include "common/log/log.h"
#include "common/login/login_client.h"
#include "common/net/tls.h"

#include <stdio.h>
#include <sys/socket.h>

enum {
	HANDOVER_TIMEOUT_MS = 30 * 1000,
	HALF_CLOSED_MS =
	    60 *
	    1000, /* for the session to answer the last commands of a client that ended its side */
	CLIENT_BACKLOG =
	    64 *
	    1024, /* beyond it the session is not read; the rest of LOGIN_CLIENT_OUTPUT is for its end */
};

/* ---- the shovel ---- */

/* Moves what fits below cap; when something stays, `to` tells when it has room again. */
static void
pump(struct stream *from, struct stream *to, size_t cap)
{
	struct view in = stream_input(from);
	size_t pending = stream_output_pending(to), room = pending < cap ? cap - pending : 0;
	size_t n = in.len < room ? in.len : room;

	if (n > 0 && stream_write(to, in.p, n) == 0)
		stream_consume(from, n);
	if (n < in.len)
		stream_want_drained(to);
}

/* A client that ended its side still gets the answers to what it has sent: the session sees the end when it
 * has all of that. */
static void
pass_half_close(struct login_client *c)
{
	if (stream_input(c->stream).len > 0 || stream_output_pending(c->session) > 0)
		stream_want_drained(c->session);
	else
		(void)shutdown(stream_fd(c->session), SHUT_WR);
}

void
login_proxy_input(struct login_client *c)
{
	pump(c->stream, c->session, LOGIN_SESSION_BUFFER);
}

void
login_proxy_drained(struct login_client *c)
{
	if (c->phase == LOGIN_PHASE_PROXY)
		pump(c->session, c->stream, CLIENT_BACKLOG);
}

/* The session is over, and has said so in the log: the client gets its last bytes. */
static void
session_over(struct login_client *c)
{
	struct view rest = stream_input(c->session);

	if (rest.len > 0)
		(void)stream_write(c->stream, rest.p, rest.len);
	stream_finish(c->session,
	    LOGIN_FINISH_MS); /* it may not have all of a broken client's last commands */
	c->session = NULL;
	stream_finish(c->stream, LOGIN_FINISH_MS);
	c->stream = NULL;
	login_client_free(c);
}

static void
on_session_input(void *arg, struct stream *s)
{
	struct login_client *c = arg;

	pump(s, c->stream, CLIENT_BACKLOG);
}

static void
on_session_drained(void *arg, struct stream *s)
{
	struct login_client *c = arg;

	pump(c->stream, s, LOGIN_SESSION_BUFFER);
	if (c->is_half_closed)
		pass_half_close(c);
}

static void
on_session_close(void *arg, struct stream *s, const struct err *why)
{
	(void)s;
	(void)why;
	session_over(arg);
}

static const struct stream_ops session_ops = { on_session_input, on_session_drained, NULL,
	on_session_close };

void
login_proxy_client_closed(struct login_client *c, const struct err *why)
{
	bool can_answer = why->kind == ERR_GONE && why->sys == 0;

	c->is_half_closed = true;
	pump(c->stream, c->session, LOGIN_SESSION_BUFFER);
	if (can_answer) {
		stream_set_deadline(c->session, HALF_CLOSED_MS);
		pass_half_close(c);
		return;
	}
	session_over(c);
}

/* ---- the control socket ---- */

static void
on_control_close(void *arg, struct ipc_conn *conn, const struct err *why)
{
	struct login_client *c = arg;

	(void)conn;
	(void)why;
	c->control = NULL;
}

static void
send_hello(struct login_client *c)
{
	char tls[160] = "";
	struct ipc_out o;

	if (c->is_tls_up && stream_ssl(c->stream) != NULL)
		tls_describe(stream_ssl(c->stream), tls, sizeof tls);
	ipc_out_init(&o, LOGIN_HELLO);
	ipc_put_str(&o, c->front->protocol->tag(c));
	ipc_put_str(&o, c->rip);
	ipc_put_str(&o, c->lip);
	ipc_put_str(&o, c->session_id);
	ipc_put_u32(&o, c->rport);
	ipc_put_u32(&o, c->lport);
	ipc_put_u32(&o, c->is_tls_up ? LOGIN_HAS_TLS : 0);
	ipc_put_str(&o, tls);
	(void)ipc_conn_send(c->control, &o);
}

/* ---- hand-over ---- */

static void
handover_failed(struct login_client *c, const char *why)
{
	log_error("hand-over failed: %s: user=<%s>, session=<%s>", why, c->user, c->session_id);
	ipc_conn_close(c->control);
	c->control = NULL;
	fd_close(&c->session_fd);
	login_auth_fail(c, LOGIN_UNAVAILABLE);
}

static void
proxy_start(struct login_client *c)
{
	struct stream_limits limits = { LOGIN_SESSION_BUFFER, LOGIN_SESSION_BUFFER };

	c->session = stream_new(c->front->setup.loop, c->session_fd, &limits, &session_ops, c);
	c->session_fd = -1;
	c->phase = LOGIN_PHASE_PROXY;
	c->attempts = 0;
	loop_timer_stop(&c->timer);
	login_front_moved(c->front, c);
	login_proxy_input(c); /* what the client has sent behind its login */
}

static void
on_handed_over(void *arg, struct ipc_in *in)
{
	struct login_client *c = arg;
	uint32_t status = in == NULL ? ERR_TEMP : ipc_get_u32(in);
	const char *text = in == NULL ? "master does not answer" : ipc_get_str(in);

	c->call = NULL;
	mem_wipe(c->ticket, sizeof c->ticket);
	if (status == 0) {
		login_log_login(c, text);
		proxy_start(c);
		return;
	}
	handover_failed(c, lqs(text));
	login_client_run(c);
}

/* Both ends of both sockets do not block: their flags are shared with whoever holds them later. */
static int
make_pairs(int control[2], int bytes[2], struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control) < 0)
		return err_sys(err, ERR_TEMP, "socketpair");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bytes) < 0) {
		err_sys(err, ERR_TEMP, "socketpair");
		fd_close(&control[0]);
		fd_close(&control[1]);
		return -1;
	}
	return 0;
}

void
login_handover(struct login_client *c)
{
	struct ipc_conn_ops ops = { NULL, on_control_close };
	int control[2] = { -1, -1 }, bytes[2] = { -1, -1 };
	struct ipc_out o;
	struct err err;

	c->phase = LOGIN_PHASE_HANDOVER;
	if (make_pairs(control, bytes, &err) < 0) {
		handover_failed(c, err.text);
		return;
	}
	c->control = ipc_conn_new(c->front->setup.loop, control[0], &ops, c);
	c->session_fd = bytes[0];
	send_hello(c);
	ipc_out_init(&o, MASTER_HANDOVER);
	ipc_put_str(&o, c->front->protocol->service);
	ipc_put_bytes(&o, c->ticket, TICKET_BYTES);
	ipc_put_u32(&o, c->id);
	ipc_put_fd(&o, control[1]);
	ipc_put_fd(&o, bytes[1]);
	c->call =
	    ipc_conn_call(c->front->setup.master, &o, "us", HANDOVER_TIMEOUT_MS, on_handed_over, c);
	fd_close(&control[1]);
	fd_close(&bytes[1]);
}
