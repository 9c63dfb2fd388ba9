#include "common/net/stream.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/net/addr.h"
#include "common/net/tls.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	READ_CHUNK = 16384, /* one read; as much as a TLS record holds */
	READS_PER_TURN = 4, /* so that one busy peer does not starve the others */
	WRITES_PER_TURN = 16,
	LINGER_MS = 2000,     /* waiting for the peer's end after ours */
	LINGER_MAX = 1 << 20, /* bytes thrown away meanwhile */
	NO_JOB_RETRY_MS = 20, /* all handshake jobs are in use */
};

/* The life of a stream; only stream_set_phase changes it. */
enum phase {
	PHASE_CONNECTING,
	PHASE_OPEN,      /* plain, or TLS up */
	PHASE_HANDSHAKE, /* the clear output goes first, then TLS is set up */
	PHASE_LINGER,    /* stream_finish: everything sent, waiting for the peer's end */
	PHASE_DEAD,      /* on_close was told, or will be */
};

/* Bytes in a buffer whose first part is used up; compacted only when room is needed. */
struct half {
	struct buf buf;
	size_t off;
};

struct stream {
	struct loop *loop;
	int fd;
	struct stream_limits limits;
	struct stream_ops ops;
	void *arg;
	enum phase phase;
	struct loop_watch watch;
	struct loop_timer deadline;
	struct loop_timer kick; /* another turn soon */
	struct half in, out;
	size_t clear_bytes; /* of out: to be sent before the handshake starts */
	SSL *ssl;           /* owned */
	bool is_parked;     /* the handshake waits for keyd, not for the socket */
	bool is_paused;
	bool is_eof;       /* the peer will send no more */
	bool is_finishing; /* the owner has gone */
	bool is_told;      /* on_close was called */
	bool wants_poke;
	bool wants_drained;
	bool read_wants_write; /* TLS: what SSL_read and SSL_write wait for */
	bool write_wants_read;
	size_t lingered;
	struct err why; /* kind != ERR_NONE: on_close is due */
	bool *gone;     /* set to true when the stream is freed inside a callback */
};

static size_t
half_len(const struct half *h)
{
	return h->buf.len - h->off;
}

static char *
half_data(const struct half *h)
{
	return h->buf.p == NULL ? NULL : h->buf.p + h->off;
}

static void
half_consume(struct half *h, size_t len)
{
	if (len > half_len(h))
		bug("stream: consumed %zu of %zu", len, half_len(h));
	if (len > 0)
		mem_wipe(half_data(h), len); /* it may have been a password */
	h->off += len;
	if (h->off == h->buf.len) {
		buf_clear(&h->buf);
		h->off = 0;
	}
}

static void
half_compact(struct half *h)
{
	if (h->off == 0)
		return;
	buf_consume(&h->buf, h->off);
	h->off = 0;
}

static void
half_clear(struct half *h)
{
	buf_wipe(&h->buf);
	h->off = 0;
}

static void
stream_set_phase(struct stream *s, enum phase phase)
{
	s->phase = phase;
}

static bool
is_tls_up(const struct stream *s)
{
	return s->ssl != NULL && s->phase != PHASE_HANDSHAKE;
}

/* Decrypted bytes wait inside OpenSSL, which no event on the socket will announce. */
static bool
has_leftover(const struct stream *s)
{
	return is_tls_up(s) && SSL_pending(s->ssl) > 0;
}

static size_t
input_room(const struct stream *s)
{
	size_t held = half_len(&s->in);

	return held < s->limits.input_max ? s->limits.input_max - held : 0;
}

static bool
wants_input(const struct stream *s)
{
	return s->phase == PHASE_OPEN && !s->is_eof && !s->is_paused && !s->is_finishing &&
	       input_room(s) > 0;
}

static short
watch_for_handshake(const struct stream *s)
{
	if (s->clear_bytes > 0)
		return LOOP_WRITE;
	if (s->is_parked)
		return 0;
	return SSL_want_write(s->ssl) ? LOOP_WRITE : LOOP_READ;
}

static void
stream_set_watch(struct stream *s)
{
	short what = 0;

	switch (s->phase) {
	case PHASE_CONNECTING:
		what = LOOP_WRITE;
		break;
	case PHASE_HANDSHAKE:
		what = watch_for_handshake(s);
		break;
	case PHASE_OPEN:
		if (wants_input(s))
			what |= s->read_wants_write ? LOOP_WRITE : LOOP_READ;
		if (half_len(&s->out) > 0)
			what |= s->write_wants_read ? LOOP_READ : LOOP_WRITE;
		break;
	case PHASE_LINGER:
		what = LOOP_READ;
		break;
	case PHASE_DEAD:
		break;
	}
	loop_watch_set(&s->watch, what);
}

