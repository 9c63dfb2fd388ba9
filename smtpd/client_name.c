#include "smtpd/client_name.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/net/tls.h"
#include "smtpd/client_cert.h"
#include "smtpd/milter.h"
#include "smtpd/policy.h"

#include <stdio.h>
#include <stdlib.h>

static void
log_tls(struct smtpd_session *s)
{
	const struct client_cert *cert = s->client.cert;
	char text[200];

	if (!s->server->conf->tls_is_logged)
		return;
	tls_describe(stream_ssl(s->stream), text, sizeof text);
	log_info("%s TLS connection established from %s: %s",
	    cert == NULL       ? "Anonymous"
	    : cert->is_trusted ? "Trusted"
			       : "Untrusted",
	    s->client.label, text);
}

/* From here on the client has this name and no other. */
static void
client_fix(struct smtpd_session *s, const char *name, const char *reverse,
    enum restrict_fact name_fact, enum restrict_fact reverse_fact)
{
	struct smtpd_client *c = &s->client;

	c->is_named = true;
	c->name = x_strdup(name);
	c->reverse = x_strdup(reverse);
	c->label = x_asprintf("%s[%s]", name != NULL ? name : "unknown", c->ip);
	c->name_fact = name_fact;
	c->reverse_fact = reverse_fact;
	loop_timer_stop(&c->patience);
	if (s->explain != NULL)
		return;
	log_info("connect from %s", c->label);
	if (smtpd_session_has_tls(s))
		log_tls(s);
}

const char *
smtpd_client_label(struct smtpd_session *s)
{
	struct smtpd_client *c = &s->client;

	if (!c->is_named) {
		peer_lookup_cancel(c->lookup);
		c->lookup = NULL;
		client_fix(s, NULL, NULL, FACT_TEMP, FACT_TEMP);
	}
	return c->label;
}

const struct sockaddr_storage *
smtpd_client_local(struct smtpd_session *s)
{
	struct smtpd_client *c = &s->client;
	socklen_t len = sizeof c->local;

	if (c->local.ss_family == AF_UNSPEC &&
	    getsockname(stream_fd(s->stream), (struct sockaddr *)&c->local, &len) < 0)
		c->local.ss_family = AF_UNSPEC;
	return &c->local;
}

void
smtpd_client_tls_up(struct smtpd_session *s)
{
	s->client.cert =
	    client_cert_new(stream_ssl(s->stream), s->server->conf->fingerprint_digest);
	if (s->client.is_named)
		log_tls(s);
}

/* Whoever waited for the name goes on. */
static void
client_named(struct smtpd_session *s)
{
	if (s->policy != NULL && smtpd_policy_needs_name(s))
		smtpd_policy_continue(s);
	else if (smtpd_milter_needs_name(s))
		smtpd_milter_named(s);
	else if (s->client.is_awaited)
		smtpd_session_continue(s);
}

static void
on_name(void *arg, const struct peer_name *n)
{
	struct smtpd_session *s = arg;

	s->client.lookup = NULL;
	if (n->reverse_fact != FACT_TEMP)
		s->server->name_patience_ms = s->server->conf->name_timeout_ms;
	client_fix(s, n->name, n->reverse, n->name_fact, n->reverse_fact);
	client_named(s);
}

static void
on_patience(void *arg)
{
	struct smtpd_session *s = arg;

	s->server->name_patience_ms /= 2;
	smtpd_client_label(s);
	client_named(s);
}

void
smtpd_client_await_name(struct smtpd_session *s)
{
	s->client.is_awaited = true;
	if (!loop_timer_running(&s->client.patience))
		loop_timer_start(&s->client.patience, s->server->name_patience_ms);
}

/* RFC 6761 6.3, RFC 6303 4.4: no server in the world is asked for these. */
static bool
is_localhost(const char *ip)
{
	return strcmp(ip, "127.0.0.1") == 0 || strcmp(ip, "::1") == 0;
}

static void
client_set_address(struct smtpd_session *s, const struct sockaddr_storage *peer)
{
	const struct smtpd_config *conf = s->server->conf;
	struct smtpd_client *c = &s->client;

	c->address = *peer;
	addr_text(peer, c->ip);
	if (peer->ss_family == AF_UNIX)
		snprintf(c->ip, sizeof c->ip, "local");
	c->in_mynetworks = peer->ss_family == AF_UNIX || net_list_has(&conf->mynetworks, peer);
	loop_timer_init(&c->patience, s->server->loop, on_patience, s);
}

static void
client_find_name(struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;
	struct smtpd_client *c = &s->client;
	const char *own = c->address.ss_family == AF_UNIX ? "local" : "localhost";

	if (c->address.ss_family == AF_UNIX || is_localhost(c->ip))
		client_fix(s, own, own, FACT_YES, FACT_YES);
	else if (!conf->looks_up_names || s->server->dnsd == NULL)
		client_fix(s, NULL, NULL, FACT_NO, FACT_NO);
	else
		c->lookup = peer_lookup_start(s->server->dnsd, &c->address, on_name, s);
}

void
smtpd_client_init(struct smtpd_session *s, const struct sockaddr_storage *peer)
{
	client_set_address(s, peer);
	client_find_name(s);
}

/* fact: of a client without a name. */
static void
client_set_name(struct smtpd_session *s, const char *name, enum restrict_fact fact)
{
	if (name[0] == '\0')
		client_fix(s, NULL, NULL, fact, fact);
	else
		client_fix(s, name, name, FACT_YES, FACT_YES);
}

void
smtpd_client_claim(struct smtpd_session *s, const struct sockaddr_storage *peer, const char *name)
{
	client_set_address(s, peer);
	if (name[0] == '\0')
		client_find_name(s);
	else
		client_set_name(s, strcmp(name, "unknown") == 0 ? "" : name, FACT_NO);
}

void
smtpd_client_replace(struct smtpd_session *s, const struct sockaddr_storage *peer, const char *name,
    bool is_temporary)
{
	struct sockaddr_storage address = *peer;

	if (s->counted_as == NULL)
		s->counted_as = x_strdup(s->client.ip);
	smtpd_client_clear(s);
	s->client = (struct smtpd_client){ .local = s->client.local };
	client_set_address(s, &address);
	if (name == NULL && address.ss_family != AF_UNSPEC)
		client_find_name(s);
	else
		client_set_name(s, name != NULL ? name : "", is_temporary ? FACT_TEMP : FACT_NO);
}

void
smtpd_client_clear(struct smtpd_session *s)
{
	peer_lookup_cancel(s->client.lookup);
	loop_timer_stop(&s->client.patience);
	x_free(&s->client.name);
	x_free(&s->client.reverse);
	x_free(&s->client.label);
	client_cert_free(s->client.cert);
	s->client.cert = NULL;
}
