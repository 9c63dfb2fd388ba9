#include "delivery/box_quota.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20 };
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
parse_limits(struct view line, struct box_quota *q)
{
	struct view item;

	while (view_token(&line, ", ", &item)) {
		char letter = item.p[item.len - 1];
		int64_t n;

		if (!signed_number(view_make(item.p, item.len - 1), &n) || n < 0)
			return false;
		if (letter == 'S')
			q->limit_bytes = n;
		else if (letter == 'C')
			q->limit_count = n;
	}
	return true;
}

static bool
parse_delta(struct view line, struct box_quota *q)
{
	struct view bytes, count;
	int64_t b, c;

	if (!view_token(&line, " ", &bytes))
		return true; /* an empty line */
	if (!view_token(&line, " ", &count) || !signed_number(bytes, &b) ||
	    !signed_number(count, &c))
		return false;
	return !__builtin_add_overflow(q->used_bytes, b, &q->used_bytes) &&
	       !__builtin_add_overflow(q->used_count, c, &q->used_count);
}

bool
box_quota_parse(struct view text, struct box_quota *q)
{
	struct view line;

	*q = (struct box_quota){ .is_known = true };
	view_cut(text, '\n', &line, &text);
	q->is_known = line.len > 0 && parse_limits(line, q);
	while (q->is_known && text.len > 0) {
		view_cut(text, '\n', &line, &text);
		q->is_known = parse_delta(line, q);
	}
	return q->is_known;
}

/* The file is the user's: it may be a FIFO, a link, or huge (hostile.md 58). */
static int
open_regular(int maildir_fd, int flags)
{
	int fd = open_beneath(maildir_fd, file_name, flags | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		fd_close(&fd);
	return fd;
}

void
box_quota_load(int maildir_fd, struct box_quota *q)
{
	int fd = open_regular(maildir_fd, O_RDONLY);
	struct buf text;

	*q = (struct box_quota){ .is_known = false };
	if (fd < 0)
		return;
	buf_init(&text, FILE_MAX);
	if (fd_read_rest(fd, &text, NULL) == 0)
		box_quota_parse(buf_view(&text), q);
	buf_clear(&text);
	fd_close(&fd);
}

bool
box_quota_has_room(const struct box_quota *q, uint64_t bytes)
{
	if (!q->is_known)
		return true;
	if (q->limit_count > 0 && q->used_count >= q->limit_count)
		return false;
	return q->limit_bytes == 0 || (q->used_bytes <= q->limit_bytes &&
					  bytes <= (uint64_t)(q->limit_bytes - q->used_bytes));
}

int
box_quota_append(int maildir_fd, int64_t bytes, int64_t count, struct err *err)
{
	char line[64];
	int len = snprintf(line, sizeof line, "%lld %lld\n", (long long)bytes, (long long)count);
	int fd = open_regular(maildir_fd, O_WRONLY | O_APPEND), r = 0;

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open maildirsize");
	if (write(fd, line, (size_t)len) != len)
		r = err_sys(err, ERR_TEMP, "write maildirsize");
	fd_close(&fd);
	return r;
}
