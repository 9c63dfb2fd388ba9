#include "qmgr/relay/content.h"
#include "common/base/fd.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADERS_MAX = 1 << 30 };

void
relay_filter_init(struct relay_filter *f, size_t line_max)
{
	*f = (struct relay_filter){ .line_max = line_max == 1 ? 2 : line_max };
}

/* Bytes without CR, LF and NUL. */
static void
filter_text(struct relay_filter *f, const char *p, size_t len, struct buf *out)
{
	if (f->column == 0 && *p == '.' && !f->is_counted)
		buf_append_byte(out, '.');
	while (len > 0) {
		size_t room = f->line_max > 0 ? f->line_max - f->column : len;

		if (room == 0) {
			buf_append(out, "\r\n ", 3);
			f->column = 1;
			continue;
		}
		if (room > len)
			room = len;
		buf_append(out, p, room);
		f->column += room;
		p += room;
		len -= room;
	}
}

static size_t
text_length(const char *p, size_t len)
{
	size_t n = 0;

	while (n < len && p[n] != '\r' && p[n] != '\n' && p[n] != '\0')
		n++;
	return n;
}

int
relay_filter_feed(
    struct relay_filter *f, const char *p, size_t len, struct buf *out, struct err *err)
{
	for (size_t at = 0; at < len;) {
		size_t n;

		if (p[at] == '\n') {
			buf_append(out, "\r\n", 2);
			f->column = 0;
			f->has_cr = false;
			at++;
			continue;
		}
		if (f->has_cr)
			return err_set(err, ERR_SYNTAX, "bare carriage return in the message");
		if (p[at] == '\0')
			return err_set(err, ERR_SYNTAX, "NUL byte in the message");
		if (p[at] == '\r') {
			f->has_cr = true;
			at++;
			continue;
		}
		n = text_length(p + at, len - at);
		filter_text(f, p + at, n, out);
		at += n;
	}
	return out->failed ? err_set(err, ERR_LIMIT, "no room for a piece of the message") : 0;
}

int
relay_filter_end(struct relay_filter *f, struct buf *out, struct err *err)
{
	if (f->has_cr)
		return err_set(err, ERR_SYNTAX, "bare carriage return at the end of the message");
	if (f->column > 0)
		buf_append(out, "\r\n", 2);
	f->column = 0;
	if (!f->is_counted)
		buf_append(out, ".\r\n", 3);
	if (out->failed)
		return err_set(err, ERR_LIMIT, "no room for the end of the message");
	return 0;
}

void
relay_content_init(struct relay_content *c)
{
	*c = (struct relay_content){ .header_fd = -1, .body_fd = -1 };
}

void
relay_content_close(struct relay_content *c)
{
	fd_close(&c->header_fd);
	fd_close(&c->body_fd);
}

uint64_t
relay_content_size(const struct relay_content *c)
{
	return c->header_size + (c->body_size - c->body_offset);
}

int
relay_content_check(struct relay_content *c, struct err *err)
{
	struct stat st;

	if (memfd_check(c->header_fd, HEADERS_MAX, &c->header_size, err) < 0)
		return err_prefix(err, "headers");
	if (fstat(c->body_fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "body");
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_PERM, "body: not a regular file");
	if (c->body_size > (uint64_t)st.st_size || c->body_offset > c->body_size)
		return err_set(err, ERR_PERM, "body: offset or size beyond its end");
	return 0;
}

int64_t
relay_content_read(const struct relay_content *c, uint64_t at, char *p, size_t cap, struct err *err)
{
	bool in_headers = at < c->header_size;
	uint64_t from = in_headers ? at : at - c->header_size + c->body_offset;
	uint64_t end = in_headers ? c->header_size : c->body_size;
	ssize_t n;

	if (cap > end - from)
		cap = (size_t)(end - from);
	if (cap == 0)
		return 0;
	do
		n = pread(in_headers ? c->header_fd : c->body_fd, p, cap, (off_t)from);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, ERR_TEMP, "message content");
	if (n == 0)
		return err_set(err, ERR_TEMP, "message content is cut short");
	return n;
}

bool
relay_bytes_have_8bit(const char *p, size_t len)
{
	uint64_t word;

	for (; len >= sizeof word; p += sizeof word, len -= sizeof word) {
		memcpy(&word, p, sizeof word);
		if (word & 0x8080808080808080u)
			return true;
	}
	for (; len > 0; p++, len--)
		if (*p & 0x80)
			return true;
	return false;
}
