/* setup.c - users, directories, listeners: what must be there before a worker starts. */
#include "master/master.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/edges.h"
#include "common/log/log.h"
#include "common/net/addr.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, QUEUE_WAIT_MS = 3000 };

int
setup_user(const char *name, uid_t *uid, gid_t *gid, struct err *err)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(name);
	if (pw == NULL)
		return err_set(err, ERR_PERM, "system user \"%s\" does not exist (run conf/users.sh)", name);
	if (pw->pw_uid == 0 || pw->pw_gid == 0)
		return err_set(err, ERR_PERM, "system user \"%s\" must not be root", name);
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

/* --- directories ------------------------------------------------------------------------------------ */

/* dir/sub... with owner and mode; sub is a format of one string. */
static int
make_below(const char *dir, const char *sub, mode_t mode, uid_t uid, gid_t gid, struct err *err)
{
	char *path = x_asprintf("%s/%s", dir, sub);
	int r = fd_make_directory(path, mode, uid, gid, true, err);

	free(path);
	return r;
}

/* Looked at before a start makes the edges of qmgr: they would be taken from a qmgr that is at work on this queue.  One
 * whose master died ends by itself within a moment. */
static int
make_queue_lock(struct master *m, const char *queue, uid_t uid, gid_t gid, struct err *err)
{
	char *path = x_asprintf("%s/lock", queue);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), r = 0;
	pid_t holder;

	if (fd < 0 || fchown(fd, uid, gid) < 0)
		r = err_sys(err, ERR_PERM, "%s", path);
	else if (m->generation == 0 && fd_lock(fd, false, QUEUE_WAIT_MS, &holder) < 0)
		r = holder < 0 ? err_sys(err, ERR_PERM, "lock %s", path)
			       : err_set(err, ERR_PERM, "queue_directory %s: in use by another qmgr (pid %d)",
				     queue, (int)holder);
	fd_close(&fd);
	free(path);
	return r;
}

static int
make_queue(struct master *m, struct err *err)
{
	static const char *const subs[] = { "journal", "deferred", "bodies", "corrupt", "ledger",
		"contain", "verify" };
	const char *queue = conf_str(&m->conf, "queue_directory");
	uid_t uid = 0;
	gid_t gid = 0;

	if (setup_user(role_row(ROLE_QMGR)->user, &uid, &gid, err) < 0 ||
	    fd_make_directory(queue, 0755, 0, 0, true, err) < 0 ||
	    make_queue_lock(m, queue, uid, gid, err) < 0 || make_below(queue, "edges", 0755, 0, 0, err) < 0)
		return -1;
	for (size_t i = 0; i < sizeof subs / sizeof subs[0]; i++)
		if (make_below(queue, subs[i], 0700, uid, gid, err) < 0)
			return -1;
	/* sockets of services of type unix that clients connect to: for root, for everybody */
	if (make_below(queue, "private", 0700, 0, 0, err) < 0)
		return -1;
	return make_below(queue, "public", 0755, 0, 0, err);
}

static int
make_auth(const char *data, struct err *err)
{
	uid_t uid = 0;
	gid_t gid = 0;

	if (setup_user(role_row(ROLE_AUTHD)->user, &uid, &gid, err) < 0 ||
	    make_below(data, "auth", 0750, 0, gid, err) < 0)
		return -1;
	return make_below(data, "auth/edges", 0755, 0, 0, err);
}

/* The directories of roles that keep files of their own. */
static int
make_states(const char *data, struct err *err)
{
	for (int r = 0; r < ROLE_COUNT; r++) {
		const struct role_row *row = role_row((enum role)r);
		char edges[80];
		uid_t uid = 0;
		gid_t gid = 0;

		snprintf(edges, sizeof edges, "%s/edges", row->name);
		if (row->root == ROOT_STATE &&
		    (setup_user(row->user, &uid, &gid, err) < 0 ||
			make_below(data, row->name, 0700, uid, gid, err) < 0 ||
			make_below(data, edges, 0755, 0, 0, err) < 0))
			return -1;
	}
	return 0;
}

