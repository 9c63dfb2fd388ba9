#include "qmgr/relay/session.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/net/addr.h"
#include "common/net/stream.h"
#include "qmgr/relay/esmtp.h"
#include "qmgr/relay/sasl.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	PIPELINE_MAX = 64,     /* commands without an answer yet */
	CHUNK = 32 << 10,      /* read at a time */
	SHORT_CHUNK = 8 << 10, /* of what is made 7-bit: many small parts, each with new fields */
	MADE_MAX = 256 << 10,  /* that comes of it */
	PIECE = 64 << 10,      /* handed to the stream at a time */
	PIECE_MAX = PIECE + 5 * MADE_MAX,
	COMMAND_MAX = 4096,
	AUTH_MAX = 12288,          /* RFC 4954 4 */
	CODE_SERVICE_CLOSES = 421, /* RFC 5321 3.8: at any time */
};

enum state {
	ST_CONNECT,
	ST_GREETING,
	ST_EHLO,
	ST_HELO,
	ST_STARTTLS,
	ST_HANDSHAKE,
	ST_LOGIN, /* authd is asked for the password */
	ST_AUTH,
	ST_READY,
	ST_ENVELOPE,
	ST_CONTENT,
	ST_FINAL,
	ST_DEAD, /* told its owner, who frees it */
};

enum step { STEP_RSET, STEP_MAIL, STEP_RCPT, STEP_DATA };

enum rcpt_state { RCPT_OPEN, RCPT_ACCEPTED, RCPT_TOLD };

struct relay_session {
	struct loop *loop;
	const struct relay_conf *conf;
	struct relay_target target;
	struct relay_session_options options;
	char *domain, *identity;                             /* owned copies of those of options */
	char name[RELAY_PEER_MAX - 8], peer[RELAY_PEER_MAX]; /* host[ip], host[ip]:port */
	const struct relay_session_ops *ops;
	void *arg;
	struct stream *stream;
	bool *gone; /* set when freed inside a callback */
	enum state state;
	struct smtp_reply reply;
	struct relay_ehlo ehlo;
	enum relay_tls_level tls_level;
	bool has_tls, is_verified;
	struct relay_tls_fault fault;
	char local_ip[ADDR_TEXT];
	bool needs_rset; /* the last transaction ended without data */
	unsigned uses;
	int64_t opened_ms;
	struct relay_login *login;
	struct relay_sasl sasl;
	char *user, *password; /* owned, until the login is done */

	/* the transaction under way */
	const struct relay_transaction *txn; /* borrowed */
	unsigned char *rcpt_states;          /* owned, enum rcpt_state each */
	size_t first_rcpt;                   /* step number of the first RCPT */
	size_t next_send, next_recv;         /* step numbers */
	size_t nsteps;
	size_t naccepted;
	bool has_mail; /* MAIL was accepted */
	bool mail_failed;
	uint64_t content_at;
	struct relay_downgrade downgrade;
	struct relay_filter filter;
};

static const struct stream_limits limits = { .input_max = 16 << 10, .output_max = 2 << 20 };

/* ---------------------------------------------------------------- telling the owner */

static void
fail(struct relay_session *s, const struct relay_verdict *v, enum relay_failure how)
{
	s->state = ST_DEAD;
	s->ops->on_failed(s->arg, s, v, how);
}

static void
tell(struct relay_session *s, size_t index, const struct relay_verdict *v)
{
	if (s->rcpt_states[index] == RCPT_TOLD)
		return;
	s->rcpt_states[index] = RCPT_TOLD;
	s->ops->on_recipient(s->arg, s, index, v);
}

static void
tell_all(struct relay_session *s, const struct relay_verdict *v)
{
	for (size_t i = 0; i < s->txn->count; i++)
		tell(s, i, v);
}

static void
end_transaction(struct relay_session *s, enum relay_end end)
{
	s->txn = NULL;
	x_free(&s->rcpt_states);
	relay_downgrade_clear(&s->downgrade);
	s->state = end == RELAY_END_USABLE ? ST_READY : ST_DEAD;
	if (end == RELAY_END_USABLE)
		stream_set_deadline(s->stream, 0);
	s->ops->on_done(s->arg, s, end);
}

static enum step
step_of(const struct relay_session *s, size_t number)
{
	if (number >= s->first_rcpt)
		return number < s->first_rcpt + s->txn->count ? STEP_RCPT : STEP_DATA;
	return number + 1 == s->first_rcpt ? STEP_MAIL : STEP_RSET;
}

