#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/daemon/daemon.h"
#include "common/login/login_client.h"
#include "common/net/tls.h"

#include <stdlib.h>

enum {
	TLS_RETRY_MS = 500,
	TICKET_SECONDS = 3600,
	STOP_MS = 2500, /* more than a session takes, less than master waits */
};

static void
front_update_accept(struct login_front *f)
{
	bool paused = f->is_full || !f->is_ready;

	if (paused != f->is_paused)
		f->setup.pause_accept(f->setup.arg, paused);
	f->is_paused = paused;
}

static void
on_tls_retry(void *arg)
{
	login_front_start(arg);
}

static void
on_stop(void *arg)
{
	struct login_front *f = arg;

	f->setup.on_idle(f->setup.arg);
}

struct login_front *
login_front_new(const struct login_setup *setup, const struct login_protocol *p)
{
	struct login_front *f = x_calloc(1, sizeof *f);

	f->setup = *setup;
	f->protocol = p;
	f->has_wrapper_tls = conf_bool(setup->conf, "tls_wrappermode");
	f->disables_plaintext = conf_bool(setup->conf, "disable_plaintext_auth");
	f->client_limit = (size_t)conf_int(setup->conf, "login_client_limit");
	f->address_limit = (size_t)conf_int(setup->conf, "mail_max_userip_connections");
	f->tls_setup = (struct tls_server_setup){
		.conf = setup->conf,
		.params = role_tls(p->role),
		.service = p->service,
		.ticket_seconds = TICKET_SECONDS,
	};
	TAILQ_INIT(&f->waiting);
	TAILQ_INIT(&f->logged_in);
	map_init(&f->addresses);
	loop_timer_init(&f->tls_retry, setup->loop, on_tls_retry, f);
	loop_timer_init(&f->stop, setup->loop, on_stop, f);
	return f;
}

void
login_front_free(struct login_front *f)
{
	struct login_client *c;

	if (f == NULL)
		return;
	f->is_draining = false;
	while ((c = TAILQ_FIRST(&f->waiting)) != NULL || (c = TAILQ_FIRST(&f->logged_in)) != NULL)
		login_client_free(c);
	loop_timer_stop(&f->tls_retry);
	loop_timer_stop(&f->stop);
	tls_context_free(f->tls);
	map_clear(&f->addresses);
	free(f);
}

static void
front_ready(struct login_front *f)
{
	f->is_ready = true;
	front_update_accept(f);
}

static void
on_tls_ready(void *arg, struct tls_context *ctx, const struct err *err)
{
	struct login_front *f = arg;

	if (ctx == NULL && err->kind == ERR_PERM)
		log_fatal("%s", err->text);
	if (ctx == NULL) {
		log_error("%s: clients wait", err->text);
		loop_timer_start(&f->tls_retry, TLS_RETRY_MS);
		return;
	}
	f->tls = ctx;
	front_ready(f);
}

static bool
has_certificate(const struct login_front *f)
{
	const char *sets[ROLE_TLS_SETS];

	return role_tls_sets(f->tls_setup.params, f->setup.conf, sets) > 0;
}

void
login_front_start(void *arg)
{
	struct login_front *f = arg;

	front_update_accept(f);
	if (has_certificate(f))
		tls_server_new(&f->tls_setup, on_tls_ready, f);
	else
		front_ready(f);
}

/* Who owns one IPv6 address owns the network of 64 bits around it. */
static struct view
address_key(const struct sockaddr_storage *peer, unsigned char key[16])
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;

	if (peer->ss_family == AF_INET) {
		memcpy(key, &((const struct sockaddr_in *)peer)->sin_addr, 4);
		return view_make(key, 4);
	}
	if (peer->ss_family != AF_INET6)
		return view_make(key, 0);
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		memcpy(key, in6->sin6_addr.s6_addr + 12, 4);
		return view_make(key, 4);
	}
	memcpy(key, in6->sin6_addr.s6_addr, 8);
	return view_make(key, 8);
}

static struct login_address *
address_take(struct login_front *f, const struct sockaddr_storage *peer)
{
	unsigned char key[16];
	struct view k = address_key(peer, key);
	struct login_address *a = map_get(&f->addresses, k);

	if (a == NULL) {
		a = x_calloc(1, sizeof *a);
		memcpy(a->key, key, k.len);
		a->key_len = k.len;
		map_put(&f->addresses, k, a);
	}
	a->count++;
	return a;
}

static void
address_release(struct login_front *f, struct login_address *a)
{
	if (--a->count > 0)
		return;
	map_remove(&f->addresses, view_make(a->key, a->key_len));
	free(a);
}

/* Room for one more: who has been longest without logging in goes first.  A slow client holds no place that
 * a good one needs; with none to send away, the listener waits. */
