#include "smtpd/server.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/explain.h"
#include "smtpd/proxy_wait.h"
#include "smtpd/session.h"

#include <stdlib.h>
#include <unistd.h>

enum {
	TLS_RETRY_MS = 5000,
	STRESS_BEGIN = 80, /* per cent of smtpd_client_limit */
	STRESS_END = 70,
	REFUSAL_MS = 5000, /* a refused client's time to read why */
};

struct client_count {
	size_t sessions;
};

/* Postfix's stress: near the limit, everyone gets less time so that others get some. */
static void
update_stress(struct smtpd_server *v)
{
	struct smtpd_session *s;
	size_t percent = v->nsessions * 100 / v->conf->client_limit;
	bool is_stressed = percent > (v->is_stressed ? STRESS_END : STRESS_BEGIN);

	if (is_stressed == v->is_stressed)
		return;
	v->is_stressed = is_stressed;
	log_warn("%zu sessions: stress-dependent settings are %s", v->nsessions,
	    is_stressed ? "in effect" : "over");
	LIST_FOREACH (s, &v->sessions, link) {
		smtpd_session_hurry(s);
	}
}

/* Full: the limit is reached, or what the listener promises (TLS) is not there yet. */
static void
update_full(struct smtpd_server *v)
{
	bool waits_for_tls = v->tls == NULL && (v->conf->is_wrapper || !v->tls_was_tried);
	bool is_full = v->nsessions + v->nproxied >= v->conf->client_limit || waits_for_tls;

	update_stress(v);
	if (is_full == v->is_full)
		return;
	v->is_full = is_full;
	if (is_full && !waits_for_tls)
		log_warn("%zu sessions: no more connections are accepted until some have ended",
		    v->nsessions);
	if (v->on_full != NULL)
		v->on_full(v->arg, is_full);
}

static void
on_tls_ready(void *arg, struct tls_context *ctx, const struct err *err)
{
	struct smtpd_server *v = arg;

	v->tls = ctx;
	v->tls_was_tried = true;
	if (ctx == NULL) {
		log_warn("cannot load the certificates: %s; TLS is not available", err->text);
		loop_timer_start(&v->tls_retry, TLS_RETRY_MS);
	}
	update_full(v);
}

static void
on_tls_retry(void *arg)
{
	struct smtpd_server *v = arg;

	tls_server_new(&v->conf->tls, on_tls_ready, v);
}

void
smtpd_server_start(struct smtpd_server *v)
{
	LIST_INIT(&v->sessions);
	LIST_INIT(&v->proxied);
	LIST_INIT(&v->explained);
	map_init(&v->clients);
	loop_timer_init(&v->tls_retry, v->loop, on_tls_retry, v);
	v->tls = NULL;
	v->nsessions = v->nproxied = v->nexplained = 0;
	v->is_draining = v->is_full = v->is_stressed = false;
	v->anvil_is_lost = false;
	v->anvil_pause_until_ms = 0;
	if (v->service == NULL)
		v->service = "smtp";
	v->next_id = 1;
	v->name_patience_ms = v->conf->name_timeout_ms;
	v->tls_was_tried = !v->conf->has_certificate ||
			   (v->conf->tls_level == SMTPD_TLS_NONE && !v->conf->is_wrapper);
	update_full(v);
	if (!v->tls_was_tried)
		on_tls_retry(v);
}

void
smtpd_server_clear(struct smtpd_server *v)
{
	struct smtpd_session *s;
	struct map_walk walk = { 0 };
	struct map_entry *e;

	smtpd_proxy_clear(v);
	smtpd_explain_clear(v);
	while ((s = LIST_FIRST(&v->sessions)) != NULL)
		smtpd_session_free(s);
	while ((e = map_next(&v->clients, &walk)) != NULL)
		free(e->value);
	map_clear(&v->clients);
	loop_timer_stop(&v->tls_retry);
	if (v->tls != NULL)
		tls_context_free(v->tls);
	v->tls = NULL;
}

const struct smtpd_patience *
smtpd_server_patience(const struct smtpd_server *v)
{
	return v->is_stressed ? &v->conf->stressed : &v->conf->patience;
}