/* The stream is broken: on_close comes from the next turn. */
static void
stream_fail(struct stream *s, const struct err *why)
{
	if (s->phase == PHASE_DEAD)
		return;
	s->why = *why;
	stream_set_phase(s, PHASE_DEAD);
	loop_watch_set(&s->watch, 0);
	loop_timer_soon(&s->kick);
}

static void
stream_fail_eof(struct stream *s, const char *text)
{
	s->is_eof = true;
	err_set(&s->why, ERR_GONE, "%s", text);
}

/* Turns OpenSSL's queue into a text; the queue is empty afterwards. */
static void
tls_fail(struct stream *s, const char *during)
{
	unsigned long code = ERR_get_error();
	const char *reason = ERR_reason_error_string(code);
	struct err why;

	err_set(&why, ERR_SYNTAX, "TLS %s failed: %s", during,
	    reason != NULL ? reason : "protocol error");
	ERR_clear_error();
	stream_fail(s, &why);
}

/* How much came, 0 = nothing now (or the end: is_eof, or phase dead). */
static size_t
read_plain(struct stream *s, char *to, size_t room)
{
	ssize_t n = recv(s->fd, to, room, 0);
	struct err why;

	if (n > 0)
		return (size_t)n;
	if (n == 0) {
		stream_fail_eof(s, "connection closed");
	} else if (errno == ECONNRESET || errno == EPIPE) {
		err_sys(&why, ERR_GONE, "read");
		stream_fail(s, &why);
	} else if (errno != EAGAIN && errno != EINTR) {
		err_sys(&why, ERR_TEMP, "read");
		stream_fail(s, &why);
	}
	return 0;
}

