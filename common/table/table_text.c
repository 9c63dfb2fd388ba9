#include "common/table/table.h"
#include "common/table/table_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/log/log.h"

void
table_fold(char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (char)ascii_lower((unsigned char)p[i]);
}

static bool
is_blank(int c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

struct view
table_text_trim(struct view v)
{
	while (v.len > 0 && is_blank((unsigned char)v.p[0]))
		v.p++, v.len--;
	while (v.len > 0 && is_blank((unsigned char)v.p[v.len - 1]))
		v.len--;
	return v;
}

struct view
table_drop_nul(struct view v)
{
	if (v.len > 0 && v.p[v.len - 1] == '\0')
		v.len--;
	return v;
}

/* The next physical line that is neither empty nor a comment, and its number. */
static bool
line_next(struct view *rest, int *line, struct view *out)
{
	while (rest->len > 0) {
		struct view v, trimmed;

		view_cut(*rest, '\n', &v, rest);
		++*line;
		trimmed = table_text_trim(v);
		if (trimmed.len == 0 || trimmed.p[0] == '#')
			continue;
		*out = v;
		return true;
	}
	return false;
}

/* A line that starts with white space goes on from the one before it (postmap(1)); comments and
 * empty lines between the two do not end it. */
int
table_text_line(struct view *rest, int *line, int *first, struct buf *out)
{
	struct view v;

	if (!line_next(rest, line, &v))
		return 1;
	*first = *line;
	for (;;) {
		struct view ahead = *rest;
		int at = *line;

		buf_append_view(out, v);
		if (!line_next(&ahead, &at, &v) || !is_blank((unsigned char)v.p[0]))
			return 0;
		*rest = ahead;
		*line = at;
	}
}

/* End of the key: the first white space outside double quotes. */
static size_t
key_length(struct view v)
{
	bool quoted = false;
	size_t i;

	for (i = 0; i < v.len; i++) {
		if (v.p[i] == '\\' && i + 1 < v.len)
			i++;
		else if (v.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && is_blank((unsigned char)v.p[i]))
			break;
	}
	return i < v.len ? i : v.len;
}

int
table_text_next(struct view *rest, int *line, struct buf *key, struct buf *value, struct err *err)
{
	struct buf text;
	struct view v, k;
	int first = 0, r;

	buf_reset(key);
	buf_reset(value);
	buf_init(&text, key->max + value->max);
	r = table_text_line(rest, line, &first, &text);
	if (r == 1)
		goto out;
	r = -1;
	v = table_text_trim(buf_view(&text));
	k = (struct view){ v.p, key_length(v) };
	v = table_text_trim((struct view){ v.p + k.len, v.len - k.len });
	if (text.failed || buf_append_view(key, k) < 0 || buf_append_view(value, v) < 0)
		err_set(err, ERR_LIMIT, "line %d: record too long", first);
	else if (k.len == 0 || v.len == 0)
		err_set(err, ERR_SYNTAX, "line %d: expected format: key whitespace value", first);
	else if (memchr(k.p, '\0', k.len) != NULL || memchr(v.p, '\0', v.len) != NULL)
		err_set(err, ERR_SYNTAX, "line %d: NUL byte", first);
	else
		r = 0;
out:
	buf_clear(&text);
	return r;
}

int
table_text_record(struct view *rest, int *line, const char *source, struct buf *key,
    struct buf *value, void (*warn)(void *arg, const char *text), void *arg)
{
	for (;;) {
		struct err e = { 0 };
		char text[512];
		int r = table_text_next(rest, line, key, value, &e);

		if (r == 0)
			table_fold(key->p, key->len);
		if (r >= 0)
			return r;
		snprintf(text, sizeof text, "%s, %s; ignoring this record", source, e.text);
		if (warn != NULL)
			warn(arg, text);
	}
}

int
table_fill(const char *source, struct view text,
    int (*put)(void *to, struct view key, struct view value, struct err *err), void *to,
    void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
	struct buf key, value;
	char said[512];
	int line = 0, r = 0;

	buf_init(&key, TABLE_KEY_MAX);
	buf_init(&value, TABLE_VALUE_MAX);
	while (r >= 0 && table_text_record(&text, &line, source, &key, &value, warn, arg) == 0) {
		if (buf_append_byte(&key, '\0') < 0 || buf_append_byte(&value, '\0') < 0)
			r = err_set(err, ERR_LIMIT, "record too long");
		else
			r = put(to, buf_view(&key), buf_view(&value), err);
		snprintf(said, sizeof said, "%s, line %d: duplicate entry: \"%s\"", source, line,
		    r == 1 ? key.p : "");
		if (r == 1 && warn != NULL)
			warn(arg, said);
		if (r < 0)
			err_prefix(err, "%s, line %d", source, line);
	}
	buf_clear(&key);
	buf_clear(&value);
	return r < 0 ? -1 : 0;
}

int
table_get_stored(int (*get)(void *state, struct view key, struct buf *value, struct err *err),
    void *state, struct view key, struct buf *value, struct err *err)
{
	char with_nul[TABLE_KEY_MAX + 1];
	int r;

	memcpy(with_nul, key.p, key.len);
	with_nul[key.len] = '\0';
	r = get(state, view_make(with_nul, key.len + 1), value, err);
	return r == 1 ? get(state, key, value, err) : r;
}

/* The working directory is the file's for that moment.  The user database needs the old one back (user_db.h): without it
 * there is no going on. */
int
table_in_directory(const struct table_file *file, int (*fn)(void *arg, const char *name), void *arg,
    struct err *err)
{
	int back, r;

	if (file->dirfd == AT_FDCWD)
		return fn(arg, file->name);
	back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (back < 0 || fchdir(file->dirfd) < 0)
		r = err_sys(err, ERR_TEMP, "directory of %s", file->path);
	else
		r = fn(arg, file->name);
	if (back >= 0 && fchdir(back) < 0)
		log_fatal("the working directory is lost: %s", strerrordesc_np(errno));
	fd_close(&back);
	return r;
}

int
table_read_file(
    const struct table_file *file, struct buf *out, struct stat *stat_out, struct err *err)
{
	const char *path = file->path;
	int fd = openat(file->dirfd, file->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = -1;
	struct stat st;

	if (fd < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s", path);
	if (fstat(fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "fstat %s", path);
	} else if (!S_ISREG(st.st_mode)) {
		err_set(err, ERR_PERM, "%s: not a regular file", path);
	} else if (st.st_size > (off_t)out->max) {
		err_set(err, ERR_LIMIT, "%s: file too large", path);
	} else if (st.st_size == 0) {
		r = 0;
	} else {
		char *to = buf_reserve(out, (size_t)st.st_size);

		if (to == NULL)
			err_set(err, ERR_TEMP, "%s: no memory", path);
		else
			r = fd_pread_all(fd, to, (size_t)st.st_size, 0, err);
		if (r == 0)
			out->len += (size_t)st.st_size;
	}
	if (r == 0 && stat_out != NULL)
		*stat_out = st;
	fd_close(&fd);
	return r;
}
