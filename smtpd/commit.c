#include "smtpd/commit.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/ipc/msg/qmgr.h"
#include "common/log/log.h"
#include "common/net/tls.h"
#include "smtpd/client_cert.h"
#include "smtpd/cmd_data.h"
#include "smtpd/content.h"
#include "smtpd/explain.h"
#include "smtpd/received.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"
#include "smtpd/xclient.h"

#include <time.h>

enum {
	/* RFC 5321 4.5.3.2.6 lets the client wait ten minutes */
	COMMIT_TIMEOUT_MS = 300000,
	HEADERS_MAX = 65536, /* of those made here */
	INLINE_MAX = 32768,  /* a longer envelope travels as a memfd */
	TLS_CLIENT_MAX = 1024,
};

/* RFC 3848, RFC 6531 3.7.3 */
static const char *
with_protocol(const struct smtpd_session *s)
{
	static const char *const names[][4] = { { "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA" },
		{ "UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA" },
		{ "LMTP", "LMTPS", "LMTPA", "LMTPSA" },
		{ "UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA" } };

	if (!s->is_esmtp)
		return "SMTP";
	return names[((s->tx->flags & ENVELOPE_SMTPUTF8) ? 1 : 0) +
		     (s->server->conf->ext.is_lmtp ? 2 : 0)]
		    [(smtpd_session_has_tls(s) ? 1 : 0) + (s->login != NULL ? 2 : 0)];
}

static int
put_received(struct smtpd_session *s, int64_t now, struct buf *out)
{
	const struct smtpd_config *conf = s->server->conf;
	const struct smtpd_transaction *tx = s->tx;
	char literal[ADDR_TEXT], tls[200];
	struct buf cert;
	int result;
	struct received r = {
		.helo = s->helo,
		.client_name = smtpd_client_name(s),
		.client_literal = addr_literal(&s->client.address, literal),
		.login = conf->names_login ? s->login : NULL,
		.myhostname = conf->myhostname,
		.mail_name = conf->mail_name,
		.protocol = with_protocol(s),
		.queue_id = tx->queue_id,
		.recipient = tx->only_rcpt,
		.time = now,
	};

	if (conf->hides_clients && s->login != NULL) {
		/* where our users write from is nobody's business */
		r.helo = conf->myhostname;
		r.client_name = "localhost";
		r.client_literal = "127.0.0.1";
	}
	buf_init(&cert, TLS_CLIENT_MAX);
	if (stream_has_tls(s->stream) && conf->tls_received_header) {
		tls_describe(stream_ssl(s->stream), tls, sizeof tls);
		r.tls = tls;
		client_cert_comment(
		    s->client.cert, conf->tls.client_cert != TLS_CLIENT_CERT_NONE, &cert);
		r.tls_client = buf_cstr(&cert);
	}
	result = received_format(&r, out);
	buf_clear(&cert);
	return result;
}

/* "<20261123044843.ID@host>", as Postfix makes them: unique by the queue id. */
static void
format_message_id(const struct smtpd_session *s, int64_t now, struct buf *out)
{
	time_t t = (time_t)now;
	struct tm tm;

	gmtime_r(&t, &tm);
	buf_printf(out, "<%04d%02d%02d%02d%02d%02d.%s@%s>", tm.tm_year + 1900, tm.tm_mon + 1,
	    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, s->tx->queue_id,
	    s->server->conf->myhostname);
}

static bool
has_field(const struct smtpd_content *c, const char *name, bool was_received)
{
	return c->has_list ? header_list_find(&c->list, view_of(name), 1) < c->list.count
			   : was_received;
}

/* RFC 6409 8.1, 8.3: a message from our own users gets what is missing.  Mail that only passes is left alone. */
static bool
adds_missing(const struct smtpd_session *s)
{
	return smtpd_client_is_ours(s) || s->tx->adds_missing;
}

static void
put_missing(struct smtpd_session *s, int64_t now, struct buf *out)
{
	const struct smtpd_content *c = s->tx->content;

	if (!adds_missing(s))
		return;
	if (!has_field(c, "Message-Id", c->headers.has_message_id)) {
		buf_append_str(out, "Message-Id: ");
		format_message_id(s, now, out);
		buf_append_str(out, "\r\n");
	}
	if (!has_field(c, "Date", c->headers.has_date)) {
		buf_append_str(out, "Date: ");
		mail_date_format(now, out);
		buf_append_str(out, "\r\n");
	}
	if (!has_field(c, "From", c->headers.has_from) && s->tx->sender.text[0] != '\0')
		buf_printf(out, "From: %s\r\n", s->tx->sender.text);
}

/* What the content begins with may not become part of our last field. */
static void
put_seam(struct smtpd_session *s, struct buf *out)
{
	switch (s->tx->content->headers.start) {
	case HEADER_START_FROM: /* Postfix: keep what an mbox left there, as a field */
		buf_append_str(out, "X-Mailbox-Line: ");
		break;
	case HEADER_START_BODY:
		buf_append_str(out, "\r\n");
		break;
	default:
		break;
	}
}

