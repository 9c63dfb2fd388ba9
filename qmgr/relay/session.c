#include "qmgr/relay/session_private.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/net/addr.h"

#include <stdio.h>
#include <stdlib.h>

enum { CODE_SERVICE_CLOSES = 421 /* RFC 5321 3.8: at any time */ };

/* ---------------------------------------------------------------- telling the owner */

void
relay_session_fail(struct relay_session *s, const struct relay_verdict *v, enum relay_failure how)
{
	s->state = ST_DEAD;
	s->ops->on_failed(s->arg, s, v, how);
}

/* What was under way when the server went: Postfix's words. */
static const char *
activity(const struct relay_session *s)
{
	switch (s->state) {
	case ST_CONNECT:
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
		return relay_session_step_activity(s);
	default:
		return "waiting for the next message";
	}
}

void
relay_session_lose(struct relay_session *s, struct relay_verdict *v)
{
	v->is_unreachable = s->state != ST_FINAL;
	v->is_ambiguous = s->state == ST_FINAL;
	if (s->txn == NULL) {
		relay_session_fail(s, v, RELAY_FAIL_HOST);
		return;
	}
	if (s->state == ST_ENVELOPE && s->uses > 1 && !s->has_mail && !s->mail_failed) {
		relay_session_end(s, RELAY_END_STALE);
		return;
	}
	relay_session_tell_all(s, v);
	relay_session_end(s, RELAY_END_CLOSED);
}

void
relay_session_lose_protocol(struct relay_session *s, const char *why)
{
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.5.0", "protocol error of %s while %s: %s",
	    s->name, activity(s), why);
	relay_session_lose(s, &v);
}

/* ---------------------------------------------------------------- commands */

bool
relay_session_is_in_step(struct relay_session *s)
{
	if (stream_input(s->stream).len == 0)
		return true;
	relay_session_lose_protocol(s, "a reply before the command");
	return false;
}

static void
send_command(struct relay_session *s, enum state state, int64_t deadline_ms, const char *fmt,
    const char *arg)
{
	if (!relay_session_is_in_step(s))
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

/* ---------------------------------------------------------------- replies */

void
relay_session_said(struct relay_session *s, struct relay_verdict *v, const char *request)
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
	relay_session_fail(s, &v, RELAY_FAIL_HOST);
}

void
relay_session_become_ready(struct relay_session *s)
{
	if (!relay_session_is_in_step(s))
		return;
	s->state = ST_READY;
	stream_set_deadline(s->stream, 0);
	s->ops->on_ready(s->arg, s);
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
	relay_session_fail(s, &v, RELAY_FAIL_HOST);
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
	relay_session_fail(s, &v, RELAY_FAIL_HOST);
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
		relay_session_fail(s, &v, RELAY_FAIL_FINAL);
	} else if (wants_tls && (s->ehlo.capabilities & RELAY_CAP_STARTTLS)) {
		send_command(s, ST_STARTTLS, s->conf->starttls_ms, "%s\r\n", "STARTTLS");
	} else {
		if (wants_tls)
			set_fault(s, "starttls-not-supported", "");
		if (needs_tls(s))
			tls_required(s);
		else
			relay_session_log_in(s);
	}
}

static void
on_ehlo(struct relay_session *s)
{
	if (s->reply.code / 100 == 2) {
		relay_ehlo_parse(buf_view(&s->reply.text), &s->ehlo);
		s->ehlo.capabilities &=
		    ~(s->options.is_lmtp ? s->conf->lmtp_discarded : s->conf->discarded);
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
		relay_session_log_in(s);
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
	relay_session_said(s, &v, relay_session_awaits(s));
	if (s->state != ST_FINAL) {
		relay_session_lose(s, &v);
		return;
	}
	relay_session_tell_all(s, &v); /* an answer like others: the message was not taken */
	relay_session_end(s, RELAY_END_CLOSED);
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
		relay_session_on_auth(s);
		break;
	case ST_ENVELOPE:
		relay_session_on_envelope(s);
		break;
	case ST_CONTENT:
		relay_session_on_early(s);
		break;
	case ST_FINAL:
		if (s->nchunks > 0)
			relay_session_on_early(s);
		else
			relay_session_on_final(s);
		break;
	default:
		relay_session_lose_protocol(s, "a reply to nothing");
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
		relay_session_lose_protocol(s, e.text);
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
		relay_session_send_piece(s);
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
	relay_session_fail(s, &v, RELAY_FAIL_HOST);
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
on_close(void *arg, struct stream *stream, const struct err *why)
{
	struct relay_session *s = arg;
	bool timed_out = why->sys == ETIMEDOUT;
	struct relay_verdict v;

	(void)stream;
	if (s->state == ST_DEAD)
		return;
	if (s->state == ST_HANDSHAKE) {
		log_info("TLS handshake with %s failed: %s", s->peer, lqs(why->text));
		if (!timed_out) /* RFC 8460 4.3.4 */
			set_fault(s, "validation-failure", why->text);
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.5",
		    "Cannot start TLS: handshake failure with %s", s->name);
		v.is_unreachable = true;
		relay_session_fail(s, &v, RELAY_FAIL_TLS);
	} else {
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.4.2",
		    timed_out ? "conversation with %s timed out while %s"
			      : "lost connection with %s while %s",
		    s->name, activity(s));
		relay_session_lose(s, &v);
	}
}

static const struct stream_ops stream_ops = { on_input, on_drained, on_tls, on_close };

/* ---------------------------------------------------------------- life */

struct relay_session *
relay_session_open(struct loop *l, const struct relay_conf *conf, struct stream *stream,
    const struct relay_target *target, const struct relay_session_options *options,
    const struct relay_session_ops *ops, void *arg)
{
	struct relay_session *s = x_calloc(1, sizeof *s);
	char ip[ADDR_TEXT];

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
	relay_target_peer(target, s->peer, sizeof s->peer);
	s->stream = stream;
	stream_give(stream, &stream_ops, s);
	stream_want_drained(stream);
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
	relay_session_forget_password(s);
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

const char *
relay_session_peer(const struct relay_session *s)
{
	return s->peer;
}

bool
relay_session_is_to(const struct relay_session *s, const struct relay_target *target)
{
	char peer[sizeof s->peer];

	relay_target_peer(target, peer, sizeof peer);
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
