/* estafeta check: everything that would keep mail from flowing, before a start or a reload.
 *
 * The daemons themselves say it: each is run with -t and the effective configuration of its service. */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/postfix.h"
#include "common/table/table.h"
#include "common/table/table_config.h"
#include "common/user/user_db.h"
#include "tools/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 16, CONF_BYTES_MAX = 4 << 20, LINE_MAX_BYTES = 2000 };

/* --- saying it ------------------------------------------------------------------------------------------ */

/* level: "", "warning: ", "note: " */
static void
say_at(struct check *c, const char *level, const char *text)
{
	if (map_put(&c->said, view_of(text), c) == NULL)
		tool_complain("%s%s", level, text);
}

static void
say_once(struct check *c, bool fault, const char *text)
{
	c->faults += fault && map_get(&c->said, view_of(text)) == NULL;
	say_at(c, fault ? "" : "warning: ", text);
}

/* The parameter that text begins with, NULL if it does not. */
static const struct conf_param *
param_of(const char *text)
{
	char *name = x_strndup(text, strcspn(text, ": "));
	const struct conf_param *p = conf_param_find(name);

	free(name);
	return p;
}

/* "... run: estafeta map build hash:/x": the parameter that has hash:/x, NULL if none has. */
static const struct conf_param *
param_of_table(const struct conf *conf, const char *text)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);
	const char *table = strrchr(text, ' ');

	for (size_t i = 0; i < count && table != NULL; i++) {
		struct view rest = view_of(conf_str(conf, p[i].name)), item;

		while (p[i].type == CONF_TABLES && conf_next(&rest, &item))
			if (view_eq_str(item, table + 1))
				return &p[i];
	}
	return NULL;
}

/* Where a table that smtpd asks authd for is written. */
struct table_origin {
	struct view text; /* begins with the table */
	char *place;      /* "main.cf:12: smtpd_client_restrictions", owned; NULL: not found yet */
	const struct conf *conf;
};

static void
on_table_specs(void *arg, const char *param, struct view specs)
{
	struct table_origin *o = arg;
	const struct conf_setting *s = conf_place(o->conf, param);
	struct view spec;

	while (o->place == NULL && table_spec_next(&specs, &spec))
		if (o->text.len > spec.len && o->text.p[spec.len] == ':' &&
		    memcmp(o->text.p, spec.p, spec.len) == 0)
			o->place = s != NULL ? x_asprintf("%s:%d: %s", s->file, s->line, param)
					     : x_asprintf("%s", param);
}

static int
on_smtpd_conf(void *arg, const struct conf *conf, struct err *err)
{
	struct table_origin *o = arg;

	(void)err;
	o->conf = conf;
	table_config_each(conf, on_table_specs, o);
	return 0;
}

/* What authd says of one of smtpd_lookup_tables; false: text is of something else. */
static bool
say_of_table(struct check *c, bool fault, const char *text)
{
	static const char prefix[] = TABLE_CONFIG_PARAM ": ";
	struct table_origin o = { .text = view_of(text + sizeof prefix - 1) };
	char *whole;

	if (c->services == NULL || strncmp(text, prefix, sizeof prefix - 1) != 0)
		return false;
	master_cf_each_conf(c->services, ROLE_SMTPD, &c->tool->conf, on_smtpd_conf, &o, NULL);
	if (o.place == NULL)
		return false;
	whole = x_asprintf("%s: %.*s", o.place, VIEW_ARG(o.text));
	say_once(c, fault, whole);
	free(o.place);
	free(whole);
	return true;
}

void
check_say(struct check *c, const struct service *s, const struct conf *conf, bool fault,
    const char *fmt, ...)
{
	const struct conf_setting *place = NULL;
	const struct conf_param *p;
	const char *name = "";
	char text[LINE_MAX_BYTES], *whole;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (say_of_table(c, fault, text))
		return;
	if ((p = param_of(text)) == NULL && (p = param_of_table(conf, text)) != NULL)
		name = p->name;
	if (p != NULL)
		place = conf_place(conf, p->name);
	if (place != NULL)
		whole = x_asprintf(
		    "%s:%d: %s%s%s", place->file, place->line, name, name[0] ? ": " : "", text);
	else if (s->line > 0)
		whole =
		    x_asprintf("%s:%d: %s: %s", s->file, s->line, role_row(s->role)->name, text);
	else /* implied */
		whole = x_asprintf("%s: %s: %s", s->file, role_row(s->role)->name, text);
	say_once(c, fault, whole);
	free(whole);
}

static void
on_fault(void *arg, const char *text)
{
	say_once(arg, true, text);
}

/* start and reload need not be told what no one misses. */
static void
on_unmet(void *arg, const struct conf_setting *s, enum postfix_fate fate, const char *text)
{
	struct check *c = arg;

	(void)s;
	if (fate != POSTFIX_MOOT)
		say_once(c, fate == POSTFIX_NEEDED, text);
	else if (strcmp(c->tool->verb->name, "check") == 0)
		say_at(c, "note: ", text);
}