static const char *
envelope_activity(const struct relay_session *s)
{
	switch (step_of(s, s->next_recv)) {
	case STEP_RSET:
		return "sending RSET";
	case STEP_MAIL:
		return "sending MAIL FROM";
	case STEP_RCPT:
		return "sending RCPT TO";
	default:
		return "sending DATA command";
	}
}

/* What was under way when the server went: Postfix's words. */
static const char *
activity(const struct relay_session *s)
{
	switch (s->state) {
	case ST_GREETING:
		return "receiving the initial server greeting";
	case ST_EHLO:
	case ST_LOGIN:
	case ST_AUTH:
		return s->options.is_lmtp ? "performing the LHLO handshake"
					  : "performing the EHLO handshake";
	case ST_HELO:
		return "performing the HELO handshake";
	case ST_STARTTLS:
		return "receiving the STARTTLS response";
	case ST_CONTENT:
		return "sending message body";
	case ST_FINAL:
		return "sending end of data -- message may be sent more than once";
	case ST_ENVELOPE:
		return envelope_activity(s);
	default:
		return "waiting for the next message";
	}
}

/* The connection is lost, or lost its worth: everyone who is not told yet is told this. */
static void
lose(struct relay_session *s, struct relay_verdict *v)
{
	v->is_unreachable = s->state != ST_FINAL;
	v->is_ambiguous = s->state == ST_FINAL;
	if (s->txn == NULL) {
		fail(s, v, RELAY_FAIL_HOST);
		return;
	}
	if (s->state == ST_ENVELOPE && s->uses > 1 && !s->has_mail && !s->mail_failed) {
		end_transaction(s, RELAY_END_STALE);
		return;
	}
	tell_all(s, v);
	end_transaction(s, RELAY_END_CLOSED);
}

static void
lose_protocol(struct relay_session *s, const char *why)
{
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.5.0", "protocol error of %s while %s: %s",
	    s->name, activity(s), why);
	lose(s, &v);
}

/* ---------------------------------------------------------------- commands */

/* A reply that is already there when the next command goes out answers nothing: a server out of step could
 * make us take one answer for another's. */
static bool
is_in_step(struct relay_session *s)
{
	if (stream_input(s->stream).len == 0)
		return true;
	lose_protocol(s, "a reply before the command");
	return false;
}

static void
send_command(struct relay_session *s, enum state state, int64_t deadline_ms, const char *fmt,
    const char *arg)
{
	if (!is_in_step(s))
		return;
	s->state = state;
	stream_set_deadline(s->stream, deadline_ms);
	stream_printf(s->stream, fmt, arg);
}

static void
send_ehlo(struct relay_session *s)
{
	send_command(s, ST_EHLO, s->conf->helo_ms,
	    s->options.is_lmtp ? "LHLO %s\r\n" : "EHLO %s\r\n", s->conf->helo_name);
}

static int64_t
step_deadline(const struct relay_session *s, size_t number)
{
	switch (step_of(s, number)) {
	case STEP_RCPT:
		return s->conf->rcpt_ms;
	case STEP_DATA:
		return s->conf->data_init_ms;
	default:
		return s->conf->mail_ms;
	}
}

static void
write_step(struct relay_session *s, size_t number)
{
	const struct relay_transaction *t = s->txn;
	const struct relay_rcpt *r;
	struct relay_mail mail;
	struct buf b;

	buf_init(&b, COMMAND_MAX);
	switch (step_of(s, number)) {
	case STEP_RSET:
		buf_append_str(&b, "RSET\r\n");
		break;
	case STEP_MAIL:
		mail = (struct relay_mail){ .sender = t->sender,
			.envid = t->envid,
			.flags = t->flags,
			.size = t->downgrade == NULL ? relay_content_size(t->content) : 0,
			.needs_utf8 = t->needs_utf8 };
		relay_mail_command(&b, &mail, s->ehlo.capabilities);
		break;
	case STEP_RCPT:
		r = t->rcpts[number - s->first_rcpt];
		relay_rcpt_command(
		    &b, r->address, r->notify, r->orcpt, t->needs_utf8, s->ehlo.capabilities);
		break;
	case STEP_DATA:
		buf_append_str(&b, "DATA\r\n");
		break;
	}
	if (!b.failed)
		stream_write(s->stream, b.p, b.len);
	else
		bug("SMTP command longer than %d", COMMAND_MAX);
	buf_clear(&b);
}

/* Sends what may be sent now: all that fits the window when the server takes it (RFC 2920), else one command an
 * answer.  Nothing more once MAIL has failed, and no DATA when it is known that nobody is there to get it. */
