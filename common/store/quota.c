/* maildirsize (Maildir++): the account's use, as a first line of limits and lines "bytes count" to be added up.
 * It is shared with delivery and other programs: every change is one appended line. */
#include "common/store/store_internal.h"
#include "common/base/fd.h"
#include "common/log/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define QUOTA_FILE "maildirsize"
enum { QUOTA_MAX_FILE = 5120, QUOTA_TRUST_S = 15 * 60 };

struct usage {
	int64_t bytes, messages;
	unsigned lines; /* behind the first */
	int64_t mtime_s;
	bool same_limit;
};

static bool
signed_number(struct view v, int64_t *out)
{
	bool negative = v.len > 0 && v.p[0] == '-';
	uint64_t n;

	if (negative || (v.len > 0 && v.p[0] == '+'))
		v = view_make(v.p + 1, v.len - 1);
	if (!view_u64(v, INT64_MAX, &n))
		return false;
	*out = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool
parse_usage(struct view text, uint64_t limit, struct usage *u)
{
	struct view line, bytes, messages;
	char expected[32];

	snprintf(expected, sizeof expected, "%" PRIu64 "S", limit);
	if (!view_cut(text, '\n', &line, &text))
		return false;
	u->same_limit = view_eq_str(view_trim(line), expected);
	while (text.len > 0) {
		int64_t b, m;

		view_cut(text, '\n', &line, &text);
		if (!view_token(&line, " ", &bytes) || !view_token(&line, " ", &messages) ||
		    !signed_number(bytes, &b) || !signed_number(messages, &m))
			return false;
		if (__builtin_add_overflow(u->bytes, b, &u->bytes) ||
		    __builtin_add_overflow(u->messages, m, &u->messages))
			return false;
		u->lines++;
	}
	return u->bytes >= 0 && u->messages >= 0;
}

static int
load_usage(struct store *s, struct usage *u)
{
	struct file_id id;
	struct buf text;
	int r;

	*u = (struct usage){ 0 };
	buf_init(&text, QUOTA_MAX_FILE);
	r = text_load(s->root_fd, QUOTA_FILE, &text, &id, NULL);
	if (r == 0 && !parse_usage(buf_view(&text), s->quota_bytes, u))
		r = 1;
	u->mtime_s = id.mtime_ns / 1000000000;
	buf_clear(&text);
	return r;
}

static void
count_directory(int dir_fd, const char *path, struct usage *u)
{
	int fd = open_beneath(dir_fd, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	uint64_t size;

	if (d == NULL) {
		fd_close(&fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		struct maildir_name n;

		if (e->d_name[0] == '.')
			continue;
		maildir_name_parse(view_of(e->d_name), &n);
		if (!maildir_name_number(n.base, 'S', &size)) {
			if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			    !S_ISREG(st.st_mode))
				continue;
			size = (uint64_t)st.st_size;
		}
		u->bytes += (int64_t)size;
		u->messages++;
	}
	closedir(d);
}

static void
count_folder(struct store *s, const char *disk, struct usage *u)
{
	char path[MAILDIR_NAME_MAX + 8];

	snprintf(path, sizeof path, "%s/new", disk);
	count_directory(s->root_fd, path, u);
	snprintf(path, sizeof path, "%s/cur", disk);
	count_directory(s->root_fd, path, u);
}

static int
recalculate(struct store *s, struct usage *u, struct err *err)
{
	int fd = open_beneath(s->root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct file_id id;
	struct dirent *e;
	char text[96];

	if (d == NULL) {
		err_sys(err, ERR_TEMP, "open %s", s->maildir);
		fd_close(&fd);
		return -1;
	}
	*u = (struct usage){ .same_limit = true };
	count_folder(s, ".", u);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] == '.' && e->d_name[1] != '\0' && e->d_name[1] != '.')
			count_folder(s, e->d_name, u);
	closedir(d);
	snprintf(text, sizeof text, "%" PRIu64 "S\n%" PRId64 " %" PRId64 "\n", s->quota_bytes,
	    u->bytes, u->messages);
	return text_replace(s->root_fd, QUOTA_FILE, view_of(text), &id, err);
}

/* Over the limit by a sum of many lines, or by an old one: counted anew before anybody is refused (Maildir++). */
int
quota_check(struct store *s, uint64_t bytes, uint32_t messages, struct err *err)
{
	struct usage u;

	(void)messages; /* only bytes are limited */
	if (s->quota_bytes == 0)
		return 0;
	if (load_usage(s, &u) != 0 || !u.same_limit) {
		if (recalculate(s, &u, err) < 0)
			return -1;
	}
	if ((uint64_t)u.bytes + bytes <= s->quota_bytes)
		return 0;
	if ((u.lines > 1 || wall_ns() / 1000000000 - u.mtime_s > QUOTA_TRUST_S) &&
	    recalculate(s, &u, err) < 0)
		return -1;
	if ((uint64_t)u.bytes + bytes <= s->quota_bytes)
		return 0;
	return err_set(err, ERR_LIMIT, "quota exceeded");
}

void
quota_add(struct store *s, int64_t bytes, int64_t messages)
{
	int fd = open_beneath(s->root_fd, QUOTA_FILE, O_WRONLY | O_APPEND | O_NONBLOCK, 0);
	struct err err;
	char line[64];
	int n;

	if (fd < 0) /* no quota kept here */
		return;
	n = snprintf(line, sizeof line, "%" PRId64 " %" PRId64 "\n", bytes, messages);
	if (fd_write_all(fd, line, (size_t)n, &err) < 0)
		log_warn("%s: %s", QUOTA_FILE, err.text);
	fd_close(&fd);
}
