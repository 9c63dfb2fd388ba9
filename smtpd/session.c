#include "smtpd/session.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/daemon/counters.h"
#include "common/log/log.h"
#include "common/net/tls.h"
#include "common/proto/reply.h"
#include "smtpd/client_name.h"
#include "smtpd/cmd_auth.h"
#include "smtpd/cmd_data.h"
#include "smtpd/command.h"
#include "smtpd/explain.h"
#include "smtpd/extensions.h"
#include "smtpd/milter.h"
#include "smtpd/opening.h"
#include "smtpd/policy.h"
#include "smtpd/rate.h"
#include "smtpd/screen.h"
#include "smtpd/transaction.h"
#include "smtpd/xclient.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	INPUT_MAX = 65536, /* of a busy session; an idle one holds nothing */
	OUTPUT_MAX = 65536,
	OUTPUT_HIGH =
	    16384, /* a client that does not read its replies gets no more commands done */
	SASL_LINE_MAX = 12288, /* RFC 4954 4 */
	FINISH_MS = 5000,      /* for the last reply to reach the client */
	LABEL_QUOTE_MAX = 100, /* of a line that is no SMTP, for the log */
};

static void session_run(struct smtpd_session *s);

void
smtpd_session_set_state(struct smtpd_session *s, enum smtpd_state state)
{
	if (s->state != state)
		log_debug("session %s: state %d -> %d", s->client.ip, (int)s->state, (int)state);
	s->state = state;
}

/* RFC 2033 4.2, 4.3: what is said of the content, to a refused BDAT LAST too, is said once for each recipient that was
 * accepted: to a client that pipelines its chunks also when an earlier one was refused.  All of them are in the same durable
 * message, so that they share their fate.  Where there is none, once: 4.3 wants no answer then, and a client that waits for
 * one would wait for ever. */
static size_t
copies(const struct smtpd_session *s, int code)
{
	bool is_last_chunk = s->row != NULL && s->row->cmd == smtpd_cmd_bdat && s->chunk.is_last;
	bool is_final = (s->state == ST_CONTENT || is_last_chunk) && code != 354 && code != 421;
	size_t nrcpts = s->tx != NULL ? s->tx->naccepted : is_last_chunk ? s->chunk.nrcpts : 0;

	return s->server->conf->ext.is_lmtp && is_final && nrcpts > 0 ? nrcpts : 1;
}

/* Tables, policy servers and name servers have a say in the text: what would end the line is not theirs to say. */
static void
make_one_line(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
}

/* soft_bounce (postconf(5)): no refusal is for good.  text begins with its enhanced code, if it has one. */
static int
soften(const struct smtpd_session *s, int code, char *text)
{
	if (!s->server->conf->is_soft || code < 500)
		return code;
	if (text[0] == '5' && enhanced_code_length(view_of(text)) > 0)
		text[0] = '4';
	return code - 100;
}

void
smtpd_reply(struct smtpd_session *s, int code, const char *dsn, const char *fmt, ...)
{
	char text[1024];
	size_t n = copies(s, code), len = 0;
	va_list ap;

	if (dsn != NULL && dsn[0] != '\0')
		len = (size_t)snprintf(text, sizeof text, "%.20s ", dsn);
	va_start(ap, fmt);
	vsnprintf(text + len, sizeof text - len, fmt, ap);
	va_end(ap);
	make_one_line(text);
	s->reply_code = soften(s, code, text);
	smtpd_explain_reply(s, s->reply_code, text);
	for (; n > 0; n--)
		stream_printf(s->stream, "%d %s\r\n", s->reply_code, text);
}

void
smtpd_reply_line(struct smtpd_session *s, int code, const char *dsn, struct view line)
{
	char *text = x_asprintf("%s%s%.*s", dsn, dsn[0] != '\0' ? " " : "", VIEW_ARG(line));

	code = soften(s, code, text);
	stream_printf(s->stream, "%d-%s\r\n", code, text);
	free(text);
}

const char *
smtpd_session_protocol(const struct smtpd_session *s)
{
	return s->server->conf->ext.is_lmtp ? "LMTP" : s->is_esmtp ? "ESMTP" : "SMTP";
}