/* --- a service's own word ----------------------------------------------------------------------------------- */

/* "smtpd: fatal: mynetworks: ...": what stands behind tag and level.  Of a service that would start, only warnings are
 * of interest.  Was it a fault? */
static bool
say_line(struct check *c, const struct service *s, const struct conf *conf, bool has_failed,
    struct view line)
{
	static const char *const levels[] = { "warning: ", "error: ", "fatal: " };
	const char *tag = role_row(s->role)->log_tag;
	size_t level = 0;

	if (view_starts(line, tag) && line.len > strlen(tag) + 2)
		line = view_make(line.p + strlen(tag) + 2, line.len - strlen(tag) - 2);
	while (level < sizeof levels / sizeof levels[0] && !view_starts(line, levels[level]))
		level++;
	if (level < sizeof levels / sizeof levels[0])
		line = view_make(line.p + strlen(levels[level]), line.len - strlen(levels[level]));
	else if (!has_failed)
		return false;
	if (line.len > 0)
		check_say(c, s, conf, has_failed && level > 0, "%.*s", VIEW_ARG(line));
	return has_failed && level > 0;
}

_Noreturn static void
become_daemon(const char *program, const char *name, int in, int out)
{
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(EX_OSERR);
	execl(program, name, "-t", (char *)NULL);
	_exit(errno == ENOENT ? EX_OSFILE : EX_OSERR);
}

/* Runs it to its end; *said gets its lines.  The status of waitpid, or -1. */
static int
run_daemon(const char *program, const char *name, int conf_fd, struct buf *said, struct err *err)
{
	int out[2], status = -1;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, ERR_TEMP, "pipe");
	pid = fork();
	if (pid == 0)
		become_daemon(program, name, conf_fd, out[1]);
	if (pid < 0)
		err_sys(err, ERR_TEMP, "fork");
	fd_close(&out[1]);
	/* more than fits is more than anybody reads; the daemon ends by its own clock */
	if (pid > 0 && fd_read_rest(out[0], said, err) < 0)
		buf_reset(said);
	fd_close(&out[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status;
}

static void
say_status(struct check *c, const struct service *s, const struct conf *conf, const char *program,
    int status)
{
	if (WIFSIGNALED(status))
		check_say(
		    c, s, conf, true, "%s -t was killed by signal %d", program, WTERMSIG(status));
	else if (WEXITSTATUS(status) == EX_OSFILE)
		check_say(c, s, conf, true, "%s does not exist", program);
	else
		check_say(c, s, conf, true, "%s -t: exit status %d", program, WEXITSTATUS(status));
}

static void
check_daemon(struct check *c, const struct service *s, const struct conf *conf)
{
	const char *name = role_row(s->role)->name;
	char *program = x_asprintf("%s/%s", c->tool->libexec, name);
	bool is_said = false;
	struct buf text, said;
	struct err err = { 0 };
	int fd = -1, status = -1;

	buf_init(&text, CONF_BYTES_MAX);
	buf_init(&said, TEXT_MAX);
	if (conf_dump(conf, &text) < 0)
		err_set(&err, ERR_LIMIT, "configuration too large");
	else if ((fd = memfd_sealed("configuration", text.p, text.len, &err)) >= 0 &&
		 lseek(fd, 0, SEEK_SET) == 0)
		status = run_daemon(program, name, fd, &said, &err);
	for (struct view rest = buf_view(&said), line; rest.len > 0;) {
		view_cut(rest, '\n', &line, &rest);
		is_said |= say_line(c, s, conf, status != 0, line);
	}
	if (status == -1)
		check_say(c, s, conf, true, "cannot be tested: %s", err.text);
	else if (status != 0 && !is_said)
		say_status(c, s, conf, program, status);
	fd_close(&fd);
	buf_clear(&text);
	buf_clear(&said);
	free(program);
}

/* --- what no daemon's own test can see ---------------------------------------------------------------------- */

static int
on_address(void *arg, const struct addrinfo *ai, struct err *err)
{
	(void)arg;
	(void)ai;
	(void)err;
	return 0;
}

static void
check_listeners(struct check *c, const struct service *s, const struct conf *conf)
{
	struct err err;

	if (s->is_inet && service_each_address(s, conf, on_address, NULL, &err) < 0)
		check_say(c, s, conf, true, "%s%s", s->host[0] == '\0' ? "inet_interfaces: " : "",
		    err.text);
}

static void
say_place(struct check *c, const char *name, struct err *err)
{
	conf_err_prefix(err, &c->tool->conf, name);
	say_once(c, true, err->text);
}

/* Can what is missing of the path be made?  A directory beside it is, and goes again. */
static int
try_directory(const char *path, struct err *err)
{
	char *up = x_strdup(path), *probe;
	struct stat st;
	int r = 0;

	while (stat(up, &st) < 0 && errno == ENOENT && strrchr(up, '/') > up)
		*strrchr(up, '/') = '\0';
	probe = x_asprintf("%s/.estafeta.XXXXXX", up);
	if (stat(up, &st) < 0)
		r = err_sys(err, ERR_PERM, "%s", up);
	else if (!S_ISDIR(st.st_mode))
		r = err_set(err, ERR_PERM, "%s is not a directory", up);
	else if (strcmp(up, path) != 0 && geteuid() == 0 &&
		 (mkdtemp(probe) == NULL || rmdir(probe) < 0))
		r = err_sys(err, ERR_PERM, "cannot make %s", path);
	free(probe);
	free(up);
	return r;
}

/* A main.cf that came from Postfix may still name its directories: what waits in that queue would not be seen. */
static void
check_is_ours(struct check *c, const char *name, const char *file, const char *other)
{
	const char *path = conf_str(&c->tool->conf, name);
	char *first = x_asprintf("%s/%s", path, file), *second = x_asprintf("%s/%s", path, other);
	struct err err;

	if (access(first, F_OK) == 0 && access(second, F_OK) == 0) {
		err_set(&err, ERR_PERM, "%s is Postfix's: name another directory", path);
		say_place(c, name, &err);
	}
	free(first);
	free(second);
}

static void
check_places(struct check *c)
{
	static const char *const directories[] = { "data_directory", "queue_directory",
		"virtual_mailbox_base" };
	const char *log = conf_str(&c->tool->conf, "log_file");
	char *log_dir = x_strndup(log, (size_t)(strrchr(log, '/') - log) + 1);
	struct stat st;
	struct err err;

	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++)
		if (try_directory(conf_str(&c->tool->conf, directories[i]), &err) < 0)
			say_place(c, directories[i], &err);
	if (stat(log_dir, &st) < 0 && err_sys(&err, ERR_PERM, "open %s", log) < 0)
		say_place(c, "log_file", &err);
	else if (stat(log, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode) &&
		 err_set(&err, ERR_PERM, "%s is not a file", log) < 0)
		say_place(c, "log_file", &err);
	free(log_dir);
	check_is_ours(c, "queue_directory", "incoming", "maildrop");
	check_is_ours(c, "data_directory", "master.lock", "prng_exch");
}

