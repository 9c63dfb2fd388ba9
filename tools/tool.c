#include "tools/tool.h"
#include "common/base/mem.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

void
tool_complain(const char *fmt, ...)
{
	va_list ap;

	fputs("estafeta: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

enum table_form
tool_table_form(const struct conf *c, const char *spec)
{
	static const char *const params[] = { "alias_database", "alias_maps" };

	for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
		const char *specs = conf_own_str(c, params[i], NULL);
		struct view rest = view_of(specs != NULL ? specs : ""), item;

		while (table_spec_next(&rest, &item))
			if (view_eq_str(item, spec))
				return TABLE_FORM_ALIASES;
	}
	return TABLE_FORM_MAP;
}

int
tool_usage(const struct tool *t)
{
	fprintf(stderr, "usage: estafeta %s%s%s\n", t->verb->name,
	    t->verb->usage[0] != '\0' ? " " : "", t->verb->usage);
	return EX_USAGE;
}

int
tool_connect(const struct tool *t, enum role server, struct err *err)
{
	char *path = x_asprintf(
	    "%s/control/%s", conf_str(&t->conf, "data_directory"), role_row(server)->name);
	int fd = ipc_connect_path(path, err);

	if (fd < 0 && (err->sys == ENOENT || err->sys == ECONNREFUSED))
		err_set(err, ERR_GONE,
		    "the mail system is not running (looked in data_directory %s)",
		    conf_str(&t->conf, "data_directory"));
	free(path);
	return fd;
}

static int
read_line(char *out, size_t size, struct err *err)
{
	size_t len;

	if (fgets(out, (int)size, stdin) == NULL)
		return err_set(err, ERR_SYNTAX, "no password given");
	len = strcspn(out, "\r\n");
	if (out[len] == '\0' && len + 1 == size)
		return err_set(err, ERR_LIMIT, "password too long");
	out[len] = '\0';
	return len > 0 ? 0 : err_set(err, ERR_SYNTAX, "empty password");
}

static int
prompt(const char *text, char *out, size_t size, struct err *err)
{
	struct termios saved, quiet;
	int r;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return err_sys(err, ERR_TEMP, "terminal");
	quiet = saved;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	fputs(text, stderr);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	r = read_line(out, size, err);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
	fputc('\n', stderr);
	return r;
}

int
tool_read_password(char *out, size_t size, struct err *err)
{
	char again[1024];
	int r;

	if (!isatty(STDIN_FILENO))
		return read_line(out, size, err);
	r = prompt("New password: ", out, size, err);
	if (r == 0)
		r = prompt("Retype new password: ", again, sizeof again, err);
	if (r == 0 && strcmp(out, again) != 0)
		r = err_set(err, ERR_SYNTAX, "the two passwords differ");
	mem_wipe(again, sizeof again);
	return r;
}

const char *
tool_user_name(void)
{
	const struct passwd *pw = getpwuid(getuid());

	return pw == NULL ? "unknown" : pw->pw_name;
}
