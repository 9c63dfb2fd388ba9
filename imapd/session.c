#include "common/base/clock.h"
#include "common/log/log.h"
#include "imapd/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	INPUT_MAX = 128 * 1024,
	OUTPUT_MAX = 96 << 20,    /* never reached by what is well behaved: see OUTPUT_HIGH */
	OUTPUT_HIGH = 128 * 1024, /* a command stops here until the client has taken some */
	OUT_FLUSH = 32 * 1024,
	OUT_KEEP = 4096,
	FINISH_MS = 10000,
	STOP_MS = 2000,
	LITERALS_MAX = 100,
	CONTENT_MAX = 256 << 20,
	TAG_MAX = 1024,
};

static const char stopping[] = "Server shutting down.";

void
imapd_session_set_state(struct imapd_session *s, enum imapd_state state)
{
	if (s->state != state)
		log_as(
		    s->login.log_tag, LOG_LEVEL_DEBUG, "state %d -> %d", (int)s->state, (int)state);
	s->state = state;
}

/* --- output --------------------------------------------------------------------------------------------- */
static void
flush(struct imapd_session *s)
{
	if (s->out.len == 0)
		return;
	s->counts.out += s->out.len;
	/* a write that fails is told by on_close */
	(void)stream_write(s->login.stream, s->out.p, s->out.len);
	if (s->out.cap > OUT_KEEP)
		buf_clear(&s->out);
	buf_reset(&s->out);
}

void
imapd_send(struct imapd_session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (buf_vprintf(&s->out, fmt, ap) != 0)
		imapd_session_end(s, "Output buffer full");
	va_end(ap);
}

void
imapd_send_view(struct imapd_session *s, struct view v)
{
	if (v.len > 0 && buf_append_view(&s->out, v) != 0)
		imapd_session_end(s, "Output buffer full");
}

bool
imapd_has_room(struct imapd_session *s)
{
	if (s->out.len >= OUT_FLUSH)
		flush(s);
	return s->is_ending || stream_output_pending(s->login.stream) + s->out.len < OUTPUT_HIGH;
}

/* --- end -------------------------------------------------------------------------------------------------- */
void
imapd_session_end(struct imapd_session *s, const char *reason)
{
	if (s->is_ending)
		return;
	s->is_ending = true;
	s->end_reason = reason;
	imapd_session_set_state(s, IMAPD_LOGOUT);
}

void
imapd_session_bye(struct imapd_session *s, const char *text, const char *reason)
{
	if (s->is_ending)
		return;
	imapd_send(s, "* BYE %s\r\n", text);
	imapd_session_end(s, reason);
}

static bool
wants_input(const struct imapd_session *s)
{
	return s->command == NULL || s->command->phase == PHASE_READ ||
	       s->command->phase == PHASE_WAIT;
}

/* Dovecot's line, field by field: statistics scripts read it. */
static void
session_free(struct login_session *login)
{
	struct imapd_session *s = (struct imapd_session *)login;
	const struct imapd_counts *n = &s->counts;
	char text[400];

	flush(s);
	snprintf(text, sizeof text,
	    "%s in=%llu out=%llu deleted=%llu expunged=%llu trashed=0 hdr_count=%llu hdr_bytes=%llu body_count=%llu body_bytes=%llu",
	    s->end_reason, (unsigned long long)n->in, (unsigned long long)n->out,
	    (unsigned long long)n->deleted, (unsigned long long)n->expunged,
	    (unsigned long long)n->header_count, (unsigned long long)n->header_bytes,
	    (unsigned long long)n->body_count, (unsigned long long)n->body_bytes);
	imapd_command_free(&s->command);
	imapd_selected_close(s);
	loop_timer_stop(&s->turn);
	loop_timer_stop(&s->idle_timer);
	loop_timer_stop(&s->autologout);
	loop_timer_stop(&s->content_timer);
	imap_reader_clear(&s->reader);
	buf_clear(&s->out);
	buf_clear(&s->content);
	login_session_end(login, text);
}