static void
send_steps(struct relay_session *s)
{
	size_t window = s->ehlo.capabilities & RELAY_CAP_PIPELINING ? PIPELINE_MAX : 1;

	if (s->next_send == s->next_recv && !is_in_step(s))
		return;
	while (s->next_send < s->nsteps && s->next_send - s->next_recv < window) {
		bool all_answered = s->next_send == s->next_recv;

		if (s->mail_failed)
			s->nsteps = s->next_send;
		else if (step_of(s, s->next_send) == STEP_DATA && all_answered && s->naccepted == 0)
			s->nsteps = s->next_send;
		else
			write_step(s, s->next_send++);
	}
	if (s->next_recv < s->next_send) {
		stream_set_deadline(s->stream, step_deadline(s, s->next_recv));
		return;
	}
	s->needs_rset = true;
	end_transaction(s, RELAY_END_USABLE);
}

/* ---------------------------------------------------------------- content */

static void
content_broken(struct relay_session *s, const struct err *err)
{
	struct relay_verdict v;

	/* the data cannot be taken back but by closing; the server then delivers nothing (RFC 5321 3.8) */
	if (err->kind == ERR_SYNTAX)
		relay_verdict_set(&v, DELIVERY_BOUNCED, "5.6.0", "%s", err->text);
	else
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.3.0", "%s", err->text);
	tell_all(s, &v);
	end_transaction(s, RELAY_END_CLOSED);
}

/* What was read, made 7-bit; len 0: that was all. */
static int
feed_downgraded(
    struct relay_session *s, const char *p, size_t len, struct buf *out, struct err *err)
{
	struct buf made;
	int rc;

	buf_init(&made, MADE_MAX);
	rc = len > 0 ? relay_downgrade_feed(&s->downgrade, p, len, &made, err)
		     : relay_downgrade_end(&s->downgrade, &made, err);
	if (rc == 0)
		rc = relay_filter_feed(&s->filter, made.p, made.len, out, err);
	buf_clear(&made);
	return rc;
}

/* One piece into *out; 1 = that was all, 0 = there is more, -1. */
static int
next_piece(struct relay_session *s, struct buf *out, struct err *err)
{
	static char chunk[CHUNK];
	bool downgrades = s->txn->downgrade != NULL;

	while (out->len < PIECE) {
		int64_t n = relay_content_read(
		    s->txn->content, s->content_at, chunk, downgrades ? SHORT_CHUNK : CHUNK, err);

		if (n < 0)
			return -1;
		s->content_at += (uint64_t)n;
		if (downgrades ? feed_downgraded(s, chunk, (size_t)n, out, err) < 0
			       : relay_filter_feed(&s->filter, chunk, (size_t)n, out, err) < 0)
			return -1;
		if (n == 0)
			return relay_filter_end(&s->filter, out, err) < 0 ? -1 : 1;
	}
	return 0;
}

static void
send_piece(struct relay_session *s)
{
	struct buf out;
	struct err e;
	int rc;

	buf_init(&out, PIECE_MAX);
	rc = next_piece(s, &out, &e);
	if (rc < 0) {
		buf_clear(&out);
		content_broken(s, &e);
		return;
	}
	stream_write(s->stream, out.p, out.len);
	buf_clear(&out);
	if (rc == 1) {
		s->state = ST_FINAL;
		stream_set_deadline(s->stream, s->conf->data_done_ms);
	} else {
		stream_set_deadline(s->stream, s->conf->data_xfer_ms);
		stream_want_drained(s->stream);
	}
}

static void
start_content(struct relay_session *s)
{
	if (!is_in_step(s))
		return;
	if (s->naccepted == 0 && s->options.is_lmtp) {
		/* RFC 2033 4.2: it should have said 503, and has nobody to answer for */
		end_transaction(s, RELAY_END_CLOSED);
		return;
	}
	if (s->naccepted == 0) {
		/* RFC 2920 3.1: DATA was pipelined behind recipients that all failed: an empty message for nobody */
		stream_write(s->stream, ".\r\n", 3);
		s->state = ST_FINAL;
		stream_set_deadline(s->stream, s->conf->data_done_ms);
		return;
	}
	s->state = ST_CONTENT;
	s->content_at = 0;
	if (s->txn->downgrade != NULL)
		relay_downgrade_start(&s->downgrade, s->conf->mime_nesting, s->txn->downgrade);
	relay_filter_init(&s->filter, s->conf->line_limit);
	send_piece(s);
}

/* ---------------------------------------------------------------- replies */

static void
said(struct relay_session *s, struct relay_verdict *v, const char *request)
{
	char subject[sizeof s->name + 16];

	snprintf(subject, sizeof subject, "host %s said", s->name);
	relay_verdict_reply(v, &s->reply, subject, request);
}