void
smtpd_session_end(struct smtpd_session *s)
{
	smtpd_session_set_state(s, ST_END);
}

const char *
smtpd_session_where(const struct smtpd_session *s)
{
	if (s->state == ST_CONTENT)
		return "END-OF-MESSAGE";
	return s->row != NULL ? s->row->verb : "CONNECT";
}

bool
smtpd_session_has_more_input(struct smtpd_session *s)
{
	return stream_input(s->stream).len > 0;
}

void
smtpd_session_reset(struct smtpd_session *s)
{
	smtpd_transaction_free(s);
	smtpd_attributes_free(s->forwarded);
	s->forwarded = NULL;
	if (s->state & (ST_TRANSACTION | ST_CONTENT | ST_CHUNK | ST_BETWEEN))
		smtpd_session_set_state(s, s->helo != NULL ? ST_HELO : ST_START);
}

void
smtpd_session_forget(struct smtpd_session *s)
{
	smtpd_session_reset(s);
	x_free(&s->helo);
	x_free(&s->login);
	x_free(&s->mechanism);
	s->helo_fact = FACT_UNKNOWN;
	s->is_esmtp = false;
	smtpd_session_set_state(s, ST_START);
}

static void
args_free(struct smtpd_session *s)
{
	if (s->args == NULL)
		return;
	if (s->args->text != NULL)
		mem_wipe(s->args->text, strlen(s->args->text)); /* AUTH: a password may be in it */
	free(s->args->text);
	free(s->args->envid);
	free(s->args->orcpt);
	smtpd_attributes_free(s->args->attributes);
	x_free(&s->args);
}

/* --- the log ------------------------------------------------------------------------------------- */

static void
put_particulars(struct smtpd_session *s, struct buf *line)
{
	const struct smtpd_transaction *tx = s->tx;
	bool is_mail = s->row != NULL && strcmp(s->row->verb, "MAIL") == 0 && s->args != NULL;
	bool is_rcpt = s->row != NULL && strcmp(s->row->verb, "RCPT") == 0 && s->args != NULL;

	if (tx != NULL || is_mail)
		buf_printf(
		    line, " from=<%s>", lqs(tx != NULL ? tx->sender.text : s->args->address.text));
	if (is_rcpt)
		buf_printf(line, " to=<%s>", lqs(s->args->address.text));
	buf_printf(line, " proto=%s", smtpd_session_protocol(s));
	if (s->helo != NULL)
		buf_printf(line, " helo=<%s>", s->helo);
}

static const char *
log_id(const struct smtpd_session *s)
{
	return s->tx != NULL && s->tx->queue_id != NULL ? s->tx->queue_id : "NOQUEUE";
}

static void
count_verdict(const char *verdict)
{
	static const struct {
		const char *verdict;
		enum counter counter;
	} rows[] = { { "reject", COUNTER_REJECTED }, { "milter-reject", COUNTER_REJECTED },
		{ "reject_warning", COUNTER_REJECT_WARNINGS },
		{ "warning", COUNTER_REJECT_WARNINGS }, { "hold", COUNTER_HELD },
		{ "milter-hold", COUNTER_HELD }, { "discard", COUNTER_DISCARDED },
		{ "milter-discard", COUNTER_DISCARDED } };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(verdict, rows[i].verdict) == 0)
			counter_add(rows[i].counter, 1);
}

void
smtpd_log_reject(struct smtpd_session *s, const char *verdict, const char *where, int code,
    const char *dsn, const char *text)
{
	char *whole;
	struct buf line;

	if (s->explain != NULL)
		return;
	whole = x_asprintf("%s %s", dsn, text);
	buf_init(&line, 4000);
	put_particulars(s, &line);
	count_verdict(verdict);
	code = soften(s, code, whole);
	log_info("%s: %s: %s from %s: %d %s;%s", log_id(s), verdict, where, smtpd_client_label(s),
	    code, lqs(whole), line.failed ? "" : buf_cstr(&line));
	buf_clear(&line);
	free(whole);
}

void
smtpd_log_action(struct smtpd_session *s, const char *action, const char *text)
{
	struct buf line;

	if (s->explain != NULL)
		return;
	buf_init(&line, 4000);
	put_particulars(s, &line);
	count_verdict(action);
	log_info("%s: %s: %s from %s: %s;%s", log_id(s), action, smtpd_session_where(s),
	    smtpd_client_label(s), lqs(text), line.failed ? "" : buf_cstr(&line));
	buf_clear(&line);
}

