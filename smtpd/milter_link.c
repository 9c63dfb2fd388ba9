#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/dialer.h"
#include "common/log/log.h"
#include "smtpd/header_list.h"
#include "smtpd/milter_macros.h"
#include "smtpd/milter_private.h"

#include <stdlib.h>

enum {
	OUTPUT_FULL = 2 * MILTER_CHUNK,
	/* a header field of the largest size goes out whole */
	OUTPUT_MAX = OUTPUT_FULL + HEADER_LIST_MAX_BYTES + 4096,
	QUIT_MS = 1000,
	TURN_MS = 10, /* for what has come in, before others have their turn */
};

void
milter_link_send(struct milter *m, const struct buf *packets)
{
	/* a stream that cannot take it tells so by on_close */
	(void)stream_write(m->stream, packets->p, packets->len);
}

static int64_t
patience_ms(const struct milter *m, enum milter_command command)
{
	return command == MILTER_EOM ? m->conf->content_ms : m->conf->command_ms;
}

void
milter_link_expect(struct milter *m, enum milter_command command)
{
	m->asked = command;
	m->is_busy = true;
	stream_set_deadline(m->stream, patience_ms(m, command));
}

bool
milter_link_is_full(struct milter *m)
{
	if (stream_output_pending(m->stream) < OUTPUT_FULL)
		return false;
	stream_set_deadline(m->stream, m->conf->command_ms);
	stream_want_drained(m->stream);
	return true;
}

/* --- macros ------------------------------------------------------------------------------------------- */

static enum milter_macro_list
macro_list(enum milter_command command)
{
	switch (command) {
	case MILTER_CONNECT:
		return MACROS_CONNECT;
	case MILTER_HELO:
		return MACROS_HELO;
	case MILTER_MAIL:
		return MACROS_MAIL;
	case MILTER_RCPT:
		return MACROS_RCPT;
	case MILTER_DATA:
		return MACROS_DATA;
	case MILTER_HEADER:
		return MACROS_HEADER;
	case MILTER_EOH:
		return MACROS_EOH;
	case MILTER_EOM:
		return MACROS_EOM;
	default:
		return MACROS_UNKNOWN;
	}
}

void
milter_link_put_macros(struct milter *m, enum milter_command command, struct buf *out)
{
	struct smtpd_session *s = m->all->session;
	enum milter_macro_list list = macro_list(command);
	const char *names = s->server->conf->milters.macros[list];

	if ((unsigned)list < MILTER_MACRO_STAGES && m->macros[list] != NULL)
		names = m->macros[list];
	milter_put_macros(s, command, view_of(names), out);
}

/* --- what comes in ------------------------------------------------------------------------------------ */

/* Its answer to OPTNEG. */
static void
negotiated(struct milter *m, struct view data)
{
	struct milter_options o;
	struct err err;

	if (milter_options_read(data, m->conf->version, &o, &err) < 0) {
		milter_link_fail(m, &err);
		return;
	}
	m->actions = o.actions;
	/* what an older milter does not know it does not get */
	m->protocol = o.protocol | (o.version < 3 ? MILTER_NO_UNKNOWN : 0) |
		      (o.version < 4 ? MILTER_NO_DATA : 0);
	for (size_t i = 0; i < MILTER_MACRO_STAGES; i++)
		if (o.macros[i].p != NULL)
			m->macros[i] = x_strndup(o.macros[i].p, o.macros[i].len);
	m->is_busy = false;
	stream_set_deadline(m->stream, 0);
	milter_went_up(m);
}

static bool
is_change(enum milter_answer a)
{
	return a >= MILTER_ADDRCPT;
}

/* A reply in due form.  `used` bytes of the input hold it.  True: the next packet may be looked at. */
static bool
take_reply(struct milter *m, const struct milter_reply *r, size_t used)
{
	struct milter_text text = { 0 };
	struct err err;

	if (r->answer == MILTER_PROGRESS || is_change(r->answer)) {
		if (is_change(r->answer) &&
		    (m->asked != MILTER_EOM || milter_change(m, r, &err) < 0)) {
			if (m->asked != MILTER_EOM)
				err_set(&err, ERR_SYNTAX, "a change before the end of the message");
			milter_link_fail(m, &err);
			return false;
		}
		stream_set_deadline(m->stream, patience_ms(m, m->asked));
		stream_consume(m->stream, used);
		return true;
	}
	if (r->answer == MILTER_REPLY && milter_text_read(r->a, &text, &err) < 0) {
		milter_link_fail(m, &err);
		return false;
	}
	stream_consume(m->stream, used);
	m->is_busy = false;
	stream_set_deadline(m->stream, 0);
	milter_answered(m, r->answer, &text);
	return false;
}