static void
refused(struct relay_session *s, const char *how)
{
	char subject[sizeof s->name + 64];
	struct relay_verdict v;

	snprintf(subject, sizeof subject, "host %s %s", s->name, how);
	relay_verdict_reply(&v, &s->reply, subject, NULL);
	relay_verdict_soften(&v); /* this host; another one, or later, may do better */
	v.status = DELIVERY_DEFERRED;
	v.is_unreachable = true;
	fail(s, &v, RELAY_FAIL_HOST);
}

static void
become_ready(struct relay_session *s)
{
	if (!is_in_step(s))
		return;
	s->state = ST_READY;
	stream_set_deadline(s->stream, 0);
	s->ops->on_ready(s->arg, s);
}

/* ---------------------------------------------------------------- login (RFC 4954) */

static void
forget_password(struct relay_session *s)
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
	forget_password(s);
	fail(s, v, RELAY_FAIL_HOST);
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
	} else if (is_in_step(s)) {
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
		become_ready(s); /* we talk to each other like strangers */
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

static void
on_auth_reply(struct relay_session *s)
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
		forget_password(s);
		become_ready(s);
		return;
	}
	snprintf(subject, sizeof subject, "SASL authentication failed; server %s said", s->name);
	relay_verdict_reply(&v, &s->reply, subject, NULL);
	if (s->conf->sasl_soft_bounce)
		relay_verdict_soften(&v);
	v.is_unreachable = true;
	login_failed(s, &v);
}

/* Greeted, and under TLS where it shall be. */
static void
log_in(struct relay_session *s)
{
	if (s->options.authd == NULL || (s->ehlo.capabilities & RELAY_CAP_AUTH) == 0) {
		become_ready(s);
		return;
	}
	s->state = ST_LOGIN;
	stream_set_deadline(s->stream, s->conf->helo_ms);
	s->login =
	    relay_login_start(s->options.authd, s->conf->sasl_by_sender ? s->options.sender : NULL,
		s->conf->delimiters, s->target.host, s->options.nexthop, on_login, s);
}

/* ---------------------------------------------------------------- replies, in the order of a session */

/* How strongly the server has to prove who it is decides what follows; what no other setting of ours could mend is not
 * tried again in the clear. */
static void
start_tls(struct relay_session *s)
{
	const struct relay_tls_peer peer = { s->options.tls, s->options.dane, s->target.host,
		s->domain, s->target.domain, s->peer };
	struct relay_verdict v;
	struct err e;
	SSL *ssl = relay_tls_start(s->conf->tls, &peer, &e);

	s->state = ST_HANDSHAKE;
	stream_set_deadline(s->stream, s->conf->starttls_ms);
	if (ssl != NULL && stream_start_tls_client(s->stream, ssl, &e) == 0)
		return;
	log_warn("%s: %s", s->peer, lqs(e.text));
	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.5", "client TLS configuration problem");
	fail(s, &v, RELAY_FAIL_HOST);
}

static void
on_greeting(struct relay_session *s)
{
	if (s->reply.code / 100 == 2)
		send_ehlo(s);
	else
		refused(s, "refused to talk to me");
}

static bool
is_myself(const struct relay_session *s)
{
	return s->options.has_loop_check &&
	       view_case_eq_str(view_of(s->ehlo.name), s->conf->myhostname);
}

static bool
needs_tls(const struct relay_session *s)
{
	return !s->has_tls && s->tls_level >= RELAY_TLS_ENCRYPT;
}

static void
tls_required(struct relay_session *s)
{
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.4",
	    "TLS is required, but was not offered by host %s", s->name);
	v.is_unreachable = true;
	fail(s, &v, RELAY_FAIL_HOST);
}

static void
set_fault(struct relay_session *s, const char *type, const char *reason)
{
	s->fault.type = type;
	snprintf(s->fault.reason, sizeof s->fault.reason, "%s", reason);
}

/* Greeted: TLS comes next, or the first message. */
static void
after_hello(struct relay_session *s)
{
	bool wants_tls = s->tls_level > RELAY_TLS_NONE && !s->has_tls && !s->options.no_tls;
	struct relay_verdict v;

	if (is_myself(s)) {
		relay_verdict_set(
		    &v, DELIVERY_BOUNCED, "5.4.6", "mail for %s loops back to myself", s->domain);
		fail(s, &v, RELAY_FAIL_FINAL);
	} else if (wants_tls && (s->ehlo.capabilities & RELAY_CAP_STARTTLS)) {
		send_command(s, ST_STARTTLS, s->conf->starttls_ms, "%s\r\n", "STARTTLS");
	} else {
		if (wants_tls)
			set_fault(s, "starttls-not-supported", "");
		if (needs_tls(s))
			tls_required(s);
		else
			log_in(s);
	}
}