void
smtpd_log_message(struct smtpd_session *s, const char *verdict, const char *about,
    struct view cause, struct view comment)
{
	const struct smtpd_transaction *tx = s->tx;
	const struct recipient *r = tx->nrcpts > 0 ? &tx->rcpts[0] : NULL;

	smtpd_explain_step(s, "content", "action", verdict, "value", about);
	if (s->explain != NULL)
		return;
	count_verdict(verdict);
	log_as("cleanup", LOG_LEVEL_INFO,
	    "%s: %s: %s from %s%s%s; from=<%s> to=<%s> proto=%s helo=<%s>%s%s", tx->queue_id,
	    verdict, about, smtpd_client_label(s), cause.len > 0 ? ": " : "", lq(cause),
	    lqs(tx->sender.text), r == NULL ? "" : lqs(r->orig[0] != '\0' ? r->orig : r->address),
	    smtpd_session_protocol(s), s->helo != NULL ? s->helo : "", comment.len > 0 ? ": " : "",
	    lq(comment));
}

static void
log_disconnect(struct smtpd_session *s)
{
	unsigned good = 0, all = 0;
	struct buf line;

	if (s->explain != NULL)
		return;
	buf_init(&line, 2000);
	for (size_t i = 0; i < SMTPD_COMMANDS; i++) {
		char name[16];

		if (s->all[i] == 0)
			continue;
		good += s->good[i];
		all += s->all[i];
		snprintf(name, sizeof name, "%s", smtpd_commands[i].verb);
		ascii_lower_str(name);
		buf_printf(&line, " %s=%u", name, s->good[i]);
		if (s->good[i] != s->all[i])
			buf_printf(&line, "/%u", s->all[i]);
	}
	buf_printf(&line, " commands=%u", good);
	if (good != all || all == 0)
		buf_printf(&line, "/%u", all);
	log_info("disconnect from %s%s", smtpd_client_label(s), buf_cstr(&line));
	buf_clear(&line);
}

static void
log_lost(struct smtpd_session *s, const char *what)
{
	if (s->explain != NULL)
		return;
	if ((s->state & (ST_CONTENT | ST_CHUNK)) && s->tx != NULL)
		log_info("%s after %s (%llu bytes) from %s", what, s->row->verb,
		    (unsigned long long)smtpd_content_size(s), smtpd_client_label(s));
	else
		log_info(
		    "%s after %s from %s", what, smtpd_session_where(s), smtpd_client_label(s));
}

/* --- the end ------------------------------------------------------------------------------------- */

/* Everything but the stream. */
static void
session_destroy(struct smtpd_session *s)
{
	struct smtpd_server *v = s->server;
	bool is_counted = s->explain == NULL;
	char ip[ADDR_TEXT];

	snprintf(ip, sizeof ip, "%s", s->counted_as != NULL ? s->counted_as : s->client.ip);
	ipc_call_cancel(s->call);
	loop_timer_stop(&s->timer);
	smtpd_policy_free(s);
	smtpd_rate_free(s);
	smtpd_screen_free(s);
	smtpd_milter_free(s);
	smtpd_sasl_free(s, true);
	smtpd_transaction_free(s);
	smtpd_attributes_free(s->forwarded);
	smtpd_client_clear(s);
	args_free(s);
	x_free(&s->helo);
	x_free(&s->login);
	x_free(&s->mechanism);
	x_free(&s->counted_as);
	LIST_REMOVE(s, link);
	smtpd_explain_ended(s);
	free(s);
	smtpd_server_left(v, is_counted ? ip : NULL);
}

/* The way out after a last reply: it is sent, then the connection closed. */
static void
session_finish(struct smtpd_session *s)
{
	log_disconnect(s);
	if (s->is_in_handshake)
		stream_free(s->stream);
	else
		stream_finish(s->stream, FINISH_MS);
	session_destroy(s);
}

void
smtpd_session_free(struct smtpd_session *s)
{
	log_disconnect(s);
	stream_free(s->stream);
	session_destroy(s);
}

