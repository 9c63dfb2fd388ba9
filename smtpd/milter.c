#include "smtpd/milter.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/client_name.h"
#include "smtpd/content.h"
#include "smtpd/milter_private.h"
#include "smtpd/transaction.h"

#include <stdio.h>
#include <stdlib.h>

enum { COMMAND_MAX = 16384 /* bytes of a command's packets, macros and all */ };

/* --- the log and the reply ------------------------------------------------------------------------------ */

static void
log_message(struct smtpd_session *s, const char *verdict, const char *text)
{
	smtpd_log_message(s, verdict, "END-OF-MESSAGE", view_of(text), view_of(""));
}

static void
log_verdict(struct milter_session *a, const char *verdict, const char *text)
{
	struct smtpd_session *s = a->session;

	if (a->stage == STAGE_END_OF_DATA)
		log_message(s, verdict, text);
	else
		smtpd_log_action(s, verdict, text);
}

/* All lines of a reply, each with the codes (RFC 5321 4.2.1, RFC 2034 4). */
static void
send_reply(struct smtpd_session *s, const struct milter_text *t)
{
	struct view rest = view_of(t->text), line;

	while (view_cut(rest, '\n', &line, &rest))
		smtpd_reply_line(s, t->code, t->dsn, line);
	smtpd_reply(s, t->code, t->dsn, "%.*s", VIEW_ARG(line));
	if (t->code == 421)
		smtpd_session_end(s);
}

static void
log_refusal(struct milter_session *a, const struct milter_text *t)
{
	struct smtpd_session *s = a->session;
	char whole[sizeof t->dsn + sizeof t->text + 1];

	if (a->stage == STAGE_END_OF_DATA) {
		snprintf(
		    whole, sizeof whole, "%s%s%s", t->dsn, t->dsn[0] != '\0' ? " " : "", t->text);
		log_message(s, "milter-reject", whole);
	} else {
		smtpd_log_reject(
		    s, "milter-reject", smtpd_session_where(s), t->code, t->dsn, t->text);
	}
}

/* --- verdicts ------------------------------------------------------------------------------------------- */

static void
refuse(struct milter_session *a, int code, const char *dsn, const char *text)
{
	struct milter_text *t = &a->refusal;

	t->code = code;
	snprintf(t->dsn, sizeof t->dsn, "%s", dsn);
	snprintf(t->text, sizeof t->text, "%s", text);
}

static void
refuse_for_now(struct milter_session *a)
{
	refuse(a, 451, "4.7.1", "Service unavailable - try again later");
}

static void
refuse_and_end(struct milter_session *a)
{
	refuse(a, 421, "4.7.0", "Server closing connection");
}

static void
hold(struct milter_session *a)
{
	if (a->session->tx->verdicts.hold)
		return;
	a->session->tx->verdicts.hold = true;
	log_verdict(a, "milter-hold", "milter triggers HOLD action");
}

/* The client is greeted all the same: it is refused at its first command, when there is more to log. */
static void
apply_default(struct milter *m)
{
	struct milter_session *a = m->all;

	if (a->stage == STAGE_UNKNOWN ||
	    (a->stage == STAGE_CONNECT && m->conf->on_failure != MILTER_DEFAULT_SHUTDOWN))
		return;
	switch (m->conf->on_failure) {
	case MILTER_DEFAULT_TEMPFAIL:
		refuse_for_now(a);
		break;
	case MILTER_DEFAULT_REJECT:
		refuse(a, 550, "5.5.0", "Service unavailable");
		break;
	case MILTER_DEFAULT_SHUTDOWN:
		refuse_and_end(a);
		break;
	case MILTER_DEFAULT_QUARANTINE:
		if (a->stage == STAGE_END_OF_DATA)
			hold(a);
		break;
	default:
		break;
	}
}

/* --- the walk ------------------------------------------------------------------------------------------- */

