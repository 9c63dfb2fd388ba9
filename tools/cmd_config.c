/* config: what postconf(1) does for Postfix. */
#include "tools/tool.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/postfix.h"
#include "common/config/restrictions.h"
#include "common/table/table.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 16 << 20 };

static int
compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct conf_param *const *)a)->name, (*(const struct conf_param *const *)b)->name);
}

static int
compare_written_names(const void *a, const void *b)
{
	return strcmp(
	    ((const struct conf_written *)a)->name, ((const struct conf_written *)b)->name);
}

static void
print_raw(const struct tool *t, const struct conf_param *p, bool defaults)
{
	const struct conf_setting *s = map_get(&t->conf.raw, view_of(p->name));

	printf("%s = %s\n", p->name, s != NULL && !defaults ? s->value : p->default_value);
}

/* Values as written, names sorted. */
static int
print_all(const struct tool *t, bool defaults)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);
	const struct conf_param **sorted = x_calloc(count, sizeof(struct conf_param *));

	for (size_t i = 0; i < count; i++)
		sorted[i] = &p[i];
	qsort(sorted, count, sizeof(struct conf_param *), compare_names);
	for (size_t i = 0; i < count; i++)
		print_raw(t, sorted[i], defaults);
	free(sorted);
	return EX_OK;
}

/* All of main.cf, the admin's own names and what only Postfix knows too. */
static int
print_written(const struct tool *t)
{
	size_t count;
	struct conf_written *list = conf_written(&t->conf, &count);

	qsort(list, count, sizeof *list, compare_written_names);
	for (size_t i = 0; i < count; i++)
		printf("%s = %s\n", list[i].name, list[i].setting->value);
	free(list);
	return EX_OK;
}

/* The words that are allowed, as a cell of a table. */
static void
print_words(const char *words)
{
	if (words == NULL)
		return;
	fputs(" (", stdout);
	for (; *words; words++)
		fputs(*words == '|' ? ", " : (char[]){ *words, '\0' }, stdout);
	putchar(')');
}

static void
print_restrictions(void)
{
#define ROW(name, same_as, text) { #name, #same_as, text },
#define ROW_ARG(name, same_as, argument, subject, hosts, text) { #name, #name, text },
	static const struct {
		const char *name, *same_as, *text;
	} rows[] = { RESTRICTIONS(ROW) RESTRICTIONS_ARG(ROW_ARG) };
#undef ROW
#undef ROW_ARG

	puts("\n# Restrictions\n\nThe elements of smtpd_*_restrictions, evaluated left to right. `warn_if_reject` "
	     "before one lets it log its refusal only.\n\n| name | meaning |\n| --- | --- |");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].name, rows[i].same_as) == 0)
			printf("| %s | %s |\n", rows[i].name, rows[i].text);
		else
			printf("| %s | %s (%s) |\n", rows[i].name, rows[i].text, rows[i].same_as);
}

static void
print_table_types(void)
{
	const char *type, *text;

	puts("\n# Table types\n\nThe elements of parameters of type \"tables\" are TYPE:NAME.\n\n"
	     "| type | meaning |\n| --- | --- |");
	for (size_t i = 0; table_type_get(i, &type, &text); i++)
		printf("| %s | %s |\n", type, text);
}

/* docs/parameters.md */
static int
print_reference(void)
{
	static const char *const types[] = { [CONF_STR] = "text", [CONF_RAW] = "text",
		[CONF_BOOL] = "yes/no",
		[CONF_INT] = "number",
		[CONF_TIME] = "time",
		[CONF_SIZE] = "size",
		[CONF_LIST] = "list",
		[CONF_PATH] = "path",
		[CONF_ENUM] = "word",
		[CONF_TABLES] = "tables",
		[CONF_HOST] = "host name",
		[CONF_WORDS] = "list",
		[CONF_DOMAINS] = "list of domains" };
	size_t count;
	const struct conf_param *p = conf_params(&count);

	puts(
	    "# Parameters\n\nMade from the table in `common/config/param_table.c` by `estafeta config -m`.\n"
	    "Times take s, m, h, d, w, and are in the unit of their default without one; sizes take k, m, g.\n\n"
	    "| name | type | default | read by | meaning |\n| --- | --- | --- | --- | --- |");
	for (size_t i = 0; i < count; i++) {
		printf("| %s | %s", p[i].name, types[p[i].type]);
		print_words(p[i].words);
		printf(" | `%s` | %s | %s |\n", p[i].default_value[0] ? p[i].default_value : " ", p[i].readers,
		    p[i].text);
	}
	print_restrictions();
	print_table_types();
	return EX_OK;
}

