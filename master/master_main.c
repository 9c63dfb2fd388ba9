/* master: the root supervisor.  `estafeta start` runs it as: master -c CONFIG_DIRECTORY [-r FD]
 * On FD it reports when every service answers ("ok"), or why it cannot start. */
#include "master/master.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/master.h"
#include "common/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { STOP_GRACE_MS = 5000, STOP_KILL_MS = 500, LOG_END_MS = 1000 };

/* --- the word to `estafeta start` -------------------------------------------------------------------- */

void
master_report(struct master *m, const char *text)
{
	struct err err;

	if (m->report_fd < 0)
		return;
	if (text == NULL)
		text = "ok";
	/* when nobody listens any more, the log has it too */
	if (fd_write_all(m->report_fd, text, strlen(text), &err) < 0)
		log_warn("report: %s", err.text);
	fd_close(&m->report_fd);
}

/* A last line in the log's own form: there is no log process, and standard error is the log file. */
static void
log_without_process(const struct master *m, const char *text)
{
	const char *host = m->is_checked ? conf_str(&m->conf, "myhostname") : "localhost",
		   *name = m->is_checked ? conf_str(&m->conf, "syslog_name") : "postfix";
	time_t now = time(NULL);
	char stamp[32];
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &tm);
	fprintf(stderr, "%s %.*s %s/%s[%d]: fatal: %s\n", stamp, (int)strcspn(host, "."), host,
	    name, role_row(ROLE_MASTER)->log_tag, (int)getpid(), text);
}

_Noreturn static void
give_up(struct master *m, const struct err *err)
{
	log_without_process(m, err->text);
	master_report(m, err->text);
	exit(EX_CONFIG);
}

/* --- stop ------------------------------------------------------------------------------------------------ */

static void
for_each_process(struct master *m, bool log_too, void (*fn)(struct process *p))
{
	struct service_state *s, *snext;
	struct process *p, *pnext;

	for (s = LIST_FIRST(&m->services); s != NULL; s = snext) {
		snext = LIST_NEXT(s, link);
		for (p = LIST_FIRST(&s->processes); p != NULL; p = pnext) {
			pnext = LIST_NEXT(p, link);
			if (log_too || s->role != ROLE_LOG)
				fn(p);
		}
	}
}

static void
process_kill(struct process *p)
{
	kill(p->pid, SIGKILL);
}

void
master_begin_stop(struct master *m)
{
	if (m->is_stopping)
		return;
	log_info("terminating");
	m->is_stopping = true;
	for_each_process(m, false, process_drain);
	loop_timer_start(&m->stop_deadline, STOP_GRACE_MS);
	master_reap(m);
}

/* The log process ends last and is waited for, so that the last lines are in the file. */
static void
end_log(struct master *m)
{
	int64_t deadline = clock_mono_ms() + LOG_END_MS;

	log_flush();
	for_each_process(m, true, process_drain);
	while (clock_mono_ms() < deadline && waitpid(-1, NULL, WNOHANG) >= 0)
		usleep(2000);
	for_each_process(m, true, process_kill);
}

static void
on_stop_deadline(void *arg)
{
	struct master *m = arg;
	struct ipc_out o;

	if (master_has_workers(m)) {
		for_each_process(m, false, process_kill);
		loop_timer_start(&m->stop_deadline, STOP_KILL_MS);
		return;
	}
	end_log(m);
	if (m->stop_asker != NULL) {
		ipc_reply_init(&o);
		ipc_put_u32(&o, EX_OK);
		ipc_put_str(&o, "");
		ipc_conn_reply(m->stop_asker, m->stop_request, &o);
	}
	loop_stop(m->loop);
}

/* --- signals ------------------------------------------------------------------------------------------------ */

static void
on_sigchld(void *arg, int signo)
{
	(void)signo;
	master_reap(arg);
}

static void
on_sigterm(void *arg, int signo)
{
	(void)signo;
	master_begin_stop(arg);
}

static void
on_sighup(void *arg, int signo)
{
	struct err err;

	(void)signo;
	if (services_load(arg, &err) < 0)
		log_error("reload: %s; the old configuration stays in force", err.text);
}

