#include "pop3d/session.h"
#include "common/base/fd.h"
#include "common/log/log.h"
#include "pop3d/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum {
	LINE_MAX_BYTES =
	    512, /* RFC 2449 4: 255; some clients send long arguments before they are refused */
	INPUT_MAX = 8192,
	OUTPUT_HIGH = 128 * 1024, /* a job stops here until the client has taken it */
	OUTPUT_MAX = 1 << 20,
	COMMANDS_PER_TURN = 32,
	BAD_COMMANDS_MAX = 10,
	FINISH_MS = 10000,
};

static void
set_state(struct pop3d_session *s, enum pop3d_state state)
{
	if (s->state != state)
		log_as(
		    s->login.log_tag, LOG_LEVEL_DEBUG, "state %d -> %d", (int)s->state, (int)state);
	s->state = state;
}

void
pop3d_session_end(struct pop3d_session *s, const char *reason)
{
	if (s->state == POP3D_ENDED)
		return;
	s->end_reason = reason;
	set_state(s, POP3D_ENDED);
	loop_timer_soon(&s->turn);
}

/* --- output ------------------------------------------------------------------------------------------------- */

static void
flush(struct pop3d_session *s)
{
	if (!s->login.is_broken && s->out.len > 0)
		(void)stream_write(s->login.stream, s->out.p,
		    s->out.len); /* a write that fails is told by on_close */
	buf_reset(&s->out);
}

void
pop3d_reply(struct pop3d_session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (buf_vprintf(&s->out, fmt, ap) < 0)
		pop3d_session_end(s, "Output buffer full");
	va_end(ap);
}

static bool
has_room(struct pop3d_session *s)
{
	if (s->out.len >= OUTPUT_HIGH / 2)
		flush(s);
	return stream_output_pending(s->login.stream) + s->out.len < OUTPUT_HIGH;
}

static void
job_clear(struct pop3d_job *j)
{
	fd_close(&j->fd);
	*j = (struct pop3d_job){ .fd = -1 };
}

/* --- end -------------------------------------------------------------------------------------------------------- */

static void
mark_seen(struct pop3d_session *s)
{
	struct err err;

	if (s->drop == NULL || !s->account->mark_seen || s->counts.retr == 0)
		return;
	if (pop3d_maildrop_mark_seen(s->drop, &err) < 0)
		log_as(
		    s->login.log_tag, LOG_LEVEL_ERROR, "flags of retrieved messages: %s", err.text);
	else
		s->account->on_changed(s->account->login.arg);
}

/* Dovecot's line, field by field: statistics scripts read it. */
static void
session_free(struct login_session *login)
{
	struct pop3d_session *s = (struct pop3d_session *)login;
	const struct pop3d_counts *n = &s->counts;
	char text[300];

	flush(s);
	mark_seen(s);
	snprintf(text, sizeof text, "%s top=%llu/%llu, retr=%llu/%llu, del=%llu/%zu, size=%llu",
	    s->end_reason, (unsigned long long)n->top, (unsigned long long)n->top_bytes,
	    (unsigned long long)n->retr, (unsigned long long)n->retr_bytes,
	    (unsigned long long)n->deleted, s->drop == NULL ? 0 : s->drop->count,
	    (unsigned long long)(s->drop == NULL ? 0 : s->drop->size));
	job_clear(&s->job);
	pop3d_maildrop_close(&s->drop);
	loop_timer_stop(&s->turn);
	buf_clear(&s->out);
	login_session_end(login, text);
}

/* RFC 1939 has no word for it. */
static void
session_stop(struct login_session *login)
{
	pop3d_session_end((struct pop3d_session *)login, "Server shutting down");
}

static void
session_abort(struct login_session *login)
{
	session_stop(login);
	session_free(login);
}

/* --- turns ------------------------------------------------------------------------------------------------------- */

static void
bad_command(struct pop3d_session *s, const char *text)
{
	pop3d_reply(s, "-ERR %s\r\n", text);
	if (++s->bad_commands >= BAD_COMMANDS_MAX)
		pop3d_session_end(s, "Too many bad commands");
}

/* One command; false: there is no whole line yet. */
static bool
take_command(struct pop3d_session *s)
{
	struct view line;
	struct err err;
	size_t used;
	int r = line_cut(stream_input(s->login.stream), LINE_MAX_BYTES, &line, &used, &err);

	if (r > 0)
		return false;
	if (r < 0) { /* nobody knows where the next command would begin */
		pop3d_reply(s, "-ERR %s\r\n",
		    err.kind == ERR_LIMIT ? "Input line too long." : "Malformed input.");
		pop3d_session_end(
		    s, err.kind == ERR_LIMIT ? "Input line too long" : "Malformed input");
		return false;
	}
	stream_set_deadline(s->login.stream, s->account->timeout_ms);
	switch (pop3d_command_run(s, line)) {
	case POP3D_COMMAND_DONE:
		s->bad_commands = 0;
		break;
	case POP3D_COMMAND_UNKNOWN:
		bad_command(s, "Unknown command.");
		break;
	case POP3D_COMMAND_ARGUMENTS:
		bad_command(s, "Invalid arguments.");
		break;
	}
	stream_consume(s->login.stream, used);
	return true;
}