/* The client gets a word if it can understand one now. */
static void
session_stop(struct login_session *login)
{
	struct imapd_session *s = (struct imapd_session *)login;

	if (s->is_stopping)
		return;
	s->is_stopping = true;
	/* in the middle of a response a BYE would be part of a literal */
	if (wants_input(s))
		imapd_session_bye(s, stopping, stopping);
	imapd_session_end(s, stopping);
	imapd_command_free(&s->command);
	flush(s);
	if (stream_output_pending(login->stream) == 0) {
		session_free(login);
		return;
	}
	stream_pause(login->stream, true);
	stream_want_drained(login->stream);
	loop_timer_start(&s->autologout, STOP_MS);
}

static void
session_abort(struct login_session *login)
{
	imapd_session_end((struct imapd_session *)login, stopping);
	session_free(login);
}

/* --- turns ------------------------------------------------------------------------------------------------- */
/* Reading stops while a command runs: its input may wait in the client's TCP window, and the end of the stream is told
 * only when all that came before it has been answered. */
static void
advance(struct imapd_session *s)
{
	int64_t slice_end = clock_mono_ms() + s->account->config.slice_ms;

	while (!s->is_ending) {
		if (!imapd_has_room(s)) {
			stream_want_drained(s->login.stream);
			stream_pause(s->login.stream, true);
			return;
		}
		if (!wants_input(s)) {
			imapd_dispatch_step(s);
		} else if (!imapd_dispatch_read(s)) {
			stream_pause(s->login.stream, false);
			return;
		}
		if (clock_mono_ms() >= slice_end) {
			stream_pause(s->login.stream, true);
			loop_timer_soon(&s->turn);
			return;
		}
	}
}

/* Runs what can be run; frees the session when that ended it. */
static void
session_turn(struct imapd_session *s)
{
	if (s->is_stopping)
		return;
	if (!s->is_ending) {
		advance(s);
		flush(s);
	}
	if (s->is_ending)
		session_free(&s->login);
}

static void
on_turn(void *arg)
{
	session_turn(arg);
}

static void
on_input(void *arg, struct stream *stream)
{
	struct imapd_session *s = arg;

	(void)stream;
	loop_timer_start(&s->autologout, s->account->config.timeout_ms);
	session_turn(s);
}

static void
on_drained(void *arg, struct stream *stream)
{
	struct imapd_session *s = arg;

	(void)stream;
	if (s->is_stopping) {
		session_free(&s->login);
		return;
	}
	loop_timer_start(&s->autologout, s->account->config.timeout_ms);
	session_turn(s);
}

static void
on_close(void *arg, struct stream *stream, const struct err *why)
{
	struct imapd_session *s = arg;

	(void)stream;
	s->login.is_broken = why->kind != ERR_GONE;
	imapd_session_end(s, "Connection closed");
	session_free(&s->login);
}

static void
on_content_timer(void *arg)
{
	struct imapd_session *s = arg;

	if (s->command != NULL) /* it may be reading from there; its end sees to it */
		return;
	s->content_uid = 0;
	buf_clear(&s->content);
}

/* RFC 3501 5.4.  Not by the stream's own deadline: there has to be a word to the client. */
static void
on_autologout(void *arg)
{
	struct imapd_session *s = arg;

	imapd_session_bye(s, "Disconnected for inactivity.", "Inactivity");
	session_free(&s->login);
}

/* --- IDLE --------------------------------------------------------------------------------------------------- */
static void
session_wake(struct imapd_session *s)
{
	if (s->is_ending || s->command == NULL || s->command->phase != PHASE_WAIT)
		return;
	s->command->phase = PHASE_RUN;
	loop_timer_soon(&s->turn);
}

/* Foreign programs leave no note: the directory is looked at.  And a word now and then keeps NAT boxes and the client
 * assured; a peer that takes it is no dead one, so that the inactivity timer starts again (RFC 2177 leaves that to us). */
