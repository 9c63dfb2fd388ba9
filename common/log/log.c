#include "common/log/log.h"
#include "common/base/buf.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PENDING_MAX = 256 * 1024, FLUSH_MS = 1000 };

/* The one thing in the suite that is a global by nature: every module logs. */
static struct {
	int fd;
	char tag[LOG_TAG_MAX];
	bool has_loop;
	bool wants_debug;
	struct loop_watch watch;
	struct buf pending; /* u16 length and packet, repeated */
	unsigned dropped;   /* lines that found no room */
	void (*on_fatal)(const char *text);
} log_state = { .fd = -1, .pending = { .max = PENDING_MAX } };

static const char *const level_words[] = { "debug: ", "", "warning: ", "error: ", "fatal: ", "panic: " };

static void
pending_put(const char *packet, size_t len)
{
	unsigned char head[2] = { (unsigned char)len, (unsigned char)(len >> 8) };

	if (len + 2 > log_state.pending.max - log_state.pending.len) {
		log_state.dropped++;
		return;
	}
	if (buf_append(&log_state.pending, head, 2) < 0 ||
	    buf_append(&log_state.pending, packet, len) < 0)
		log_state.dropped++;
}

/* true: sent, or can never be sent */
static bool
packet_send(const char *packet, size_t len)
{
	ssize_t n;

	do
		n = send(log_state.fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n >= 0 || (errno != EAGAIN && errno != ENOBUFS);
}

static void
pending_send(void)
{
	struct buf *b = &log_state.pending;
	size_t at = 0;

	while (at + 2 <= b->len) {
		size_t len = (unsigned char)b->p[at] | (size_t)(unsigned char)b->p[at + 1] << 8;

		if (!packet_send(b->p + at + 2, len))
			break;
		at += 2 + len;
	}
	buf_consume(b, at);
	if (b->len == 0 && log_state.dropped > 0) {
		unsigned n = log_state.dropped;

		log_state.dropped = 0;
		log_line(LOG_LEVEL_WARN, "%u log lines dropped: the log process did not keep up", n);
	}
	if (log_state.has_loop)
		loop_watch_set(&log_state.watch, b->len > 0 ? LOOP_WRITE : 0);
}

static void
on_writable(void *arg, short what)
{
	(void)arg;
	(void)what;
	pending_send();
}

void
log_open(struct loop *l, int fd, const char *tag)
{
	log_state.fd = fd;
	snprintf(log_state.tag, sizeof log_state.tag, "%s", tag);
	log_state.has_loop = fd >= 0 && l != NULL;
	if (log_state.has_loop)
		loop_watch_init(&log_state.watch, l, fd, on_writable, NULL);
}

void
log_set_debug(bool on)
{
	log_state.wants_debug = on;
}

void
log_flush(void)
{
	for (int waited = 0; log_state.fd >= 0 && log_state.pending.len > 0 && waited < FLUSH_MS;) {
		struct pollfd pfd = { .fd = log_state.fd, .events = POLLOUT };

		if (poll(&pfd, 1, 50) <= 0)
			waited += 50;
		pending_send();
	}
}

static void
log_emit(const char *tag, enum log_level level, const char *fmt, va_list ap)
{
	char packet[LOG_PACKET_MAX];
	size_t len;
	int n;

	if (level == LOG_LEVEL_DEBUG && !log_state.wants_debug)
		return;
	packet[0] = (char)level;
	n = snprintf(packet + 1, LOG_TAG_MAX, "%s", tag);
	len = 1 + (n < 0 ? 0 : n >= LOG_TAG_MAX ? LOG_TAG_MAX - 1 : (size_t)n) + 1;
	n = vsnprintf(packet + len, LOG_TEXT_MAX, fmt, ap);
	if (n < 0)
		return;
	if (log_state.fd < 0) {
		fprintf(stderr, "%s: %s%s\n", packet + 1, level_words[level], packet + len);
		return;
	}
	len += n >= LOG_TEXT_MAX ? LOG_TEXT_MAX - 1 : (size_t)n;
	if (log_state.pending.len > 0 || !packet_send(packet, len))
		pending_put(packet, len);
	if (log_state.has_loop && log_state.pending.len > 0)
		loop_watch_set(&log_state.watch, LOOP_WRITE);
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_emit(log_state.tag, level, fmt, ap);
	va_end(ap);
}

void
log_as(const char *tag, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_emit(tag, level, fmt, ap);
	va_end(ap);
}

void
log_on_fatal(void (*fn)(const char *text))
{
	log_state.on_fatal = fn;
}

void
log_fatal(const char *fmt, ...)
{
	char text[LOG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_line(LOG_LEVEL_FATAL, "%s", text);
	if (log_state.on_fatal != NULL)
		log_state.on_fatal(text);
	log_flush();
	_exit(1);
}

const char *
log_quote(char *out, size_t size, struct view v)
{
	size_t at = 0;

	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c >= ' ' && c < 0x7f && c != '\\') {
			if (at + 1 >= size)
				break;
			out[at++] = (char)c;
		} else {
			if (at + 4 >= size)
				break;
			snprintf(out + at, 5, "\\%03o", c);
			at += 4;
		}
	}
	out[at] = '\0';
	return out;
}

const char *
lq(struct view v)
{
	enum { SLOTS = 8, SLOT_BYTES = 1024 };
	static _Thread_local char slots[SLOTS][SLOT_BYTES];
	static _Thread_local unsigned next;

	return log_quote(slots[next++ % SLOTS], SLOT_BYTES, v);
}

const char *
lqs(const char *s)
{
	return lq(view_of(s == NULL ? "" : s));
}