static int
make_data(const char *data, struct err *err)
{
	if (fd_make_directory(data, 0755, 0, 0, true, err) < 0 ||
	    make_below(data, "edges", 0755, 0, 0, err) < 0 ||
	    make_below(data, "control", 0755, 0, 0, err) < 0 || make_auth(data, err) < 0 ||
	    make_states(data, err) < 0)
		return -1;
	for (int r = 0; r < ROLE_COUNT; r++) {
		char *sub = x_asprintf("edges/%s", role_row((enum role)r)->name);
		int made = r == ROLE_TOOL ? 0 : make_below(data, sub, 0755, 0, 0, err);

		free(sub);
		if (made < 0)
			return -1;
	}
	return 0;
}

int
setup_directories(struct master *m, struct err *err)
{
	if (setup_user(conf_str(&m->conf, "mailbox_owner"), &m->mail_uid, &m->mail_gid, err) < 0)
		return conf_err_prefix(err, &m->conf, "mailbox_owner");
	if (make_data(conf_str(&m->conf, "data_directory"), err) < 0)
		return conf_err_prefix(err, &m->conf, "data_directory");
	if (make_queue(m, err) < 0)
		return conf_err_prefix(err, &m->conf, "queue_directory");
	if (fd_make_directory(conf_str(&m->conf, "virtual_mailbox_base"), 0755, m->mail_uid,
		m->mail_gid, false, err) < 0)
		return conf_err_prefix(err, &m->conf, "virtual_mailbox_base");
	return 0;
}

/* --- edges -------------------------------------------------------------------------------------------- */

/* Directory of the caller's edges, as seen from outside its cage. */
static char *
edge_directory(struct master *m, enum role caller)
{
	const char *data = conf_str(&m->conf, "data_directory");

	switch (role_row(caller)->root) {
	case ROOT_QUEUE:
		return x_asprintf("%s/edges", conf_str(&m->conf, "queue_directory"));
	case ROOT_AUTH:
		return x_asprintf("%s/auth/edges", data);
	case ROOT_STATE:
		return x_asprintf("%s/%s/edges", data, role_row(caller)->name);
	default:
		if (caller == ROLE_TOOL)
			return x_asprintf("%s/control", data);
		return x_asprintf("%s/edges/%s", data, role_row(caller)->name);
	}
}

/* A listening socket at dir/name with this owner and mode.  It is made under another name and renamed, so
 * that nobody connects before owner and mode are right. */
static int
bind_socket(const char *dir, const char *name, int type, uid_t uid, mode_t mode, struct err *err)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char fresh[80];
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;

	if (dirfd < 0)
		return err_sys(err, ERR_PERM, "open %s", dir);
	snprintf(fresh, sizeof fresh, ".%s.new", name);
	snprintf(sun.sun_path, sizeof sun.sun_path, "/proc/self/fd/%d/%s", dirfd, fresh);
	unlinkat(dirfd, fresh, 0);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof sun) < 0 ||
	    fchownat(dirfd, fresh, uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(dirfd, fresh, mode, 0) < 0 || listen(fd, BACKLOG) < 0 ||
	    renameat(dirfd, fresh, dirfd, name) < 0) {
		err_sys(err, ERR_PERM, "socket %s/%s", dir, name);
		fd_close(&fd);
	}
	close(dirfd);
	return fd;
}

static int
bind_edge(struct service_state *s, const struct edge_row *edge, struct bound_listener *l, struct err *err)
{
	const struct role_row *caller = role_row(edge->caller), *server = role_row(edge->server);
	char *dir = edge_directory(s->master, edge->caller);
	gid_t gid;
	int r = 0;

	l->is_edge = true;
	l->caller = edge->caller;
	l->caller_uid = 0;
	if (edge->caller != ROLE_TOOL && edge->caller != ROLE_MASTER)
		r = setup_user(caller->user, &l->caller_uid, &gid, err);
	/* sendmail is for everybody: qmgr looks at SO_PEERCRED */
	if (r == 0 && (l->fd = bind_socket(dir, server->name, SOCK_SEQPACKET, l->caller_uid,
			   edge->caller == ROLE_TOOL && edge->server == ROLE_QMGR ? 0666 : 0600, err)) < 0)
		r = -1;
	free(dir);
	return r;
}

void
setup_renew_edges(struct service_state *s)
{
	for (size_t i = 0; i < s->nlisteners; i++) {
		struct bound_listener *l = &s->listeners[i], fresh = { .fd = -1, .name = l->name };
		struct err err;

		if (!l->is_edge)
			continue;
		if (bind_edge(s, edge_find(l->caller, s->role), &fresh, &err) < 0) {
			log_warn("%s; the one of before stays", err.text);
			continue;
		}
		fd_close(&l->fd);
		*l = fresh;
	}
}