uint32_t
smtpd_server_next_id(struct smtpd_server *v)
{
	return v->next_id++;
}

/* Counts the client in.  False: it has too many sessions already. */
static bool
client_enter(struct smtpd_server *v, const struct sockaddr_storage *peer, const char *ip)
{
	struct client_count *c = map_get(&v->clients, view_of(ip));
	size_t limit = v->conf->per_client_limit;

	if (c == NULL) {
		c = x_calloc(1, sizeof *c);
		map_put(&v->clients, view_of(ip), c);
	} else if (limit > 0 && c->sessions >= limit &&
		   !net_list_has(&v->conf->limit_exceptions, peer)) {
		return false;
	}
	c->sessions++;
	return true;
}

static void
on_refused_input(void *arg, struct stream *s)
{
	(void)arg;
	stream_consume(s, stream_input(s).len);
}

static void
on_refused_close(void *arg, struct stream *s, const struct err *why)
{
	(void)arg;
	(void)why;
	stream_free(s);
}

/* A refusal needs no session; in wrapper mode the client would not understand a word before TLS. */
static void
refuse(struct smtpd_server *v, int fd, const char *ip)
{
	static const struct stream_limits limits = { 1024, 1024 };
	static const struct stream_ops ops = { on_refused_input, NULL, NULL, on_refused_close };
	struct stream *stream;

	/* as anvil counts: this one is one too many */
	log_warn("Connection concurrency limit exceeded: %zu from unknown[%s] for service %s",
	    v->conf->per_client_limit + 1, ip, v->service);
	if (v->conf->is_wrapper) {
		close(fd);
		return;
	}
	stream = stream_new(v->loop, fd, &limits, &ops, NULL);
	stream_printf(stream, "421 4.7.0 %s Error: too many connections from %s\r\n",
	    v->conf->myhostname, ip);
	stream_finish(stream, REFUSAL_MS);
}

void
smtpd_server_accept(struct smtpd_server *v, int fd, const struct sockaddr_storage *peer)
{
	if (v->conf->ext.is_proxied)
		smtpd_proxy_wait(v, fd, peer);
	else
		smtpd_server_enter(v, fd, peer, NULL);
	update_full(v);
}

void
smtpd_server_enter(struct smtpd_server *v, int fd, const struct sockaddr_storage *peer,
    const struct sockaddr_storage *local)
{
	char ip[ADDR_TEXT];

	if (!client_enter(v, peer, addr_text(peer, ip))) {
		refuse(v, fd, ip);
		smtpd_server_proxy_left(v);
		return;
	}
	v->nsessions++;
	smtpd_session_new(v, fd, peer, local);
	update_full(v);
}

void
smtpd_server_enter_claimed(struct smtpd_server *v, int fd, const struct smtpd_claim *claim)
{
	v->nsessions++;
	smtpd_session_claimed(v, fd, claim);
	update_full(v);
}

/* Draining, and nobody is left. */
static void
tell_empty(struct smtpd_server *v)
{
	if (v->is_draining && v->nsessions + v->nproxied == 0 && v->on_empty != NULL)
		v->on_empty(v->arg);
}

void
smtpd_server_proxy_left(struct smtpd_server *v)
{
	update_full(v);
	tell_empty(v);
}

void
smtpd_server_left(struct smtpd_server *v, const char *client_ip)
{
	struct client_count *c =
	    client_ip != NULL ? map_get(&v->clients, view_of(client_ip)) : NULL;

	if (c != NULL && --c->sessions == 0) {
		map_remove(&v->clients, view_of(client_ip));
		free(c);
	}
	v->nsessions--;
	update_full(v);
	tell_empty(v);
}

void
smtpd_server_stop(struct smtpd_server *v)
{
	struct smtpd_session *s, *next;

	/* set last: on_empty ends the process, and the list is still being walked */
	for (s = LIST_FIRST(&v->sessions); s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		smtpd_session_shut(s);
	}
	smtpd_server_drain(v);
}

void
smtpd_server_drain(struct smtpd_server *v)
{
	v->is_draining = true;
	smtpd_proxy_clear(v); /* nothing was said to them yet */
	tell_empty(v);
}