static void
on_ehlo(struct relay_session *s)
{
	if (s->reply.code / 100 == 2) {
		relay_ehlo_parse(buf_view(&s->reply.text), &s->ehlo);
		after_hello(s);
	} else if (s->has_tls || s->options.is_lmtp) {
		refused(s, "refused to talk to me");
	} else {
		send_command(s, ST_HELO, s->conf->helo_ms, "HELO %s\r\n", s->conf->helo_name);
	}
}

static void
on_helo(struct relay_session *s)
{
	if (s->reply.code / 100 != 2) {
		refused(s, "refused to talk to me");
		return;
	}
	relay_ehlo_parse(buf_view(&s->reply.text), &s->ehlo);
	s->ehlo.capabilities = 0;
	after_hello(s);
}

static void
on_starttls(struct relay_session *s)
{
	if (s->reply.code / 100 == 2) {
		start_tls(s);
		return;
	}
	set_fault(s, "validation-failure", "STARTTLS refused");
	if (needs_tls(s))
		refused(s, "refused to start TLS, which is required");
	else
		log_in(s);
}

static void
on_mail_reply(struct relay_session *s)
{
	struct relay_verdict v;

	if (s->reply.code / 100 == 2) {
		s->has_mail = true;
		return;
	}
	s->mail_failed = true;
	said(s, &v, "MAIL FROM command");
	tell_all(s, &v);
}

/* RFC 5321 4.5.3.1.10: 452, and 552 of old, can mean "no more recipients in this transaction".  A server that
 * means a full mailbox says 5.2.2 or has taken nobody yet. */
static bool
is_too_many(const struct relay_session *s)
{
	const struct smtp_reply *r = &s->reply;

	if (s->naccepted == 0 || (r->code != 452 && r->code != 552))
		return false;
	return r->dsn[0] == '\0' || strcmp(r->dsn + 1, ".5.3") == 0;
}

static void
on_rcpt_reply(struct relay_session *s, size_t index)
{
	struct relay_verdict v;

	if (s->mail_failed)
		return;
	if (s->reply.code / 100 == 2) {
		s->rcpt_states[index] = RCPT_ACCEPTED;
		s->naccepted++;
		return;
	}
	said(s, &v, "RCPT TO command");
	if (is_too_many(s)) {
		relay_verdict_soften(&v);
		v.is_too_many = true;
	}
	tell(s, index, &v);
}

static void
on_data_reply(struct relay_session *s)
{
	struct relay_verdict v;

	if (s->reply.code / 100 == 3) {
		start_content(s);
		return;
	}
	if (s->naccepted > 0) {
		said(s, &v, "DATA command");
		if (v.status == DELIVERY_SENT) {
			lose_protocol(s, "message accepted before it was sent");
			return;
		}
		tell_all(s, &v);
	}
	s->needs_rset = true;
	end_transaction(s, RELAY_END_USABLE);
}

static void
on_envelope_reply(struct relay_session *s)
{
	size_t number = s->next_recv++;

	switch (step_of(s, number)) {
	case STEP_RSET:
		if (s->reply.code / 100 != 2) {
			s->next_recv = number;
			lose_protocol(s, "RSET is refused");
			return;
		}
		s->needs_rset = false;
		break;
	case STEP_MAIL:
		on_mail_reply(s);
		break;
	case STEP_RCPT:
		on_rcpt_reply(s, number - s->first_rcpt);
		break;
	case STEP_DATA:
		on_data_reply(s);
		return;
	}
	send_steps(s);
}

/* The server speaks while we do: a refusal counts, anything else is out of step.  Either way the data cannot
 * be ended properly any more. */
static void
on_early_reply(struct relay_session *s)
{
	struct relay_verdict v;

	if (s->reply.code / 100 != 4 && s->reply.code / 100 != 5) {
		lose_protocol(s, "a reply before the end of the message");
		return;
	}
	said(s, &v, "message content");
	tell_all(s, &v);
	end_transaction(s, RELAY_END_CLOSED);
}

/* The next of those who were taken; each is told only by its own reply. */
static void
tell_next(struct relay_session *s, const struct relay_verdict *v)
{
	size_t i = 0;

	while (s->rcpt_states[i] != RCPT_ACCEPTED)
		i++;
	tell(s, i, v);
	s->naccepted--;
}