static void
watch_signals(struct master *m)
{
	signal(SIGPIPE, SIG_IGN);
	loop_signal_start(&m->sigchld, m->loop, SIGCHLD, on_sigchld, m);
	loop_signal_start(&m->sigterm, m->loop, SIGTERM, on_sigterm, m);
	loop_signal_start(&m->sigint, m->loop, SIGINT, on_sigterm, m);
	loop_signal_start(&m->sighup, m->loop, SIGHUP, on_sighup, m);
}

/* --- start ------------------------------------------------------------------------------------------------------ */

static void
parse_arguments(struct master *m, int argc, char **argv)
{
	static char directory[PATH_MAX];
	int opt;

	m->config_directory = "/etc/estafeta";
	while ((opt = getopt(argc, argv, "c:r:")) != -1) {
		if (opt == 'c' && realpath(optarg, directory) != NULL)
			m->config_directory = directory;
		else if (opt == 'r')
			m->report_fd = atoi(optarg);
		else
			exit(EX_USAGE);
	}
	if (m->report_fd >= 0)
		fd_set_cloexec(m->report_fd, true, NULL);
}

static char *
own_directory(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	if (n < 0)
		return x_strdup("/usr/libexec/estafeta");
	path[n] = '\0';
	return x_strdup(dirname(path));
}

/* One master for one data directory: the lock lives as long as we do. */
static int
take_pid_file(struct master *m, const struct conf *conf, struct err *err)
{
	char *path = x_asprintf("%s/master.pid", conf_str(conf, "data_directory"));
	char text[32];
	int n, r = 0;

	m->pid_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (m->pid_file < 0)
		r = err_sys(err, ERR_PERM, "open %s", path);
	else if (flock(m->pid_file, LOCK_EX | LOCK_NB) < 0)
		r = err_set(err, ERR_PERM, "the mail system is already running (%s is locked)", path);
	n = snprintf(text, sizeof text, "%d\n", (int)getpid());
	if (r == 0 && (ftruncate(m->pid_file, 0) < 0 || pwrite(m->pid_file, text, (size_t)n, 0) != n))
		r = err_sys(err, ERR_PERM, "write %s", path);
	free(path);
	return r;
}

static void
raise_file_limit(void)
{
	struct rlimit limit;

	/* thousands of clients a worker: the workers inherit what we may have */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* The first look at main.cf only tells where our own directories are. */
static int
prepare(struct master *m, struct err *err)
{
	char *path = x_asprintf("%s/main.cf", m->config_directory);
	const char *data;
	int r;

	conf_init(&m->conf);
	r = conf_load(&m->conf, path, err);
	free(path);
	if (r < 0 || services_check_conf(&m->conf, err) < 0)
		return -1;
	m->is_checked = true;
	data = conf_str(&m->conf, "data_directory");
	if (fd_make_directory(data, 0755, 0, 0, false, err) < 0)
		return conf_err_prefix(err, &m->conf, "data_directory");
	/* the edge to authd has a short name from here */
	if (take_pid_file(m, &m->conf, err) < 0 || setup_directories(m, err) < 0 ||
	    setup_control(m, err) < 0)
		return -1;
	if (chdir(data) < 0)
		return err_sys(err, ERR_PERM, "chdir %s", data);
	m->authd = ipc_edge_new(m->loop, "edges/master/authd", NULL, NULL);
	return 0;
}

/* Our own lines go through the log process as everybody's do; until it runs they wait in the socket. */
static void
open_own_log(struct master *m)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		log_warn("socketpair: %s", strerrordesc_np(errno));
		return;
	}
	m->own_log = pair[0];
	log_open(m->loop, pair[1], role_row(ROLE_MASTER)->log_tag);
}

int
main(int argc, char **argv)
{
	struct master m = { .report_fd = -1, .log_file = -1, .pid_file = -1, .control = -1, .own_log = -1 };
	struct err err;

	umask(022);
	parse_arguments(&m, argc, argv);
	m.loop = loop_new();
	m.libexec = own_directory();
	loop_timer_init(&m.stop_deadline, m.loop, on_stop_deadline, &m);
	open_own_log(&m);
	raise_file_limit();
	watch_signals(&m);
	if (prepare(&m, &err) < 0 || services_load(&m, &err) < 0)
		give_up(&m, &err);
	control_start(&m);
	log_info("daemon started -- version 1, configuration %s", m.config_directory);
	loop_run(m.loop);
	return 0;
}
