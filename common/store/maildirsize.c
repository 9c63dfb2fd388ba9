#include "common/store/maildirsize.h"
#include "common/base/fd.h"
#include "common/store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20 };
#define USED_MAX (INT64_MAX / 2) /* more may be added to it without a look */
static const char file_name[] = "maildirsize";

static bool
signed_number(struct view v, int64_t *out)
{
	bool negative = v.len > 0 && v.p[0] == '-';
	uint64_t n;

	if (negative || (v.len > 0 && v.p[0] == '+'))
		v = view_make(v.p + 1, v.len - 1);
	if (!view_u64(v, INT64_MAX / 4, &n))
		return false;
	*out = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

/* "1000000S,1000C": either may be missing, 0 = none; letters we do not know are skipped. */
static bool
parse_limits(struct view line, struct maildirsize *m)
{
	struct view item;

	while (view_token(&line, ", ", &item)) {
		char letter = item.p[item.len - 1];
		int64_t n;

		if (!signed_number(view_make(item.p, item.len - 1), &n) || n < 0)
			return false;
		if (letter == 'S')
			m->limit_bytes = n;
		else if (letter == 'C')
			m->limit_count = n;
	}
	return true;
}

static bool
parse_delta(struct view line, struct maildirsize *m)
{
	struct view bytes, count;
	int64_t b, c;

	m->lines++;
	if (!view_token(&line, " ", &bytes))
		return true; /* an empty line */
	if (!view_token(&line, " ", &count) || !signed_number(bytes, &b) ||
	    !signed_number(count, &c))
		return false;
	return !__builtin_add_overflow(m->used_bytes, b, &m->used_bytes) &&
	       !__builtin_add_overflow(m->used_count, c, &m->used_count);
}

bool
maildirsize_parse(struct view text, struct maildirsize *m)
{
	struct view line;
	bool ok;

	*m = (struct maildirsize){ 0 };
	view_cut(text, '\n', &line, &text);
	ok = line.len > 0 && parse_limits(line, m);
	while (ok && text.len > 0) {
		view_cut(text, '\n', &line, &text);
		ok = parse_delta(line, m);
	}
	if (!ok || m->used_bytes < 0 || m->used_count < 0 || m->used_bytes > USED_MAX ||
	    m->used_count > USED_MAX)
		*m = (struct maildirsize){ 0 };
	else
		m->is_known = true;
	return m->is_known;
}

void
maildirsize_load(int dir_fd, struct maildirsize *m)
{
	struct file_id id;
	struct buf text;

	*m = (struct maildirsize){ 0 };
	buf_init(&text, FILE_MAX);
	if (text_load(dir_fd, file_name, &text, &id, NULL) == 0 &&
	    maildirsize_parse(buf_view(&text), m)) {
		m->size = id.size;
		m->mtime_s = id.mtime_ns / 1000000000;
	}
	buf_clear(&text);
}

bool
maildirsize_has_room(const struct maildirsize *m, uint64_t bytes)
{
	if (!m->is_known)
		return true;
	if (m->limit_count > 0 && m->used_count >= m->limit_count)
		return false;
	return m->limit_bytes == 0 || (m->used_bytes <= m->limit_bytes &&
					  bytes <= (uint64_t)(m->limit_bytes - m->used_bytes));
}

/* It may be a FIFO, a link, or a device. */
int
maildirsize_append(int dir_fd, int64_t bytes, int64_t count, struct err *err)
{
	char line[64];
	int len = snprintf(line, sizeof line, "%" PRId64 " %" PRId64 "\n", bytes, count), r = 0;
	int fd = open_beneath(dir_fd, file_name, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO
			   ? 1
			   : err_sys(err, ERR_TEMP, "open %s", file_name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = err_set(err, ERR_TEMP, "%s is not a file", file_name);
	else if (write(fd, line, (size_t)len) != len)
		r = err_sys(err, ERR_TEMP, "write %s", file_name);
	fd_close(&fd);
	return r;
}

int
maildirsize_replace(int dir_fd, const struct maildirsize *m, struct err *err)
{
	struct file_id id;
	char text[128];

	snprintf(text, sizeof text, "%" PRId64 "S\n%" PRId64 " %" PRId64 "\n", m->limit_bytes,
	    m->used_bytes, m->used_count);
	return text_replace(dir_fd, file_name, view_of(text), &id, err);
}