static void
on_final_reply(struct relay_session *s)
{
	struct relay_verdict v;

	said(s, &v, "end of DATA command");
	v.took_dsn = (s->ehlo.capabilities & RELAY_CAP_DSN) != 0;
	s->needs_rset = s->naccepted == 0 || v.status != DELIVERY_SENT;
	if (s->options.is_lmtp) {
		tell_next(s, &v);
		if (s->naccepted > 0) {
			stream_set_deadline(s->stream, s->conf->data_done_ms);
			return;
		}
	}
	tell_all(s, &v);
	end_transaction(s, RELAY_END_USABLE);
}

/* The request that the next reply answers, in Postfix's words. */
static const char *
request_awaited(const struct relay_session *s)
{
	if (s->state == ST_FINAL)
		return "end of DATA command";
	if (s->state == ST_CONTENT)
		return "message content";
	switch (step_of(s, s->next_recv)) {
	case STEP_RSET:
		return "RSET command";
	case STEP_MAIL:
		return "MAIL FROM command";
	case STEP_RCPT:
		return "RCPT TO command";
	default:
		return "DATA command";
	}
}

/* RFC 5321 3.8: the server shuts the channel, whatever was asked. */
static void
on_service_closes(struct relay_session *s)
{
	struct relay_verdict v;

	if (s->txn == NULL) {
		refused(s, "refused to talk to me");
		return;
	}
	said(s, &v, request_awaited(s));
	if (s->state != ST_FINAL) {
		lose(s, &v);
		return;
	}
	tell_all(s, &v); /* an answer like others: the message was not taken */
	end_transaction(s, RELAY_END_CLOSED);
}

static void
on_reply(struct relay_session *s)
{
	if (s->reply.code == CODE_SERVICE_CLOSES) {
		on_service_closes(s);
		return;
	}
	switch (s->state) {
	case ST_GREETING:
		on_greeting(s);
		break;
	case ST_EHLO:
		on_ehlo(s);
		break;
	case ST_HELO:
		on_helo(s);
		break;
	case ST_STARTTLS:
		on_starttls(s);
		break;
	case ST_AUTH:
		on_auth_reply(s);
		break;
	case ST_ENVELOPE:
		on_envelope_reply(s);
		break;
	case ST_CONTENT:
		on_early_reply(s);
		break;
	case ST_FINAL:
		on_final_reply(s);
		break;
	default:
		lose_protocol(s, "a reply to nothing");
		break;
	}
}

/* ---------------------------------------------------------------- the stream's events */

/* One reply off the input; false when there is no whole one, or the session is over (then it may be freed). */
static bool
take_reply(struct relay_session *s)
{
	struct view in = stream_input(s->stream);
	struct err e;
	size_t used;
	int rc;

	if (in.len == 0 || s->state == ST_DEAD || s->state == ST_HANDSHAKE)
		return false;
	rc = smtp_reply_feed(&s->reply, in, &used, &e);
	stream_consume(s->stream, used);
	if (rc < 0)
		lose_protocol(s, e.text);
	return rc == 0;
}

static void
on_connected(struct relay_session *s)
{
	struct sockaddr_storage local;
	socklen_t len = sizeof local;

	if (getsockname(stream_fd(s->stream), (struct sockaddr *)&local, &len) == 0)
		addr_text(&local, s->local_ip);
	if (s->conf->tls_defaults.is_wrapped && !s->options.is_lmtp) {
		start_tls(s);
		return;
	}
	s->state = ST_GREETING;
	stream_set_deadline(s->stream, s->conf->helo_ms);
}

static void
on_input(void *arg, struct stream *stream)
{
	struct relay_session *s = arg;
	bool gone = false;

	(void)stream;
	if (s->state == ST_CONNECT) { /* the greeting can come in the same turn */
		s->gone = &gone;
		on_connected(s);
		if (gone)
			return;
		s->gone = NULL;
	}
	while (take_reply(s)) {
		s->gone = &gone;
		on_reply(s);
		if (gone)
			return;
		s->gone = NULL;
		smtp_reply_clear(&s->reply);
	}
}

static void
on_drained(void *arg, struct stream *stream)
{
	struct relay_session *s = arg;

	(void)stream;
	if (s->state == ST_CONNECT) {
		on_connected(s);
	} else if (s->state == ST_CONTENT) {
		send_piece(s);
	}
}

/* The certificate is not the one that it should be. */
static void
distrust(struct relay_session *s, enum relay_tls_trust trust)
{
	bool is_known = trust == RELAY_TLS_TRUSTED || s->tls_level == RELAY_TLS_FINGERPRINT;
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.5", "Server certificate not %s",
	    is_known ? "verified" : "trusted");
	v.is_unreachable = true;
	fail(s, &v, RELAY_FAIL_HOST);
}

