/* Transactions: MAIL, RCPT and their replies, and each recipient's outcome. */
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/relay/session_private.h"

enum {
	PIPELINE_MAX = 64, /* commands without an answer yet */
	COMMAND_MAX = 4096,
};

/* Two XFORWARD commands, as Postfix has it: a line may have 512 bytes only. */
enum {
	XFORWARD_CLIENT = 1 << XFORWARD_NAME | 1 << XFORWARD_ADDR | 1 << XFORWARD_PORT,
	XFORWARD_MESSAGE =
	    1 << XFORWARD_PROTO | 1 << XFORWARD_HELO | 1 << XFORWARD_IDENT | 1 << XFORWARD_SOURCE,
};

static void
tell(struct relay_session *s, size_t index, const struct relay_verdict *v)
{
	if (s->rcpt_states[index] == RCPT_TOLD)
		return;
	s->rcpt_states[index] = RCPT_TOLD;
	s->ops->on_recipient(s->arg, s, index, v);
}

void
relay_session_tell_all(struct relay_session *s, const struct relay_verdict *v)
{
	for (size_t i = 0; i < s->txn->count; i++)
		tell(s, i, v);
}

void
relay_session_end(struct relay_session *s, enum relay_end end)
{
	s->txn = NULL;
	x_free(&s->rcpt_states);
	relay_downgrade_clear(&s->downgrade);
	s->state = end == RELAY_END_USABLE ? ST_READY : ST_DEAD;
	if (end == RELAY_END_USABLE)
		stream_set_deadline(s->stream, 0);
	s->ops->on_done(s->arg, s, end);
}

static enum relay_step
step_of(const struct relay_session *s, size_t number)
{
	if (number < s->mail_at)
		return s->before_mail[number];
	number -= s->mail_at;
	return number == 0 ? STEP_MAIL : number <= s->txn->count ? STEP_RCPT : STEP_DATA;
}

static void
plan_step(struct relay_session *s, enum relay_step step)
{
	s->before_mail[s->mail_at++] = (unsigned char)step;
}

static void
plan_steps(struct relay_session *s)
{
	bool tells = s->options.is_lmtp ? s->conf->lmtp_sends_xforward : s->conf->sends_xforward;
	unsigned offered =
	    tells && s->ehlo.capabilities & RELAY_CAP_XFORWARD ? s->ehlo.xforward : 0;

	s->mail_at = 0;
	if (s->needs_rset)
		plan_step(s, STEP_RSET);
	if (offered & XFORWARD_CLIENT)
		plan_step(s, STEP_CLIENT);
	if (offered & XFORWARD_MESSAGE)
		plan_step(s, STEP_MESSAGE);
	s->nsteps = s->mail_at + 1 + s->txn->count + (s->txn->is_probe ? 0 : 1);
}

const char *
relay_session_step_activity(const struct relay_session *s)
{
	switch (step_of(s, s->next_recv)) {
	case STEP_RSET:
		return "sending RSET";
	case STEP_CLIENT:
	case STEP_MESSAGE:
		return "sending XFORWARD";
	case STEP_MAIL:
		return "sending MAIL FROM";
	case STEP_RCPT:
		return "sending RCPT TO";
	default:
		return "sending DATA command";
	}
}