static const struct stage_row {
	enum milter_command command;
	uint32_t no, nr;
} stage_rows[] = {
	[STAGE_CONNECT] = { MILTER_CONNECT, MILTER_NO_CONNECT, MILTER_NR_CONNECT },
	[STAGE_HELO] = { MILTER_HELO, MILTER_NO_HELO, MILTER_NR_HELO },
	[STAGE_MAIL] = { MILTER_MAIL, MILTER_NO_MAIL, MILTER_NR_MAIL },
	[STAGE_RCPT] = { MILTER_RCPT, MILTER_NO_RCPT, MILTER_NR_RCPT },
	[STAGE_DATA] = { MILTER_DATA, MILTER_NO_DATA, MILTER_NR_DATA },
	[STAGE_UNKNOWN] = { MILTER_UNKNOWN, MILTER_NO_UNKNOWN, MILTER_NR_UNKNOWN },
};

static void
put_connect(const struct smtpd_session *s, struct buf *out)
{
	char literal[ADDR_TEXT + 2];

	snprintf(literal, sizeof literal, "[%s]", s->client.ip);
	milter_put_connect(
	    out, s->client.name != NULL ? s->client.name : literal, &s->client.address);
}

/* "<address>" and its parameters, each a string. */
static void
put_envelope(struct smtpd_session *s, enum milter_command command, struct buf *out)
{
	const struct smtpd_args *args = s->args;
	struct buf data;

	buf_init(&data, COMMAND_MAX);
	buf_printf(&data, "<%s>", args->address.text);
	buf_append_byte(&data, '\0');
	if (command == MILTER_MAIL && args->size > 0) {
		buf_printf(&data, "SIZE=%llu", (unsigned long long)args->size);
		buf_append_byte(&data, '\0');
	}
	if (command == MILTER_MAIL && (args->flags & ENVELOPE_8BIT))
		buf_append(&data, "BODY=8BITMIME", sizeof "BODY=8BITMIME");
	milter_put(out, command, data.p, data.len);
	buf_clear(&data);
}

static void
put_command(struct smtpd_session *s, enum milter_command command, struct buf *out)
{
	switch (command) {
	case MILTER_CONNECT:
		put_connect(s, out);
		break;
	case MILTER_HELO:
	case MILTER_UNKNOWN:
		milter_put_strings(out, command, view_of(s->args->text), NULL);
		break;
	case MILTER_MAIL:
	case MILTER_RCPT:
		put_envelope(s, command, out);
		break;
	default:
		milter_put(out, command, "", 0);
	}
}

/* True: its reply is waited for. */
static bool
ask_command(struct milter *m)
{
	const struct stage_row *row = &stage_rows[m->all->stage];
	struct buf out;

	if (m->protocol & row->no)
		return false;
	buf_init(&out, COMMAND_MAX);
	milter_link_put_macros(m, row->command, &out);
	put_command(m->all->session, row->command, &out);
	milter_link_send(m, &out);
	buf_clear(&out);
	if (m->protocol & row->nr)
		return false;
	milter_link_expect(m, row->command);
	return true;
}

static bool
ask_message(struct milter *m)
{
	struct content_verdict v;
	struct err err;

	if (milter_replay_start(m, &err) < 0) {
		log_warn("%s: cannot be shown to milter %s: %s", m->all->session->tx->queue_id,
		    m->conf->endpoint, err.text);
		v = smtpd_content_unreadable(&err);
		refuse(m->all, v.code, v.dsn, v.text);
		return false;
	}
	milter_replay_step(m);
	return true;
}

/* True: the gate has to wait for this milter. */
static bool
ask(struct milter *m)
{
	struct milter_session *a = m->all;

	if (m->is_satisfied)
		return false;
	if (a->stage == STAGE_CONNECT) {
		milter_link_open(m);
		return true;
	}
	if (m->stream == NULL) {
		apply_default(m);
		return false;
	}
	if (a->stage == STAGE_MAIL) {
		m->has_message = true;
		m->wants_no_more = false;
	}
	if (m->wants_no_more && a->stage >= STAGE_RCPT && a->stage <= STAGE_END_OF_DATA)
		return false;
	return a->stage == STAGE_END_OF_DATA ? ask_message(m) : ask_command(m);
}

