/* A session that is explained: what the tool may claim, what it is told, and that nothing of it stays. */
#include "session_world.h"

#include "common/ipc/msg/smtpd.h"
#include "smtpd/explain.h"

struct tool {
	struct world w;
	struct ipc_conn *conn; /* NULL: closed by the other side */
	bool is_answered, has_ended;
	uint32_t status;
	struct buf steps; /* "COMMAND step name=value name=value\n" */
};

static void
on_step(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct tool *t = arg;

	(void)c;
	buf_append_str(&t->steps, ipc_get_str(in));
	buf_printf(&t->steps, " %s", ipc_get_str(in));
	while (ipc_in_more(in)) {
		const char *name = ipc_get_str(in);

		buf_printf(&t->steps, " %s=%s", name, ipc_get_str(in));
	}
	buf_append_byte(&t->steps, '\n');
}

static void
on_explained(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c, (void)in;
	((struct tool *)arg)->has_ended = true;
}

static void
on_tool_closed(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)c, (void)why;
	((struct tool *)arg)->conn = NULL;
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct tool *t = arg;

	t->is_answered = true;
	t->status = in != NULL ? ipc_get_u32(in) : 1000;
}

static struct ipc_conn *
connect_tool(struct tool *t)
{
	static const struct ipc_handler rows[] = {
		{ SMTPD_STEP, SMTPD_STEP_SIG, IPC_STATE_ANY, on_step },
		{ SMTPD_EXPLAINED, "", IPC_STATE_ANY, on_explained },
		{ .fn = NULL },
	};
	static const struct ipc_conn_ops ops = { rows, on_tool_closed };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	smtpd_explain_open(&t->w.server, fds[1]);
	return ipc_conn_new(t->w.loop, fds[0], &ops, t);
}

static void
tool_init(struct tool *t, const char *settings)
{
	*t = (struct tool){ 0 };
	fakes = (struct fakes){ 0 };
	world_init(&t->w, "explain", settings);
	while (t->w.is_full)
		turn(&t->w);
	buf_init(&t->steps, 1 << 20);
	t->conn = connect_tool(t);
}

static void
tool_clear(struct tool *t)
{
	ipc_conn_close(t->conn);
	world_clear(&t->w);
	buf_clear(&t->steps);
}

static uint32_t
claim(struct tool *t, const char *address, uint32_t port, const char *name, const char *login,
    uint32_t flags)
{
	int fds[2];
	struct ipc_out o;

	drop_client(&t->w);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	t->w.fd = fds[0];
	t->is_answered = false;
	ipc_out_init(&o, SMTPD_EXPLAIN);
	ipc_put_str(&o, address);
	ipc_put_u32(&o, port);
	ipc_put_str(&o, name);
	ipc_put_str(&o, login);
	ipc_put_u32(&o, flags);
	ipc_put_fd(&o, fds[1]);
	ipc_conn_call(t->conn, &o, "us", DEADLINE_MS, on_answer, t);
	close(fds[1]);
	while (!t->is_answered)
		turn(&t->w);
	return t->status;
}

static void
expect_step(struct tool *t, const char *line)
{
	char *text = x_asprintf("%s\n", line);

	if (t->steps.len == 0 || strstr(buf_cstr(&t->steps), text) == NULL)
		fail_msg("no step \"%s\" in\n%s", line, buf_cstr(&t->steps));
	free(text);
}

static void
test_claims(void **state)
{
	static const struct {
		const char *address;
		uint32_t port;
		const char *name, *login;
		uint32_t flags;
	} bad[] = {
		{ "", 0, "", "", 0 },
		{ "192.0.2", 0, "", "", 0 },
		{ "client.test", 0, "", "", 0 },
		{ "192.0.2.1", 65536, "", "", 0 },
		{ "192.0.2.1", 0, "a b", "", 0 },
		{ "192.0.2.1", 0, "a..b", "", 0 },
		{ "192.0.2.1", 0, "", "a\nb", 0 },
		{ "192.0.2.1", 0, "", "", 4 },
		{ "192.0.2.1", 0, "", "", ~0u },
	};
	struct tool t;

	(void)state;
	tool_init(&t, "");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_not_equal(
		    claim(&t, bad[i].address, bad[i].port, bad[i].name, bad[i].login, bad[i].flags),
		    0);
	assert_int_equal(t.w.server.nsessions, 0);
	assert_int_equal(claim(&t, "2001:db8::1", 25, "mx.far.test", "alice", 3), 0);
	assert_int_equal(t.w.server.nsessions, 1);
	/* once a connection */
	claim(&t, "192.0.2.1", 0, "", "", 0);
	assert_null(t.conn);
	wait_sessions(&t.w, 0);
	tool_clear(&t);
}