static bool
is_unexpected_eof(void)
{
	unsigned long code = ERR_peek_error();

	return ERR_GET_LIB(code) == ERR_LIB_SSL &&
	       ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static void
tls_read_failed(struct stream *s, int n, int sys)
{
	struct err why;

	switch (SSL_get_error(s->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		return;
	case SSL_ERROR_WANT_WRITE:
		s->read_wants_write = true;
		return;
	case SSL_ERROR_ZERO_RETURN:
		stream_fail_eof(s, "connection closed");
		return;
	case SSL_ERROR_SYSCALL:
		errno = sys;
		if (sys == 0)
			err_set(&why, ERR_GONE, "connection closed");
		else
			err_sys(
			    &why, sys == ECONNRESET || sys == EPIPE ? ERR_GONE : ERR_TEMP, "read");
		stream_fail(s, &why);
		return;
	default:
		if (is_unexpected_eof()) {
			ERR_clear_error();
			stream_fail_eof(s, "connection closed without close_notify");
			return;
		}
		tls_fail(s, "read");
	}
}

static size_t
read_tls(struct stream *s, char *to, size_t room)
{
	int n;

	s->read_wants_write = false;
	ERR_clear_error();
	errno = 0;
	n = SSL_read(s->ssl, to, (int)room);
	if (n > 0)
		return (size_t)n;
	tls_read_failed(s, n, errno);
	return 0;
}

/* Reads what there is, a bounded part of it.  True if something came. */
static bool
stream_read(struct stream *s)
{
	bool has_come = false;

	for (int i = 0; i < READS_PER_TURN; i++) {
		size_t room = input_room(s), n;
		char *to;

		if (!wants_input(s))
			break;
		if (room > READ_CHUNK)
			room = READ_CHUNK;
		half_compact(&s->in);
		to = buf_reserve(&s->in.buf, room);
		if (to == NULL) {
			struct err why;

			err_set(&why, ERR_TEMP, "out of memory");
			stream_fail(s, &why);
			break;
		}
		n = s->ssl != NULL ? read_tls(s, to, room) : read_plain(s, to, room);
		s->in.buf.len += n;
		if (n == 0)
			break;
		has_come = true;
		if (s->ssl == NULL && n < room)
			break; /* the socket is empty: its next bytes make an event */
	}
	if (s->in.buf.len == 0)
		half_clear(&s->in);
	if (wants_input(s) && has_leftover(s))
		loop_timer_soon(&s->kick);
	return has_come;
}

static size_t
write_plain(struct stream *s, const char *p, size_t len)
{
	ssize_t n = send(s->fd, p, len, MSG_NOSIGNAL);
	struct err why;

	if (n >= 0)
		return (size_t)n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	err_sys(&why, errno == ECONNRESET || errno == EPIPE ? ERR_GONE : ERR_TEMP, "write");
	stream_fail(s, &why);
	return 0;
}

static size_t
write_tls(struct stream *s, const char *p, size_t len)
{
	struct err why;
	int n, sys;

	s->write_wants_read = false;
	ERR_clear_error();
	errno = 0;
	n = SSL_write(s->ssl, p, len > READ_CHUNK ? READ_CHUNK : (int)len);
	sys = errno;
	if (n > 0)
		return (size_t)n;
	switch (SSL_get_error(s->ssl, n)) {
	case SSL_ERROR_WANT_WRITE:
		break;
	case SSL_ERROR_WANT_READ:
		s->write_wants_read = true;
		break;
	case SSL_ERROR_SYSCALL:
		errno = sys;
		err_sys(&why, sys == ECONNRESET || sys == EPIPE ? ERR_GONE : ERR_TEMP, "write");
		stream_fail(s, &why);
		break;
	default:
		tls_fail(s, "write");
	}
	return 0;
}

/* Sends what is queued as far as the socket takes it. */
static void
stream_flush(struct stream *s)
{
	bool is_clear = s->phase == PHASE_HANDSHAKE;

	for (int i = 0; i < WRITES_PER_TURN; i++) {
		size_t len = is_clear ? s->clear_bytes : half_len(&s->out), n;

		if (len == 0 || (s->phase != PHASE_OPEN && !is_clear))
			return;
		n = is_tls_up(s) ? write_tls(s, half_data(&s->out), len)
				 : write_plain(s, half_data(&s->out), len);
		if (n == 0 || s->phase == PHASE_DEAD)
			return;
		half_consume(&s->out, n);
		if (is_clear)
			s->clear_bytes -= n;
	}
}

static void
on_wake(void *arg)
{
	struct stream *s = arg;

	loop_timer_soon(&s->kick);
}

static void
handshake_failed(struct stream *s)
{
	long verify = SSL_get_verify_result(s->ssl);
	struct err why;

	if (SSL_get_verify_mode(s->ssl) != SSL_VERIFY_NONE && verify != X509_V_OK) {
		err_set(&why, ERR_SYNTAX, "TLS handshake failed: %s",
		    X509_verify_cert_error_string(verify));
		ERR_clear_error();
		stream_fail(s, &why);
		return;
	}
	tls_fail(s, "handshake");
}

/* One step of the handshake.  True when TLS is up. */
static bool
stream_handshake(struct stream *s)
{
	struct err why;
	int n, sys;

	s->is_parked = false;
	ERR_clear_error();
	errno = 0;
	tls_async_enter(on_wake, s);
	n = SSL_do_handshake(s->ssl);
	sys = errno;
	tls_async_leave();
	if (n == 1) {
		/* nothing signs after the handshake (no renegotiation): no more jobs for each read */
		SSL_clear_mode(s->ssl, SSL_MODE_ASYNC);
		tls_handshake_ended();
		stream_set_phase(s, PHASE_OPEN);
		return true;
	}
	switch (SSL_get_error(s->ssl, n)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		break;
	case SSL_ERROR_WANT_ASYNC:
	case SSL_ERROR_WANT_X509_LOOKUP:
		s->is_parked = true;
		break;
	case SSL_ERROR_WANT_ASYNC_JOB:
		s->is_parked = true;
		loop_timer_start(&s->kick, NO_JOB_RETRY_MS);
		break;
	case SSL_ERROR_SYSCALL:
		errno = sys;
		if (sys == 0)
			err_set(&why, ERR_GONE, "connection closed during TLS handshake");
		else
			err_sys(&why, sys == ECONNRESET || sys == EPIPE ? ERR_GONE : ERR_TEMP,
			    "TLS handshake");
		stream_fail(s, &why);
		break;
	default:
		if (is_unexpected_eof()) {
			ERR_clear_error();
			err_set(&why, ERR_GONE, "connection closed during TLS handshake");
			stream_fail(s, &why);
		} else {
			handshake_failed(s);
		}
	}
	return false;
}

static void
stream_connected(struct stream *s)
{
	int sys = 0;
	socklen_t len = sizeof sys;
	struct err why;

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &sys, &len) < 0)
		sys = errno;
	if (sys == 0) {
		stream_set_phase(s, PHASE_OPEN);
		return;
	}
	errno = sys;
	err_sys(&why, ERR_TEMP, "connect");
	stream_fail(s, &why);
}

