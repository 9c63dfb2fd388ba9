#include "common/daemon/daemon.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/daemon/counters.h"
#include "common/ipc/msg/master.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	CONTROL_FD = 3,
	CONF_BYTES_MAX = 16 << 20,
	ATTACHMENTS_MAX = 256,
	EDGES_MAX = 8,
	ROWS_MAX = 16,
	ACCEPT_PER_TURN = 16,
	ACCEPT_RETRY_MS = 500,
	TEST_SECONDS =
	    30, /* for the test of a configuration: a table may lie on a server that does not answer */
	CONNS_OF_WORKER = 16, /* one is what a worker needs; in other hands it could take all our descriptors */
};

struct listener;

/* A connection of a caller. */
struct caller {
	LIST_ENTRY(caller) link;
	struct listener *listener;
	pid_t pid;
};
LIST_HEAD(caller_list, caller);

struct attachment {
	char *name; /* owned */
	int fd;     /* owned until taken */
};

struct listener {
	struct daemon *d;
	int fd; /* owned */
	bool is_edge;
	enum role caller; /* edge */
	uid_t uid;        /* edge: who may connect */
	struct loop_watch watch;
	struct loop_timer retry;
	struct ipc_conn_ops ops; /* edge */
	void (*on_open)(void *arg, struct ipc_conn *c);
	void (*on_client)(void *arg, int fd, const struct sockaddr_storage *peer);
	void *arg;
	struct caller_list callers; /* edge */
	unsigned conns, max_conns;
};

struct daemon {
	enum role role;
	struct loop *loop;
	struct conf conf;
	char *service, *account, *root; /* owned */
	uid_t uid;
	gid_t gid;
	bool permissive;
	struct ipc_conn *master;
	struct ipc_handler rows[ROWS_MAX + 1];
	struct attachment attachments[ATTACHMENTS_MAX];
	size_t nattachments;
	struct listener listeners[MASTER_LISTENERS_MAX];
	size_t nlisteners;
	struct ipc_edge *edges[EDGES_MAX];
	size_t nedges;
	void (*on_drain)(void *arg);
	void *drain_arg;
	bool draining, stopping, accept_paused, running, is_ready, is_test;
	int status;
};

/* One daemon a process: master's messages reach it whatever argument the role's own rows were given. */
static struct daemon *the_daemon;

/* --- start --------------------------------------------------------------------------------------- */

static void
start_failed(const char *name, const char *why)
{
	fprintf(stderr, "%s: %s\n", name, why);
	exit(EX_USAGE);
}

static int
load_conf(struct conf *conf, int fd, struct err *err)
{
	uint64_t size;
	char *text;
	int r;

	conf_init(conf);
	if (memfd_check(fd, CONF_BYTES_MAX, &size, err) < 0)
		return -1;
	text = x_malloc(size);
	r = fd_pread_all(fd, text, size, 0, err);
	if (r == 0)
		r = conf_parse(conf, view_make(text, size), "configuration", err);
	free(text);
	return r;
}

static void
add_attachment(struct daemon *d, struct ipc_in *in)
{
	if (d->nattachments == ATTACHMENTS_MAX)
		bug("too many attachments");
	d->attachments[d->nattachments].name = x_strdup(ipc_get_str(in));
	d->attachments[d->nattachments++].fd = ipc_get_fd(in);
}

static void
add_listener(struct daemon *d, struct ipc_in *in)
{
	struct listener *l;

	if (d->nlisteners == MASTER_LISTENERS_MAX)
		bug("too many listeners");
	l = &d->listeners[d->nlisteners++];
	*l = (struct listener){ .d = d };
	l->is_edge = ipc_get_u32(in) == MASTER_LISTEN_EDGE;
	l->caller = (enum role)ipc_get_u32(in);
	l->uid = ipc_get_u32(in);
	l->fd = ipc_get_fd(in);
}