/* The client has gone without QUIT.  What was already answered is still sent: it may only have closed its
 * sending side. */
static void
session_lost(struct smtpd_session *s)
{
	log_lost(s, "lost connection");
	session_finish(s);
}

static void
on_close(void *arg, struct stream *stream, const struct err *why)
{
	struct smtpd_session *s = arg;

	(void)stream;
	if (smtpd_screen_hangup(s)) {
		smtpd_session_free(s);
		return;
	}
	if (s->is_in_handshake) {
		log_info("SSL_accept error from %s: %s", smtpd_client_label(s), lqs(why->text));
	} else if (why->kind == ERR_GONE && why->sys == 0) {
		/* a clean end: commands that came before it are still answered */
		s->is_eof = true;
		session_run(s);
		return;
	}
	log_lost(s, why->sys == ETIMEDOUT ? "timeout" : "lost connection");
	smtpd_session_free(s);
}

/* RFC 5321 4.5.3.2.7: the server's own time-out; 3.8: it says 421 before it closes. */
static void
session_timed_out(struct smtpd_session *s)
{
	if (s->is_waiting) {
		/* our own services are slow, not the client */
		smtpd_session_touch(s);
		return;
	}
	log_lost(s, "timeout");
	smtpd_reply(s, 421, "4.4.2", "%s Error: timeout exceeded", s->server->conf->myhostname);
	smtpd_session_end(s);
	session_finish(s);
}

/* RFC 5321 3.8: 421 when the service shuts down.  Who waits for an answer of ours gets that first. */
void
smtpd_session_shut(struct smtpd_session *s)
{
	if (s->is_waiting)
		return;
	smtpd_reply(s, 421, "4.3.2", "%s Service shutting down, closing transmission channel",
	    s->server->conf->myhostname);
	smtpd_session_end(s);
	session_finish(s);
}

static void
on_timer(void *arg)
{
	struct smtpd_session *s = arg;

	switch (s->timer_use) {
	case TIMER_IDLE:
		session_timed_out(s);
		break;
	case TIMER_DELAY:
		s->is_delayed = true;
		smtpd_session_touch(s);
		smtpd_session_continue(s);
		break;
	case TIMER_SASL_DELAY:
		smtpd_session_touch(s);
		smtpd_sasl_delayed(s);
		break;
	}
}

void
smtpd_session_touch(struct smtpd_session *s)
{
	int64_t timeout_ms = smtpd_server_patience(s->server)->timeout_ms;

	s->timer_use = TIMER_IDLE;
	s->deadline_ms = clock_mono_ms() + timeout_ms;
	loop_timer_start(&s->timer, timeout_ms);
}

void
smtpd_session_hurry(struct smtpd_session *s)
{
	int64_t timeout_ms = smtpd_server_patience(s->server)->timeout_ms;

	if (s->timer_use == TIMER_IDLE && loop_timer_running(&s->timer) &&
	    s->deadline_ms > clock_mono_ms() + timeout_ms)
		smtpd_session_touch(s);
}

/* A client that sends a byte now and then keeps us busy for ever unless bytes buy time at a price. */
void
smtpd_session_progress(struct smtpd_session *s, size_t bytes)
{
	const struct smtpd_patience *p = smtpd_server_patience(s->server);
	int64_t now = clock_mono_ms(),
		bought_ms = (int64_t)bytes * 1000 / s->server->conf->min_data_rate;

	if (!p->has_deadline) {
		smtpd_session_touch(s);
		return;
	}
	s->deadline_ms += bought_ms;
	if (s->deadline_ms > now + p->timeout_ms)
		s->deadline_ms = now + p->timeout_ms;
	s->timer_use = TIMER_IDLE;
	loop_timer_start(&s->timer, s->deadline_ms > now ? s->deadline_ms - now : 0);
}

void
smtpd_session_delay(struct smtpd_session *s, enum smtpd_timer_use use, int64_t ms)
{
	s->is_waiting = true;
	s->timer_use = use;
	loop_timer_start(&s->timer, ms);
}

/* --- one command --------------------------------------------------------------------------------- */

static void
count(uint16_t *n)
{
	if (*n < UINT16_MAX)
		(*n)++;
}