/* After stream_finish: everything is sent, so our end is closed, and the peer gets time to read it.
 * Closing with unread input would make the kernel reset the connection and the peer lose our last words. */
static void
stream_shut(struct stream *s)
{
	if (is_tls_up(s)) {
		ERR_clear_error();
		SSL_shutdown(s->ssl);
		ERR_clear_error();
	}
	shutdown(s->fd, SHUT_WR);
	stream_set_phase(s, PHASE_LINGER);
	loop_timer_start(&s->deadline, LINGER_MS);
}

/* True when the stream may go. */
static bool
stream_linger(struct stream *s)
{
	char waste[4096];
	ssize_t n;

	while ((n = recv(s->fd, waste, sizeof waste, 0)) > 0) {
		s->lingered += (size_t)n;
		if (s->lingered > LINGER_MAX)
			return true;
	}
	return n == 0 || (errno != EAGAIN && errno != EINTR);
}

/* One turn of a stream whose owner has gone.  True when it has freed itself. */
static bool
finishing_turn(struct stream *s)
{
	if (s->phase == PHASE_OPEN)
		stream_flush(s);
	if (s->phase == PHASE_OPEN && half_len(&s->out) == 0)
		stream_shut(s);
	if (s->phase == PHASE_DEAD || s->phase == PHASE_CONNECTING ||
	    (s->phase == PHASE_HANDSHAKE && s->clear_bytes == 0) ||
	    (s->phase == PHASE_LINGER && (s->is_eof || stream_linger(s)))) {
		stream_free(s);
		return true;
	}
	return false;
}

/* The first part of a turn: set up TLS, read.  False when a callback freed the stream. */
static bool
turn_in(struct stream *s, bool is_ready, const bool *gone)
{
	bool has_input = s->wants_poke, is_up = false;

	s->wants_poke = false;
	if (s->phase == PHASE_HANDSHAKE && s->clear_bytes > 0)
		stream_flush(s);
	if (s->phase == PHASE_HANDSHAKE && s->clear_bytes == 0 && !s->is_parked)
		is_up = stream_handshake(s);
	if (is_up && !s->is_finishing && s->ops.on_tls != NULL) {
		s->ops.on_tls(s->arg, s);
		if (*gone)
			return false;
	}
	if (wants_input(s) && (is_ready || is_up || has_leftover(s)) && stream_read(s))
		has_input = true;
	if (has_input && half_len(&s->in) > 0 && !s->is_finishing && !s->is_told) {
		s->ops.on_input(s->arg, s);
		if (*gone)
			return false;
	}
	return true;
}

/* The second: write, tell that output is gone, tell the end.  An end of input is told in its place in the
 * sequence: not to an owner that has paused the stream with commands still before it. */
static bool
turn_out(struct stream *s, const bool *gone)
{
	if (s->phase == PHASE_OPEN)
		stream_flush(s);
	if (s->phase == PHASE_OPEN && s->wants_drained && half_len(&s->out) == 0 &&
	    !s->is_finishing) {
		s->wants_drained = false;
		if (s->ops.on_drained != NULL)
			s->ops.on_drained(s->arg, s);
		if (*gone)
			return false;
	}
	if (s->why.kind != ERR_NONE && !s->is_told && !s->is_finishing &&
	    (s->phase == PHASE_DEAD || !s->is_paused)) {
		struct err why = s->why;

		s->is_told = true;
		loop_timer_stop(&s->deadline);
		s->ops.on_close(s->arg, s, &why);
		return !*gone;
	}
	return true;
}

/* Everything that happens to a stream happens in here. */
static void
stream_turn(struct stream *s, bool is_ready)
{
	bool gone = false;

	if (s->gone != NULL)
		bug("stream: a turn within a turn");
	s->gone = &gone;
	loop_timer_stop(&s->kick);
	if (!turn_in(s, is_ready, &gone) || !turn_out(s, &gone))
		return;
	s->gone = NULL;
	if (s->is_finishing && finishing_turn(s))
		return;
	stream_set_watch(s);
}

static void
on_ready(void *arg, short what)
{
	struct stream *s = arg;

	(void)what;
	if (s->phase == PHASE_CONNECTING)
		stream_connected(s);
	stream_turn(s, true);
}