static int
find_param(const char *name, struct err *err)
{
	const char *near = conf_nearest(name);

	if (conf_param_find(name) != NULL)
		return 0;
	if (postfix_knows(NULL, name))
		return err_set(
		    err, ERR_SYNTAX, "%s: a parameter of Postfix that does not exist here", name);
	return err_set(err, ERR_SYNTAX, "%s: unknown parameter%s%s%s", name,
	    near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static int
print_named(const struct tool *t, int count, char **names)
{
	int r = EX_OK;

	for (int i = 0; i < count; i++) {
		struct err err;

		if (find_param(names[i], &err) == 0) {
			print_raw(t, conf_param_find(names[i]), false);
			continue;
		}
		tool_complain("%s", err.text);
		r = 1;
	}
	return r;
}

/* Is this logical line's first physical line a setting of name? */
static bool
sets_name(struct view line, const char *name)
{
	struct view n;

	return line.len > 0 && !ascii_is_space(line.p[0]) && line.p[0] != '#' && view_cut(line, '=', &n, NULL) &&
	    view_eq_str(view_trim(n), name);
}

/* The text with every setting of name replaced by one, comments and the rest kept. */
static void
edit_text(struct view text, const char *name, const char *value, struct buf *out)
{
	bool written = false, skipping = false;

	while (text.len > 0) {
		struct view line;
		bool ended = view_cut(text, '\n', &line, &text);

		if (skipping && line.len > 0 && ascii_is_space(line.p[0]) && view_trim(line).len > 0)
			continue;
		skipping = sets_name(line, name);
		if (skipping && written)
			continue;
		if (skipping) {
			buf_printf(out, "%s = %s\n", name, value);
			written = true;
			continue;
		}
		buf_append_view(out, line);
		if (ended || text.len > 0)
			buf_append_byte(out, '\n');
	}
	if (!written)
		buf_printf(out, "%s%s = %s\n", out->len > 0 && out->p[out->len - 1] != '\n' ? "\n" : "", name,
		    value);
}

/* A new file, synced and renamed over the old: never a half-written configuration. */
static int
replace_file(const char *path, struct view text, const struct stat *like, struct err *err)
{
	char *fresh = x_asprintf("%s.new", path);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, like->st_mode & 0777), r = 0;

	if (fd < 0)
		r = err_sys(err, ERR_PERM, "create %s", fresh);
	else if (fchown(fd, like->st_uid, like->st_gid) < 0 || fd_write_all(fd, text.p, text.len, err) < 0 ||
	    fsync(fd) < 0 || rename(fresh, path) < 0) {
		r = err_sys(err, ERR_TEMP, "write %s", fresh);
		unlink(fresh);
	}
	fd_close(&fd);
	*strrchr(fresh, '/') = '\0';
	if (r == 0 && ((fd = open(fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fsync(fd) < 0))
		r = err_sys(err, ERR_TEMP, "fsync %s", fresh);
	fd_close(&fd);
	free(fresh);
	return r;
}

/* NAME=VALUE in two halves, owned by the caller when 0 is returned. */
static int
split(const char *setting, char **name, char **value, struct err *err)
{
	struct view n, v;

	if (!view_cut(view_of(setting), '=', &n, &v))
		return err_set(err, ERR_SYNTAX, "%s: NAME=VALUE expected", setting);
	n = view_trim(n);
	v = view_trim(v);
	if (memchr(v.p, '\n', v.len) != NULL)
		return err_set(err, ERR_SYNTAX, "%.*s: a value is one line", VIEW_ARG(n));
	*name = x_strndup(n.p, n.len);
	*value = x_strndup(v.p, v.len);
	return 0;
}

/* All of them are looked at before one is written; a value may mention another of them. */
static int
check_edits(struct tool *t, int count, char **settings, struct err *err)
{
	char *name, *value;
	int r = 0;

	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < count && r == 0; i++) {
			if (split(settings[i], &name, &value, err) < 0)
				return -1;
			if (pass > 0)
				r = conf_check_one(&t->conf, name, err);
			else if ((r = find_param(name, err)) == 0)
				r = conf_set(&t->conf, name, value, "main.cf", 1, err);
			free(name);
			free(value);
		}
	return r;
}

static int
edit_file(struct tool *t, int count, char **settings, struct err *err)
{
	char *path = x_asprintf("%s/main.cf", t->config_directory), *name, *value;
	struct buf text, edited;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;

	buf_init(&text, FILE_MAX_BYTES);
	if (fd < 0 || fstat(fd, &st) < 0)
		r = err_sys(err, ERR_PERM, "open %s", path);
	else
		r = fd_read_rest(fd, &text, err);
	for (int i = 0; i < count && r == 0 && (r = split(settings[i], &name, &value, err)) == 0;
	     i++) {
		buf_init(&edited, FILE_MAX_BYTES);
		edit_text(buf_view(&text), name, value, &edited);
		buf_clear(&text);
		text = edited;
		free(name);
		free(value);
	}
	if (r == 0)
		r = text.failed ? err_set(err, ERR_LIMIT, "file too large")
				: replace_file(path, buf_view(&text), &st, err);
	fd_close(&fd);
	buf_clear(&text);
	free(path);
	return r;
}

static int
edit(struct tool *t, int count, char **settings)
{
	int status = EX_OK;
	struct err err;

	if (check_edits(t, count, settings, &err) < 0)
		status = EX_DATAERR;
	else if (edit_file(t, count, settings, &err) < 0)
		status = EX_CANTCREAT;
	if (status != EX_OK)
		tool_complain("config: %s", err.text);
	return status;
}

int
tool_cmd_config(struct tool *t, int argc, char **argv)
{
	if (argc == 1)
		return print_all(t, false);
	if (strcmp(argv[1], "-n") == 0)
		return argc == 2 ? print_written(t) : tool_usage(t);
	if (strcmp(argv[1], "-d") == 0)
		return argc == 2 ? print_all(t, true) : tool_usage(t);
	if (strcmp(argv[1], "-m") == 0)
		return argc == 2 ? print_reference() : tool_usage(t);
	if (strcmp(argv[1], "-e") == 0)
		return argc > 2 ? edit(t, argc - 2, argv + 2) : tool_usage(t);
	return argv[1][0] == '-' ? tool_usage(t) : print_named(t, argc - 1, argv + 1);
}