static int64_t
step_deadline(const struct relay_session *s, size_t number)
{
	switch (step_of(s, number)) {
	case STEP_CLIENT:
	case STEP_MESSAGE:
		return s->conf->xforward_ms;
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
	case STEP_CLIENT:
		relay_xforward_command(&b, t->xforward, s->ehlo.xforward & XFORWARD_CLIENT);
		break;
	case STEP_MESSAGE:
		relay_xforward_command(&b, t->xforward, s->ehlo.xforward & XFORWARD_MESSAGE);
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
		r = t->rcpts[number - s->mail_at - 1];
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

	if (s->next_send == s->next_recv && !relay_session_is_in_step(s))
		return;
	while (s->next_send < s->nsteps && s->next_send - s->next_recv < window) {
		bool all_answered = s->next_send == s->next_recv;
		bool is_data = step_of(s, s->next_send) == STEP_DATA;

		if (is_data && !all_answered && (s->ehlo.capabilities & RELAY_CAP_CHUNKING))
			break;
		if (s->mail_failed || (is_data && all_answered && s->naccepted == 0))
			s->nsteps = s->next_send;
		else if (is_data && relay_session_send_chunks(s))
			return;
		else
			write_step(s, s->next_send++);
	}
	if (s->next_recv < s->next_send) {
		stream_set_deadline(s->stream, step_deadline(s, s->next_recv));
		return;
	}
	s->needs_rset = true;
	relay_session_end(s, RELAY_END_USABLE);
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
	relay_session_said(s, &v, "MAIL FROM command");
	relay_session_tell_all(s, &v);
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
		if (!s->txn->is_probe)
			return;
	}
	relay_session_said(s, &v, "RCPT TO command");
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
		relay_session_send_content(s);
		return;
	}
	if (s->naccepted > 0) {
		relay_session_said(s, &v, "DATA command");
		if (v.status == DELIVERY_SENT) {
			relay_session_lose_protocol(s, "message accepted before it was sent");
			return;
		}
		relay_session_tell_all(s, &v);
	}
	s->needs_rset = true;
	relay_session_end(s, RELAY_END_USABLE);
}

/* The message goes all the same, as with Postfix. */
static void
warn_of_xforward(struct relay_session *s)
{
	struct relay_verdict v;

	relay_session_said(s, &v, "XFORWARD command");
	log_warn("%s", lqs(v.text));
}

void
relay_session_on_envelope(struct relay_session *s)
{
	size_t number = s->next_recv++;

	switch (step_of(s, number)) {
	case STEP_RSET:
		if (s->reply.code / 100 != 2) {
			s->next_recv = number;
			relay_session_lose_protocol(s, "RSET is refused");
			return;
		}
		s->needs_rset = false;
		break;
	case STEP_CLIENT:
	case STEP_MESSAGE:
		if (s->reply.code / 100 != 2)
			warn_of_xforward(s);
		break;
	case STEP_MAIL:
		on_mail_reply(s);
		break;
	case STEP_RCPT:
		on_rcpt_reply(s, number - s->mail_at - 1);
		break;
	case STEP_DATA:
		on_data_reply(s);
		return;
	}
	send_steps(s);
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

void
relay_session_on_final(struct relay_session *s)
{
	struct relay_verdict v;

	if (s->is_refused) {
		relay_session_end(s, RELAY_END_USABLE);
		return;
	}
	relay_session_said(s, &v, relay_session_awaits(s));
	if (v.status == DELIVERY_SENT && stream_output_pending(s->stream) > 0) {
		relay_session_lose_protocol(s, "a reply before the end of the message");
		return;
	}
	v.took_dsn = (s->ehlo.capabilities & RELAY_CAP_DSN) != 0;
	s->needs_rset = s->naccepted == 0 || v.status != DELIVERY_SENT;
	if (s->options.is_lmtp) {
		tell_next(s, &v);
		if (s->naccepted > 0) {
			stream_set_deadline(s->stream, s->conf->data_done_ms);
			return;
		}
	}
	relay_session_tell_all(s, &v);
	relay_session_end(s, RELAY_END_USABLE);
}

const char *
relay_session_awaits(const struct relay_session *s)
{
	if (s->state == ST_FINAL || s->state == ST_CONTENT)
		return s->filter.is_counted   ? "BDAT command"
		       : s->state == ST_FINAL ? "end of DATA command"
					      : "message content";
	switch (step_of(s, s->next_recv)) {
	case STEP_RSET:
		return "RSET command";
	case STEP_CLIENT:
	case STEP_MESSAGE:
		return "XFORWARD command";
	case STEP_MAIL:
		return "MAIL FROM command";
	case STEP_RCPT:
		return "RCPT TO command";
	default:
		return "DATA command";
	}
}

void
relay_session_send(struct relay_session *s, const struct relay_transaction *t)
{
	s->txn = t;
	s->uses++;
	s->rcpt_states = x_calloc(t->count, 1);
	plan_steps(s);
	s->next_send = s->next_recv = 0;
	s->naccepted = 0;
	s->has_mail = s->mail_failed = s->is_refused = false;
	s->nchunks = 0;
	s->state = ST_ENVELOPE;
	send_steps(s);
}