/* A signature is there, or a job may be free again, or the owner did something. */
static void
on_kick(void *arg)
{
	struct stream *s = arg;

	s->is_parked = false;
	stream_turn(s, false);
}

static void
on_deadline(void *arg)
{
	struct stream *s = arg;
	struct err why;

	if (s->is_finishing) {
		stream_free(s);
		return;
	}
	err_set(&why, ERR_TEMP, "timeout");
	why.sys = ETIMEDOUT;
	stream_fail(s, &why);
	stream_turn(s, false);
}

static struct stream *
stream_make(struct loop *l, int fd, enum phase phase, const struct stream_limits *limits,
    const struct stream_ops *ops, void *arg)
{
	struct stream *s = x_calloc(1, sizeof *s);
	int one = 1;

	s->loop = l;
	s->fd = fd;
	s->limits = *limits;
	s->ops = *ops;
	s->arg = arg;
	s->phase = phase;
	buf_init(&s->in.buf, limits->input_max);
	buf_init(&s->out.buf, limits->output_max);
	loop_watch_init(&s->watch, l, fd, on_ready, s);
	loop_timer_init(&s->deadline, l, on_deadline, s);
	loop_timer_init(&s->kick, l, on_kick, s);
	/* output is gathered here; fails on a Unix socket, which has no such delay */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	stream_set_watch(s);
	return s;
}

struct stream *
stream_new(struct loop *l, int fd, const struct stream_limits *limits, const struct stream_ops *ops,
    void *arg)
{
	return stream_make(l, fd, PHASE_OPEN, limits, ops, arg);
}

static int
socket_connect(
    const struct sockaddr_storage *to, const struct sockaddr_storage *local, struct err *err)
{
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char text[ADDR_TEXT];
	int one = 1;

	if (fd < 0) {
		err_sys(err, ERR_TEMP, "socket");
		return -1;
	}
	if (local != NULL) {
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
		if (bind(fd, (const struct sockaddr *)local, addr_len(local)) < 0) {
			err_sys(err, ERR_PERM, "bind %s", addr_text(local, text));
			fd_close(&fd);
			return -1;
		}
	}
	if (connect(fd, (const struct sockaddr *)to, addr_len(to)) < 0 && errno != EINPROGRESS) {
		err_sys(err, ERR_TEMP, "connect to %s", addr_text(to, text));
		fd_close(&fd);
	}
	return fd;
}

struct stream *
stream_connect(struct loop *l, const struct sockaddr_storage *to,
    const struct sockaddr_storage *local, const struct stream_limits *limits,
    const struct stream_ops *ops, void *arg, struct err *err)
{
	int fd = socket_connect(to, local, err);

	return fd < 0 ? NULL : stream_make(l, fd, PHASE_CONNECTING, limits, ops, arg);
}

void
stream_give(struct stream *s, const struct stream_ops *ops, void *arg)
{
	s->ops = *ops;
	s->arg = arg;
	stream_poke(s);
}

void
stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	if (s->gone != NULL)
		*s->gone = true;
	loop_watch_set(&s->watch, 0);
	loop_timer_stop(&s->deadline);
	loop_timer_stop(&s->kick);
	if (s->ssl != NULL) {
		tls_async_abort(s->ssl);
		SSL_free(s->ssl);
	}
	half_clear(&s->in);
	half_clear(&s->out);
	fd_close(&s->fd);
	free(s);
}

bool
stream_finish(struct stream *s, int64_t timeout_ms)
{
	bool is_unsent;

	s->is_finishing = true;
	s->arg = NULL;
	half_clear(&s->in);
	if (s->phase == PHASE_OPEN)
		stream_flush(s);
	is_unsent = s->phase != PHASE_DEAD && half_len(&s->out) > 0;
	loop_timer_start(&s->deadline, timeout_ms);
	if (s->gone == NULL && !finishing_turn(s))
		stream_set_watch(s);
	return is_unsent;
}

struct view
stream_input(struct stream *s)
{
	return (struct view){ half_data(&s->in), half_len(&s->in) };
}

void
stream_consume(struct stream *s, size_t len)
{
	half_consume(&s->in, len);
	if (s->gone == NULL)
		stream_set_watch(s); /* there may be room again */
	if (has_leftover(s))
		loop_timer_soon(&s->kick);
}

void
stream_poke(struct stream *s)
{
	if (half_len(&s->in) == 0)
		return;
	s->wants_poke = true;
	loop_timer_soon(&s->kick);
}