static void
on_idle_timer(void *arg)
{
	struct imapd_session *s = arg;
	int64_t now = clock_mono_ms();

	if (s->command == NULL || s->is_ending)
		return;
	if (now >= s->still_here_at && s->command->phase == PHASE_WAIT) {
		if (stream_output_pending(s->login.stream) == 0)
			loop_timer_start(&s->autologout, s->account->config.timeout_ms);
		imapd_send(s, "* OK Still here\r\n");
		s->still_here_at = now + s->account->config.idle_notify_ms;
	}
	imapd_session_idle_timer(s);
	session_wake(s);
}

void
imapd_session_idle_timer(struct imapd_session *s)
{
	const struct imapd_config *config = &s->account->config;
	int64_t until_word = s->still_here_at - clock_mono_ms();

	loop_timer_start(
	    &s->idle_timer, config->idle_poll_ms < until_word ? config->idle_poll_ms : until_word);
}

void
imapd_account_changed(struct imapd_account *a, const char *mailbox, const struct imapd_session *by)
{
	struct login_session *l;

	LIST_FOREACH (l, &a->login.running, link) {
		struct imapd_session *s = (struct imapd_session *)l;

		if (s == by || s->selected.box == NULL)
			continue;
		if (mailbox[0] != '\0' && strcmp(mailbox, s->selected.name) != 0)
			continue;
		/* what came from outside stands in the directory only, not in the index */
		s->selected.force_refresh |= by == NULL;
		session_wake(s);
	}
}

/* --- the beginning --------------------------------------------------------------------------------------------- */
static bool
tag_is_valid(const char *tag)
{
	struct imap_args args;
	struct view out;

	imap_args_init(&args, view_of(tag), NULL);
	return strlen(tag) <= TAG_MAX && imap_args_tag(&args, &out) && imap_args_end(&args);
}

static void
session_start(struct login_session *login, const char *tag)
{
	struct imapd_session *s = (struct imapd_session *)login;
	struct loop *loop = login->account->loop;
	struct imap_reader_limits limits;

	s->account = (struct imapd_account *)login->account;
	limits = (struct imap_reader_limits){ s->account->config.line_max,
		s->account->config.literal_max, LITERALS_MAX };
	imap_reader_init(&s->reader, &limits);
	imap_snapshot_init(&s->selected.snapshot);
	buf_init(&s->out, OUTPUT_MAX);
	buf_init(&s->content, CONTENT_MAX);
	loop_timer_init(&s->turn, loop, on_turn, s);
	loop_timer_init(&s->idle_timer, loop, on_idle_timer, s);
	loop_timer_init(&s->autologout, loop, on_autologout, s);
	loop_timer_init(&s->content_timer, loop, on_content_timer, s);
	loop_timer_start(&s->autologout, s->account->config.timeout_ms);
	imapd_send(s, "%s OK [CAPABILITY %s] Logged in\r\n", tag, imapd_capabilities);
	imapd_session_set_state(s, IMAPD_AUTHENTICATED);
	session_turn(s);
}

/* RFC 5530 */
static void
session_refuse(struct stream *to, const char *tag, enum login_refusal why)
{
	if (why == LOGIN_REFUSED_LIMIT)
		(void)stream_printf(to,
		    "%s NO [LIMIT] Maximum number of sessions of this account exceeded\r\n* BYE [LIMIT] Too many sessions\r\n",
		    tag);
	else
		(void)stream_printf(to,
		    "%s NO [UNAVAILABLE] Mailbox is not available\r\n* BYE Mailbox is not available\r\n",
		    tag);
}

const struct login_session_ops imapd_session_ops = {
	.service = "imap",
	.size = sizeof(struct imapd_session),
	.limits = { INPUT_MAX, OUTPUT_MAX },
	.stream = { on_input, on_drained, NULL, on_close },
	.tag_is_valid = tag_is_valid,
	.start = session_start,
	.refuse = session_refuse,
	.stop = session_stop,
	.free = session_abort,
};