/* PREPEND actions, and what milters put at the top: above our own Received:, as in Postfix. */
static void
put_top(struct smtpd_session *s, struct buf *out)
{
	const struct smtpd_verdicts *v = &s->tx->verdicts;
	const struct smtpd_content *c = s->tx->content;

	for (size_t i = 0; i < v->nprepend; i++) {
		buf_append_str(out, v->prepend[i]);
		buf_append_str(out, "\r\n");
	}
	for (size_t i = 0; i < c->ntop; i++)
		header_field_write(&c->list.fields[i], out);
}

/* The message's own headers, if they are not to be taken as they were received. */
static void
put_rewritten(struct smtpd_session *s, struct buf *out)
{
	const struct smtpd_content *c = s->tx->content;

	for (size_t i = c->ntop; i < c->list.count; i++)
		header_field_write(&c->list.fields[i], out);
	if (c->has_section || c->is_replaced)
		buf_append_str(out, "\r\n");
	else
		put_seam(s, out);
}

static void
log_message_id(struct smtpd_session *s, int64_t now)
{
	const struct header_scan *h = &s->tx->content->headers;
	struct view id = header_scan_message_id(h);
	struct buf made;

	buf_init(&made, 1000);
	if (!h->has_message_id && adds_missing(s)) {
		format_message_id(s, now, &made);
		id = buf_view(&made);
	}
	log_as("cleanup", LOG_LEVEL_INFO, "%s: message-id=%s", s->tx->queue_id,
	    id.len > 0 ? lq(id) : "<>");
	buf_clear(&made);
}

/* RFC 8689 4.1: REQUIRETLS counts more than TLS-Required:. */
static uint32_t
tls_tag(const struct smtpd_transaction *tx)
{
	bool is_optional =
	    tx->content->headers.says_tls_optional && !(tx->flags & ENVELOPE_REQUIRETLS);

	return is_optional ? ENVELOPE_TLS_OPTIONAL : 0;
}

static const char *
client_port(struct smtpd_session *s)
{
	unsigned port = addr_port(&s->client.address);
	const char *text = port > 0 ? arena_printf(&s->tx->arena, "%u", port) : NULL;

	return text != NULL ? text : "";
}

static void
fill_envelope(struct smtpd_session *s, uint64_t size, struct envelope *e)
{
	struct smtpd_transaction *tx = s->tx;

	*e = (struct envelope){
		.sender = tx->sender.text,
		.flags = tx->flags | tls_tag(tx) | (tx->verdicts.hold ? ENVELOPE_HOLD : 0),
		.arrival_ms = tx->arrival_ms,
		.size = size,
		.envid = tx->envid != NULL ? tx->envid : "",
		.filter = tx->verdicts.filter != NULL ? tx->verdicts.filter
						      : s->server->conf->content_filter,
		.client_name = smtpd_client_name(s),
		.client_address = s->client.ip,
		.client_port = client_port(s),
		.helo = s->helo != NULL ? s->helo : "",
		.protocol = smtpd_session_protocol(s),
		.sasl_method = s->mechanism != NULL ? s->mechanism : "",
		.sasl_username = s->login != NULL ? s->login : "",
		.rcpts = tx->rcpts,
		.nrcpts = tx->nrcpts,
	};
	smtpd_xforward_envelope(s, e);
}

/* Where the message goes on behind the headers made here. */
static uint64_t
body_offset(const struct smtpd_content *c)
{
	return smtpd_content_is_rewritten(c) ? c->body_at : 0;
}

/* The three things that travel: descriptors are -1 where there is none. */
struct parcel {
	struct buf envelope;
	int envelope_fd; /* owned; a long envelope */
	int headers_fd;  /* owned */
	uint64_t headers_size;
};

static void
parcel_clear(struct parcel *p)
{
	buf_clear(&p->envelope);
	fd_close(&p->envelope_fd);
	fd_close(&p->headers_fd);
}

static int
pack_headers(struct smtpd_session *s, int64_t now, struct parcel *p, struct err *err)
{
	bool is_rewritten = smtpd_content_is_rewritten(s->tx->content);
	struct buf headers;
	int r = 0;

	buf_init(&headers, HEADERS_MAX + (is_rewritten ? 2UL * HEADER_LIST_MAX_BYTES : 0));
	put_top(s, &headers);
	put_received(s, now, &headers);
	put_missing(s, now, &headers);
	if (is_rewritten)
		put_rewritten(s, &headers);
	else
		put_seam(s, &headers);
	if (headers.failed)
		r = err_set(err, ERR_LIMIT, "headers too large");
	else if ((p->headers_fd = memfd_sealed("headers", headers.p, headers.len, err)) < 0)
		r = -1;
	p->headers_size = headers.len;
	buf_clear(&headers);
	return r;
}

