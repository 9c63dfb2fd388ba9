#include "common/table/cert_names.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/conf.h"
#include "common/table/table.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_BYTES_MAX = 64 << 20, NAME_MAX_LEN = 255, FILES_MAX_LEN = 1 << 16 };

struct names {
	int (*fn)(void *arg, const char *name, const char *files, struct err *err);
	void *arg;
};

static int
name_add(const struct names *n, struct view name, struct view files, struct err *err)
{
	char *lower, *list;
	int r;

	name = view_trim(name);
	files = view_trim(files);
	if (name.len == 0 || name.len > NAME_MAX_LEN || files.len == 0)
		return err_set(err, ERR_SYNTAX, "expected NAME FILE ...");
	lower = x_strndup(name.p, name.len);
	list = x_strndup(files.p, files.len);
	for (char *p = lower; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	r = n->fn(n->arg, lower, list, err);
	free(lower);
	free(list);
	return r;
}

static int
names_of_inline(const struct names *n, struct view text, struct err *err)
{
	struct view list, item, name, files;

	if (!conf_next(&text, &list))
		return err_set(err, ERR_SYNTAX, "inline: expected { {NAME = FILE, ...}, ... }");
	while (conf_next(&list, &item))
		if (!view_cut(item, '=', &name, &files) || name_add(n, name, files, err) < 0)
			return err_set(err, ERR_SYNTAX,
			    "inline: expected {NAME = FILE, ...}, not {%.*s}", VIEW_ARG(item));
	return 0;
}

static int
names_of_text(const struct names *n, const char *path, struct view text, struct err *err)
{
	struct buf key, value;
	int line = 0, r;

	buf_init(&key, NAME_MAX_LEN + 1);
	buf_init(&value, FILES_MAX_LEN);
	while ((r = table_text_next(&text, &line, &key, &value, err)) == 0)
		if ((r = name_add(n, buf_view(&key), buf_view(&value), err)) < 0)
			break;
	buf_clear(&key);
	buf_clear(&value);
	return r < 0 ? err_prefix(err, "%s, line %d", path, line) : 0;
}

static int
names_of_file(const struct names *n, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r = -1;
	struct stat st;
	char *text;

	if (fd < 0)
		return err_sys(err, ERR_PERM, "cannot read %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > NAMES_BYTES_MAX) {
		err_set(err, ERR_PERM, "%s: not a regular file, or too large", path);
	} else {
		text = x_malloc((size_t)st.st_size + 1);
		r = fd_pread_all(fd, text, (size_t)st.st_size, 0, err);
		if (r == 0)
			r = names_of_text(n, path, view_make(text, (size_t)st.st_size), err);
		free(text);
	}
	fd_close(&fd);
	return r;
}

static int
names_of_table(const struct names *n, struct view spec, struct err *err)
{
	static const char *const of_text[] = { "texthash", "hash", "btree", "lmdb", "cdb" };
	struct view type, name;

	if (!view_cut(spec, ':', &type, &name))
		return err_set(err, ERR_SYNTAX, "expected TYPE:NAME, not \"%.*s\"", VIEW_ARG(spec));
	if (view_eq(type, view_of("inline")))
		return names_of_inline(n, name, err);
	for (size_t i = 0; i < sizeof of_text / sizeof of_text[0]; i++) {
		char *path;
		int r;

		if (!view_eq(type, view_of(of_text[i])))
			continue;
		path = x_strndup(name.p, name.len);
		r = names_of_file(n, path, err);
		free(path);
		return r;
	}
	return err_set(
	    err, ERR_PERM, "tables of type %.*s cannot hold certificates", VIEW_ARG(type));
}

int
cert_names_read(const char *maps,
    int (*fn)(void *arg, const char *name, const char *files, struct err *err), void *arg,
    struct err *err)
{
	struct names n = { fn, arg };
	struct view rest = view_of(maps), spec;

	while (conf_next(&rest, &spec))
		if (names_of_table(&n, spec, err) < 0)
			return -1;
	return 0;
}
