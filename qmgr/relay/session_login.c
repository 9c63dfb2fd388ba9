/* Logging in (RFC 4954). */
#include "common/base/mem.h"
#include "qmgr/relay/session_private.h"

#include <stdio.h>

enum { AUTH_MAX = 12288 /* RFC 4954 4 */ };

void
relay_session_forget_password(struct relay_session *s)
{
	if (s->password != NULL)
		mem_wipe(s->password, strlen(s->password));
	x_free(&s->user);
	x_free(&s->password);
}

/* This host lets us do nothing without it; another one may. */
static void
login_failed(struct relay_session *s, const struct relay_verdict *v)
{
	relay_session_forget_password(s);
	relay_session_fail(s, v, RELAY_FAIL_HOST);
}

static void
cannot_log_in(struct relay_session *s, const char *why)
{
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.0",
	    "SASL authentication failed; cannot authenticate to server %s: %s", s->name, why);
	v.is_unreachable = true;
	login_failed(s, &v);
}

static void
write_auth(struct relay_session *s, struct buf *line)
{
	buf_append_str(line, "\r\n");
	if (line->failed) {
		cannot_log_in(s, "user name or password too long");
	} else if (relay_session_is_in_step(s)) {
		s->state = ST_AUTH;
		stream_set_deadline(s->stream, s->conf->helo_ms);
		stream_write(s->stream, line->p, line->len);
	}
}

static void
start_auth(struct relay_session *s)
{
	struct view offered = view_of(s->ehlo.mechanisms);
	unsigned security = s->has_tls ? s->conf->sasl_tls_security : s->conf->sasl_security;
	struct relay_verdict v;
	struct buf line;

	if (!relay_sasl_filter_passes(s->conf->sasl_filter, offered)) {
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.0",
		    "SASL authentication failed: server %s offered no compatible authentication mechanisms for this type of connection security",
		    s->name);
		v.is_unreachable = true;
		login_failed(s, &v);
		return;
	}
	s->sasl = (struct relay_sasl){ .user = s->user, .password = s->password };
	s->sasl.mechanism = relay_sasl_choose(offered, s->conf->sasl_filter, security);
	if (s->sasl.mechanism == NULL) {
		cannot_log_in(s, "no mechanism available");
		return;
	}
	buf_init(&line, AUTH_MAX);
	buf_printf(&line, "AUTH %s ", relay_mechanism_name(s->sasl.mechanism));
	if (!relay_sasl_initial(&s->sasl, &line))
		line.len--; /* the blank */
	write_auth(s, &line);
	buf_wipe(&line);
}

static void
on_login(void *arg, enum relay_login_result r, const char *user, const char *password)
{
	struct relay_session *s = arg;
	struct relay_verdict v;
	bool gone = false;

	s->login = NULL;
	s->gone = &gone;
	if (r == RELAY_LOGIN_NONE) {
		relay_session_become_ready(s); /* we talk to each other like strangers */
	} else if (r == RELAY_LOGIN_TEMP) {
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.3.0",
		    "SASL authentication failed; no answer from the password table for server %s",
		    s->name);
		login_failed(s, &v);
	} else {
		s->user = x_strdup(user);
		s->password = x_strdup(password);
		start_auth(s);
	}
	if (!gone)
		s->gone = NULL;
}

void
relay_session_on_auth(struct relay_session *s)
{
	char subject[sizeof s->name + 64];
	struct relay_verdict v;
	struct buf line;
	struct err e;

	if (s->reply.code / 100 == 3) {
		buf_init(&line, AUTH_MAX);
		if (relay_sasl_respond(&s->sasl, buf_view(&s->reply.text), &line, &e) < 0)
			cannot_log_in(s, e.text);
		else
			write_auth(s, &line);
		buf_wipe(&line);
		return;
	}
	if (s->reply.code / 100 == 2) {
		relay_session_forget_password(s);
		relay_session_become_ready(s);
		return;
	}
	snprintf(subject, sizeof subject, "SASL authentication failed; server %s said", s->name);
	relay_verdict_reply(&v, &s->reply, subject, NULL);
	if (s->conf->sasl_soft_bounce)
		relay_verdict_soften(&v);
	v.is_unreachable = true;
	login_failed(s, &v);
}

void
relay_session_log_in(struct relay_session *s)
{
	if (s->options.authd == NULL || (s->ehlo.capabilities & RELAY_CAP_AUTH) == 0) {
		relay_session_become_ready(s);
		return;
	}
	s->state = ST_LOGIN;
	stream_set_deadline(s->stream, s->conf->helo_ms);
	s->login =
	    relay_login_start(s->options.authd, s->conf->sasl_by_sender ? s->options.sender : NULL,
		s->conf->delimiters, s->target.host, s->options.nexthop, on_login, s);
}