static int
apply_start(struct daemon *d, struct ipc_in *in, struct err *err)
{
	int conf_fd, log_fd, r;

	d->service = x_strdup(ipc_get_str(in));
	d->account = x_strdup(ipc_get_str(in));
	d->root = x_strdup(ipc_get_str(in));
	d->uid = ipc_get_u32(in);
	d->gid = ipc_get_u32(in);
	d->permissive = ipc_get_u32(in) != 0;
	ipc_get_str(in); /* configuration directory: it stands in the configuration too */
	conf_fd = ipc_get_fd(in);
	log_fd = ipc_get_fd(in);
	/* what libraries and sanitizers print lands in the log too, under our name */
	if (dup2(log_fd, STDERR_FILENO) < 0)
		return err_sys(err, ERR_TEMP, "dup2");
	log_open(d->loop, log_fd, role_row(d->role)->log_tag);
	while (ipc_in_more(in))
		add_listener(d, in);
	r = load_conf(&d->conf, conf_fd, err);
	fd_close(&conf_fd);
	return r;
}

/* Blocks: nothing runs yet, and master has already sent all of it. */
static int
receive_start(struct daemon *d, struct err *err)
{
	static unsigned char packet[IPC_MAX_PACKET];

	for (;;) {
		struct ipc_in in = { 0 };
		ssize_t n = ipc_recv_packet(CONTROL_FD, packet, sizeof packet, in.fds, &in.nfds);

		if (n < 0)
			return err_sys(
			    err, ERR_TEMP, "not started by master: descriptor %d", CONTROL_FD);
		if (n == 0)
			return err_set(err, ERR_GONE, "master went away");
		if (ipc_in_parse(&in, packet, (size_t)n, err) < 0)
			return -1;
		if (in.type == MASTER_ATTACH) {
			if (ipc_in_check(&in, "sh", err) < 0)
				return -1;
			add_attachment(d, &in);
		} else if (in.type == MASTER_START) {
			if (ipc_in_check(&in, MASTER_START_SIG, err) < 0)
				return -1;
			return apply_start(d, &in, err);
		} else
			return err_set(err, ERR_SYNTAX, "message %u before START", in.type);
	}
}

static void
close_listeners(struct daemon *d)
{
	for (size_t i = 0; i < d->nlisteners; i++) {
		struct listener *l = &d->listeners[i];

		if (l->fd < 0)
			continue;
		if (l->watch.fn != NULL) {
			loop_watch_set(&l->watch, 0);
			loop_timer_stop(&l->retry);
		}
		fd_close(&l->fd);
	}
}

static void
on_drain_message(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct daemon *d = the_daemon;

	bool stopping = ipc_get_u32(in) != 0;

	(void)arg;
	(void)c;
	if (d->draining && (d->stopping || !stopping))
		return;
	d->draining = true;
	d->stopping = stopping;
	close_listeners(d);
	if (d->on_drain != NULL)
		d->on_drain(d->drain_arg);
	else
		daemon_exit(d, 0);
}

static void
on_master_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)arg;
	(void)c;
	the_daemon->master = NULL;
	log_error("master is gone (%s): exiting", why->text);
	log_flush();
	_exit(1);
}

/* Before READY master wants to know why: whoever waits for a start or a reload is told.  No thread runs yet; a helper
 * speaks for us. */
static void
on_fatal(const char *text)
{
	struct ipc_out o;

	if (the_daemon->is_ready || the_daemon->master == NULL)
		return;
	ipc_out_init(&o, MASTER_FAILED);
	ipc_put_str(&o, text);
	(void)ipc_conn_send(the_daemon->master, &o);
}

static void
on_fault(void *arg, const char *name, const char *text)
{
	(void)arg, (void)name;
	log_error("%s", text);
}

