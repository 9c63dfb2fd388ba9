/* estafeta check: everything that would keep mail from flowing, before a start or a reload.
 *
 * The daemons themselves say it: each is run with -t and the effective configuration of its service. */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/postfix.h"
#include "common/table/table_config.h"
#include "common/user/user_db.h"
#include "tools/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 16, CONF_BYTES_MAX = 4 << 20 };

/* --- testing -------------------------------------------------------------------------------------------- */

/* A test ends at the first fault it cannot go on from.  So what it finds faulty is taken out, as if nobody had set it, and
 * it is made again, until it finds nothing more. */
struct test {
	struct check *check;
	const struct service *service; /* NULL: main.cf alone */
	struct conf *conf;             /* changed */
	struct map faulty;             /* parameters, of one round */
};

/* Is there anything to try again?  What stands in main.cf is faulty for all services. */
static bool
take_out(struct test *t)
{
	struct map_walk w = { 0 };
	struct map_entry *e;
	bool has_changed = false;

	while ((e = map_next(&t->faulty, &w)) != NULL) {
		const struct conf_setting *s = conf_place(t->conf, e->key);
		bool is_of_all =
		    t->service != NULL && s != NULL && strcmp(s->file, t->service->file) != 0;

		map_put(&t->check->taken_out, view_make(e->key, e->key_len), t);
		has_changed |= conf_unset(t->conf, e->key);
		if (is_of_all)
			conf_unset(&t->check->base, e->key);
	}
	return has_changed;
}

static void
forget_round(struct test *t)
{
	map_clear(&t->faulty);
	map_init(&t->faulty);
}

/* Of a default it is said only when it is not the consequence of something else. */
static void
on_fault(void *arg, const char *name, const char *text)
{
	struct test *t = arg;
	bool is_default = conf_place(t->conf, name) == NULL;

	if (!check_is_consequence(t->check, text) && !(is_default && t->check->taken_out.count > 0))
		check_add(t->check, CHECK_ERROR, text);
	if (conf_param_find(name) != NULL)
		map_put(&t->check->taken_out, view_of(name), t);
}

/* start and reload need not be told what no one misses. */
static void
on_unmet(void *arg, const struct conf_setting *s, enum postfix_fate fate, const char *text)
{
	struct check *c = arg;

	(void)s;
	if (fate == POSTFIX_NEEDED)
		check_add(c, CHECK_ERROR, text);
	else if (fate != POSTFIX_MOOT)
		check_add(c, CHECK_WARNING, text);
	else if (c->is_asked_for)
		check_add(c, CHECK_NOTE, text);
}

/* --- a service's own word ----------------------------------------------------------------------------------- */

/* The parameter with rules of this type in its value: "header_checks = pcre:{...}"; "" = none. */
static struct view
name_of_braces(const struct conf *conf, struct view type)
{
	char *head = x_asprintf("%.*s:{", VIEW_ARG(type));
	struct view name = VIEW_LIT("");
	size_t count;
	const struct conf_param *p = conf_params(&count);

	for (size_t i = 0; i < count && name.len == 0; i++)
		if (strstr(conf_str(conf, p[i].name), head) != NULL)
			name = view_of(p[i].name);
	free(head);
	return name;
}

/* "pcre map /etc/x, line 3: why", "pcre map in braces, line 3: why": mail flows without that line, as with Postfix; but who asks
 * for faults is told of one.  false: text is of something else. */
static bool
say_of_entry(struct test *t, struct view text)
{
	enum check_level level = t->check->is_asked_for ? CHECK_ERROR : CHECK_WARNING;
	struct view type, word, path, why = text, param;
	const char *at = view_find(text, VIEW_LIT(", line "));
	char *whole;

	if (at == NULL || !view_token(&why, " ", &type) || !view_token(&why, " ", &word) ||
	    !view_eq_str(word, "map") || at < why.p + 2)
		return false;
	path = view_trim(view_make(why.p, (size_t)(at - why.p)));
	why = view_make(at + 7, text.len - (size_t)(at + 7 - text.p));
	if (path.p[0] == '/') {
		whole = x_asprintf("%.*s:%.*s", VIEW_ARG(path), VIEW_ARG(why));
		check_add(t->check, level, whole);
		free(whole);
	} else {
		param = name_of_braces(t->conf, type);
		check_say(t->check, t->service, t->conf, level, "%.*s%s%.*s", VIEW_ARG(param),
		    param.len > 0 ? ": " : "", VIEW_ARG(text));
	}
	return true;
}

/* "smtpd: fatal: mynetworks: ...": what stands behind tag and level.  Of a service that would start, only warnings are
 * of interest.  Was it a fault? */