static void
set_certificate_fault(struct relay_session *s, long code)
{
	const char *type = "certificate-not-trusted";

	if (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH)
		type = "certificate-host-mismatch";
	else if (code == X509_V_ERR_CERT_HAS_EXPIRED)
		type = "certificate-expired";
	set_fault(s, type, X509_verify_cert_error_string(code));
}

static void
on_tls(void *arg, struct stream *stream)
{
	static const char *const words[] = { "Anonymous", "Untrusted", "Trusted", "Verified" };
	struct relay_session *s = arg;
	SSL *ssl = stream_ssl(stream);
	enum relay_tls_trust trust = relay_tls_judge(s->conf->tls, ssl, s->options.tls);
	char cipher[200];

	s->has_tls = true;
	s->is_verified = trust == RELAY_TLS_VERIFIED;
	if (!s->is_verified)
		set_certificate_fault(s, SSL_get_verify_result(ssl));
	tls_describe(ssl, cipher, sizeof cipher);
	log_info("%s TLS connection established to %s: %s", words[trust], s->peer, cipher);
	/* RFC 3207 4.2: what the server said in the clear is forgotten */
	smtp_reply_clear(&s->reply);
	memset(&s->ehlo, 0, sizeof s->ehlo);
	if (s->tls_level > RELAY_TLS_ENCRYPT && !s->is_verified) {
		distrust(s, trust);
	} else if (s->conf->tls_defaults.is_wrapped) {
		s->state = ST_GREETING;
		stream_set_deadline(stream, s->conf->helo_ms);
	} else {
		send_ehlo(s);
	}
}

static void
connect_failed(struct relay_session *s, const struct err *why, struct relay_verdict *v)
{
	log_info("connect to %s: %s", s->peer, why->sys != 0 ? strerror(why->sys) : lqs(why->text));
	relay_verdict_set(v, DELIVERY_DEFERRED, "4.4.1", "connect to %s: %s", s->peer,
	    why->sys != 0 ? strerror(why->sys) : why->text);
	v->is_unreachable = true;
}

static void
on_close(void *arg, struct stream *stream, const struct err *why)
{
	struct relay_session *s = arg;
	bool timed_out = why->sys == ETIMEDOUT;
	struct relay_verdict v;

	(void)stream;
	if (s->state == ST_DEAD)
		return;
	if (s->state == ST_CONNECT) {
		connect_failed(s, why, &v);
		fail(s, &v, RELAY_FAIL_CONNECT);
	} else if (s->state == ST_HANDSHAKE) {
		log_info("TLS handshake with %s failed: %s", s->peer, lqs(why->text));
		if (!timed_out) /* RFC 8460 4.3.4 */
			set_fault(s, "validation-failure", why->text);
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.5",
		    "Cannot start TLS: handshake failure with %s", s->name);
		v.is_unreachable = true;
		fail(s, &v, RELAY_FAIL_TLS);
	} else {
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.4.2",
		    timed_out ? "conversation with %s timed out while %s"
			      : "lost connection with %s while %s",
		    s->name, activity(s));
		lose(s, &v);
	}
}

static const struct stream_ops stream_ops = { on_input, on_drained, on_tls, on_close };

/* ---------------------------------------------------------------- life */

struct relay_session *
relay_session_open(struct loop *l, const struct relay_conf *conf, const struct relay_target *target,
    const struct relay_session_options *options, const struct relay_session_ops *ops, void *arg,
    struct relay_verdict *v)
{
	struct relay_session *s = x_calloc(1, sizeof *s);
	const struct sockaddr_storage *local = NULL;
	char ip[ADDR_TEXT];
	struct err e;

	s->loop = l;
	s->conf = conf;
	s->target = *target;
	s->options = *options;
	s->tls_level = options->tls->level;
	s->options.domain = NULL;
	s->domain = x_strdup(options->domain);
	s->identity = x_strdup(options->identity);
	s->ops = ops;
	s->arg = arg;
	s->opened_ms = clock_mono_ms();
	smtp_reply_init(&s->reply);
	addr_text(&target->addr, ip);
	snprintf(s->name, sizeof s->name, "%s[%s]", target->host, ip);
	snprintf(s->peer, sizeof s->peer, "%s:%u", s->name, addr_port(&target->addr));
	if (target->addr.ss_family == AF_INET && conf->has_bind4)
		local = &conf->bind4;
	else if (target->addr.ss_family == AF_INET6 && conf->has_bind6)
		local = &conf->bind6;
	s->stream = stream_connect(l, &target->addr, local, &limits, &stream_ops, s, &e);
	if (s->stream == NULL) {
		connect_failed(s, &e, v);
		relay_session_free(s);
		return NULL;
	}
	stream_want_drained(s->stream);
	stream_set_deadline(s->stream, conf->connect_ms);
	return s;
}