/* NAME -t: no master; what START would have told comes from standard input and from the role. */
static void
start_test(struct daemon *d)
{
	const char *user = role_row(d->role)->user;
	const struct passwd *pw = user != NULL ? getpwnam(user) : NULL;
	struct buf text;
	struct err err;

	alarm(TEST_SECONDS);
	d->is_test = true;
	d->service = x_strdup(role_row(d->role)->name);
	d->account = x_strdup("");
	d->root = x_strdup("/");
	d->uid = pw != NULL ? pw->pw_uid : geteuid();
	d->gid = pw != NULL ? pw->pw_gid : getegid();
	log_open(NULL, -1, role_row(d->role)->log_tag);
	conf_init(&d->conf);
	buf_init(&text, CONF_BYTES_MAX);
	if (fd_read_rest(STDIN_FILENO, &text, &err) < 0 ||
	    conf_parse(&d->conf, buf_view(&text), "configuration", &err) < 0)
		log_fatal("%s", err.text);
	buf_clear(&text);
	if (conf_check(&d->conf, on_fault, NULL) > 0)
		_exit(EX_CONFIG);
}

static void
use_counters(struct daemon *d)
{
	int fd = daemon_attachment(d, "counters");
	struct err err;

	if (fd >= 0 && counters_use(fd, &err) < 0)
		log_warn("nothing is counted: %s", err.text);
}

struct daemon *
daemon_start(int argc, char **argv, enum role role)
{
	struct daemon *d = x_calloc(1, sizeof *d);
	struct ipc_conn_ops ops = { .on_close = on_master_gone };
	struct err err;

	if (argc != 1 && !(argc == 2 && strcmp(argv[1], "-t") == 0))
		start_failed(argv[0], "started by master only; see estafeta(8)");
	d->role = role;
	d->loop = loop_new();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	the_daemon = d;
	if (argc == 2) {
		start_test(d);
		return d;
	}
	if (receive_start(d, &err) < 0)
		start_failed(argv[0], err.text);
	log_set_debug(conf_str(&d->conf, "debug_peer_list")[0] != '\0');
	use_counters(d);
	d->rows[0] = (struct ipc_handler){ MASTER_DRAIN, "u", IPC_STATE_ANY, on_drain_message };
	ops.handlers = d->rows;
	d->master = ipc_conn_new(d->loop, CONTROL_FD, &ops, NULL);
	log_on_fatal(on_fatal);
	return d;
}

void
daemon_configured(const struct daemon *d)
{
	if (d->is_test)
		_exit(EX_OK);
}

bool
daemon_is_test(const struct daemon *d)
{
	return d->is_test;
}

/* --- what the role asks for ------------------------------------------------------------------------ */

struct loop *
daemon_loop(struct daemon *d)
{
	return d->loop;
}

const struct conf *
daemon_conf(struct daemon *d)
{
	return &d->conf;
}

const char *
daemon_service(struct daemon *d)
{
	return d->service;
}

const char *
daemon_account(struct daemon *d)
{
	return d->account;
}

struct ipc_edge *
daemon_edge(struct daemon *d, enum role server, const struct ipc_conn_ops *ops, void *arg)
{
	const struct edge_row *row = edge_find(d->role, server);
	char path[64];

	if (row == NULL || row->kind != EDGE_PATH || d->nedges == EDGES_MAX)
		bug("no edge from %s to %s", role_row(d->role)->name, role_row(server)->name);
	edge_path(d->role, server, path, sizeof path);
	return d->edges[d->nedges++] = ipc_edge_new(d->loop, path, ops, arg);
}

void
daemon_serve(struct daemon *d, enum role caller, const struct ipc_conn_ops *ops,
    void (*on_open)(void *arg, struct ipc_conn *c), void *arg, unsigned max_conns)
{
	if (edge_find(caller, d->role) == NULL)
		bug("no edge from %s to %s", role_row(caller)->name, role_row(d->role)->name);
	for (size_t i = 0; i < d->nlisteners; i++) {
		struct listener *l = &d->listeners[i];

		if (!l->is_edge || l->caller != caller)
			continue;
		l->ops = *ops;
		l->on_open = on_open;
		l->arg = arg;
		l->max_conns = max_conns;
	}
}