/* It is made at the first start: an admin who moved it should hear that there will be nobody in it. */
static void
check_user_database(struct check *c, const struct service *s, const struct conf *conf)
{
	char file[PATH_MAX], env[PATH_MAX];
	struct err err;

	if (s->role == ROLE_AUTHD &&
	    user_db_paths(conf_str(conf, "user_database"), file, env, sizeof file, &err) == 0 &&
	    access(file, F_OK) < 0 && errno == ENOENT)
		check_say(c, s, conf, false,
		    "user_database: %s does not exist: there are no accounts yet", file);
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

static void
check_service(struct check *c, const struct service *s)
{
	unsigned before = c->faults;
	struct conf conf;
	struct err err;

	if (service_conf(s, &c->tool->conf, &conf, &err) < 0)
		say_once(c, true, err.text);
	else
		postfix_each_unmet(&conf, on_unmet, c);
	if (conf_check(&conf, on_fault, c) == 0) {
		check_listeners(c, s, &conf);
		check_tls(c, s, &conf);
		check_user_database(c, s, &conf);
		if (s->role == ROLE_AUTHD &&
		    table_config_collect(c->services, &c->tool->conf, &conf, &err) < 0)
			check_say(c, s, &conf, true, "%s", err.text);
		if (c->faults == before)
			check_daemon(c, s, &conf);
	}
	conf_clear(&conf);
}

static void
check_services(struct check *c)
{
	char *path = x_asprintf("%s/master.cf", c->tool->config_directory);
	struct master_cf table;
	struct err err;

	if (master_cf_load(&table, path, &err) < 0)
		say_once(c, true, err.text);
	else {
		c->services = &table;
		for (size_t i = 0; i < table.nnotes; i++)
			say_once(c, false, table.notes[i]);
		for (size_t i = 0; i < table.count; i++)
			check_service(c, &table.services[i]);
		c->services = NULL;
	}
	master_cf_clear(&table);
	free(path);
}

static void
check_user(struct check *c, const char *user)
{
	char *text;

	if (getpwnam(user) != NULL)
		return;
	text = x_asprintf("system user \"%s\" does not exist (run conf/users.sh)", user);
	say_once(c, true, text);
	free(text);
}

int
tool_cmd_check(struct tool *t, int argc, char **argv)
{
	struct check c = { .tool = t };

	(void)argv;
	if (argc != 1)
		return tool_usage(t);
	map_init(&c.said);
	postfix_each_unmet(&t->conf, on_unmet, &c);
	if (conf_check(&t->conf, on_fault, &c) == 0) {
		for (int r = ROLE_LOG; r < ROLE_COUNT; r++)
			if (role_row((enum role)r)->user != NULL)
				check_user(&c, role_row((enum role)r)->user);
		check_places(&c);
	}
	check_services(&c);
	map_clear(&c.said);
	return c.faults == 0 ? EX_OK : EX_CONFIG;
}
