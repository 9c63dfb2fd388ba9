/* BDAT (RFC 3030): octets by count.
 *
 * A count that cannot be read leaves us without the place where the next command begins: 521, and the session ends.
 * Whatever else is wrong with a BDAT, its octets are read and thrown away before it is refused (RFC 3030 2), so that
 * none of them can be taken for a command; and the transaction is over, so that no later chunk can make a message of
 * what is left. */
#include "smtpd/cmd_data.h"
#include "smtpd/content.h"
#include "smtpd/extensions.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

bool
smtpd_check_bdat(struct smtpd_session *s, struct view args)
{
	struct view count = { 0 }, rest = args;
	struct smtpd_chunk k = { .nrcpts =
				     s->tx != NULL ? (unsigned)s->tx->naccepted : s->chunk.nrcpts };

	s->chunk = k;
	if (view_token(&rest, " \t", &count) && view_u64(count, INT64_MAX, &k.size)) {
		k.left = k.size;
		k.is_last = view_case_eq_str(view_trim(rest), "LAST");
		s->chunk = k;
		if (k.is_last || view_trim(rest).len == 0)
			return true;
	}
	smtpd_reply(s, 521, "5.5.4", "Syntax: BDAT count [LAST]");
	smtpd_session_end(s);
	return false;
}

static struct content_verdict
find_refusal(const struct smtpd_session *s)
{
	const struct content_verdict none = { 0 };

	if (!smtpd_offers(s, EXT_CHUNKING))
		return (struct content_verdict){ 502, "5.5.1", "Error: command not implemented" };
	if (s->server->conf->tls_level == SMTPD_TLS_ENCRYPT && !smtpd_session_has_tls(s))
		return (
		    struct content_verdict){ 530, "5.7.0", "Must issue a STARTTLS command first" };
	if (s->tx == NULL || (s->state == ST_MAIL && s->tx->ntried == 0))
		return (struct content_verdict){ 503, "5.5.1", "Error: need RCPT command" };
	if (s->state == ST_MAIL)
		return (struct content_verdict){ 554, "5.5.1", "Error: no valid recipients" };
	return none;
}

static enum cmd_result
chunk_starts(struct smtpd_session *s)
{
	smtpd_session_set_state(s, ST_CHUNK);
	return CMD_MORE;
}

enum cmd_result
smtpd_chunk_begun(struct smtpd_session *s)
{
	smtpd_content_open(s, DATA_CHUNKED, &s->chunk.refusal);
	return chunk_starts(s);
}

static enum cmd_result
first_permitted(struct smtpd_session *s, bool permitted)
{
	if (s->state == ST_END)
		return CMD_DONE;
	if (!permitted) {
		s->chunk.is_answered = true;
		return chunk_starts(s);
	}
	return smtpd_transaction_await(s) ? CMD_WAIT : smtpd_chunk_begun(s);
}

enum cmd_result
smtpd_cmd_bdat(struct smtpd_session *s)
{
	s->chunk.refusal = find_refusal(s);
	if (s->chunk.refusal.code != 0 || s->state == ST_BETWEEN)
		return chunk_starts(s);
	return smtpd_gates_start(s, STAGE_DATA, first_permitted);
}

static enum cmd_result
chunk_complete(struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;
	const struct smtpd_chunk *k = &s->chunk;
	struct content_verdict v;
	struct smtpd_content *c;

	if (k->is_answered || k->refusal.code != 0) {
		if (!k->is_answered)
			smtpd_reply(s, k->refusal.code, k->refusal.dsn, "%s", k->refusal.text);
		if (k->is_last)
			s->chunk.nrcpts = 0;
		smtpd_session_reset(s);
		return CMD_DONE;
	}
	c = s->tx->content;
	if (k->is_last) {
		smtpd_content_end(c);
		s->chunk.nrcpts = 0; /* behind this message there is nothing to answer for */
		smtpd_session_set_state(s, ST_CONTENT);
		return smtpd_content_complete(s);
	}
	if ((c->is_too_big || c->has_failed) &&
	    smtpd_content_is_refused(c, conf->hop_limit, conf->header_limit, &v))
		return smtpd_content_refused(s, &v);
	smtpd_session_set_state(s, ST_BETWEEN);
	smtpd_reply(s, 250, "2.0.0", "Ok: %llu bytes", (unsigned long long)k->size);
	return CMD_DONE;
}

static size_t
take_octets(struct smtpd_session *s)
{
	struct view in = stream_input(s->stream);
	size_t used = s->chunk.left < in.len ? (size_t)s->chunk.left : in.len;

	if (s->chunk.is_answered || s->chunk.refusal.code != 0) {
		smtpd_session_progress(s, used);
		stream_consume(s->stream, used);
	} else {
		smtpd_content_take(s, s->chunk.left, &used);
	}
	return used;
}

bool
smtpd_chunk_step(struct smtpd_session *s)
{
	enum cmd_result result;

	if (s->chunk.left > 0) {
		size_t used = take_octets(s);

		s->chunk.left -= used;
		if (s->chunk.left > 0 || s->is_waiting)
			return used > 0;
	}
	result = chunk_complete(s);
	if (result == CMD_DONE)
		smtpd_session_account(s);
	else
		s->is_waiting = true;
	return true;
}