void
daemon_accept(struct daemon *d,
    void (*on_client)(void *arg, int fd, const struct sockaddr_storage *peer), void *arg)
{
	for (size_t i = 0; i < d->nlisteners; i++) {
		struct listener *l = &d->listeners[i];

		if (l->is_edge)
			continue;
		l->on_client = on_client;
		l->arg = arg;
	}
}

struct ipc_conn *
daemon_master(struct daemon *d)
{
	return d->master;
}

void
daemon_on_message(struct daemon *d, const struct ipc_handler *rows, void *arg)
{
	size_t n = 1;

	for (; rows->fn != NULL; rows++) {
		if (n == ROWS_MAX)
			bug("too many control messages");
		d->rows[n++] = *rows;
	}
	d->rows[n] = (struct ipc_handler){ 0 };
	ipc_conn_set_arg(d->master, arg);
}

void
daemon_on_drain(struct daemon *d, void (*fn)(void *arg), void *arg)
{
	d->on_drain = fn;
	d->drain_arg = arg;
}

void
daemon_exit(struct daemon *d, int status)
{
	d->status = status;
	loop_stop(d->loop);
}

bool
daemon_is_draining(const struct daemon *d)
{
	return d->draining;
}

bool
daemon_is_stopping(const struct daemon *d)
{
	return d->stopping;
}

static size_t
attachment_find(const struct daemon *d, const char *name)
{
	size_t i = 0;

	while (i < d->nattachments && strcmp(d->attachments[i].name, name) != 0)
		i++;
	return i;
}

int
daemon_attachment(struct daemon *d, const char *name)
{
	size_t i = attachment_find(d, name);
	int fd = -1;

	if (i < d->nattachments) {
		fd = d->attachments[i].fd;
		d->attachments[i].fd = -1;
	}
	return fd;
}

int
daemon_attached_conf(struct daemon *d, const char *name, struct conf *out, struct err *err)
{
	int fd = daemon_attachment(d, name), r;

	r = fd < 0 ? err_set(err, ERR_TEMP, "%s is not attached", name) : load_conf(out, fd, err);
	fd_close(&fd);
	return r;
}

const char *
daemon_next_attachment(struct daemon *d, const char *prefix, size_t *at)
{
	while (*at < d->nattachments) {
		const char *name = d->attachments[(*at)++].name;

		if (strncmp(name, prefix, strlen(prefix)) == 0)
			return name;
	}
	return NULL;
}

/* --- accepting -------------------------------------------------------------------------------------- */

static void
listener_update(struct listener *l)
{
	bool full = l->is_edge && l->max_conns > 0 && l->conns >= l->max_conns;
	bool paused = !l->is_edge && l->d->accept_paused;

	if (l->fd < 0 || l->watch.fn == NULL)
		return;
	loop_watch_set(&l->watch, full || paused || loop_timer_running(&l->retry) ? 0 : LOOP_READ);
}

static void
on_retry(void *arg)
{
	listener_update(arg);
}

static void
on_conn_free(void *arg)
{
	struct caller *c = arg;
	struct listener *l = c->listener;

	LIST_REMOVE(c, link);
	free(c);
	l->conns--;
	listener_update(l);
}

static bool
has_enough(const struct listener *l, pid_t pid)
{
	const struct caller *c;
	unsigned n = 0;

	LIST_FOREACH(c, &l->callers, link)
	{
		n += c->pid == pid;
	}
	return l->caller != ROLE_TOOL && n >= CONNS_OF_WORKER;
}

static void
refuse(const struct listener *l, struct ipc_conn *c, const char *why, unsigned who)
{
	log_warn("edge from %s: connection refused: %s %u", role_row(l->caller)->name, why, who);
	ipc_conn_close(c);
}