void
smtpd_session_account(struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;
	const struct smtpd_patience *patience = smtpd_server_patience(s->server);
	size_t i = (size_t)(s->row - smtpd_commands);

	count(&s->all[i]);
	if (s->reply_code < 400)
		count(&s->good[i]);
	else if (!s->is_excused)
		s->errors++;
	if ((s->row->flags & CMD_JUNK) && s->junk++ > patience->junk_limit)
		s->errors++;
	args_free(s);
	s->is_delayed = s->is_excused = false;
	if (s->errors < patience->hard_errors || s->state == ST_END)
		return;
	if (s->explain == NULL)
		log_info("too many errors after %s from %s", smtpd_session_where(s),
		    smtpd_client_label(s));
	smtpd_reply(s, 421, "4.7.0", "%s Error: too many errors", conf->myhostname);
	smtpd_session_end(s);
}

void
smtpd_session_done(struct smtpd_session *s)
{
	smtpd_session_account(s);
	smtpd_session_continue(s);
}

void
smtpd_session_continue(struct smtpd_session *s)
{
	s->is_waiting = false;
	session_run(s);
}

static void
reply_out_of_turn(struct smtpd_session *s)
{
	const char *why = "send HELO/EHLO first";

	if (s->state == ST_BETWEEN)
		why = "need BDAT or RSET command"; /* RFC 3030 2: not mixed with DATA */
	else if (!(s->row->states & ST_IDLE))
		why = "need MAIL command";
	else if (s->state & ST_TRANSACTION)
		why = strcmp(s->row->verb, "MAIL") == 0 ? "nested MAIL command"
							: "MAIL transaction in progress";
	smtpd_reply(s, 503, "5.5.1", "Error: %s", why);
}

/* What stands before every command, in this order.  False: it has replied. */
static bool
is_admissible(struct smtpd_session *s, struct view args)
{
	const struct smtpd_config *conf = s->server->conf;

	if (s->is_served && s->tx == NULL && !(s->row->flags & CMD_DRAIN_OK)) {
		smtpd_reply(s, 421, "4.3.2",
		    "%s Service shutting down, closing transmission channel", conf->myhostname);
		smtpd_session_end(s);
		return false;
	}
	if (conf->tls_level == SMTPD_TLS_ENCRYPT && !smtpd_session_has_tls(s) &&
	    !(s->row->flags & CMD_PLAIN_OK)) {
		smtpd_reply(s, 530, "5.7.0", "Must issue a STARTTLS command first");
		return false;
	}
	if (!(s->row->states & s->state)) {
		reply_out_of_turn(s);
		return false;
	}
	if ((s->row->flags & CMD_NO_ARGS) && args.len > 0) {
		smtpd_reply(s, 501, "5.5.4", "Syntax: %s", s->row->verb);
		return false;
	}
	return s->row->check(s, args);
}

/* RFC 2920 3.1: who was not offered it by the answer to EHLO may not. */
static bool
may_pipeline(const struct smtpd_session *s)
{
	return s->is_esmtp && !(s->row->flags & CMD_LAST) && !smtpd_discards(s, EXT_PIPELINING);
}

static void
note_pipelining(struct smtpd_session *s)
{
	if (s->has_pipelined || may_pipeline(s) || !smtpd_session_has_more_input(s))
		return;
	s->has_pipelined = true;
	log_info(
	    "improper command pipelining after %s from %s", s->row->verb, smtpd_client_label(s));
	smtpd_screen_failed(s, ANVIL_SCREEN_PIPELINING, s->row->verb, stream_input(s->stream));
}

static void
execute(struct smtpd_session *s, struct view line, size_t used)
{
	struct command_line c;
	enum cmd_result r = CMD_DONE;
	bool ok;

	command_split(line, &c);
	s->row = smtpd_command_find(c.verb);
	if (s->row->cmd != smtpd_cmd_bdat)
		s->chunk.nrcpts = 0;
	s->args = x_calloc(1, sizeof *s->args);
	smtpd_session_touch(s);
	ok = is_admissible(s, s->row->flags & CMD_WHOLE_LINE ? line : c.args);
	/* the line is a view into the input: what the command needs of it is in args now */
	stream_consume(s->stream, used);
	if (ok) {
		note_pipelining(s);
		r = s->row->cmd(s);
	}
	if (r == CMD_DONE)
		smtpd_session_account(s);
	else if (r == CMD_WAIT)
		s->is_waiting = true;
}