static bool
say_line(struct test *t, bool has_failed, struct view line)
{
	static const char *const levels[] = { "warning: ", "error: ", "fatal: " };
	const char *tag = role_row(t->service->role)->log_tag, *param;
	size_t level = 0;
	bool is_fault;

	if (view_starts(line, tag) && line.len > strlen(tag) + 2)
		line = view_make(line.p + strlen(tag) + 2, line.len - strlen(tag) - 2);
	while (level < sizeof levels / sizeof levels[0] && !view_starts(line, levels[level]))
		level++;
	is_fault = has_failed && level > 0;
	if (level < sizeof levels / sizeof levels[0])
		line = view_make(line.p + strlen(levels[level]), line.len - strlen(levels[level]));
	else if (!has_failed)
		return false;
	if (line.len == 0 || say_of_entry(t, line))
		return false;
	param = check_say(t->check, t->service, t->conf, is_fault ? CHECK_ERROR : CHECK_WARNING,
	    "%.*s", VIEW_ARG(line));
	if (is_fault && param != NULL)
		map_put(&t->faulty, view_of(param), t);
	return is_fault;
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
say_status(struct test *t, const char *program, int status)
{
	const char *name = strrchr(program, '/') + 1;

	if (WIFSIGNALED(status))
		check_say(t->check, t->service, t->conf, CHECK_ERROR,
		    "%s -t was killed by signal %d", name, WTERMSIG(status));
	else if (WEXITSTATUS(status) == EX_OSFILE)
		check_say(t->check, t->service, t->conf, CHECK_ERROR, "there is no %s", program);
	else
		check_say(t->check, t->service, t->conf, CHECK_ERROR, "%s -t: exit status %d", name,
		    WEXITSTATUS(status));
}

static void
test_once(struct test *t, const char *program)
{
	bool is_said = false;
	struct buf text, said;
	struct err err = { 0 };
	int fd = -1, status = -1;

	buf_init(&text, CONF_BYTES_MAX);
	buf_init(&said, TEXT_MAX);
	if (conf_dump(t->conf, &text) < 0)
		err_set(&err, ERR_LIMIT, "configuration too large");
	else if ((fd = memfd_sealed("configuration", text.p, text.len, &err)) >= 0 &&
		 lseek(fd, 0, SEEK_SET) == 0)
		status = run_daemon(program, role_row(t->service->role)->name, fd, &said, &err);
	for (struct view rest = buf_view(&said), line; rest.len > 0;) {
		view_cut(rest, '\n', &line, &rest);
		is_said |= say_line(t, status != 0, line);
	}
	if (status == -1)
		check_say(
		    t->check, t->service, t->conf, CHECK_ERROR, "cannot be tested: %s", err.text);
	else if (status != 0 && !is_said)
		say_status(t, program, status);
	fd_close(&fd);
	buf_clear(&text);
	buf_clear(&said);
}

static void
test_daemon(struct test *t)
{
	char *program =
	    x_asprintf("%s/%s", t->check->tool->libexec, role_row(t->service->role)->name);

	do {
		forget_round(t);
		test_once(t, program);
	} while (take_out(t));
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
		check_say(c, s, conf, CHECK_ERROR, "%s", err.text);
}

static void
say_place(struct check *c, const char *name, struct err *err)
{
	conf_err_prefix(err, &c->base, name);
	check_add(c, CHECK_ERROR, err->text);
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
	const char *path = conf_str(&c->base, name);
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
	const char *log = conf_str(&c->base, "log_file");
	char *log_dir = x_strndup(log, (size_t)(strrchr(log, '/') - log) + 1);
	struct stat st;
	struct err err;

	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++)
		if (try_directory(conf_str(&c->base, directories[i]), &err) < 0)
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
		check_say(c, s, conf, CHECK_WARNING,
		    "user_database: %s does not exist: there are no accounts yet", file);
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

static void
check_service(struct check *c, const struct service *s)
{
	struct conf conf;
	struct test t = { .check = c, .service = s, .conf = &conf };
	struct err err;

	if (service_conf(s, &c->base, &conf, &err) < 0)
		check_add(c, CHECK_ERROR, err.text);
	else
		postfix_each_unmet(&conf, on_unmet, c);
	if (conf_settle(t.conf, on_fault, &t)) {
		check_listeners(c, s, &conf);
		check_tls(c, s, &conf);
		check_user_database(c, s, &conf);
		check_options(c, s, &conf);
		if (s->role == ROLE_AUTHD &&
		    table_config_collect(c->services, &c->base, &conf, &err) < 0)
			check_say(c, s, &conf, CHECK_ERROR, "%s", err.text);
		test_daemon(&t);
	}
	map_clear(&t.faulty);
	conf_clear(&conf);
}

static void
add_lines(struct check *c, const struct buf *faults)
{
	for (struct view rest = buf_view(faults), line; rest.len > 0;) {
		char *text;

		view_cut(rest, '\n', &line, &rest);
		text = x_strndup(line.p, line.len);
		check_add(c, CHECK_ERROR, text);
		free(text);
	}
}

static void
check_services(struct check *c)
{
	char *path = x_asprintf("%s/master.cf", c->tool->config_directory);
	struct master_cf table;
	struct err err;

	master_cf_load(
	    &table, path, &err); /* the services that are well are looked at all the same */
	add_lines(c, &table.faults);
	c->services = &table;
	for (size_t i = 0; i < table.nnotes; i++)
		check_add(c, CHECK_WARNING, table.notes[i]);
	for (size_t i = 0; i < table.count; i++)
		check_service(c, &table.services[i]);
	c->services = NULL;
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
	check_add(c, CHECK_ERROR, text);
	free(text);
}

static void
check_main(struct check *c)
{
	struct test t = { .check = c, .conf = &c->base };

	add_lines(c, &c->tool->conf.faults);
	postfix_each_unmet(&c->tool->conf, on_unmet, c);
	if (conf_settle(t.conf, on_fault, &t)) {
		for (int r = ROLE_LOG; r < ROLE_COUNT; r++)
			if (role_row((enum role)r)->user != NULL)
				check_user(c, role_row((enum role)r)->user);
		check_places(c);
		check_domains(c);
	}
	map_clear(&t.faulty);
}

int
tool_cmd_check(struct tool *t, int argc, char **argv)
{
	struct check c = { .tool = t, .is_asked_for = strcmp(t->verb->name, "check") == 0 };

	(void)argv;
	if (argc != 1)
		return tool_usage(t);
	map_init(&c.taken_out);
	conf_copy(&c.base, &t->conf);
	check_main(&c);
	check_services(&c);
	check_print(&c);
	check_clear(&c);
	return c.errors == 0 ? EX_OK : EX_CONFIG;
}
