#include "edge/dialer.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/dialer.h"
#include "common/log/log.h"
#include "common/net/addr.h"
#include "common/net/dns.h"
#include "edge/endpoint.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	CONNECT_MS = 30000, /* the caller has a time-out of its own, shorter as a rule */
	CALLS_MAX = 1024,   /* of one connection at a time */
	ADDRESSES_MAX = 8,  /* of one name that are tried */
	STALE_AFTER_MS =
	    15000 /* in between a directory that is not there is just an error: no storm of restarts */
};

/* One request: its addresses are tried in turn. */
struct dial {
	TAILQ_ENTRY(dial) link;
	struct dialer *dialer;
	const struct endpoint *to; /* borrowed */
	struct ipc_conn *conn;     /* borrowed */
	uint32_t id;
	struct sockaddr_storage addresses[ADDRESSES_MAX];
	size_t naddresses, at;
	struct dns_query *query; /* owned */
	bool asked_aaaa;
	int fd; /* owned; -1: none */
	struct loop_watch watch;
	struct loop_timer timer;
	char why[200]; /* of the last failure */
};

struct dialer {
	struct loop *loop;
	struct ipc_edge *dnsd;
	struct map endpoints;
	TAILQ_HEAD(, dial) dials;
	size_t ndials;
	int dead_fd; /* what a failed request gets: its other end is closed */
	int64_t born_ms;
	void (*stale)(void *arg);
	void *stale_arg;
	void (*idle)(void *arg);
	void *idle_arg;
	struct loop_timer idle_timer;
};

static void
answer(const struct dialer *d, struct ipc_conn *c, uint32_t id, uint32_t status, const char *why,
    int fd)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, why);
	ipc_put_fd(&o, fd >= 0 ? fd : d->dead_fd);
	ipc_conn_reply(c, id, &o);
}

static void
dial_close_socket(struct dial *x)
{
	if (x->fd < 0)
		return;
	loop_watch_set(&x->watch, 0);
	fd_close(&x->fd);
}

static void
dial_free(struct dial *x)
{
	struct dialer *d = x->dialer;

	TAILQ_REMOVE(&d->dials, x, link);
	dns_cancel(x->query);
	dial_close_socket(x);
	loop_timer_stop(&x->timer);
	free(x);
	if (--d->ndials == 0 && d->idle != NULL)
		loop_timer_soon(&d->idle_timer);
}

static void
dial_done(struct dial *x, uint32_t status)
{
	answer(x->dialer, x->conn, x->id, status, status == DIALER_OK ? "" : x->why, x->fd);
	dial_free(x);
}

static void
note_failure(struct dial *x, const char *what, int sys)
{
	snprintf(x->why, sizeof x->why, "%s: %s", what, strerror(sys));
}

static void on_writable(void *arg, short what);

/* 0: connected or on its way; -1: x->why says what is wrong. */
static int
start_connect(struct dial *x, int family, const struct sockaddr *to, socklen_t len)
{
	int on = 1;

	x->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (x->fd < 0) {
		note_failure(x, "socket", errno);
		return -1;
	}
	loop_watch_init(&x->watch, x->dialer->loop, x->fd, on_writable, x);
	/* packets of a protocol that asks and answers must not wait for each other; no matter if it cannot be set */
	if (family != AF_UNIX)
		(void)setsockopt(x->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(x->fd, to, len) == 0 || errno == EINPROGRESS) {
		loop_watch_set(&x->watch, LOOP_WRITE);
		return 0;
	}
	note_failure(x, "connect", errno);
	dial_close_socket(x);
	return -1;
}

static void
try_addresses(struct dial *x)
{
	while (x->at < x->naddresses) {
		const struct sockaddr_storage *a = &x->addresses[x->at++];

		if (start_connect(x, a->ss_family, (const struct sockaddr *)a, addr_len(a)) == 0)
			return;
	}
	dial_done(x, DIALER_TEMP);
}

static void
on_writable(void *arg, short what)
{
	struct dial *x = arg;
	int sys = 0;
	socklen_t len = sizeof sys;

	(void)what;
	loop_watch_set(&x->watch, 0);
	if (getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &sys, &len) < 0)
		sys = errno;
	if (sys == 0) {
		dial_done(x, DIALER_OK);
		return;
	}
	note_failure(x, "connect", sys);
	dial_close_socket(x);
	try_addresses(x);
}

static void
on_timeout(void *arg)
{
	struct dial *x = arg;

	note_failure(x, x->query != NULL ? "name lookup" : "connect", ETIMEDOUT);
	dial_close_socket(x);
	dial_done(x, DIALER_TEMP);
}

/* --- inet ------------------------------------------------------------------------------------------- */

static void
add_address(struct dial *x, const struct sockaddr_storage *a)
{
	if (x->naddresses == ADDRESSES_MAX)
		return;
	x->addresses[x->naddresses] = *a;
	addr_set_port(&x->addresses[x->naddresses++], x->to->port);
}

static void
on_address(void *arg, const struct dns_answer *a)
{
	struct dial *x = arg;
	struct sockaddr_storage found;

	x->query = NULL;
	for (size_t i = 0; i < a->count; i++)
		if (dns_rdata_addr(a->rdata[i], &found))
			add_address(x, &found);
	if (!x->asked_aaaa) {
		x->asked_aaaa = true;
		x->query = dns_lookup(x->dialer->dnsd, x->to->host, DNS_AAAA, on_address, x);
		return;
	}
	snprintf(x->why, sizeof x->why, "%s: no address found", x->to->host);
	try_addresses(x);
}

