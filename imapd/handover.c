/* From master's MASTER_LOGIN to the first command (DESIGN 3): the ticket is redeemed over the edge that authd bound to
 * this account; only then is the front listened to, and only what it says about tag and addresses is believed. */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/login.h"
#include "common/log/log.h"
#include "imapd/command.h"

#include <stdlib.h>
#include <unistd.h>

enum {
	HANDOVER_MS = 30000,
	REDEEM_MS = 10000,
	TAG_MAX = 1024,
	CONTROL_GREETED = 2, /* ipc_conn state */
};

static void
on_handover_timeout(void *arg)
{
	struct imapd_session *s = arg;

	imapd_session_end(s, "Login timed out");
	imapd_session_free(s);
}

static bool
tag_is_valid(const char *tag)
{
	struct imap_args args;
	struct view out;

	imap_args_init(&args, view_of(tag), NULL);
	return strlen(tag) <= TAG_MAX && imap_args_tag(&args, &out) && imap_args_end(&args);
}

static void
on_hello(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct imapd_session *s = arg;
	struct imapd_account *a = s->account;
	const char *tag = ipc_get_str(in), *client = ipc_get_str(in), *server = ipc_get_str(in),
		   *id = ipc_get_str(in);
	char quoted[64];

	ipc_conn_set_state(c, CONTROL_GREETED);
	loop_timer_stop(&s->handover_timer);
	ipc_edge_free(s->authd);
	s->authd = NULL;
	if (!tag_is_valid(tag)) {
		log_error("login front sent a malformed hello");
		imapd_session_end(s, "Malformed hand-over");
		imapd_session_free(s);
		return;
	}
	free(s->log_tag);
	s->log_tag = x_asprintf("imap(%s)<%d><%s>", a->config.account, (int)getpid(),
	    log_quote(quoted, sizeof quoted, view_of(id)));
	log_debug("session %s from %s on %s", lqs(id), lqs(client), lqs(server));
	imapd_session_start(s);
	if (a->count > a->config.sessions_max) {
		imapd_send(s,
		    "%s NO [LIMIT] Maximum number of sessions of this account exceeded\r\n", tag);
		imapd_session_bye(s, "[LIMIT] Too many sessions", "Too many sessions");
	} else {
		imapd_send(s, "%s OK [CAPABILITY %s] Logged in\r\n", tag, imapd_capabilities);
		imapd_session_set_state(s, IMAPD_AUTHENTICATED);
	}
	imapd_session_turn(s);
}

static void
on_control_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct imapd_session *s = arg;

	(void)c;
	(void)why;
	s->control = NULL;
	/* with the front the client's connection is gone too: its stream tells, and drains first */
	if (s->state == IMAPD_HANDOVER) {
		imapd_session_end(s, "Login front went away");
		imapd_session_free(s);
	}
}

static const struct ipc_handler control_rows[] = {
	{ LOGIN_HELLO, LOGIN_HELLO_SIG, 1, on_hello },
	{ 0, NULL, 0, NULL },
};

static void
on_redeemed(void *arg, struct ipc_in *in)
{
	static const struct ipc_conn_ops ops = { control_rows, on_control_close };
	struct imapd_session *s = arg;
	bool is_ours = false;
	int fd = s->control_fd;

	s->redeem = NULL;
	if (in != NULL) {
		uint32_t status = ipc_get_u32(in);
		const char *account = ipc_get_str(in);

		is_ours = status == AUTHD_OK && strcmp(account, s->account->config.account) == 0;
	}
	if (!is_ours) {
		log_warn("login refused: the ticket was not redeemed%s",
		    in ? "" : " (authd did not answer)");
		imapd_session_end(s, "Ticket refused");
		loop_timer_soon(&s->handover_timer); /* not from inside the edge's own call */
		return;
	}
	s->control_fd = -1;
	s->control = ipc_conn_new(s->account->loop, fd, &ops, s);
}

void
imapd_handover_start(
    struct imapd_session *s, struct view ticket, int control_fd, int stream_fd, int authd_fd)
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
imapd_handover_clear(struct imapd_session *s)
{
	loop_timer_stop(&s->handover_timer);
	ipc_call_cancel(s->redeem);
	s->redeem = NULL;
	ipc_edge_free(s->authd);
	s->authd = NULL;
	fd_close(&s->control_fd);
	fd_close(&s->stream_fd);
}