void
stream_pause(struct stream *s, bool paused)
{
	s->is_paused = paused;
	if (!paused && (has_leftover(s) || s->why.kind != ERR_NONE))
		loop_timer_soon(&s->kick);
	if (s->gone == NULL)
		stream_set_watch(s);
}

int
stream_write(struct stream *s, const void *p, size_t len)
{
	struct err why;

	if (s->phase == PHASE_DEAD || s->is_finishing)
		return -1;
	if (len == 0)
		return 0;
	if (len > s->limits.output_max - half_len(&s->out)) {
		err_set(
		    &why, ERR_LIMIT, "output of more than %zu bytes waits", s->limits.output_max);
		stream_fail(s, &why);
		return -1;
	}
	if (len > s->limits.output_max - s->out.buf.len)
		half_compact(&s->out);
	if (buf_append(&s->out.buf, p, len) < 0) {
		err_set(&why, ERR_TEMP, "out of memory");
		stream_fail(s, &why);
		return -1;
	}
	if (s->gone == NULL && s->phase == PHASE_OPEN)
		loop_timer_soon(&s->kick); /* many small writes go out as one */
	return 0;
}

int
stream_printf(struct stream *s, const char *fmt, ...)
{
	struct buf b;
	va_list ap;
	int r;

	buf_init(&b, s->limits.output_max);
	va_start(ap, fmt);
	r = buf_vprintf(&b, fmt, ap);
	va_end(ap);
	if (r == 0) {
		r = stream_write(s, b.p, b.len);
	} else {
		struct err why;

		err_set(&why, ERR_LIMIT, "output of more than %zu bytes", s->limits.output_max);
		stream_fail(s, &why);
	}
	buf_wipe(&b);
	return r;
}

size_t
stream_output_pending(const struct stream *s)
{
	return half_len(&s->out);
}

void
stream_want_drained(struct stream *s)
{
	s->wants_drained = true;
	if (s->phase == PHASE_OPEN)
		loop_timer_soon(&s->kick);
}

void
stream_set_deadline(struct stream *s, int64_t after_ms)
{
	if (after_ms > 0)
		loop_timer_start(&s->deadline, after_ms);
	else
		loop_timer_stop(&s->deadline);
}

/* As client: SNI and the name to verify; an address is verified but never sent as SNI (RFC 6066 3). */
static bool
tls_set_host(SSL *ssl, const char *host)
{
	struct sockaddr_storage addr;

	if (addr_parse(view_of(host), &addr))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

/* Takes ssl, which may be NULL. */
static int
start_tls(struct stream *s, SSL *ssl, struct err *err)
{
	bool is_open = s->ssl == NULL && s->phase == PHASE_OPEN;

	if (!is_open || s->is_told || ssl == NULL || SSL_set_fd(ssl, s->fd) != 1) {
		SSL_free(ssl);
		ERR_clear_error();
		if (s->is_told)
			return err_set(err, ERR_GONE, "connection closed");
		return is_open ? err_set(err, ERR_TEMP, "cannot set up TLS")
			       : err_set(err, ERR_BUG, "stream cannot start TLS now");
	}
	half_clear(&s->in);
	s->wants_poke = false;
	s->ssl = ssl;
	s->clear_bytes = half_len(&s->out);
	stream_set_phase(s, PHASE_HANDSHAKE);
	loop_timer_soon(&s->kick);
	return 0;
}

int
stream_start_tls(struct stream *s, struct tls_context *ctx, const char *host, struct err *err)
{
	SSL *ssl;

	ERR_clear_error();
	ssl = SSL_new(tls_context_ssl(ctx));
	if (ssl != NULL && host != NULL && !tls_set_host(ssl, host)) {
		SSL_free(ssl);
		ssl = NULL;
	}
	if (ssl != NULL && host != NULL)
		SSL_set_connect_state(ssl);
	else if (ssl != NULL)
		SSL_set_accept_state(ssl);
	return start_tls(s, ssl, err);
}

int
stream_start_tls_client(struct stream *s, SSL *ssl, struct err *err)
{
	ERR_clear_error();
	SSL_set_connect_state(ssl);
	return start_tls(s, ssl, err);
}

bool
stream_has_tls(const struct stream *s)
{
	return is_tls_up(s);
}

SSL *
stream_ssl(struct stream *s)
{
	return is_tls_up(s) ? s->ssl : NULL;
}

int
stream_fd(const struct stream *s)
{
	return s->fd;
}