/* Postfix answers everything later once there were too many errors; and MAIL waits for the client's name.
 * The line stays in the input meanwhile.  True: not now. */
static bool
has_to_wait(struct smtpd_session *s, struct view line)
{
	const struct smtpd_config *conf = s->server->conf;
	struct command_line c;

	if (s->errors >= conf->soft_errors && conf->error_sleep_ms > 0 && !s->is_delayed &&
	    s->explain == NULL) {
		smtpd_session_delay(s, TIMER_DELAY, conf->error_sleep_ms);
		return true;
	}
	command_split(line, &c);
	if (s->client.is_named || !(smtpd_command_find(c.verb)->flags & CMD_NAMED))
		return false;
	smtpd_client_await_name(s);
	s->is_waiting = true;
	return true;
}

/* --- input --------------------------------------------------------------------------------------- */

static bool
is_forbidden(const struct smtpd_session *s, struct view in)
{
	struct view rest = view_of(s->server->conf->forbidden_commands), word;
	struct command_line c;
	unsigned char first = (unsigned char)in.p[0];

	/* no command begins with such a byte: TLS records, SSH, random noise */
	if ((first < ' ' && first != '\r' && first != '\n' && first != '\t') || first >= 127)
		return true;
	command_split(view_make(in.p, in.len < 16 ? in.len : 16), &c);
	while (conf_next(&rest, &word))
		if (c.verb.len == word.len && in.len > word.len && view_case_eq(c.verb, word))
			return true;
	return false;
}

/* A web form or a browser was pointed at us: mail commands hidden in what follows must not be read. */
static void
refuse_foreign_protocol(struct smtpd_session *s, struct view in)
{
	struct view shown = view_make(in.p, in.len < LABEL_QUOTE_MAX ? in.len : LABEL_QUOTE_MAX);

	view_cut(shown, '\r', &shown, NULL);
	log_warn("non-SMTP command from %s: %s", smtpd_client_label(s), lq(shown));
	smtpd_screen_failed(s, ANVIL_SCREEN_NON_SMTP, smtpd_session_where(s), shown);
	smtpd_reply(s, 221, "2.7.0", "Error: I can break rules, too. Goodbye.");
	smtpd_session_end(s);
}

static size_t
line_max(const struct smtpd_session *s, struct view in)
{
	if (s->state == ST_SASL || view_case_starts(in, "AUTH "))
		return SASL_LINE_MAX;
	return s->server->conf->line_limit;
}

static void
line_too_long(struct smtpd_session *s)
{
	if (s->state == ST_SASL) {
		smtpd_sasl_too_long(s);
	} else {
		s->row = smtpd_command_find(view_make("", 0));
		smtpd_reply(s, 500, "5.5.2", "Error: line too long");
		smtpd_session_account(s);
	}
	s->is_skipping = true;
	s->skip_saw_cr = false;
}

/* Throws away up to the CRLF.  True: found. */
static bool
skip_line(struct smtpd_session *s)
{
	struct view in = stream_input(s->stream);
	size_t i = 0;

	while (i < in.len && s->is_skipping) {
		if (s->skip_saw_cr && in.p[i] == '\n')
			s->is_skipping = false;
		s->skip_saw_cr = in.p[i++] == '\r';
	}
	stream_consume(s->stream, i);
	return !s->is_skipping;
}

/* RFC 5321 2.3.8.  A command line with a bare CR, a bare LF or NUL means that somebody between the client and us
 * sees other commands than we do; 521 and good-bye is the one answer that cannot be misunderstood. */
static void
refuse_bare_line_end(struct smtpd_session *s, const struct err *why)
{
	smtpd_screen_failed(
	    s, ANVIL_SCREEN_BARE_NEWLINE, smtpd_session_where(s), stream_input(s->stream));
	smtpd_log_reject(s, "reject", smtpd_session_where(s), 521, "5.5.2", why->text);
	smtpd_reply(s, 521, "5.5.2", "%s Error: %s", s->server->conf->myhostname, why->text);
	smtpd_session_end(s);
}

