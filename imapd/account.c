#include "imapd/account.h"
#include "common/base/mem.h"
#include "imapd/session.h"

#include <stdlib.h>

static void
on_linger(void *arg)
{
	struct imapd_account *a = arg;

	if (a->count == 0)
		a->ops.on_idle(a->arg);
}

struct imapd_account *
imapd_account_new(struct loop *l, struct store *store, const struct imapd_config *config,
    const struct imapd_account_ops *ops, void *arg)
{
	struct imapd_account *a = x_calloc(1, sizeof *a);

	a->loop = l;
	a->store = store;
	a->config = *config;
	a->ops = *ops;
	a->arg = arg;
	loop_timer_init(&a->linger, l, on_linger, a);
	/* the login that this process was started for may never come */
	loop_timer_start(&a->linger, config->linger_ms);
	return a;
}

void
imapd_account_free(struct imapd_account **ap)
{
	struct imapd_account *a = *ap;

	if (a == NULL)
		return;
	while (a->sessions != NULL) {
		imapd_session_end(a->sessions, "Server shutting down.");
		imapd_session_free(a->sessions);
	}
	loop_timer_stop(&a->linger);
	x_free(ap);
}

void
imapd_account_stop(struct imapd_account *a)
{
	for (struct imapd_session *s = a->sessions, *next; s != NULL; s = next) {
		next = s->next;
		imapd_session_stop(s);
	}
}

void
imapd_account_enter(struct imapd_account *a, struct imapd_session *s)
{
	s->next = a->sessions;
	a->sessions = s;
	a->count++;
	loop_timer_stop(&a->linger);
}

void
imapd_account_leave(struct imapd_account *a, struct imapd_session *s)
{
	struct imapd_session **at = &a->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (--a->count > 0)
		return;
	loop_timer_start(&a->linger, a->config.linger_ms);
	a->ops.on_empty(a->arg);
}

void
imapd_account_login(
    struct imapd_account *a, struct view ticket, int control_fd, int stream_fd, int authd_fd)
{
	imapd_handover_start(imapd_session_new(a), ticket, control_fd, stream_fd, authd_fd);
}

void
imapd_account_changed(struct imapd_account *a, const char *mailbox, const struct imapd_session *by)
{
	for (struct imapd_session *s = a->sessions; s != NULL; s = s->next) {
		if (s == by || s->selected.box == NULL)
			continue;
		if (mailbox[0] != '\0' && strcmp(mailbox, s->selected.name) != 0)
			continue;
		/* what came from outside stands in the directory only, not in the index */
		s->selected.force_refresh |= by == NULL;
		imapd_session_wake(s);
	}
}
