#include "pop3d/account.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "pop3d/session.h"

#include <stdlib.h>

static void
on_linger(void *arg)
{
	struct pop3d_account *a = arg;

	if (a->count == 0)
		a->ops.on_idle(a->arg);
}

struct pop3d_account *
pop3d_account_new(struct loop *l, struct store *store, const struct pop3d_config *config,
    const struct pop3d_account_ops *ops, void *arg)
{
	struct pop3d_account *a = x_calloc(1, sizeof *a);

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
pop3d_account_free(struct pop3d_account **a)
{
	if (*a == NULL)
		return;
	while ((*a)->sessions != NULL) {
		pop3d_session_end((*a)->sessions, "Server shutting down");
		pop3d_session_free((*a)->sessions);
	}
	loop_timer_stop(&(*a)->linger);
	x_free(a);
}

void
pop3d_account_enter(struct pop3d_account *a, struct pop3d_session *s)
{
	s->next = a->sessions;
	a->sessions = s;
	a->count++;
	loop_timer_stop(&a->linger);
}

void
pop3d_account_leave(struct pop3d_account *a, struct pop3d_session *s)
{
	struct pop3d_session **at = &a->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (--a->count > 0)
		return;
	loop_timer_start(&a->linger, a->config.linger_ms);
	a->ops.on_empty(a->arg);
}

void
pop3d_account_login(
    struct pop3d_account *a, struct view ticket, int control_fd, int stream_fd, int authd_fd)
{
	if (a->count >=
	    a->config
		.sessions_max) { /* most of them waiting for nothing: one alone has the maildrop */
		fd_close(&control_fd);
		fd_close(&stream_fd);
		fd_close(&authd_fd);
		return;
	}
	pop3d_handover_start(pop3d_session_new(a), ticket, control_fd, stream_fd, authd_fd);
}