static void
test_a_message_that_is_never_sent(void **state)
{
	struct tool t;

	(void)state;
	tool_init(&t,
	    "smtpd_recipient_restrictions = check_sender_access inline:{held@f.test=HOLD}, "
	    "check_policy_service inet:127.0.0.1:9, permit\n"
	    "smtpd_client_connection_count_limit = 1\n");
	assert_int_equal(claim(&t, "192.0.2.1", 0, "unknown", "alice@example.test", 0), 0);
	play(&t.w, "< 220\n> EHLO x.test\n< 250\n> MAIL FROM:<held@f.test>\n< 250\n"
		   "> RCPT TO:<alice@example.test>\n< 250\n> DATA\n< 354\n> Subject: x\n> .\n"
		   "< 250 2.0.0 Ok: would be queued\n> QUIT\n< 221\n! closed\n");
	wait_sessions(&t.w, 0);
	while (!t.has_ended)
		turn(&t.w);
	expect_step(&t, "CONNECT not_asked name=rates");
	expect_step(&t, "CONNECT reply code=220 dsn= text=mail.example.test ESMTP Estafeta");
	expect_step(&t, "MAIL reply code=250 dsn=2.1.0 text=Ok");
	expect_step(&t,
	    "RCPT table table=inline:{held@f.test=HOLD} key=held@f.test result=found value=HOLD");
	expect_step(&t, "RCPT action action=HOLD value=");
	expect_step(&t,
	    "RCPT restriction list=smtpd_recipient_restrictions name=check_sender_access "
	    "argument=inline:{held@f.test=HOLD} verdict=DUNNO");
	expect_step(&t, "RCPT not_asked name=policy_service");
	expect_step(
	    &t, "RCPT restriction list=smtpd_recipient_restrictions name=permit verdict=OK");
	expect_step(&t, "END-OF-MESSAGE recipient address=alice@example.test transport=virtual");
	assert_int_equal(t.w.commits, 0);
	assert_int_equal(t.w.begun, 0);
	assert_int_equal(t.w.aborts, 0);
	assert_int_equal(t.w.server.clients.count, 0);
	read_log(&t.w);
	assert_int_equal(t.w.log.len, 0);
	tool_clear(&t);
}

static void
test_the_tool_goes(void **state)
{
	struct tool t;

	(void)state;
	tool_init(&t, "");
	assert_int_equal(claim(&t, "192.0.2.1", 0, "", "", SMTPD_EXPLAIN_TLS), 0);
	play(&t.w, "< 220\n> EHLO x.test\n< 250\n<~ REQUIRETLS\n> MAIL FROM:<a@f.test>\n< 250\n"
		   "> RCPT TO:<alice@example.test>\n< 250\n> DATA\n< 354\n> half\n");
	ipc_conn_close(t.conn);
	t.conn = NULL;
	wait_sessions(&t.w, 0);
	assert_int_equal(t.w.server.nexplained, 0);
	assert_int_equal(t.w.aborts, 0);
	tool_clear(&t);
}

static void
test_room_for_a_few(void **state)
{
	struct ipc_conn *others[4];
	struct tool t;

	(void)state;
	tool_init(&t, "");
	for (int i = 0; i < 4; i++)
		others[i] = connect_tool(&t);
	assert_int_not_equal(claim(&t, "192.0.2.1", 0, "", "", 0), 0);
	for (int i = 0; i < 4; i++)
		ipc_conn_close(others[i]);
	while (t.w.server.nexplained > 1)
		turn(&t.w);
	assert_int_equal(claim(&t, "192.0.2.1", 0, "", "", 0), 0);
	tool_clear(&t);
}

static void
test_too_many_steps(void **state)
{
	struct tool t;

	(void)state;
	tool_init(&t, "smtpd_junk_command_limit = 1000000\nsmtpd_hard_error_limit = 1000000\n");
	assert_int_equal(claim(&t, "192.0.2.1", 0, "unknown", "", 0), 0);
	play(&t.w, "< 220\n");
	for (int i = 0; i < 4200; i++)
		play(&t.w, "> NOOP\n< 250\n");
	expect_step(&t, "NOOP too_many_steps code=250 dsn=2.0.0 text=Ok");
	tool_clear(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_a_message_that_is_never_sent),
		cmocka_unit_test(test_the_tool_goes),
		cmocka_unit_test(test_room_for_a_few),
		cmocka_unit_test(test_too_many_steps),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
