/* The message on its way out. */
#include "qmgr/relay/session_private.h"

enum {
	CHUNK = 32 << 10,      /* read at a time */
	SHORT_CHUNK = 8 << 10, /* of what is made 7-bit: many small parts, each with new fields */
	MADE_MAX = 256 << 10,  /* that comes of it */
	PIECE = 64 << 10,      /* handed to the stream at a time */
	BDAT_PIECE =
	    128 << 10, /* each is answered: larger ones cost no more system calls than DATA */
	PIECE_MAX = BDAT_PIECE + 5 * MADE_MAX,
};

static void
content_broken(struct relay_session *s, const struct err *err)
{
	struct relay_verdict v;

	/* the data cannot be taken back but by closing; the server then delivers nothing (RFC 5321 3.8) */
	if (err->kind == ERR_SYNTAX)
		relay_verdict_set(&v, DELIVERY_BOUNCED, "5.6.0", "%s", err->text);
	else
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.3.0", "%s", err->text);
	relay_session_tell_all(s, &v);
	relay_session_end(s, RELAY_END_CLOSED);
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
	size_t enough = s->filter.is_counted ? BDAT_PIECE : PIECE;

	while (out->len < enough) {
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

/* rc: of next_piece. */
static void
write_piece(struct relay_session *s, const struct buf *out, int rc, const struct err *err)
{
	if (rc < 0) {
		content_broken(s, err);
		return;
	}
	if (s->filter.is_counted)
		stream_printf(s->stream, "BDAT %zu%s\r\n", out->len, rc == 1 ? " LAST" : "");
	stream_write(s->stream, out->p, out->len);
	if (rc == 1) {
		s->state = ST_FINAL;
		stream_set_deadline(s->stream, s->conf->data_done_ms);
	} else {
		s->nchunks += s->filter.is_counted;
		stream_set_deadline(s->stream, s->conf->data_xfer_ms);
		stream_want_drained(s->stream);
	}
}

void
relay_session_send_piece(struct relay_session *s)
{
	struct buf out;
	struct err e;
	int rc;

	if (s->is_refused)
		return;
	buf_init(&out, PIECE_MAX);
	rc = next_piece(s, &out, &e);
	write_piece(s, &out, rc, &e);
	buf_clear(&out);
}

static void
start(struct relay_session *s, bool is_counted)
{
	s->content_at = 0;
	relay_downgrade_clear(&s->downgrade);
	if (s->txn->downgrade != NULL)
		relay_downgrade_start(&s->downgrade, s->conf->mime_nesting, s->txn->downgrade);
	relay_filter_init(&s->filter, s->conf->line_limit);
	s->filter.is_counted = is_counted;
}

/* RFC 3030 2: only when all of MAIL and RCPT are answered, so that behind a server with PIPELINING it takes as many round
 * trips as DATA, of which the answer comes with those; without, one less, as long as one chunk is enough: each of several
 * would be waited for. */
bool
relay_session_send_chunks(struct relay_session *s)
{
	struct buf out;
	bool may_pay;
	struct err e;
	int rc;

	if ((s->ehlo.capabilities & RELAY_CAP_CHUNKING) == 0)
		return false;
	start(s, true);
	buf_init(&out, PIECE_MAX);
	rc = next_piece(s, &out, &e);
	may_pay = rc != 0 || (s->ehlo.capabilities & RELAY_CAP_PIPELINING);
	if (may_pay) {
		s->state = ST_CONTENT;
		write_piece(s, &out, rc, &e);
	}
	buf_clear(&out);
	return may_pay;
}

void
relay_session_send_content(struct relay_session *s)
{
	if (!relay_session_is_in_step(s))
		return;
	if (s->naccepted == 0 && s->options.is_lmtp) {
		/* RFC 2033 4.2: it should have said 503, and has nobody to answer for */
		relay_session_end(s, RELAY_END_CLOSED);
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
	start(s, false);
	relay_session_send_piece(s);
}

/* RFC 3030 2: to a chunk that is not the last.  Once one is refused no more are sent; those on their way are answered too,
 * and then a new transaction may begin. */
static void
on_chunk(struct relay_session *s)
{
	struct relay_verdict v;

	s->nchunks--;
	if (s->reply.code / 100 != 2 && !s->is_refused) {
		s->is_refused = s->needs_rset = true;
		relay_session_said(s, &v, "BDAT command");
		relay_session_tell_all(s, &v);
	}
	if (!s->is_refused)
		return;
	if (s->state == ST_FINAL && s->options.is_lmtp)
		relay_session_end(s, RELAY_END_CLOSED); /* how many replies come? */
	else if (s->state == ST_CONTENT && s->nchunks == 0)
		relay_session_end(s, RELAY_END_USABLE);
}

/* The server speaks while we do: a refusal counts, anything else is out of step.  Either way the data cannot
 * be ended properly any more, unless it goes in chunks. */
void
relay_session_on_early(struct relay_session *s)
{
	struct relay_verdict v;

	if (s->nchunks > 0) {
		on_chunk(s);
		return;
	}
	if (s->reply.code / 100 != 4 && s->reply.code / 100 != 5) {
		relay_session_lose_protocol(s, "a reply before the end of the message");
		return;
	}
	relay_session_said(s, &v, "message content");
	relay_session_tell_all(s, &v);
	relay_session_end(s, RELAY_END_CLOSED);
}