/* One packet.  True: the next one may be looked at. */
static bool
take_packet(struct milter *m, const struct milter_packet *p, size_t used)
{
	struct milter_reply r;
	struct err err;

	if (!m->is_busy || m->asked == 0) {
		err_set(&err, ERR_SYNTAX, "speaks without being asked");
		milter_link_fail(m, &err);
		return false;
	}
	if (m->asked == MILTER_OPTNEG) {
		if (p->command == MILTER_OPTNEG) {
			struct buf copy;

			/* the input is given back before anything can free the stream */
			buf_init(&copy, MILTER_PACKET_MAX);
			buf_append_view(&copy, p->data);
			stream_consume(m->stream, used);
			negotiated(m, buf_view(&copy));
			buf_clear(&copy);
			return false;
		}
		err_set(&err, ERR_SYNTAX, "no answer to option negotiation");
		milter_link_fail(m, &err);
		return false;
	}
	if (milter_reply_read(p, m->actions, &r, &err) < 0) {
		milter_link_fail(m, &err);
		return false;
	}
	return take_reply(m, &r, used);
}

/* Changes of a message with very many headers take their time. */
static void
take_input(struct milter *m)
{
	int64_t until = clock_mono_ms() + TURN_MS;
	struct milter_packet p = { 0 };
	bool goes_on = true;
	size_t used = 0;
	struct err err;

	while (goes_on) {
		int r = milter_packet_read(stream_input(m->stream), &p, &used, &err);

		if (r < 0)
			milter_link_fail(m, &err);
		goes_on = r == 0 && take_packet(m, &p, used);
		if (goes_on && clock_mono_ms() >= until) {
			loop_timer_soon(&m->turn);
			return;
		}
	}
}

static void
on_turn(void *arg)
{
	take_input(arg);
}

static void
on_input(void *arg, struct stream *stream)
{
	struct milter *m = arg;

	(void)stream;
	if (!loop_timer_running(&m->turn))
		take_input(m);
}

static void
on_drained(void *arg, struct stream *stream)
{
	(void)stream;
	milter_drained(arg);
}

static void
on_close(void *arg, struct stream *stream, const struct err *why)
{
	(void)stream;
	milter_link_fail(arg, why);
}

/* --- life --------------------------------------------------------------------------------------------- */

static void
cut(struct milter *m)
{
	bool was_busy = m->is_busy;

	m->is_busy = false;
	m->has_message = false;
	if (m->stream != NULL)
		loop_timer_stop(&m->turn);
	stream_free(m->stream);
	m->stream = NULL;
	if (was_busy)
		milter_went_down(m);
}

void
milter_link_fail(struct milter *m, const struct err *why)
{
	log_warn("milter %s: %s", m->conf->endpoint, lqs(why->text));
	cut(m);
}

static void
dial_failed(struct milter *m, const char *why)
{
	log_warn("connect to Milter service %s: %s", m->conf->endpoint, lqs(why));
	cut(m);
}

static void
greet(struct milter *m, int fd)
{
	static const struct stream_limits limits = { MILTER_PACKET_MAX + 4, OUTPUT_MAX };
	static const struct stream_ops ops = { on_input, on_drained, NULL, on_close };
	struct buf out;

	loop_timer_init(&m->turn, m->all->session->server->loop, on_turn, m);
	m->stream = stream_new(m->all->session->server->loop, fd, &limits, &ops, m);
	buf_init(&out, 100);
	milter_put_optneg(&out, m->conf->version);
	milter_link_send(m, &out);
	milter_link_expect(m, MILTER_OPTNEG);
	buf_clear(&out);
}

static void
on_dialed(void *arg, struct ipc_in *in)
{
	struct milter *m = arg;
	uint32_t status;
	const char *why;
	int fd;

	m->dial = NULL;
	if (in == NULL) {
		dial_failed(m, "Connection timed out");
		return;
	}
	status = ipc_get_u32(in);
	why = ipc_get_str(in);
	fd = ipc_get_fd(in);
	if (status == DIALER_OK) {
		greet(m, fd);
		return;
	}
	fd_close(&fd);
	dial_failed(m, why);
}

void
milter_link_open(struct milter *m)
{
	struct ipc_out o;

	m->is_busy = true;
	ipc_out_init(&o, DIALER_CONNECT);
	ipc_put_str(&o, m->conf->endpoint);
	/* a question, as far as dialer is concerned: one that was exchanged meanwhile is asked again */
	m->dial = ipc_edge_ask(m->all->session->server->dialer, &o, DIALER_ANSWER_SIG,
	    m->conf->connect_ms, on_dialed, m);
}

void
milter_link_close(struct milter *m)
{
	struct buf out;

	ipc_call_cancel(m->dial);
	m->dial = NULL;
	for (size_t i = 0; i < MILTER_MACRO_STAGES; i++)
		x_free(&m->macros[i]);
	if (m->stream == NULL)
		return;
	loop_timer_stop(&m->turn);
	buf_init(&out, 100);
	milter_put(&out, MILTER_QUIT, "", 0);
	milter_link_send(m, &out);
	stream_finish(m->stream, QUIT_MS);
	m->stream = NULL;
	buf_clear(&out);
}