static enum cmd_result
refused(struct milter_session *a)
{
	struct smtpd_session *s = a->session;

	log_refusal(a, &a->refusal);
	send_reply(s, &a->refusal);
	if (a->stage == STAGE_MAIL)
		smtpd_milter_abort(s);
	return a->then(s, false);
}

/* All have been asked, or one has said enough. */
static enum cmd_result
conclude(struct milter_session *a)
{
	struct smtpd_session *s = a->session;

	if (a->stage == STAGE_CONNECT || a->stage == STAGE_HELO)
		a->held = a->refusal;
	if (a->refusal.code != 0 && (a->stage != STAGE_CONNECT || a->refusal.code == 421))
		return refused(a);
	if (a->discards && s->tx != NULL)
		s->tx->verdicts.discard = true;
	return a->then(s, true);
}

static enum cmd_result
walk(struct milter_session *a)
{
	while (a->at < a->count && a->refusal.code == 0 && !a->discards) {
		if (ask(&a->list[a->at]))
			return CMD_WAIT;
		a->at++;
	}
	return conclude(a);
}

void
milter_settled(struct milter_session *a)
{
	struct smtpd_session *s = a->session;

	milter_replay_clear(a);
	a->at++;
	smtpd_gate_settled(s, walk(a));
}

/* --- what milters say ----------------------------------------------------------------------------------- */

void
milter_went_up(struct milter *m)
{
	if (!ask_command(m))
		milter_settled(m->all);
}

void
milter_went_down(struct milter *m)
{
	apply_default(m);
	milter_settled(m->all);
}

void
milter_drained(struct milter *m)
{
	if (m->is_busy && m->all->stage == STAGE_END_OF_DATA && m->asked == 0)
		milter_replay_step(m);
}

static void
accepted(struct milter *m)
{
	struct milter_session *a = m->all;

	m->wants_no_more = true;
	if (a->stage != STAGE_CONNECT && a->stage != STAGE_HELO)
		return;
	m->is_satisfied = true;
	milter_link_close(m);
}

void
milter_changes_failed(struct milter_session *a, const struct err *why)
{
	log_warn("%s: milter %s: %s", a->session->tx->queue_id, a->list[a->at].conf->endpoint,
	    why->text);
	refuse_for_now(a);
}

/* The message is looked at as a whole: what it has changed is done now.  True: later. */
static bool
finish_message(struct milter *m)
{
	struct err err;
	int r;

	m->has_message = false;
	r = milter_changes_apply(m->all, &err);
	if (r < 0)
		milter_changes_failed(m->all, &err);
	return r > 0;
}

static void
take_verdict(struct milter *m, enum milter_answer answer, const struct milter_text *text)
{
	struct milter_session *a = m->all;

	switch (answer) {
	case MILTER_ACCEPT:
		accepted(m);
		break;
	case MILTER_REJECT:
		refuse(a, 550, "5.7.1", "Command rejected");
		break;
	case MILTER_TEMPFAIL:
		refuse_for_now(a);
		break;
	case MILTER_REPLY:
		a->refusal = *text;
		break;
	case MILTER_SHUTDOWN:
	case MILTER_CONN_FAIL:
		refuse_and_end(a);
		break;
	case MILTER_DISCARD:
		/* without a message there is nothing to discard */
		if (a->stage < STAGE_MAIL || a->stage > STAGE_END_OF_DATA)
			break;
		a->discards = true;
		log_verdict(a, "milter-discard", "milter triggers DISCARD action");
		break;
	default:
		break;
	}
}