/* One line, if there is one.  False: more input is needed. */
static bool
line_step(struct smtpd_session *s)
{
	struct view in = stream_input(s->stream), line;
	size_t used;
	struct err why;
	int r;

	if (in.len == 0)
		return false;
	if (s->is_skipping)
		return skip_line(s);
	if (s->state != ST_SASL && is_forbidden(s, in)) {
		refuse_foreign_protocol(s, in);
		return true;
	}
	r = line_cut_strict(in, line_max(s, in), &line, &used, &why);
	if (r == 1)
		return false;
	if (r < 0 && why.kind == ERR_LIMIT)
		line_too_long(s);
	else if (r < 0)
		refuse_bare_line_end(s, &why);
	else if (s->state == ST_SASL)
		smtpd_sasl_line(s, line, used);
	else if (!has_to_wait(s, line))
		execute(s, line, used);
	return true;
}

static bool
can_go_on(struct smtpd_session *s)
{
	if (s->is_waiting || s->is_in_handshake || s->state == ST_END)
		return false;
	if (stream_output_pending(s->stream) < OUTPUT_HIGH)
		return true;
	stream_want_drained(s->stream);
	return false;
}

/* False: more input is needed. */
static bool
step(struct smtpd_session *s)
{
	switch (s->state) {
	case ST_CONTENT:
		return smtpd_content_step(s);
	case ST_CHUNK:
		return smtpd_chunk_step(s);
	default:
		return line_step(s);
	}
}

/* Takes from the input what can be taken.  May free the session. */
static void
session_run(struct smtpd_session *s)
{
	bool needs_input = false;

	if (s->is_running)
		return;
	s->is_running = true;
	while (!needs_input && can_go_on(s))
		needs_input = !step(s);
	s->is_running = false;
	if (s->state == ST_END && !s->is_waiting)
		session_finish(s);
	else if (s->is_eof && needs_input)
		session_lost(s);
}

static void
on_input(void *arg, struct stream *stream)
{
	(void)stream;
	if (!smtpd_screen_input(arg))
		session_run(arg);
}

static void
on_drained(void *arg, struct stream *stream)
{
	(void)stream;
	session_run(arg);
}

/* --- the beginning ------------------------------------------------------------------------------- */

static void
on_tls(void *arg, struct stream *stream)
{
	struct smtpd_session *s = arg;

	s->is_in_handshake = false;
	stream_set_deadline(stream, 0);
	smtpd_client_tls_up(s);
	smtpd_rate_tls_up(s);
	if (s->row == NULL)
		smtpd_opening_secured(s); /* wrapper mode */
	else
		smtpd_session_touch(s);
}

static struct smtpd_session *
session_make(struct smtpd_server *v, int fd)
{
	static const struct stream_limits limits = { INPUT_MAX, OUTPUT_MAX };
	static const struct stream_ops ops = { on_input, on_drained, on_tls, on_close };
	struct smtpd_session *s = x_calloc(1, sizeof *s);

	s->server = v;
	s->serial = smtpd_server_next_id(v);
	s->state = ST_START;
	s->stream = stream_new(v->loop, fd, &limits, &ops, s);
	loop_timer_init(&s->timer, v->loop, on_timer, s);
	LIST_INSERT_HEAD(&v->sessions, s, link);
	return s;
}

void
smtpd_session_new(struct smtpd_server *v, int fd, const struct sockaddr_storage *peer,
    const struct sockaddr_storage *local)
{
	struct smtpd_session *s = session_make(v, fd);

	if (local != NULL)
		s->client.local = *local;
	smtpd_client_init(s, peer);
	smtpd_opening_start(s);
}

void
smtpd_session_claimed(struct smtpd_server *v, int fd, const struct smtpd_claim *claim)
{
	struct smtpd_session *s = session_make(v, fd);

	smtpd_explain_began(claim->explain, s);
	s->client.claims_tls = claim->has_tls;
	if (claim->login[0] != '\0') {
		s->login = x_strdup(claim->login);
		s->mechanism = x_strdup("PLAIN");
	}
	smtpd_client_claim(s, &claim->peer, claim->name);
	smtpd_opening_secured(s);
}
