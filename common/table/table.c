#include "common/table/table.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/log/log.h"
#include "common/table/table_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct table_driver *const drivers[] = {
	&table_hash,
	&table_btree,
	&table_lmdb,
	&table_cdb,
	&table_texthash,
	&table_cidr,
	&table_pcre,
	&table_regexp,
	&table_inline,
	&table_static,
	&table_unionmap,
	&table_pipemap,
	&table_randmap,
	&table_fail,
};

/* What tells one version of a file from the next. */
struct file_mark {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct table {
	const struct table_driver *driver;
	char *name, *path;      /* owned; path is NULL when the type has no file */
	struct table_file file; /* points into path; dirfd is owned */
	void *state;            /* owned by the driver; NULL: not open yet */
	struct file_mark mark;
	struct table **parts; /* owned: what it combines */
	size_t nparts;
};

enum { DEPTH_MAX = 8 }; /* of tables in tables */

struct table_list {
	struct table **tables; /* owned */
	size_t count;
};

bool
table_type_get(size_t i, const char **type, const char **text)
{
	if (i >= sizeof drivers / sizeof drivers[0])
		return false;
	*type = drivers[i]->type;
	*text = drivers[i]->text;
	return true;
}

static void
set_unknown_type(struct view type, struct err *err)
{
	char known[160] = "";
	size_t used = 0;

	for (size_t i = 0; i < sizeof drivers / sizeof drivers[0] && used < sizeof known; i++)
		used += (size_t)snprintf(
		    known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", drivers[i]->type);
	err_set(err, ERR_SYNTAX, "unsupported table type: \"%.*s\"; known are %s", VIEW_ARG(type),
	    known);
}

/* Driver of "type:name", and name. */
static const struct table_driver *
driver_find(const char *spec, const char **name, struct err *err)
{
	struct view type, rest;

	if (!view_cut(view_of(spec), ':', &type, &rest)) {
		err_set(err, ERR_SYNTAX, "table \"%s\": expected type:name", spec);
		return NULL;
	}
	*name = spec + type.len + 1;
	for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
		if (view_eq_str(type, drivers[i]->type))
			return drivers[i];
	set_unknown_type(type, err);
	return NULL;
}

/* Taken before the file is opened: if it is replaced in between, the next refresh sees a
 * difference. */
static int
mark_take(const struct table_file *file, struct file_mark *mark, struct err *err)
{
	struct stat st;

	*mark = (struct file_mark){ 0 };
	if (file->name == NULL)
		return 0;
	if (fstatat(file->dirfd, file->name, &st, 0) < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s", file->path);
	*mark = (struct file_mark){ st.st_dev, st.st_ino, st.st_size, st.st_mtim };
	return 0;
}

static bool
mark_equal(const struct file_mark *a, const struct file_mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

static int table_new(const char *spec, int depth, struct table **out, struct err *err);

static int
parts_new(struct table *t, int depth, struct err *err)
{
	struct view items, item;
	int r = -1;

	if (!table_items_of(t->name, &items) || depth == DEPTH_MAX)
		return err_set(err, ERR_SYNTAX, "%s:%s: expected {type:name, type:name}%s",
		    t->driver->type, t->name, depth == DEPTH_MAX ? ", and not so deep" : "");
	while ((r = table_item_next(&items, &item)) == 0) {
		char *spec = x_strndup(item.p, item.len);

		t->parts = x_realloc(t->parts, t->nparts + 1, sizeof(struct table *));
		r = table_new(spec, depth + 1, &t->parts[t->nparts], err);
		free(spec);
		if (r < 0)
			return -1;
		t->nparts++;
	}
	if (r < 0 || t->nparts == 0)
		return err_set(err, ERR_SYNTAX, "%s:%s: expected {type:name, type:name}",
		    t->driver->type, t->name);
	return 0;
}

/* A table that is not open yet. */
static int
table_new(const char *spec, int depth, struct table **out, struct err *err)
{
	const struct table_driver *driver;
	const char *name;
	struct table *t;
	bool has_file;

	*out = NULL;
	while (strncmp(spec, "proxy:", 6) == 0) /* proxymap(8): authd is ours */
		spec += 6;
	driver = driver_find(spec, &name, err);
	if (driver == NULL)
		return -1;
	if (name[0] == '\0')
		return err_set(err, ERR_SYNTAX, "table \"%s\": no name", spec);
	t = x_calloc(1, sizeof *t);
	t->driver = driver;
	t->name = x_strdup(name);
	has_file = driver->suffix != NULL && !(driver->rules != NULL && name[0] == '{');
	t->path = has_file ? x_asprintf("%s%s", name, driver->suffix) : NULL;
	t->file = (struct table_file){ AT_FDCWD, t->path, t->path };
	if (driver->combine != NULL && parts_new(t, depth, err) < 0) {
		table_close(t);
		return -1;
	}
	*out = t;
	return 0;
}

/* From now on the file is looked for in the directory as it is found now. */
static int
table_hold_directory(struct table *t, struct err *err)
{
	char *copy;
	int dirfd, r = 0;

	for (size_t i = 0; i < t->nparts && r == 0; i++)
		r = table_hold_directory(t->parts[i], err);
	if (t->path == NULL)
		return r;
	copy = x_strdup(t->path);
	dirfd = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (dirfd < 0)
		return err_sys(
		    err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open directory of %s", t->path);
	t->file.dirfd = dirfd;
	if (strrchr(t->path, '/') != NULL)
		t->file.name = strrchr(t->path, '/') + 1;
	return 0;
}

int
table_open(const char *spec, struct table **out, struct err *err)
{
	if (table_new(spec, 0, out, err) < 0)
		return -1;
	if (table_refresh(*out, err) < 0) {
		table_close(*out);
		*out = NULL;
		return -1;
	}
	return 0;
}

void
table_close(struct table *t)
{
	if (t == NULL)
		return;
	if (t->state != NULL)
		t->driver->close(t->state);
	if (t->file.dirfd != AT_FDCWD)
		close(t->file.dirfd);
	for (size_t i = 0; i < t->nparts; i++)
		table_close(t->parts[i]);
	free(t->parts);
	free(t->name);
	free(t->path);
	free(t);
}

/* A map is replaced by another file, and the old one stays whole as long as it is open; but somebody wrote into this one. */
static bool
is_written_over(const struct table *t)
{
	struct file_mark now;

	return t->driver->is_paged && mark_take(&t->file, &now, NULL) == 0 &&
	       now.dev == t->mark.dev && now.ino == t->mark.ino && !mark_equal(&now, &t->mark);
}

static bool
is_pattern(const struct table *t)
{
	for (size_t i = 0; i < t->nparts; i++)
		if (!is_pattern(t->parts[i]))
			return false;
	return t->nparts > 0 || t->driver->rules != NULL;
}

bool
table_is_resident(const struct table *t)
{
	for (size_t i = 0; i < t->nparts; i++)
		if (!table_is_resident(t->parts[i]))
			return false;
	return t->nparts > 0 || t->driver->is_resident;
}

static int
lookup_folded(struct table *t, struct view key, struct buf *value, struct err *err)
{
	char folded[TABLE_KEY_MAX];

	if (key.len > sizeof folded)
		return 1;
	memcpy(folded, key.p, key.len);
	table_fold(folded, key.len);
	return t->driver->lookup(t->state, view_make(folded, key.len), value, err);
}

int
table_lookup(struct table *t, struct view key, struct buf *value, struct err *err)
{
	int r;

	if (key.len == 0 || key.len > TABLE_SUBJECT_MAX)
		return 1;
	if (t->nparts > 0)
		return t->driver->combine(t->parts, t->nparts, key, value, err);
	if (t->state == NULL)
		r = err_set(err, ERR_TEMP, "not open");
	else if (t->driver->rules != NULL)
		r = t->driver->lookup(t->state, key, value, err);
	else
		r = lookup_folded(t, key, value, err);
	if (r == 1 && is_written_over(t)) /* what is not found may only be lost */
		r = err_set(err, ERR_TEMP, "is being written over");
	if (r < 0)
		err_prefix(err, "table %s:%s", t->driver->type, t->name);
	return r;
}

/* The file that NAME.db is built from, looked at where that one is. */
static int
stat_source(const struct table *t, struct stat *st)
{
	char *source = x_strndup(t->file.name, strlen(t->file.name) - strlen(t->driver->suffix));
	int r = fstatat(t->file.dirfd, source, st, 0);

	free(source);
	return r;
}

static void
warn_if_stale(const struct table *t, const struct file_mark *built)
{
	struct stat st;

	if (t->driver->build == NULL || stat_source(t, &st) < 0)
		return;
	if (st.st_mtim.tv_sec > built->mtime.tv_sec ||
	    (st.st_mtim.tv_sec == built->mtime.tv_sec && st.st_mtim.tv_nsec > built->mtime.tv_nsec))
		log_warn("database %s is older than source file %s; run: estafeta map build %s:%s",
		    t->path, t->name, t->driver->type, t->name);
}

static int
tables_refresh(struct table *const *tables, size_t count, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < count; i++)
		if (table_refresh(tables[i], err) < 0)
			r = -1;
	return r;
}

static int
state_open(const struct table *t, void **state, struct err *err)
{
	const struct table_driver *d = t->driver;

	return d->rules != NULL ? rules_open(d->rules, t->name, &t->file, state, err)
				: d->open(t->name, &t->file, state, err);
}

int
table_refresh(struct table *t, struct err *err)
{
	struct file_mark now;
	struct stat st;
	void *state;

	if (t->nparts > 0)
		return tables_refresh(t->parts, t->nparts, err);
	if (mark_take(&t->file, &now, err) < 0) {
		if (err->kind == ERR_GONE && t->driver->build != NULL)
			stat_source(t, &st) == 0
			    ? err_set(err, ERR_GONE, "not built; run: estafeta map build %s:%s",
				  t->driver->type, t->name)
			    : err_set(err, ERR_GONE,
				  "there is no %s; write it, then run: estafeta map build %s:%s",
				  t->name, t->driver->type, t->name);
		return -1;
	}
	if (t->state != NULL && mark_equal(&now, &t->mark))
		return 0;
	if (state_open(t, &state, err) < 0)
		return -1;
	if (t->state != NULL)
		t->driver->close(t->state);
	t->state = state;
	t->mark = now;
	warn_if_stale(t, &now);
	return 0;
}

/* Elements are separated by white space and commas outside braces. */
bool
table_spec_next(struct view *rest, struct view *item)
{
	int depth = 0;
	size_t i;

	while (rest->len > 0 && (rest->p[0] == ',' || rest->p[0] == ' ' || rest->p[0] == '\t' ||
				    rest->p[0] == '\n' || rest->p[0] == '\r'))
		rest->p++, rest->len--;
	for (i = 0; i < rest->len; i++) {
		char c = rest->p[i];

		if (c == '{')
			depth++;
		else if (c == '}')
			depth--;
		else if (depth <= 0 &&
			 (c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r'))
			break;
	}
	*item = (struct view){ rest->p, i };
	rest->p += i, rest->len -= i;
	return i > 0;
}

bool
table_spec_is_known(struct view spec)
{
	char *text = x_strndup(spec.p, spec.len);
	const char *type = text, *name;
	bool is_known;

	while (strncmp(type, "proxy:", 6) == 0)
		type += 6;
	is_known = driver_find(type, &name, NULL) != NULL;
	free(text);
	return is_known;
}

bool
table_spec_is_built(struct view spec)
{
	char *text = x_strndup(spec.p, spec.len);
	const char *name;
	const struct table_driver *driver = driver_find(text, &name, NULL);

	free(text);
	return driver != NULL && driver->build != NULL;
}

int
table_list_new(const char *specs, struct table_list **out, struct err *err)
{
	struct table_list *l = x_calloc(1, sizeof *l);
	struct view rest = view_of(specs), item;
	int r = 0;

	while (r == 0 && table_spec_next(&rest, &item)) {
		char *spec = x_strndup(item.p, item.len);

		l->tables = x_realloc(l->tables, l->count + 1, sizeof *l->tables);
		r = table_new(spec, 0, &l->tables[l->count], err);
		l->count += r == 0;
		free(spec);
	}
	if (r < 0) {
		table_list_close(l);
		l = NULL;
	}
	*out = l;
	return r;
}

int
table_list_prepare(const char *specs, struct table_list **out, struct err *err)
{
	int r = table_list_new(specs, out, err);

	for (size_t i = 0; r == 0 && i < (*out)->count; i++)
		r = table_hold_directory((*out)->tables[i], err);
	if (r < 0) {
		table_list_close(*out);
		*out = NULL;
	}
	return r;
}

int
table_list_open(const char *specs, struct table_list **out, struct err *err)
{
	if (table_list_prepare(specs, out, err) < 0)
		return -1;
	if (table_list_refresh(*out, err) < 0) {
		table_list_close(*out);
		*out = NULL;
		return -1;
	}
	return 0;
}

static void
each_file(
    struct table *const *tables, size_t count, void (*fn)(void *arg, const char *path), void *arg)
{
	for (size_t i = 0; i < count; i++) {
		if (tables[i]->path != NULL)
			fn(arg, tables[i]->path);
		each_file(tables[i]->parts, tables[i]->nparts, fn, arg);
	}
}

int
table_list_files(
    const char *specs, void (*fn)(void *arg, const char *path), void *arg, struct err *err)
{
	struct table_list *l;

	if (table_list_new(specs, &l, err) < 0)
		return -1;
	each_file(l->tables, l->count, fn, arg);
	table_list_close(l);
	return 0;
}

/* --- all values --------------------------------------------------------------------------------- */

struct value_walk {
	void (*fn)(void *arg, const char *where, struct view value);
	void *arg;
	const char *type, *source;
};

static void
on_value(void *arg, int line, struct view value)
{
	struct value_walk *w = arg;
	char *where = x_asprintf("%s map %s, line %d", w->type, w->source, line);

	w->fn(w->arg, where, value);
	free(where);
}

static int
each_text_value(
    const struct table_file *file, enum table_form form, struct value_walk *w, struct err *err)
{
	struct buf text, key, value;
	struct view rest;
	int line = 0, r;

	buf_init(&text, TABLE_TEXT_MAX);
	buf_init(&key, TABLE_KEY_MAX);
	buf_init(&value, TABLE_VALUE_MAX);
	r = table_read_file(file, &text, NULL, err);
	if (form == TABLE_FORM_ALIASES)
		table_aliases_to_map(text.p, text.len, file->path, NULL, NULL);
	rest = buf_view(&text);
	while (r == 0 && table_text_record(&rest, &line, file->path, &key, &value, NULL, NULL) == 0)
		on_value(w, line, buf_view(&value));
	buf_clear(&text);
	buf_clear(&key);
	buf_clear(&value);
	return r < 0 && err->kind == ERR_GONE ? 0 : r;
}

int
table_each_value(const char *spec, enum table_form form,
    void (*fn)(void *arg, const char *where, struct view value), void *arg, struct err *err)
{
	struct table *t;
	struct value_walk w = { .fn = fn, .arg = arg };
	int r = 0;

	if (table_new(spec, 0, &t, err) < 0)
		return -1;
	w.type = t->driver->type;
	w.source = t->path == NULL ? "in braces" : t->name;
	if (t->driver->each != NULL && (r = table_refresh(t, err)) == 0)
		t->driver->each(t->state, on_value, &w);
	else if (t->driver->each == NULL && t->path != NULL)
		/* texthash: has the other form in Postfix, too */
		r = each_text_value(&(struct table_file){ AT_FDCWD, t->name, t->name },
		    t->driver->build != NULL ? form : TABLE_FORM_MAP, &w, err);
	table_close(t);
	return r;
}

void
table_list_close(struct table_list *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < l->count; i++)
		table_close(l->tables[i]);
	free(l->tables);
	free(l);
}

int
table_list_lookup(struct table_list *l, struct lookup_key key, struct buf *value, struct err *err)
{
	for (size_t i = 0; i < l->count; i++) {
		int r = key.is_partial && is_pattern(l->tables[i])
			    ? 1
			    : table_lookup(l->tables[i], key.text, value, err);

		if (r != 1)
			return r; /* a table that cannot answer hides the ones behind it */
	}
	return 1;
}

int
table_list_find(struct table_list *l, const struct lookup_key *keys, size_t count,
    struct buf *value, size_t *which, struct err *err)
{
	int r = 1;

	for (size_t i = 0; i < count && r == 1; i++) {
		*which = i;
		r = table_list_lookup(l, keys[i], value, err);
	}
	return r;
}

int
table_list_refresh(struct table_list *l, struct err *err)
{
	return tables_refresh(l->tables, l->count, err);
}

bool
table_list_is_resident(const struct table_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (!table_is_resident(l->tables[i]))
			return false;
	return true;
}

bool
table_list_is_empty(const struct table_list *l)
{
	return l->count == 0;
}

/* The new file becomes durable under its temporary name, gets its source's readers, then its
 * name.  Who may not give it to the source's group leaves it to his own. */
static int
file_publish(const char *tmp, const char *path, const struct stat *source, struct err *err)
{
	char *copy = x_strdup(path);
	int fd = open(tmp, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), dirfd = -1, r = -1;

	if (fd < 0)
		err_sys(err, ERR_TEMP, "open %s", tmp);
	else if (fchown(fd, (uid_t)-1, source->st_gid) < 0 && errno != EPERM)
		err_sys(err, ERR_TEMP, "fchown %s", tmp);
	else if (fchmod(fd, source->st_mode & 0666) < 0 || fsync(fd) < 0)
		err_sys(err, ERR_TEMP, "fsync %s", tmp);
	else if ((dirfd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		err_sys(err, ERR_TEMP, "open directory of %s", path);
	else if (rename(tmp, path) < 0)
		err_sys(err, ERR_TEMP, "rename %s to %s", tmp, path);
	else if (fsync(dirfd) < 0)
		err_sys(err, ERR_TEMP, "fsync directory of %s", path);
	else
		r = 0;
	fd_close(&fd);
	fd_close(&dirfd);
	free(copy);
	return r;
}

static int
build_from_text(const struct table_driver *driver, const char *name, struct view text,
    const struct stat *source, void (*warn)(void *arg, const char *text), void *arg,
    struct err *err)
{
	char *path = x_asprintf("%s%s", name, driver->suffix);
	char *tmp =
	    x_asprintf("%s.%08x%08x.tmp", path, random_below(UINT32_MAX), random_below(UINT32_MAX));
	int r = driver->build(tmp, name, text, warn, arg, err);

	if (r == 0)
		r = file_publish(tmp, path, source, err);
	if (r < 0 && unlink(tmp) < 0 && errno != ENOENT && warn != NULL)
		warn(arg, "a temporary file could not be removed");
	free(tmp);
	free(path);
	return r;
}

int
table_build(const char *spec, enum table_form form, void (*warn)(void *arg, const char *text),
    void *arg, struct err *err)
{
	const char *name = NULL;
	const struct table_driver *driver = driver_find(spec, &name, err);
	struct table_file source = { AT_FDCWD, name, name };
	struct buf text;
	struct stat st;
	int r = -1;

	if (driver == NULL)
		return -1;
	if (driver->build == NULL)
		return err_set(err, ERR_SYNTAX, "tables of type %s are not built", driver->type);
	buf_init(&text, TABLE_TEXT_MAX);
	if (table_read_file(&source, &text, &st, err) == 0) {
		if (form == TABLE_FORM_ALIASES)
			table_aliases_to_map(text.p, text.len, name, warn, arg);
		/* readable by those who may read the source, as with postmap(1) */
		r = build_from_text(driver, name, buf_view(&text), &st, warn, arg, err);
	}
	buf_clear(&text);
	return r;
}
