/* supervise.c - processes: spawned, watched, restarted with back-off.
 *
 * A parent that expects trouble: a worker that dies before it was ready, or soon after, is started again
 * after a delay that doubles, so that a crash is never a fork storm. */
#include "master/master.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/daemon/counters.h"
#include "common/ipc/msg/master.h"
#include "common/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	CONTROL_FD = 3,
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 60000,
	SETTLED_MS = 10000, /* a worker that lived so long restarts at once */
	CONF_BYTES_MAX = 4 << 20,
};

struct service_state *
service_by_role(struct master *m, enum role r)
{
	struct service_state *s;

	LIST_FOREACH(s, &m->services, link)
	{
		if (s->role == r && !s->is_removed)
			return s;
	}
	return NULL;
}

/* --- what a new worker is told ------------------------------------------------------------------------ */

static char *
root_of(struct service_state *s)
{
	const char *data = conf_str(&s->conf, "data_directory");

	switch (role_row(s->role)->root) {
	case ROOT_EDGES:
		return x_asprintf("%s/edges/%s", data, role_row(s->role)->name);
	case ROOT_QUEUE:
		return x_strdup(conf_str(&s->conf, "queue_directory"));
	case ROOT_AUTH:
		return x_asprintf("%s/auth", data);
	case ROOT_STATE:
		return x_asprintf("%s/%s", data, role_row(s->role)->name);
	case ROOT_MAIL:
		return x_strdup(conf_str(&s->conf, "virtual_mailbox_base"));
	default:
		return x_strdup("");
	}
}

static int
attach(struct process *p, const char *name, int fd)
{
	struct ipc_out o;

	ipc_out_init(&o, MASTER_ATTACH);
	ipc_put_str(&o, name);
	ipc_put_fd(&o, fd);
	return ipc_conn_send(p->conn, &o);
}

static int
conf_memfd(const struct conf *c, struct err *err)
{
	struct buf text;
	int fd = -1;

	buf_init(&text, CONF_BYTES_MAX);
	if (conf_dump(c, &text) < 0)
		err_set(err, ERR_LIMIT, "configuration too large");
	else
		fd = memfd_sealed("configuration", text.p, text.len, err);
	buf_clear(&text);
	return fd;
}

/* keyd learns what each service shows: it opens the files itself, before its cage closes, since tables name some of
 * them, and those are not for us to read. */
static int
attach_keys(struct process *p, struct err *err)
{
	struct service_state *s;

	LIST_FOREACH (s, &p->service->master->services, link) {
		char *name;
		int fd, r;

		if (role_tls(s->role) == NULL || s->is_removed)
			continue;
		if ((fd = conf_memfd(&s->conf, err)) < 0)
			return -1;
		name = x_asprintf("tls:%s/%s", role_row(s->role)->name, s->name);
		r = attach(p, name, fd);
		fd_close(&fd);
		free(name);
		if (r < 0)
			return err_set(err, ERR_TEMP, "keyd does not take its configuration");
	}
	return 0;
}

/* Those that have something to count.  Mail does not wait for it. */
static void
attach_counters(struct process *p)
{
	struct master *m = p->service->master;
	enum role role = p->service->role;
	struct err err;

	if (role != ROLE_SMTPD && role != ROLE_QMGR)
		return;
	if (m->counters[role].page == NULL)
		m->counters[role].page = counters_new(&m->counters[role].fd, &err);
	if (m->counters[role].page == NULL)
		log_warn("%s: nothing is counted: %s", p->service->name, err.text);
	else if (attach(p, "counters", m->counters[role].fd) < 0)
		log_warn("%s: nothing is counted", p->service->name);
}

static int
attach_all(struct process *p, int root_fd, struct err *err)
{
	struct master *m = p->service->master;

	attach_counters(p);

	if (p->service->role == ROLE_KEYD && attach_keys(p, err) < 0)
		return -1;
	if (p->service->role == ROLE_LOG && attach(p, "log:file", m->log_file) < 0)
		return err_set(err, ERR_TEMP, "the log process does not take its file");
	if (root_fd >= 0 && attach(p, "root", root_fd) < 0)
		return err_set(err, ERR_TEMP, "the process does not take its root");
	return 0;
}