static void
front_make_room(struct login_front *f)
{
	struct login_client *c;

	if (f->count < f->client_limit)
		return;
	TAILQ_FOREACH (c, &f->waiting, link)
		if (c->phase != LOGIN_PHASE_HANDOVER) {
			login_client_end(
			    c, "Too many connections, try again later.", "Connection queue full");
			return;
		}
}

void
login_front_accept(void *arg, int fd, const struct sockaddr_storage *peer)
{
	struct login_front *f = arg;
	struct login_address *a = address_take(f, peer);

	if (f->address_limit > 0 && a->count > f->address_limit) {
		char text[ADDR_TEXT];

		log_info("Disconnected: Maximum number of connections from user+IP exceeded "
			 "(no auth attempts in 0 secs): user=<>, rip=%s, limit=%zu",
		    addr_text(peer, text), f->address_limit);
		address_release(f, a);
		/* no memory, no time: a new connection's socket takes this much */
		if (!f->has_wrapper_tls)
			(void)send(fd, f->protocol->too_many, strlen(f->protocol->too_many),
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		fd_close(&fd);
		return;
	}
	front_make_room(f);
	f->count++;
	login_client_new(f, fd, peer, a);
}

void
login_front_moved(struct login_front *f, struct login_client *c)
{
	TAILQ_REMOVE(&f->waiting, c, link);
	TAILQ_INSERT_TAIL(&f->logged_in, c, link);
	c->is_counted_waiting = false;
	if (f->count >= f->client_limit && TAILQ_EMPTY(&f->waiting)) {
		f->is_full = true;
		front_update_accept(f);
	}
}

void
login_front_forget(struct login_front *f, struct login_client *c)
{
	if (c->is_counted_waiting)
		TAILQ_REMOVE(&f->waiting, c, link);
	else
		TAILQ_REMOVE(&f->logged_in, c, link);
	address_release(f, c->address);
	f->count--;
	if (f->is_full) {
		f->is_full = false;
		front_update_accept(f);
	}
	if (f->is_draining && f->count == 0)
		f->setup.on_idle(f->setup.arg);
}

static void
front_end_waiting(struct login_front *f, bool (*is_to_go)(const struct login_client *c))
{
	struct login_client *c, *next;

	for (c = TAILQ_FIRST(&f->waiting); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (is_to_go(c))
			login_client_end(c, "Server shutting down.", "Shutting down");
	}
	f->is_draining = true;
	if (f->count == 0)
		f->setup.on_idle(f->setup.arg);
}

/* A handshake that has begun is not broken off: a client would take that for a fault of our TLS. */
static bool
is_between_commands(const struct login_client *c)
{
	return c->phase == LOGIN_PHASE_COMMAND;
}

static bool
is_not_handed_over(const struct login_client *c)
{
	return c->phase != LOGIN_PHASE_HANDOVER;
}

void
login_front_drain(struct login_front *f)
{
	front_end_waiting(f, is_between_commands);
}

void
login_front_stop(struct login_front *f)
{
	loop_timer_start(&f->stop, STOP_MS);
	front_end_waiting(f, is_not_handed_over);
}

size_t
login_front_clients(const struct login_front *f)
{
	return f->count;
}

/* ---- as a worker of master ---- */

static void
daemon_pause(void *arg, bool paused)
{
	daemon_pause_accept(arg, paused);
}

static void
daemon_idle(void *arg)
{
	daemon_exit(arg, 0);
}

/* At reload sessions take their time. */
static void
daemon_drain(void *arg)
{
	struct login_front *f = arg;

	if (daemon_is_stopping(f->setup.arg))
		login_front_stop(f);
	else
		login_front_drain(f);
}

struct login_front *
login_front_of_daemon(struct daemon *d, const struct login_protocol *p)
{
	struct login_setup setup = {
		.loop = daemon_loop(d),
		.conf = daemon_conf(d),
		.authd = daemon_edge(d, ROLE_AUTHD, NULL, NULL),
		.master = daemon_master(d),
		.pause_accept = daemon_pause,
		.on_idle = daemon_idle,
		.arg = d,
	};
	struct login_front *f = login_front_new(&setup, p);
	struct err err;

	if (tls_init(setup.loop, daemon_edge(d, ROLE_KEYD, NULL, NULL), &err) < 0)
		log_fatal("%s", err.text);
	if (!has_certificate(f) && f->has_wrapper_tls)
		log_fatal("tls_wrappermode: needs a certificate, but %s is empty",
		    f->tls_setup.params->cert);
	f->tls_setup.service = daemon_service(d);
	if (has_certificate(f) && tls_server_prepare(&f->tls_setup, &err) < 0)
		log_fatal("%s", err.text);
	daemon_accept(d, login_front_accept, f);
	daemon_on_drain(d, daemon_drain, f);
	return f;
}