void
milter_answered(struct milter *m, enum milter_answer answer, const struct milter_text *text)
{
	struct milter_session *a = m->all;
	bool goes_on = answer == MILTER_CONTINUE || answer == MILTER_SKIP;

	if (a->stage == STAGE_END_OF_DATA && goes_on && m->asked != MILTER_EOM) {
		a->skips_body |= answer == MILTER_SKIP && m->asked == MILTER_BODY;
		m->is_busy = true;
		milter_replay_step(m);
		return;
	}
	take_verdict(m, answer, text);
	if (m->asked == MILTER_EOM && (goes_on || answer == MILTER_ACCEPT) && finish_message(m))
		return;
	milter_settled(a);
}

/* Our fault, not the milter's: nothing is left of the message that could be taken. */
static void
on_unreadable(void *arg)
{
	struct milter_session *a = arg;

	a->list[a->at].is_busy = false;
	refuse_for_now(a);
	milter_settled(a);
}

/* --- the gate ------------------------------------------------------------------------------------------- */

static struct milter_session *
session_new(struct smtpd_session *s)
{
	const struct milter_config *conf = &s->server->conf->milters;
	struct milter_session *a = x_calloc(1, sizeof *a);

	a->session = s;
	a->count = conf->count;
	a->list = x_calloc(conf->count, sizeof *a->list);
	for (size_t i = 0; i < conf->count; i++) {
		a->list[i].all = a;
		a->list[i].conf = &conf->items[i];
	}
	body_init(&a->new_body);
	loop_timer_init(&a->unreadable, s->server->loop, on_unreadable, a);
	return a;
}

static bool
is_asked_at(enum smtpd_stage stage)
{
	return stage != STAGE_STARTTLS && stage != STAGE_AUTH;
}

static enum cmd_result
begin(struct milter_session *a)
{
	a->at = 0;
	a->refusal.code = 0;
	if (a->stage == STAGE_MAIL)
		a->discards = false;
	if (a->held.code != 0 && a->stage != STAGE_UNKNOWN) {
		a->refusal = a->held;
		return refused(a);
	}
	return walk(a);
}

enum cmd_result
smtpd_milter_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	struct milter_session *a;

	if (s->server->conf->milters.count == 0 || !is_asked_at(stage))
		return then(s, true);
	/* a second CONNECT (XCLIENT) is another client's */
	if (stage == STAGE_CONNECT)
		smtpd_milter_free(s);
	if (s->milters == NULL)
		s->milters = session_new(s);
	a = s->milters;
	a->stage = stage;
	a->then = then;
	if (stage == STAGE_CONNECT && !s->client.is_named) {
		a->waits_for_name = true;
		smtpd_client_await_name(s);
		return CMD_WAIT;
	}
	return begin(a);
}

bool
smtpd_milter_needs_name(const struct smtpd_session *s)
{
	return s->milters != NULL && s->milters->waits_for_name;
}

void
smtpd_milter_named(struct smtpd_session *s)
{
	s->milters->waits_for_name = false;
	smtpd_gate_settled(s, begin(s->milters));
}

void
smtpd_milter_abort(struct smtpd_session *s)
{
	struct milter_session *a = s->milters;

	for (size_t i = 0; a != NULL && i < a->count; i++) {
		struct milter *m = &a->list[i];
		struct buf out;

		if (m->has_message && m->stream != NULL) {
			buf_init(&out, 100);
			milter_put(&out, MILTER_ABORT, "", 0);
			milter_link_send(m, &out);
			buf_clear(&out);
		}
		m->has_message = false;
	}
}

void
smtpd_milter_free(struct smtpd_session *s)
{
	struct milter_session *a = s->milters;

	if (a == NULL)
		return;
	s->milters = NULL;
	milter_replay_clear(a);
	loop_timer_stop(&a->unreadable);
	for (size_t i = 0; i < a->count; i++)
		milter_link_close(&a->list[i]);
	free(a->list);
	free(a);
}
