/* From master's MASTER_LOGIN to the first byte (DESIGN 3): the ticket is redeemed over the edge that authd bound to
 * this account; only then is the front listened to. */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/login.h"
#include "common/log/log.h"
#include "pop3d/session.h"

#include <stdlib.h>
#include <unistd.h>

enum {
	HANDOVER_MS = 30000,
	REDEEM_MS = 10000,
	CONTROL_GREETED = 2, /* ipc_conn state */
};

static void
on_handover_timeout(void *arg)
{
	pop3d_session_end(arg, "Login timed out");
}

static void
on_hello(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct pop3d_session *s = arg;
	char quoted[64];
	const char *id;

	ipc_get_str(in); /* tag: IMAP only */
	ipc_get_str(in);
	ipc_get_str(in);
	id = ipc_get_str(in);
	ipc_conn_set_state(c, CONTROL_GREETED);
	loop_timer_stop(&s->handover_timer);
	ipc_edge_free(s->authd);
	s->authd = NULL;
	free(s->log_tag);
	s->log_tag = x_asprintf("pop3(%s)<%d><%s>", s->account->config.account, (int)getpid(),
	    log_quote(quoted, sizeof quoted, view_of(id)));
	pop3d_session_start(s);
}

static void
on_control_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct pop3d_session *s = arg;

	(void)c;
	(void)why;
	s->control = NULL;
	/* with the front the client's connection is gone too: its stream tells */
	if (s->state == POP3D_HANDOVER)
		pop3d_session_end(s, "Login front went away");
}

static const struct ipc_handler control_rows[] = {
	{ LOGIN_HELLO, LOGIN_HELLO_SIG, 1, on_hello },
	{ 0, NULL, 0, NULL },
};

static void
on_redeemed(void *arg, struct ipc_in *in)
{
	static const struct ipc_conn_ops ops = { control_rows, on_control_close };
	struct pop3d_session *s = arg;
	bool is_ours = false;
	int fd = s->control_fd;

	s->redeem = NULL;
	if (in != NULL) {
		uint32_t status = ipc_get_u32(in);

		is_ours =
		    status == AUTHD_OK && strcmp(ipc_get_str(in), s->account->config.account) == 0;
	}
	if (!is_ours) {
		log_as(s->log_tag, LOG_LEVEL_WARN, "login refused: the ticket was not redeemed%s",
		    in != NULL ? "" : " (authd did not answer)");
		pop3d_session_end(s, "Ticket refused");
		return;
	}
	s->control_fd = -1;
	s->control = ipc_conn_new(s->account->loop, fd, &ops, s);
}

void
pop3d_handover_start(
    struct pop3d_session *s, struct view ticket, int control_fd, int stream_fd, int authd_fd)
{
	struct ipc_out out;

	s->control_fd = control_fd;
	s->stream_fd = stream_fd;
	s->authd = ipc_edge_new_fd(s->account->loop, authd_fd, NULL, NULL);
	loop_timer_init(&s->handover_timer, s->account->loop, on_handover_timeout, s);
	loop_timer_start(&s->handover_timer, HANDOVER_MS);
	ipc_out_init(&out, AUTHD_REDEEM);
	ipc_put_bytes(&out, ticket.p, ticket.len);
	s->redeem = ipc_edge_call(s->authd, &out, "us", REDEEM_MS, on_redeemed, s);
}

void
pop3d_handover_clear(struct pop3d_session *s)
{
	if (s->handover_timer.fn != NULL)
		loop_timer_stop(&s->handover_timer);
	ipc_call_cancel(s->redeem);
	s->redeem = NULL;
	ipc_edge_free(s->authd);
	s->authd = NULL;
	fd_close(&s->control_fd);
	fd_close(&s->stream_fd);
}