static int
send_start(struct process *p, int log_fd, struct err *err)
{
	struct service_state *s = p->service;
	char *root = root_of(s);
	struct ipc_out o;
	int conf_fd = conf_memfd(&s->conf, err), r;

	if (conf_fd < 0) {
		free(root);
		return -1;
	}
	ipc_out_init(&o, MASTER_START);
	ipc_put_str(&o, s->name);
	ipc_put_str(&o, p->account);
	ipc_put_str(&o, root);
	ipc_put_u32(&o, p->uid);
	ipc_put_u32(&o, p->gid);
	ipc_put_u32(&o, strcmp(conf_str(&s->conf, "sandbox"), "permissive") == 0);
	ipc_put_str(&o, conf_str(&s->conf, "config_directory"));
	ipc_put_fd(&o, conf_fd);
	ipc_put_fd(&o, log_fd);
	for (size_t i = 0; i < s->nlisteners; i++) {
		ipc_put_u32(&o, s->listeners[i].is_edge ? MASTER_LISTEN_EDGE : MASTER_LISTEN_INET);
		ipc_put_u32(&o, (uint32_t)s->listeners[i].caller);
		ipc_put_u32(&o, s->listeners[i].caller_uid);
		ipc_put_fd(&o, s->listeners[i].fd);
	}
	r = ipc_conn_send(p->conn, &o);
	fd_close(&conf_fd);
	free(root);
	return r < 0 ? err_set(err, ERR_TEMP, "cannot send its configuration") : 0;
}

static void
send_log_source(struct master *m, const char *name, pid_t pid, bool is_mailbox, int fd)
{
	struct service_state *log = service_by_role(m, ROLE_LOG);
	struct process *to;
	struct ipc_out o;

	if (log == NULL || fd < 0)
		return;
	LIST_FOREACH(to, &log->processes, link)
	{
		if (to->conn == NULL || to->is_draining)
			continue;
		ipc_out_init(&o, MASTER_LOG_SOURCE);
		ipc_put_str(&o, name);
		ipc_put_u32(&o, (uint32_t)pid);
		ipc_put_u32(&o, is_mailbox);
		ipc_put_fd(&o, fd);
		if (ipc_conn_send(to->conn, &o) < 0)
			continue; /* it is dying: its successor is told of all sources */
	}
}

void
master_log_source(struct master *m, struct process *p)
{
	bool is_mailbox = role_row(p->service->role)->is_mailbox;

	send_log_source(m,
	    conf_str(&p->service->conf, is_mailbox ? "mailbox_syslog_name" : "syslog_name"), p->pid,
	    is_mailbox, p->log_fd);
}

void
master_own_log_source(struct master *m)
{
	send_log_source(m, conf_str(&m->conf, "syslog_name"), getpid(), false, m->own_log);
}

void
master_set_log_file(struct master *m, int fd)
{
	struct service_state *log = service_by_role(m, ROLE_LOG);
	struct process *p;
	struct ipc_out o;

	fd_close(&m->log_file);
	m->log_file = fd;
	if (log == NULL)
		return;
	LIST_FOREACH (p, &log->processes, link) {
		if (p->conn == NULL)
			continue;
		ipc_out_init(&o, MASTER_LOG_FILE);
		ipc_put_fd(&o, fd);
		if (ipc_conn_send(p->conn, &o) < 0)
			log_warn("the log process does not take its new file");
	}
}

/* --- fork and exec ------------------------------------------------------------------------------------- */

_Noreturn static void
child(const char *program, int control)
{
	char *argv[] = { (char *)(uintptr_t)program, NULL };
	char *envp[] = { (char *)(uintptr_t)"PATH=/usr/bin:/bin", NULL, NULL };
	const char *asan = getenv("ASAN_OPTIONS"), *tz = getenv("TZ");
	sigset_t none;
	int null;

	/* nothing of the environment but what a sanitizer build or a test's clock needs */
	if (asan != NULL)
		envp[1] = x_asprintf("ASAN_OPTIONS=%s", asan);
	else if (tz != NULL)
		envp[1] = x_asprintf("TZ=%s", tz);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
	    dup2(control, CONTROL_FD) < 0)
		_exit(EX_OSERR);
	syscall(SYS_close_range, CONTROL_FD + 1, ~0u, 0);
	execve(program, argv, envp);
	_exit(errno == ENOENT ? EX_OSFILE : EX_OSERR);
}

