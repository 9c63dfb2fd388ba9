/* estafeta map build TYPE:FILE | query KEY TYPE:FILE - postmap(1)'s work and exit status. */
#include "tools/tool.h"

#include "common/table/table.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { VALUE_MAX = 1 << 20 };

static void
on_warn(void *arg, const char *text)
{
	(void)arg;
	tool_complain("warning: %s", text);
}

static int
exit_status(const struct err *e)
{
	switch (e->kind) {
	case ERR_SYNTAX:
		return EX_USAGE;
	case ERR_GONE:
		return EX_NOINPUT;
	default:
		return 1;
	}
}

/* Root builds a map as the owner of its source, as postmap(1) does: what an owner of the directory may swap meanwhile
 * reaches no further than the owner.  -1 errno */
static int
become_owner(const char *spec)
{
	const char *file = strchr(spec, ':');
	struct stat st;

	if (geteuid() != 0 || file == NULL || stat(file + 1, &st) < 0 || st.st_uid == 0)
		return 0;
	return setgroups(0, NULL) < 0 || setegid(st.st_gid) < 0 || seteuid(st.st_uid) < 0 ? -1 : 0;
}

static int
map_build(const struct tool *t, const char *spec)
{
	enum table_form form = tool_table_form(&t->conf, spec);
	struct err e;

	if (become_owner(spec) < 0) {
		tool_complain("cannot become the owner of %s: %s", spec, strerrordesc_np(errno));
		return EX_OSERR;
	}
	if (table_build(spec, form, on_warn, NULL, &e) == 0)
		return 0;
	tool_complain("%s", e.text);
	return exit_status(&e);
}

/* 0 found and printed, 1 not found, -1 error reported.  with_key: as postmap -q - prints it. */
static int
print_value(struct table *t, const char *key, bool with_key)
{
	struct buf value;
	struct err e;
	int r;

	buf_init(&value, VALUE_MAX);
	r = table_lookup(t, view_of(key), &value, &e);
	if (r == 0 && with_key)
		printf("%s\t%.*s\n", key, VIEW_ARG(buf_view(&value)));
	else if (r == 0)
		printf("%.*s\n", VIEW_ARG(buf_view(&value)));
	else if (r < 0)
		tool_complain("%s", e.text);
	buf_clear(&value);
	return r;
}

/* Keys from standard input, one a line: 0 when at least one was found. */
static int
query_stdin(struct table *t)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int status = 1;

	while ((n = getline(&line, &cap, stdin)) >= 0) {
		int r;

		while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = '\0';
		r = print_value(t, line, true);
		if (r < 0) {
			status = EX_TEMPFAIL;
			break;
		}
		if (r == 0)
			status = 0;
	}
	free(line);
	return status;
}

static int
map_query(const char *key, const char *spec)
{
	struct table *t;
	struct err e;
	int r;

	if (table_open(spec, &t, &e) < 0) {
		tool_complain("%s", e.text);
		return exit_status(&e);
	}
	if (strcmp(key, "-") == 0)
		r = query_stdin(t);
	else
		r = print_value(t, key, false);
	table_close(t);
	if (fflush(stdout) != 0) {
		tool_complain("standard output cannot be written");
		return EX_IOERR;
	}
	return r < 0 ? EX_TEMPFAIL : r;
}

int
tool_cmd_map(struct tool *t, int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "build") == 0)
		return map_build(t, argv[2]);
	if (argc == 4 && strcmp(argv[1], "query") == 0)
		return map_query(argv[2], argv[3]);
	return tool_usage(t);
}
