#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/login.h"
#include "common/log/log.h"
#include "imapd/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	INPUT_MAX = 128 * 1024,
	OUTPUT_MAX = 96 << 20,    /* never reached by what is well behaved: see OUTPUT_HIGH */
	OUTPUT_HIGH = 128 * 1024, /* a command stops here until the client has taken some */
	OUT_FLUSH = 32 * 1024,
	OUT_KEEP = 4096,
	SLICE_MS = 10, /* then the process's other sessions have their turn */
	FINISH_MS = 10000,
	STOP_MS = 2000,
	LITERALS_MAX = 100,
	CONTENT_MAX = 256 << 20,
};

static void on_turn(void *arg);
static void on_idle_timer(void *arg);
static void on_autologout(void *arg);
static void on_content_timer(void *arg);

struct imapd_session *
imapd_session_new(struct imapd_account *a)
{
	struct imapd_session *s = x_calloc(1, sizeof *s);
	struct imap_reader_limits limits = { a->config.line_max, a->config.literal_max,
		LITERALS_MAX };

	s->account = a;
	s->state = IMAPD_HANDOVER;
	s->stream_fd = s->control_fd = -1;
	s->log_tag = x_asprintf("imap(%s)<%d>", a->config.account, (int)getpid());
	imap_reader_init(&s->reader, &limits);
	imap_snapshot_init(&s->selected.snapshot);
	buf_init(&s->out, OUTPUT_MAX);
	buf_init(&s->content, CONTENT_MAX);
	loop_timer_init(&s->turn, a->loop, on_turn, s);
	loop_timer_init(&s->idle_timer, a->loop, on_idle_timer, s);
	loop_timer_init(&s->autologout, a->loop, on_autologout, s);
	loop_timer_init(&s->content_timer, a->loop, on_content_timer, s);
	imapd_account_enter(a, s);
	return s;
}

void
imapd_session_set_state(struct imapd_session *s, enum imapd_state state)
{
	if (s->state != state)
		log_as(s->log_tag, LOG_LEVEL_DEBUG, "state %d -> %d", (int)s->state, (int)state);
	s->state = state;
}