/* Runs the job as far as the client takes its output. True when there is none any more. */
static bool
run_job(struct pop3d_session *s)
{
	while (s->job.step != NULL) {
		if (!has_room(s)) {
			stream_want_drained(s->login.stream);
			return false;
		}
		if (s->job.step(s, &s->out))
			job_clear(&s->job);
		if (s->out.failed) {
			pop3d_session_end(s, "Output buffer full");
			return false;
		}
	}
	return true;
}

static void
run(struct pop3d_session *s)
{
	for (int i = 0; s->state == POP3D_TRANSACTION; i++) {
		if (!run_job(s))
			break;
		if (!has_room(s)) {
			stream_want_drained(s->login.stream);
			break;
		}
		if (i == COMMANDS_PER_TURN) { /* the account's other sessions have their turn */
			loop_timer_soon(&s->turn);
			break;
		}
		if (!take_command(s))
			break;
	}
	flush(s);
	/* While an answer is under way the client's further commands wait in its TCP window, and its end is told
	 * only after what it asked for before. */
	if (s->state == POP3D_TRANSACTION)
		stream_pause(s->login.stream, s->job.step != NULL);
}

static void
on_turn(void *arg)
{
	struct pop3d_session *s = arg;

	run(s);
	if (s->state == POP3D_ENDED)
		session_free(&s->login);
}

static void
on_input(void *arg, struct stream *stream)
{
	(void)stream;
	on_turn(arg);
}

static void
on_drained(void *arg, struct stream *stream)
{
	struct pop3d_session *s = arg;

	/* a client that takes its mail slowly is not idle */
	stream_set_deadline(stream, s->account->timeout_ms);
	on_turn(s);
}

static void
on_close(void *arg, struct stream *stream, const struct err *why)
{
	struct pop3d_session *s = arg;

	(void)stream;
	if (s->state == POP3D_TRANSACTION && why->kind == ERR_GONE && s->job.step == NULL)
		run(s); /* what it sent before it closed */
	if (why->sys == ETIMEDOUT && s->state == POP3D_TRANSACTION)
		pop3d_session_end(s, "Inactivity"); /* RFC 1939 3: without the UPDATE state */
	pop3d_session_end(s, "Connection closed");
	s->login.is_broken = true;
	session_free(&s->login);
}

/* --- start ----------------------------------------------------------------------------------------------------------- */

static void
refuse(struct pop3d_session *s, const char *text, const char *reason)
{
	pop3d_reply(s, "-ERR %s\r\n", text);
	pop3d_session_end(s, reason);
}

/* POP3 has no tags. */
static bool
tag_is_valid(const char *tag)
{
	return tag[0] == '\0';
}

static void
session_start(struct login_session *login, const char *tag)
{
	struct pop3d_session *s = (struct pop3d_session *)login;
	struct err err;
	int r;

	(void)tag;
	s->account = (struct pop3d_account *)login->account;
	s->job.fd = -1;
	buf_init(&s->out, OUTPUT_MAX);
	loop_timer_init(&s->turn, login->account->loop, on_turn, s);
	stream_set_deadline(login->stream, s->account->timeout_ms);
	r = pop3d_maildrop_open(login->account->store, &s->drop, &err);
	if (r > 0) {
		refuse(
		    s, "[IN-USE] Mailbox is locked by another POP3 session.", "Mailbox is locked");
	} else if (r < 0) {
		log_as(login->log_tag, LOG_LEVEL_ERROR, "mailbox cannot be opened: %s", err.text);
		refuse(s, "[SYS/TEMP] Mailbox is not available.", "Mailbox is not available");
	} else {
		pop3d_reply(s, "+OK Logged in.\r\n");
	}
	flush(s);
	stream_poke(login->stream); /* what was pipelined behind the login */
}

/* RFC 2449 8.1.1, RFC 3206 */
static void
session_refuse(struct stream *to, const char *tag, enum login_refusal why)
{
	(void)tag;
	(void)stream_printf(to, "-ERR %s\r\n",
	    why == LOGIN_REFUSED_LIMIT ? "[IN-USE] Too many sessions of this account."
				       : "[SYS/TEMP] Mailbox is not available.");
}

const struct login_session_ops pop3d_session_ops = {
	.service = "pop3",
	.size = sizeof(struct pop3d_session),
	.limits = { INPUT_MAX, OUTPUT_MAX },
	.stream = { .on_input = on_input, .on_drained = on_drained, .on_close = on_close },
	.tag_is_valid = tag_is_valid,
	.start = session_start,
	.refuse = session_refuse,
	.stop = session_stop,
	.free = session_abort,
};
