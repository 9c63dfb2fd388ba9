/* authd - accounts, passwords, recipients, tickets (DESIGN 3).
 *
 * Three kinds of process, all es-auth, each in a cage of its own: the loop, which talks to
 * everybody and has no file; the database worker, which alone opens the user database and the
 * lookup tables; the SASL workers, which see passwords and have no file either.  See nursery.h
 * for how workers come to be.
 *
 * The database worker keeps "/" as its root: the user database and the tables are where the
 * admin's paths say, and Landlock leaves it exactly these.  Their directories are opened by root, in
 * the nursery: es-auth needs no search permission on what lies above them. */
#include "authd/authd.h"
#include "authd/db_worker.h"
#include "authd/sasl_exchange.h"

#include "common/base/mem.h"
#include "common/daemon/daemon.h"
#include "common/table/table.h"
#include "common/user/user_db.h"

#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { DRAIN_MS = 3000, MAX_FILES = 20000, HASH_SECONDS = 10, TABLES_SECONDS = 30 };

static struct {
	struct daemon *daemon;
	struct loop_timer drain;
} life;

static void
add_path(struct sandbox_plan *plan, const char *path, bool is_writable)
{
	size_t i = 0;

	while (i < SANDBOX_MAX_PATHS && plan->paths[i].path != NULL) {
		if (strcmp(plan->paths[i].path, path) == 0)
			return;
		i++;
	}
	if (i == SANDBOX_MAX_PATHS)
		log_fatal("lookup tables in more than %d directories", SANDBOX_MAX_PATHS - 2);
	plan->paths[i] = (struct sandbox_path){ x_strdup(path), is_writable };
}

/* The directory, not the file: a map that is rebuilt is another file. */
static void
on_table_file(void *arg, const char *path)
{
	char *copy = x_strdup(path);

	add_path(arg, dirname(copy), false);
	free(copy);
}

/* Of a table whose directory is not there the lookups fail, and nothing else does. */
static void
on_lookup_file(void *arg, const char *path)
{
	char *copy = x_strdup(path);

	if (access(dirname(copy), F_OK) == 0)
		on_table_file(arg, path);
	free(copy);
}

static int
plan_db(struct daemon *d, const struct authd_conf *conf, struct sandbox_plan *plan, struct err *err)
{
	char file[PATH_MAX], env[PATH_MAX];

	daemon_helper_plan(d, plan);
	plan->root = NULL;
	plan->calls = CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_FORK | CALLS_READ | CALLS_WRITE |
		      CALLS_LOCK | CALLS_FCHDIR;
	if (user_db_paths(conf->user_database, file, env, sizeof file, err) < 0 ||
	    user_db_prepare(conf->user_database, plan->uid, plan->gid, err) < 0)
		return -1;
	add_path(plan, file, true);
	add_path(plan, env, true);
	if (conf->tables[RESOLVE_LOCAL_ALIASES][0] != '\0')
		add_path(plan, conf->directory, false); /* :include: */
	for (int t = 0; t < RESOLVE_TABLES; t++)
		if (table_list_files(conf->tables[t], on_table_file, plan, err) < 0)
			return err_prefix(err, "%s", resolve_table_params[t]);
	for (int i = 0; i < LOOKUP_OWN; i++)
		if (table_list_files(conf->own_maps[i], on_lookup_file, plan, err) < 0)
			return -1;
	return table_list_files(conf->lookup_tables, on_lookup_file, plan, err);
}

static void
on_idle(void *arg)
{
	(void)arg;
	if (daemon_is_draining(life.daemon))
		daemon_exit(life.daemon, 0);
}

static void
on_drain_over(void *arg)
{
	(void)arg;
	daemon_exit(life.daemon, 0);
}

static void
on_drain(void *arg)
{
	struct authd *a = arg;

	loop_timer_start(&life.drain, DRAIN_MS);
	authd_check_idle(a);
}

/* on_open gets one argument and must know the edge. */
#define ON_OPEN(name, role)                                                                        \
	static void name(void *arg, struct ipc_conn *c)                                            \
	{                                                                                          \
		authd_open(arg, role, c);                                                          \
	}
ON_OPEN(on_master, ROLE_MASTER)
ON_OPEN(on_smtpd, ROLE_SMTPD)
ON_OPEN(on_imapd_login, ROLE_IMAPD_LOGIN)
ON_OPEN(on_pop3d_login, ROLE_POP3D_LOGIN)
ON_OPEN(on_qmgr, ROLE_QMGR)
ON_OPEN(on_relay, ROLE_RELAY)
ON_OPEN(on_tool, ROLE_TOOL)

static void
serve(struct daemon *d, struct authd *a)
{
	static const struct {
		enum role caller;
		void (*on_open)(void *arg, struct ipc_conn *c);
		unsigned max_conns; /* processes of that role; tools come and go */
	} edges[] = {
		{ ROLE_MASTER, on_master, 0 },
		{ ROLE_SMTPD, on_smtpd, 1000 },
		{ ROLE_IMAPD_LOGIN, on_imapd_login, 1000 },
		{ ROLE_POP3D_LOGIN, on_pop3d_login, 1000 },
		{ ROLE_QMGR, on_qmgr, 10 },
		{ ROLE_RELAY, on_relay, 100 },
		{ ROLE_TOOL, on_tool, 64 },
	};

	for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
		daemon_serve(d, edges[i].caller, authd_ops(edges[i].caller), edges[i].on_open, a,
		    edges[i].max_conns);
}

static void
on_slow_hash(int signo)
{
	static const char text[] =
	    "authd: fatal: password_cost: one hash takes more than 10 seconds\n";

	(void)signo;
	_exit(write(STDERR_FILENO, text, sizeof text - 1) > 0 ? EX_CONFIG : EX_IOERR);
}

/* What the start leaves to the workers: libsasl2 and its mechanisms, a first hash, the lookup tables. */
static int
test_workers(const struct authd_conf *conf, const struct sandbox_plan *who, struct err *err)
{
	signal(SIGALRM, on_slow_hash);
	alarm(HASH_SECONDS);
	if (sasl_library_open(conf, err) < 0)
		return -1;
	signal(SIGALRM, SIG_DFL);
	alarm(TABLES_SECONDS);
	return db_worker_test(conf, who->uid, who->gid, err);
}

int
main(int argc, char **argv)
{
	struct sandbox_plan plan = { .max_files = MAX_FILES }, db = { 0 },
			    sasl = { .calls = CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_FORK };
	struct daemon *d = daemon_start(argc, argv, ROLE_AUTHD);
	struct authd_conf conf;
	struct authd *a;
	struct err e;

	daemon_helper_plan(d, &sasl);
	if (authd_conf_read(daemon_conf(d), &conf, &e) < 0 ||
	    (daemon_is_test(d) && test_workers(&conf, &sasl, &e) < 0))
		log_fatal("%s", e.text);
	daemon_configured(d);
	if (plan_db(d, &conf, &db, &e) < 0 ||
	    authd_new(daemon_loop(d), &conf, &db, &sasl, &a, &e) < 0)
		log_fatal("%s", e.text);
	life.daemon = d;
	loop_timer_init(&life.drain, daemon_loop(d), on_drain_over, NULL);
	a->on_idle = on_idle;
	daemon_on_drain(d, on_drain, a);
	serve(d, a);
	return daemon_run(d, &plan, NULL, NULL);
}