int
setup_control(struct master *m, struct err *err)
{
	char *dir = edge_directory(m, ROLE_TOOL);

	m->control = bind_socket(dir, role_row(ROLE_MASTER)->name, SOCK_SEQPACKET, 0, 0600, err);
	free(dir);
	return m->control < 0 ? -1 : 0;
}

/* --- listeners ------------------------------------------------------------------------------------------ */

static int
bind_inet(const struct addrinfo *ai, const char *what, struct err *err)
{
	int on = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "socket for %s", what);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    (ai->ai_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		err_sys(err, ERR_PERM, "%s", what);
		fd_close(&fd);
	}
	return fd;
}

static struct bound_listener *
add_listener(struct service_state *s)
{
	s->listeners = x_realloc(s->listeners, s->nlisteners + 1, sizeof *s->listeners);
	s->listeners[s->nlisteners] = (struct bound_listener){ .fd = -1 };
	return &s->listeners[s->nlisteners++];
}

/* The listener of that name moves from the old service to the new; -1 if there is none. */
static int
take_over(struct service_state *old, const char *name)
{
	for (size_t i = 0; old != NULL && i < old->nlisteners; i++)
		if (old->listeners[i].fd >= 0 && strcmp(old->listeners[i].name, name) == 0)
			return fcntl(old->listeners[i].fd, F_DUPFD_CLOEXEC, 3);
	return -1;
}

struct inet_request {
	struct service_state *s, *old;
};

static int
listen_on(void *arg, const struct addrinfo *ai, struct err *err)
{
	struct inet_request *r = arg;
	struct sockaddr_storage ss = { 0 };
	char text[ADDR_TEXT];
	struct bound_listener *l = add_listener(r->s);

	memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
	l->name = x_asprintf("%s:%u", addr_text(&ss, text), addr_port(&ss));
	l->fd = take_over(r->old, l->name);
	if (l->fd < 0)
		l->fd = bind_inet(ai, l->name, err);
	return l->fd < 0 ? -1 : 0;
}

static int
listen_edges(struct service_state *s, struct service_state *old, struct err *err)
{
	size_t count;
	const struct edge_row *edges = edge_rows(&count);

	for (size_t i = 0; i < count; i++) {
		struct bound_listener *l;

		if (edges[i].server != s->role || edges[i].kind != EDGE_PATH)
			continue;
		l = add_listener(s);
		l->name = x_asprintf("%s/%s", role_row(edges[i].caller)->name, role_row(s->role)->name);
		for (size_t k = 0; old != NULL && k < old->nlisteners; k++)
			if (old->listeners[k].is_edge && old->listeners[k].caller == edges[i].caller) {
				l->is_edge = true;
				l->caller = old->listeners[k].caller;
				l->caller_uid = old->listeners[k].caller_uid;
			}
		l->fd = take_over(old, l->name);
		if (l->fd < 0 && bind_edge(s, &edges[i], l, err) < 0)
			return -1;
	}
	return 0;
}

/* Postfix's place and name: queue_directory/private/NAME, or public/NAME; the directory says who may connect. */
static int
listen_unix(struct service_state *s, const struct service *row, struct service_state *old,
    struct err *err)
{
	const char *sub = row->is_public ? "public" : "private";
	char *dir = x_asprintf("%s/%s", conf_str(&s->master->conf, "queue_directory"), sub);
	struct bound_listener *l = add_listener(s);

	l->name = x_asprintf("%s/%s", sub, row->name);
	l->fd = take_over(old, l->name);
	if (l->fd < 0)
		l->fd = bind_socket(dir, row->name, SOCK_STREAM, 0, 0666, err);
	free(dir);
	return l->fd < 0 ? -1 : 0;
}

int
setup_listeners(struct service_state *s, const struct service *row, struct service_state *old,
    struct err *err)
{
	struct inet_request r = { s, old };

	if (row->is_inet)
		return service_each_address(row, &s->conf, listen_on, &r, err);
	return row->role == ROLE_SMTPD ? listen_unix(s, row, old, err) : listen_edges(s, old, err);
}

void
listener_clear(struct bound_listener *l)
{
	fd_close(&l->fd);
	x_free(&l->name);
}