static pid_t
fork_worker(struct service_state *s, int control, struct err *err)
{
	char *program = x_asprintf("%s/%s", s->master->libexec, role_row(s->role)->name);
	pid_t pid = fork();

	if (pid < 0)
		err_sys(err, ERR_TEMP, "fork");
	if (pid == 0)
		child(program, control);
	free(program);
	return pid;
}

static void
process_free(struct process *p)
{
	LIST_REMOVE(p, link);
	ipc_conn_close(p->conn);
	fd_close(&p->log_fd);
	free(p->account);
	free(p->reason);
	free(p);
}

struct process *
process_spawn(struct service_state *s, const char *account, uid_t uid, gid_t gid, int root_fd,
    struct err *err)
{
	int control[2] = { -1, -1 }, log[2] = { -1, -1 };
	struct process *p = NULL;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, log) < 0) {
		err_sys(err, ERR_TEMP, "socketpair");
		goto out;
	}
	if ((pid = fork_worker(s, control[1], err)) < 0)
		goto out;
	p = x_calloc(1, sizeof *p);
	p->service = s;
	p->pid = pid;
	p->log_fd = log[0];
	log[0] = -1;
	p->generation = s->master->generation;
	p->started_ms = clock_mono_ms();
	p->uid = uid;
	p->gid = gid;
	p->account = x_strdup(account);
	p->conn = ipc_conn_new(s->master->loop, control[0], &process_ops, p);
	control[0] = -1;
	LIST_INSERT_HEAD(&s->processes, p, link);
	if (attach_all(p, root_fd, err) < 0 || send_start(p, log[1], err) < 0) {
		/* the child sees its control channel closed and ends; it is reaped as any other */
		ipc_conn_close(p->conn);
		p->conn = NULL;
		p = NULL;
		goto out;
	}
	master_log_source(s->master, p);
out:
	fd_close(&control[0]);
	fd_close(&control[1]);
	fd_close(&log[0]);
	fd_close(&log[1]);
	return p;
}

void
process_drain(struct process *p)
{
	struct ipc_out o;

	bool stopping = p->service->master->is_stopping;

	if (p->is_draining && !stopping)
		return;
	p->is_draining = true;
	if (p->conn == NULL)
		return;
	ipc_out_init(&o, MASTER_DRAIN);
	ipc_put_u32(&o, stopping);
	if (ipc_conn_send(p->conn, &o) < 0) {
		log_warn("process %s pid %d does not hear: killed", role_row(p->service->role)->name,
		    (int)p->pid);
		kill(p->pid, SIGKILL);
	}
}

/* --- keeping them running ------------------------------------------------------------------------------- */

static unsigned
count_running(const struct service_state *s)
{
	bool exclusive = role_row(s->role)->is_exclusive;
	const struct process *p;
	unsigned n = 0;

	LIST_FOREACH(p, &s->processes, link)
	{
		n += exclusive || (!p->is_draining && p->generation == s->master->generation);
	}
	return n;
}

static void
tell_log_of_all(struct master *m)
{
	struct service_state *s;
	struct process *p;

	master_own_log_source(m);
	LIST_FOREACH(s, &m->services, link)
	{
		LIST_FOREACH(p, &s->processes, link)
		{
			master_log_source(m, p);
		}
	}
}

void
service_keep_running(struct service_state *s)
{
	struct err err;

	if (s->is_removed || (s->master->is_stopping && s->role != ROLE_LOG))
		return;
	while (count_running(s) < s->maxproc) {
		if (loop_timer_running(&s->restart))
			return;
		if (process_spawn(s, "", s->uid, s->gid, -1, &err) == NULL) {
			log_error("cannot start %s: %s", s->name, err.text);
			master_report(s->master, err.text);
			control_reload_ended(s->master, EX_UNAVAILABLE, err.text);
			s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : BACKOFF_FIRST_MS;
			if (s->backoff_ms > BACKOFF_MAX_MS)
				s->backoff_ms = BACKOFF_MAX_MS;
			loop_timer_start(&s->restart, s->backoff_ms);
			return;
		}
		if (s->role == ROLE_LOG)
			tell_log_of_all(s->master);
	}
}

bool
service_is_up(const struct service_state *s)
{
	const struct process *p;
	unsigned ready = 0;

	LIST_FOREACH(p, &s->processes, link)
	{
		/* the log has no configuration of its own: it goes on at a reload */
		ready += p->is_ready && !p->is_draining &&
			 (p->generation == s->master->generation || s->role == ROLE_LOG);
	}
	return s->is_removed || ready >= s->maxproc;
}