void
relay_session_give(struct relay_session *s, const struct relay_session_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

void
relay_session_free(struct relay_session *s)
{
	if (s == NULL)
		return;
	if (s->gone != NULL)
		*s->gone = true;
	relay_login_cancel(s->login);
	forget_password(s);
	stream_free(s->stream);
	smtp_reply_clear(&s->reply);
	relay_downgrade_clear(&s->downgrade);
	free(s->rcpt_states);
	free(s->domain);
	free(s->identity);
	free(s);
}

void
relay_session_quit(struct relay_session *s)
{
	if (s->state == ST_READY) {
		stream_write(s->stream, "QUIT\r\n", 6);
		stream_finish(s->stream, s->conf->quit_ms);
		s->stream = NULL;
	}
	relay_session_free(s);
}

bool
relay_session_accepts(
    struct relay_session *s, const struct relay_transaction *t, struct relay_verdict *v)
{
	uint64_t size = relay_content_size(t->content);

	if (s->ehlo.size_limit > 0 && size > s->ehlo.size_limit)
		relay_verdict_set(v, DELIVERY_BOUNCED, "5.3.4",
		    "message size %llu exceeds size limit %llu of server %s",
		    (unsigned long long)size, (unsigned long long)s->ehlo.size_limit, s->name);
	else if (t->needs_utf8 && (s->ehlo.capabilities & RELAY_CAP_SMTPUTF8) == 0)
		relay_verdict_set(v, DELIVERY_BOUNCED, "5.6.7",
		    "SMTPUTF8 is required, but was not offered by host %s", s->name);
	else
		return true;
	return false;
}

const struct relay_tls_fault *
relay_session_tls_fault(const struct relay_session *s)
{
	return &s->fault;
}

const char *
relay_session_local_ip(const struct relay_session *s)
{
	return s->local_ip;
}

bool
relay_session_has_tls(const struct relay_session *s)
{
	return s->has_tls;
}

bool
relay_session_is_verified(const struct relay_session *s)
{
	return s->has_tls && s->is_verified;
}

bool
relay_session_can_require_tls(const struct relay_session *s, struct relay_verdict *v)
{
	if (!s->has_tls)
		relay_verdict_set(v, DELIVERY_BOUNCED, "5.7.10",
		    "Encryption needed, but there is no TLS with host %s", s->name);
	else if (!s->is_verified)
		relay_verdict_set(v, DELIVERY_BOUNCED, "5.7.10",
		    "Encryption needed, but the certificate of host %s is not trusted", s->name);
	else if (!s->target.is_named_safely)
		relay_verdict_set(v, DELIVERY_BOUNCED, "5.7.10",
		    "Encryption needed, but the MX record that names host %s is not signed",
		    s->name);
	else if ((s->ehlo.capabilities & RELAY_CAP_REQUIRETLS) == 0)
		relay_verdict_set(v, DELIVERY_BOUNCED, "5.7.30",
		    "REQUIRETLS support required, but was not offered by host %s", s->name);
	else
		return true;
	return false;
}

bool
relay_session_has_8bitmime(const struct relay_session *s)
{
	return (s->ehlo.capabilities & RELAY_CAP_8BITMIME) != 0;
}

void
relay_session_send(struct relay_session *s, const struct relay_transaction *t)
{
	s->txn = t;
	s->uses++;
	s->rcpt_states = x_calloc(t->count, 1);
	s->first_rcpt = s->needs_rset ? 2 : 1;
	s->nsteps = s->first_rcpt + t->count + 1;
	s->next_send = s->next_recv = 0;
	s->naccepted = 0;
	s->has_mail = s->mail_failed = false;
	s->state = ST_ENVELOPE;
	send_steps(s);
}

const char *
relay_session_peer(const struct relay_session *s)
{
	return s->peer;
}

bool
relay_session_is_to(const struct relay_session *s, const struct relay_target *target)
{
	char peer[sizeof s->peer], ip[ADDR_TEXT];

	snprintf(peer, sizeof peer, "%s[%s]:%u", target->host, addr_text(&target->addr, ip),
	    addr_port(&target->addr));
	return strcmp(peer, s->peer) == 0;
}

const char *
relay_session_identity(const struct relay_session *s)
{
	return s->identity;
}

unsigned
relay_session_uses(const struct relay_session *s)
{
	return s->uses;
}

bool
relay_session_is_reusable(const struct relay_session *s)
{
	return s->state == ST_READY && clock_mono_ms() - s->opened_ms < s->conf->reuse_ms;
}