static void
open_edge(struct listener *l, int fd)
{
	struct ipc_conn *c = ipc_conn_new(l->d->loop, fd, &l->ops, l->arg);
	struct caller *caller;
	pid_t pid;
	uid_t uid;

	ipc_conn_peer(c, &pid, &uid, NULL);
	if (l->caller != ROLE_TOOL && uid != l->uid) {
		refuse(l, c, "uid", (unsigned)uid);
		return;
	}
	if (has_enough(l, pid)) {
		refuse(l, c, "too many of pid", (unsigned)pid);
		return;
	}
	caller = x_calloc(1, sizeof *caller);
	caller->listener = l;
	caller->pid = pid;
	LIST_INSERT_HEAD(&l->callers, caller, link);
	l->conns++;
	ipc_conn_on_free(c, on_conn_free, caller);
	l->on_open(l->arg, c);
}

static void
on_accept(void *arg, short what)
{
	struct listener *l = arg;

	(void)what;
	for (int i = 0; i < ACCEPT_PER_TURN && l->watch.what != 0; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t len = sizeof peer;
		int fd =
		    accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
			return;
		if (fd < 0) {
			/* out of descriptors or memory: those who wait in the backlog are served when a
			 * session has ended */
			log_warn("accept: %s", strerrordesc_np(errno));
			loop_timer_start(&l->retry, ACCEPT_RETRY_MS);
			listener_update(l);
			return;
		}
		if (l->is_edge)
			open_edge(l, fd);
		else
			l->on_client(l->arg, fd, &peer);
		listener_update(l);
	}
}

/* Who holds back its clients is not ready: at a reload those of before serve on. */
static void
tell_ready(struct daemon *d)
{
	struct ipc_out ready;

	if (d->is_ready || d->accept_paused || !d->running)
		return;
	d->is_ready = true;
	ipc_out_init(&ready, MASTER_READY);
	if (ipc_conn_send(d->master, &ready) < 0)
		log_fatal("master does not listen");
}

void
daemon_pause_accept(struct daemon *d, bool paused)
{
	d->accept_paused = paused;
	for (size_t i = 0; d->running && i < d->nlisteners; i++)
		listener_update(&d->listeners[i]);
	tell_ready(d);
}

static void
start_accepting(struct daemon *d)
{
	d->running = true;
	for (size_t i = 0; i < d->nlisteners; i++) {
		struct listener *l = &d->listeners[i];
		struct err err;

		if (l->is_edge ? l->on_open == NULL : l->on_client == NULL) {
			/* an edge of the graph that this program does not serve: the caller sees it closed */
			fd_close(&l->fd);
			continue;
		}
		if (fd_set_nonblock(l->fd, &err) < 0)
			log_fatal("%s", err.text);
		loop_watch_init(&l->watch, d->loop, l->fd, on_accept, l);
		loop_timer_init(&l->retry, d->loop, on_retry, l);
		listener_update(l);
	}
}

/* --- run ---------------------------------------------------------------------------------------------- */

static void
complete_plan(struct daemon *d, struct sandbox_plan *plan)
{
	plan->role = role_row(d->role)->name;
	plan->root_fd = daemon_attachment(d, "root");
	plan->root = plan->root_fd > 0 ? NULL : d->root;
	plan->uid = d->uid;
	plan->gid = d->gid;
	plan->permissive = d->permissive;
	plan->calls |= CALLS_BASE | CALLS_LOOP | CALLS_IPC;
	if (d->nlisteners > 0)
		plan->calls |= CALLS_ACCEPT;
}

void
daemon_helper_plan(const struct daemon *d, struct sandbox_plan *plan)
{
	plan->role = role_row(d->role)->name;
	plan->root = d->root;
	plan->uid = d->uid;
	plan->gid = d->gid;
	plan->permissive = d->permissive;
}

int
daemon_run(struct daemon *d, struct sandbox_plan *plan, void (*before_loop)(void *arg), void *arg)
{
	struct err err;

	complete_plan(d, plan);
	if (sandbox_enter(plan, &err) < 0)
		log_fatal("%s", err.text);
	if (before_loop != NULL)
		before_loop(arg);
	start_accepting(d);
	tell_ready(d);
	loop_run(d->loop);
	log_flush();
	return d->status;
}