bool
master_is_up(struct master *m)
{
	const struct service_state *s;

	LIST_FOREACH(s, &m->services, link)
	{
		if (!service_is_up(s))
			return false;
	}
	return true;
}

static void
describe_end(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(out, size, "killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) == EX_OSFILE)
		snprintf(out, size, "does not exist");
	else
		snprintf(out, size, "exit status %d", WEXITSTATUS(status));
}

static void
schedule_restart(struct service_state *s, const struct process *p, bool failed)
{
	int64_t lived = clock_mono_ms() - p->started_ms;

	if (!failed || lived >= SETTLED_MS)
		s->backoff_ms = 0;
	else if (p->is_ready && s->backoff_ms == 0)
		s->backoff_ms = 1; /* the first crash of a worker that had served: at once */
	else
		s->backoff_ms = s->backoff_ms <= 1 ? BACKOFF_FIRST_MS : s->backoff_ms * 2;
	if (s->backoff_ms > BACKOFF_MAX_MS)
		s->backoff_ms = BACKOFF_MAX_MS;
	if (s->backoff_ms >= 10 * BACKOFF_FIRST_MS)
		log_warn("%s: bad command startup -- throttling", s->name);
	if (s->maxproc > 0 && !s->is_removed && s->backoff_ms > 0)
		loop_timer_start(&s->restart, s->backoff_ms);
}

static bool
has_ready_process(const struct service_state *s)
{
	const struct process *p;

	LIST_FOREACH(p, &s->processes, link)
	{
		if (p->is_ready && !p->is_draining)
			return true;
	}
	return false;
}

static bool
take_back_previous(struct service_state *s)
{
	if (s->previous == NULL)
		return false;
	conf_clear(&s->conf);
	s->conf = *s->previous;
	x_free(&s->previous);
	return true;
}

static void
report_failure(struct process *p, int status)
{
	struct master *m = p->service->master;
	const char *outcome = "";
	char how[64], text[800];

	describe_end(status, how, sizeof how);
	snprintf(text, sizeof text, "process %s/%s pid %d %s%s%s", m->libexec, role_row(p->service->role)->name,
	    (int)p->pid, how, p->reason != NULL ? ": " : "", p->reason != NULL ? lqs(p->reason) : "");
	log_warn("%s", text);
	/* one that is started on demand says nothing about the configuration */
	if (p->is_ready || p->generation != m->generation || p->service->maxproc == 0)
		return;
	if (has_ready_process(p->service))
		outcome = "the workers of before the reload go on";
	else if (take_back_previous(p->service))
		outcome = "started again with the configuration of before the reload";
	if (outcome[0] != '\0') {
		log_warn("%s: %s", p->service->name, outcome);
		snprintf(text + strlen(text), sizeof text - strlen(text), "; %s: %s",
		    p->service->name, outcome);
	}
	master_report(m, text);
	control_reload_ended(m, EX_UNAVAILABLE, text);
}

static void
process_ended(struct process *p, int status)
{
	struct service_state *s = p->service;
	bool failed = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);

	/* its last words */
	if (p->conn != NULL)
		ipc_conn_read(p->conn);
	if (failed && !(s->master->is_stopping && p->is_draining))
		report_failure(p, status);
	if (!p->is_draining || failed)
		schedule_restart(s, p, failed);
	process_free(p);
	if (s->is_removed && LIST_EMPTY(&s->processes)) {
		LIST_REMOVE(s, link);
		service_free(s);
		return;
	}
	service_keep_running(s);
}

static struct process *
find_process(struct master *m, pid_t pid)
{
	struct service_state *s;
	struct process *p;

	LIST_FOREACH(s, &m->services, link)
	{
		LIST_FOREACH(p, &s->processes, link)
		{
			if (p->pid == pid)
				return p;
		}
	}
	return NULL;
}

bool
master_has_workers(struct master *m)
{
	struct service_state *s;

	LIST_FOREACH(s, &m->services, link)
	{
		if (s->role != ROLE_LOG && !LIST_EMPTY(&s->processes))
			return true;
	}
	return false;
}

void
master_reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct process *p = find_process(m, pid);

		if (p != NULL)
			process_ended(p, status);
	}
	if (m->is_stopping && !master_has_workers(m))
		loop_timer_soon(&m->stop_deadline);
}