/* --- output --------------------------------------------------------------------------------------------- */
static void
flush(struct imapd_session *s)
{
	if (s->out.len == 0 || s->stream == NULL)
		return;
	s->counts.out += s->out.len;
	/* a write that fails is told by on_close */
	(void)stream_write(s->stream, s->out.p, s->out.len);
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
	return s->is_ending || stream_output_pending(s->stream) + s->out.len < OUTPUT_HIGH;
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

/* Dovecot's line, field by field: statistics scripts read it. */
static void
log_end(struct imapd_session *s)
{
	const struct imapd_counts *n = &s->counts;
	struct ipc_out out;
	char text[400];

	snprintf(text, sizeof text,
	    "Disconnected: %s in=%llu out=%llu deleted=%llu expunged=%llu trashed=0 hdr_count=%llu hdr_bytes=%llu body_count=%llu body_bytes=%llu",
	    s->end_reason, (unsigned long long)n->in, (unsigned long long)n->out,
	    (unsigned long long)n->deleted, (unsigned long long)n->expunged,
	    (unsigned long long)n->header_count, (unsigned long long)n->header_bytes,
	    (unsigned long long)n->body_count, (unsigned long long)n->body_bytes);
	log_as(s->log_tag, LOG_LEVEL_INFO, "%s", text);
	if (s->control == NULL)
		return;
	ipc_out_init(&out, LOGIN_GOODBYE);
	ipc_put_str(&out, text);
	(void)ipc_conn_send(s->control, &out); /* the front may be gone already */
}

void
imapd_session_free(struct imapd_session *s)
{
	flush(s);
	if (s->stream != NULL) {
		log_end(s);
		if (s->is_broken)
			stream_free(s->stream);
		else
			stream_finish(s->stream, FINISH_MS);
		s->stream = NULL;
	}
	imapd_command_free(&s->command);
	imapd_selected_close(s);
	imapd_handover_clear(s);
	ipc_conn_close(s->control);
	loop_timer_stop(&s->turn);
	loop_timer_stop(&s->idle_timer);
	loop_timer_stop(&s->autologout);
	loop_timer_stop(&s->content_timer);
	imap_reader_clear(&s->reader);
	buf_clear(&s->out);
	buf_clear(&s->content);
	imapd_account_leave(s->account, s);
	free(s->log_tag);
	free(s);
}

void
imapd_session_stop(struct imapd_session *s)
{
	bool is_between = s->command == NULL || s->command->phase == PHASE_READ ||
			  s->command->phase == PHASE_WAIT;

	if (s->is_stopping)
		return;
	if (s->stream == NULL) {
		imapd_session_end(s, "Server shutting down.");
		imapd_session_free(s);
		return;
	}
	s->is_stopping = true;
	/* in the middle of a response a BYE would be part of a literal */
	if (is_between)
		imapd_session_bye(s, "Server shutting down.", "Server shutting down.");
	imapd_session_end(s, "Server shutting down.");
	imapd_command_free(&s->command);
	flush(s);
	if (stream_output_pending(s->stream) == 0) {
		imapd_session_free(s);
		return;
	}
	stream_pause(s->stream, true);
	stream_want_drained(s->stream);
	loop_timer_start(&s->autologout, STOP_MS);
}

/* --- turns ------------------------------------------------------------------------------------------------- */
static bool
wants_input(const struct imapd_session *s)
{
	return s->command == NULL || s->command->phase == PHASE_READ ||
	       s->command->phase == PHASE_WAIT;
}

/* Reading stops while a command runs: its input may wait in the client's TCP window, and the end of the stream is told
 * only when all that came before it has been answered. */
static void
advance(struct imapd_session *s)
{
	int64_t slice_end = clock_mono_ms() + SLICE_MS;

	while (!s->is_ending) {
		if (!imapd_has_room(s)) {
			stream_want_drained(s->stream);
			stream_pause(s->stream, true);
			return;
		}
		if (clock_mono_ms() >= slice_end) {
			stream_pause(s->stream, true);
			loop_timer_soon(&s->turn);
			return;
		}
		if (!wants_input(s)) {
			imapd_dispatch_step(s);
		} else if (!imapd_dispatch_read(s)) {
			stream_pause(s->stream, false);
			return;
		}
	}
}

void
imapd_session_turn(struct imapd_session *s)
{
	if (s->is_stopping)
		return;
	if (!s->is_ending && s->stream != NULL) {
		advance(s);
		flush(s);
	}
	if (s->is_ending)
		imapd_session_free(s);
}

static void
on_turn(void *arg)
{
	imapd_session_turn(arg);
}

static void
on_input(void *arg, struct stream *stream)
{
	struct imapd_session *s = arg;

	(void)stream;
	loop_timer_start(&s->autologout, s->account->config.timeout_ms);
	imapd_session_turn(s);
}

static void
on_drained(void *arg, struct stream *stream)
{
	struct imapd_session *s = arg;

	(void)stream;
	if (s->is_stopping) {
		imapd_session_free(s);
		return;
	}
	loop_timer_start(&s->autologout, s->account->config.timeout_ms);
	imapd_session_turn(s);
}

static void
on_close(void *arg, struct stream *stream, const struct err *why)
{
	struct imapd_session *s = arg;

	(void)stream;
	s->is_broken = why->kind != ERR_GONE;
	imapd_session_end(s, "Connection closed");
	imapd_session_free(s);
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
	imapd_session_free(s);
}

void
imapd_session_start(struct imapd_session *s)
{
	static const struct stream_ops ops = { on_input, on_drained, NULL, on_close };
	struct stream_limits limits = { INPUT_MAX, OUTPUT_MAX };

	s->stream = stream_new(s->account->loop, s->stream_fd, &limits, &ops, s);
	s->stream_fd = -1;
	loop_timer_start(&s->autologout, s->account->config.timeout_ms);
}

/* --- IDLE --------------------------------------------------------------------------------------------------- */
void
imapd_session_wake(struct imapd_session *s)
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
		if (stream_output_pending(s->stream) == 0)
			loop_timer_start(&s->autologout, s->account->config.timeout_ms);
		imapd_send(s, "* OK Still here\r\n");
		s->still_here_at = now + s->account->config.idle_notify_ms;
	}
	imapd_session_idle_timer(s);
	imapd_session_wake(s);
}

void
imapd_session_idle_timer(struct imapd_session *s)
{
	const struct imapd_config *config = &s->account->config;
	int64_t until_word = s->still_here_at - clock_mono_ms();

	loop_timer_start(
	    &s->idle_timer, config->idle_poll_ms < until_word ? config->idle_poll_ms : until_word);
}
