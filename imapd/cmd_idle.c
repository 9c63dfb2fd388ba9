/* IDLE (RFC 2177): untagged news as they come, until the client says DONE. */
#include "common/base/clock.h"
#include "imapd/command.h"

struct idle {
	bool is_telling, is_done;
};

static void
cleanup(struct imapd_command *c)
{
	loop_timer_stop(&c->session->idle_timer);
}

static void
begin(struct imapd_command *c)
{
	struct imapd_session *s = c->session;

	c->work = imapd_command_alloc(c, sizeof(struct idle));
	c->cleanup = cleanup;
	imapd_send(s, "+ idling\r\n");
	s->still_here_at = clock_mono_ms() + s->account->config.idle_notify_ms;
	imapd_session_idle_timer(s);
}

void
imapd_line_idle(struct imapd_command *c, struct view text)
{
	struct idle *idle = c->work;

	idle->is_done = true;
	if (!view_case_eq_str(text, "DONE"))
		imapd_bad(c, "Expected DONE.");
}

/* Runs at the beginning, at every wake, and after the client's line; the news that come with DONE are told by the
 * command's own end. */
enum imapd_result
imapd_cmd_idle(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	struct idle *idle;

	if (c->work == NULL)
		begin(c);
	idle = c->work;
	if (s->selected.box == NULL)
		return idle->is_done ? imapd_ok(c, NULL, "Idle completed.") : IMAPD_WAIT;
	if (!idle->is_telling) {
		if (idle->is_done)
			return imapd_ok(c, NULL, "Idle completed.");
		imapd_news_start(s, true, false);
		idle->is_telling = true;
	}
	if (s->is_ending)
		return IMAPD_MORE;
	if (!imapd_news_step(s))
		return IMAPD_MORE;
	idle->is_telling = false;
	return idle->is_done ? imapd_ok(c, NULL, "Idle completed.") : IMAPD_WAIT;
}
