#include "delivery/letter.h"
#include "common/base/fd.h"
#include "common/mime/message.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADERS_MAX = 64 << 20, DELIVERED_TO_MAX = 512, PIECE = 64 << 10 };

/* A large body is a file of the queue that only qmgr could write to, anything smaller a sealed memfd. */
static int
check_body(int fd, uint64_t size, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "fstat of the body");
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < size)
		return err_set(err, ERR_PERM, "body of wrong type or size");
	return 0;
}

int
letter_init(struct letter *l, int headers_fd, int body_fd, uint64_t body_size, uint64_t body_off,
    struct err *err)
{
	uint64_t size;

	*l = (struct letter){ .headers_fd = headers_fd,
		.body_fd = body_fd,
		.body_size = body_size,
		.body_off = body_off };
	buf_init(&l->headers, HEADERS_MAX);
	map_init(&l->delivered_to);
	if (memfd_check(headers_fd, HEADERS_MAX, &size, err) < 0 ||
	    check_body(body_fd, body_size, err) < 0) {
		letter_clear(l);
		return -1;
	}
	if (body_off > body_size) {
		letter_clear(l);
		return err_set(err, ERR_PERM, "body offset beyond its size");
	}
	return 0;
}

void
letter_clear(struct letter *l)
{
	fd_close(&l->headers_fd);
	fd_close(&l->body_fd);
	buf_clear(&l->headers);
	map_clear(&l->delivered_to);
}

static void
note_delivered_to(struct letter *l, struct view value)
{
	char key[DELIVERED_TO_MAX];

	value = view_trim(value);
	if (value.len == 0 || value.len >= sizeof key)
		return;
	for (size_t i = 0; i < value.len; i++)
		key[i] = (char)ascii_lower((unsigned char)value.p[i]);
	map_put(&l->delivered_to, view_make(key, value.len), l);
}

/* RFC 5321 4.4: the Return-Path of the last delivery is ours; one that came along is dropped, as Postfix does
 * (message_drop_headers). */
static int
copy_headers(struct letter *l, struct view raw)
{
	const char *from = raw.p;
	struct header_field f;
	struct view rest = raw;

	while (header_next(&rest, &f)) {
		if (view_case_eq_str(f.name, "Delivered-To"))
			note_delivered_to(l, f.value);
		if (!view_case_eq_str(f.name, "Return-Path"))
			continue;
		if (buf_append(&l->headers, from, (size_t)(f.raw.p - from)) < 0)
			return -1;
		from = f.raw.p + f.raw.len;
	}
	return buf_append(&l->headers, from, (size_t)(raw.p + raw.len - from));
}

int
letter_load(struct letter *l, struct err *err)
{
	struct buf raw;
	uint64_t size;
	int r = -1;

	if (l->is_loaded)
		return 0;
	if (memfd_check(l->headers_fd, HEADERS_MAX, &size, err) < 0)
		return -1;
	buf_init(&raw, HEADERS_MAX);
	if (buf_reserve(&raw, size) == NULL)
		err_set(err, ERR_TEMP, "no memory for the headers");
	else if (fd_pread_all(l->headers_fd, raw.p, size, 0, err) == 0) {
		raw.len = size;
		r = copy_headers(l, buf_view(&raw));
		if (r < 0)
			err_set(err, ERR_TEMP, "no memory for the headers");
	}
	buf_clear(&raw);
	l->is_loaded = r == 0;
	return r;
}

bool
letter_was_delivered_to(const struct letter *l, const char *address)
{
	char key[DELIVERED_TO_MAX];

	snprintf(key, sizeof key, "%s", address);
	ascii_lower_str(key);
	return map_get(&l->delivered_to, view_of(key)) != NULL;
}

/* --- writing ------------------------------------------------------------------------------------------ */

struct writer {
	int fd;
	int error;   /* errno of the first failure, 0 */
	bool has_cr; /* a CR that may be the first half of a line end */
	char last;   /* last byte put out */
	struct letter_size size;
	size_t len;
	char out[PIECE];
};

static void
flush(struct writer *w)
{
	size_t done = 0;

	while (done < w->len && w->error == 0) {
		ssize_t n = write(w->fd, w->out + done, w->len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			w->error = errno;
	}
	w->len = 0;
}

static void
put(struct writer *w, const char *p, size_t len)
{
	const char *end = p + len;

	for (const char *lf = p; len > 0 && (lf = memchr(lf, '\n', (size_t)(end - lf))) != NULL;
	     lf++)
		w->size.crlf += (lf == p ? w->last : lf[-1]) != '\r';
	w->size.disk += len;
	w->size.crlf += len;
	while (len > 0 && w->error == 0) {
		size_t n = len < PIECE - w->len ? len : PIECE - w->len;

		memcpy(w->out + w->len, p, n);
		w->len += n;
		w->last = p[n - 1];
		p += n;
		len -= n;
		if (w->len == PIECE)
			flush(w);
	}
}

/* CRLF becomes LF; other CRs stay.  The pieces may be cut anywhere. */
static void
put_converted(struct writer *w, const char *p, size_t len)
{
	const char *end = p + len;

	if (len > 0 && w->has_cr) {
		if (*p != '\n')
			put(w, "\r", 1);
		w->has_cr = false;
	}
	while (p < end && w->error == 0) {
		const char *cr = memchr(p, '\r', (size_t)(end - p));

		put(w, p, (size_t)((cr == NULL ? end : cr) - p));
		if (cr == NULL)
			break;
		p = cr + 1;
		if (p == end)
			w->has_cr = true;
		else if (*p != '\n')
			put(w, "\r", 1);
	}
}

__attribute__((format(printf, 2, 3))) static void
put_line(struct writer *w, const char *fmt, ...)
{
	struct buf line;
	va_list ap;

	buf_init(&line, 4 * PIECE);
	va_start(ap, fmt);
	if (buf_vprintf(&line, fmt, ap) < 0)
		w->error = ENOMEM;
	va_end(ap);
	for (size_t i = 0; i < line.len; i++) /* no address may start a header of its own */
		if (iscntrl((unsigned char)line.p[i]))
			line.p[i] = '?';
	put(w, line.p, line.len);
	put(w, "\n", 1);
	buf_clear(&line);
}

static void
put_body(struct writer *w, const struct letter *l)
{
	uint64_t off = l->body_off;
	char piece[PIECE];

	while (off < l->body_size && w->error == 0) {
		uint64_t left = l->body_size - off;
		ssize_t n =
		    pread(l->body_fd, piece, left < sizeof piece ? left : sizeof piece, (off_t)off);

		if (n > 0)
			put_converted(w, piece, (size_t)n);
		else if (n == 0)
			w->error = ENODATA;
		else if (errno != EINTR)
			w->error = errno;
		off += n > 0 ? (uint64_t)n : 0;
	}
}

int
letter_write(struct letter *l, const struct letter_envelope *e, int fd, struct letter_size *size)
{
	struct writer w = { .fd = fd };

	put_line(&w, "Return-Path: <%s>", e->sender);
	if (strcmp(e->original, "") != 0 && strcmp(e->original, e->address) != 0)
		put_line(&w, "X-Original-To: %s", e->original);
	put_line(&w, "Delivered-To: %s", e->address);
	put_converted(&w, l->headers.p, l->headers.len);
	put_body(&w, l);
	if (w.has_cr)
		put(&w, "\r", 1);
	flush(&w);
	*size = w.size;
	errno = w.error;
	return w.error == 0 ? 0 : -1;
}