static void
dial_inet(struct dial *x)
{
	struct sockaddr_storage a;

	if (addr_parse(view_of(x->to->host), &a)) {
		add_address(x, &a);
	} else if (strcasecmp(x->to->host, "localhost") == 0) { /* RFC 6761 6.3 */
		addr_parse(VIEW_LIT("127.0.0.1"), &a);
		add_address(x, &a);
		addr_parse(VIEW_LIT("::1"), &a);
		add_address(x, &a);
	} else {
		x->query = dns_lookup(x->dialer->dnsd, x->to->host, DNS_A, on_address, x);
		return;
	}
	try_addresses(x);
}

/* --- unix ------------------------------------------------------------------------------------------- */

/* A server that was stopped may have taken its directory with it, and made another one since (systemd's
 * RuntimeDirectory does that): ours is an empty husk then. */
static bool
has_directory(const struct endpoint *e)
{
	struct stat st;

	return e->dirfd >= 0 && fstat(e->dirfd, &st) == 0 && st.st_nlink > 0;
}

static void
dial_unix(struct dial *x)
{
	struct dialer *d = x->dialer;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (!has_directory(x->to)) {
		snprintf(x->why, sizeof x->why, "no directory %s", x->to->directory);
		if (d->stale != NULL && clock_mono_ms() - d->born_ms >= STALE_AFTER_MS) {
			/* the caller asks our successor again */
			d->stale(d->stale_arg);
			d->stale = NULL;
			return;
		}
		dial_done(x, DIALER_TEMP);
		return;
	}
	memcpy(sun.sun_path, x->to->name, strlen(x->to->name));
	/* the root is ours and empty: a name relative to a directory opened before is the one way out */
	if (fchdir(x->to->dirfd) < 0) {
		note_failure(x, "fchdir", errno);
		dial_done(x, DIALER_TEMP);
	} else if (start_connect(x, AF_UNIX, (struct sockaddr *)&sun, sizeof sun) < 0) {
		dial_done(x, DIALER_TEMP);
	}
}

/* --- callers ------------------------------------------------------------------------------------------ */

static void
on_connect_request(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct dialer *d = arg;
	const struct endpoint *to = map_get(&d->endpoints, view_of(ipc_get_str(in)));
	struct dial *x;

	if (to == NULL) {
		answer(d, c, in->id, DIALER_DENIED, "not in the configuration", -1);
		return;
	}
	if (d->ndials >= CALLS_MAX) {
		answer(d, c, in->id, DIALER_TEMP, "too many connections on their way", -1);
		return;
	}
	x = x_calloc(1, sizeof *x);
	x->dialer = d;
	x->to = to;
	x->conn = c;
	x->id = in->id;
	x->fd = -1;
	loop_timer_init(&x->timer, d->loop, on_timeout, x);
	loop_timer_start(&x->timer, CONNECT_MS);
	TAILQ_INSERT_TAIL(&d->dials, x, link);
	d->ndials++;
	if (to->host != NULL)
		dial_inet(x);
	else
		dial_unix(x);
}

static void
on_caller_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct dialer *d = arg;
	struct dial *x, *next;

	(void)why;
	for (x = TAILQ_FIRST(&d->dials); x != NULL; x = next) {
		next = TAILQ_NEXT(x, link);
		if (x->conn == c)
			dial_free(x);
	}
}

static const struct ipc_handler caller_rows[] = {
	{ DIALER_CONNECT, "s", IPC_STATE_ANY, on_connect_request },
	{ 0, NULL, 0, NULL },
};
const struct ipc_conn_ops dialer_caller_ops = { caller_rows, on_caller_close };

void
dialer_caller_open(void *arg, struct ipc_conn *c)
{
	ipc_conn_set_arg(c, arg);
}

/* --- life ----------------------------------------------------------------------------------------------- */

static void
on_idle(void *arg)
{
	struct dialer *d = arg;

	if (d->ndials == 0)
		d->idle(d->idle_arg);
}

struct dialer *
dialer_new(struct loop *l, struct ipc_edge *dnsd, const struct map *endpoints,
    void (*stale)(void *arg), void *arg)
{
	struct dialer *d = x_calloc(1, sizeof *d);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		log_fatal("socketpair: %m");
	close(pair[1]);
	d->dead_fd = pair[0];
	d->loop = l;
	d->dnsd = dnsd;
	d->endpoints = *endpoints;
	d->born_ms = clock_mono_ms();
	d->stale = stale;
	d->stale_arg = arg;
	TAILQ_INIT(&d->dials);
	loop_timer_init(&d->idle_timer, l, on_idle, d);
	return d;
}

void
dialer_free(struct dialer *d)
{
	struct dial *x;

	while ((x = TAILQ_FIRST(&d->dials)) != NULL)
		dial_free(x);
	loop_timer_stop(&d->idle_timer);
	endpoints_clear(&d->endpoints);
	fd_close(&d->dead_fd);
	free(d);
}

void
dialer_drain(struct dialer *d, void (*idle)(void *arg), void *arg)
{
	d->idle = idle;
	d->idle_arg = arg;
	if (d->ndials == 0)
		loop_timer_soon(&d->idle_timer);
}