static int
pack(struct smtpd_session *s, int64_t now, struct parcel *p, struct err *err)
{
	struct envelope e;

	*p = (struct parcel){ .envelope_fd = -1, .headers_fd = -1 };
	buf_init(&p->envelope, ENVELOPE_MAX_BYTES);
	if (pack_headers(s, now, p, err) < 0)
		return -1;
	fill_envelope(s,
	    p->headers_size + body_size(&s->tx->content->body) - body_offset(s->tx->content), &e);
	if (e.nrcpts == 0)
		return err_set(err, ERR_PERM, "no recipient is left");
	if (envelope_encode(&e, &p->envelope) < 0)
		return err_set(err, ERR_LIMIT, "envelope too large");
	if (p->envelope.len <= INLINE_MAX)
		return 0;
	p->envelope_fd = memfd_sealed("envelope", p->envelope.p, p->envelope.len, err);
	return p->envelope_fd < 0 ? -1 : 0;
}

static void
commit_accepted(struct smtpd_session *s)
{
	s->tx->is_committed = true;
	s->errors = s->junk = 0; /* as Postfix: mail delivered wipes the slate */
	smtpd_reply(s, 250, "2.0.0", "Ok: queued as %s", s->tx->queue_id);
}

static void
commit_failed(struct smtpd_session *s, uint32_t status, const char *why)
{
	struct content_verdict v;

	if (status == QMGR_LOCKED) {
		v = smtpd_content_locked(s);
		smtpd_reply(s, v.code, v.dsn, "%s", v.text);
		return;
	}
	log_warn("%s: queue file write error: %s", s->tx->queue_id, why);
	if (status == QMGR_FULL)
		smtpd_reply(s, 452, "4.3.1", "Insufficient system storage");
	else
		smtpd_reply(s, 451, "4.3.0", "Error: queue file write error");
}

static void
on_committed(void *arg, struct ipc_in *in)
{
	struct smtpd_session *s = arg;
	uint32_t status = QMGR_TEMP;
	const char *why = "no answer from the queue manager";

	s->call = NULL;
	if (in != NULL) {
		status = ipc_get_u32(in);
		why = ipc_get_str(in);
	}
	if (in != NULL && status == QMGR_OK) {
		commit_accepted(s);
	} else {
		/* the message may be durable all the same: then forgetting it is not ours to ask */
		s->tx->is_committed = in == NULL;
		commit_failed(s, status, lqs(why));
	}
	smtpd_session_reset(s);
	smtpd_session_done(s);
}

static void
send_commit(struct smtpd_session *s, const struct parcel *p)
{
	struct smtpd_content *c = s->tx->content;
	bool is_inline = p->envelope_fd < 0;
	struct ipc_out o;

	ipc_out_init(&o, QMGR_COMMIT);
	ipc_put_str(&o, s->tx->queue_id);
	ipc_put_u32(&o, is_inline ? 0 : 1);
	ipc_put_bytes(&o, p->envelope.p, is_inline ? p->envelope.len : 0);
	ipc_put_u64(&o, p->headers_size);
	ipc_put_u64(&o, body_size(&c->body));
	ipc_put_u64(&o, body_offset(c));
	ipc_put_u32(&o, c->body.is_file ? 1 : 0);
	if (!is_inline)
		ipc_put_fd(&o, p->envelope_fd);
	ipc_put_fd(&o, p->headers_fd);
	if (c->body.is_file)
		fd_close(&c->body.fd); /* qmgr takes it from nobody who could still write */
	else
		ipc_put_fd(&o, c->body.fd);
	s->call = ipc_edge_call(s->server->qmgr, &o, "us", COMMIT_TIMEOUT_MS, on_committed, s);
}

/* The client shall not know; qmgr is told to forget the id. */
static enum cmd_result
discard(struct smtpd_session *s)
{
	s->errors = s->junk = 0;
	smtpd_reply(s, 250, "2.0.0", "Ok: queued as %s", s->tx->queue_id);
	smtpd_session_reset(s);
	return CMD_DONE;
}

/* What a real client's message would be now. */
static enum cmd_result
tell(struct smtpd_session *s)
{
	struct envelope e;

	fill_envelope(s, body_size(&s->tx->content->body), &e);
	smtpd_explain_envelope(s, &e);
	smtpd_reply(s, 250, "2.0.0", "Ok: would be queued");
	smtpd_session_reset(s);
	return CMD_DONE;
}

enum cmd_result
smtpd_commit(struct smtpd_session *s)
{
	int64_t now = clock_wall_ms() / 1000;
	struct parcel p;
	struct err err;
	enum cmd_result r = CMD_WAIT;

	if (s->explain != NULL)
		return tell(s);
	if (s->tx->verdicts.discard)
		return discard(s);
	if (pack(s, now, &p, &err) == 0) {
		log_message_id(s, now);
		send_commit(s, &p);
		/* the content lives in the message now */
		body_clear(&s->tx->content->body);
	} else {
		commit_failed(s, QMGR_TEMP, err.text);
		smtpd_session_reset(s);
		r = CMD_DONE;
	}
	parcel_clear(&p);
	return r;
}
