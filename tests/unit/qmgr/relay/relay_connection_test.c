/* Connections: lost, kept, counted, ended. */
#include "tests/unit/qmgr/relay/relay_world.h"

static void
test_lost_connections(void **state)
{
	static const struct {
		const char *script, *dsn, *text;
	} cases[] = {
		{ "X\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while receiving the initial server greeting" },
		{ "S 220 a\nC EHLO\nZ\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while performing the EHLO handshake" },
		{ PLAIN_HELLO "C MAIL\nX\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending MAIL FROM" },
		{ PLAIN_HELLO "C MAIL\nS 250 ok\nC RCPT\nX\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending RCPT TO" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nX\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending DATA command" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nX\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending end of data -- message may be sent more than once" },
		{ PLAIN_HELLO "C MAIL\nS 421 4.3.2 bye\nX\n", "4.3.2",
		    "host mx0.test[127.0.0.2] said: 421 4.3.2 bye (in reply to MAIL FROM command)" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nS 421 4.3.2 bye\nX\n", "4.3.2",
		    "host mx0.test[127.0.0.2] said: 421 4.3.2 bye (in reply to end of DATA command)" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nS 452 4.3.1 full\nX\n", "4.3.1",
		    "host mx0.test[127.0.0.2] said: 452 4.3.1 full (in reply to end of DATA command)" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 451 4.3.1 full\nX\n", "4.3.1",
		    "host mx0.test[127.0.0.2] said: 451 4.3.1 full (in reply to DATA command)" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 250 surprise\nX\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while sending DATA command: message accepted before it was sent" },
		{ "S 220 a\nC EHLO\nB\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while performing the EHLO handshake: reply of more than 100 lines" },
		{ "R 220 a\\rb\\r\\n\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while receiving the initial server greeting: bare CR in a reply" },
		{ "S SSH-2.0-x\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while receiving the initial server greeting: no reply code" },
		{ "R 220 a\\r\\n250 b\\r\\n250 c\\r\\n\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while receiving the initial server greeting: a reply before the command" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nR 354 go\\r\\n250 done\\r\\n\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while sending DATA command: a reply before the command" },
		{ PLAIN_HELLO "C MAIL\nR 250 ok\\r\\n250 ok\\r\\n\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while sending RCPT TO: a reply before the command" },
	};

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		serve(0, cases[i].script, NULL, NULL);
		deliver(&plain, "u@one.test");
		expect(i, DELIVERY_DEFERRED, cases[i].dsn, cases[i].text, "mx0.test[127.0.0.2]");
		turn_a_little();
		assert_int_equal(t.nresults, i + 1);
		join(0);
		buf_reset(&t.servers[0].data);
	}
}

static void
test_timeouts(void **state)
{
	(void)state;
	set("smtp_helo_timeout", "1s");
	set("smtp_data_done_timeout", "1s");
	set("smtp_data_xfer_timeout", "1s");
	start_relay();
	serve(0, "N\n", PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nN\n", NULL);
	deliver(&plain, "u@one.test");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.4.2",
	    "conversation with mx0.test[127.0.0.2] timed out while receiving the initial server greeting",
	    "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_DEFERRED, "4.4.2",
	    "conversation with mx0.test[127.0.0.2] timed out while sending end of data -- message may be sent more than once",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_reuse(void **state)
{
	(void)state;
	start_relay();
	serve(0,
	    PIPE_HELLO
	    "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 first\n"
	    "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 550 no\nS 354 go\nD\nS 554 nobody\n"
	    "C RSET\nC MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 third\nX\n",
	    PLAIN_HELLO ENVELOPE DATA "X\n", NULL);
	deliver(&plain, "u@one.test");
	deliver(&plain, "v@one.test");
	turn_a_little(); /* told at RCPT; the connection is free after the dot */
	deliver(&plain, "w@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 first", "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_BOUNCED, "5.0.0",
	    "host mx0.test[127.0.0.2] said: 550 no (in reply to RCPT TO command)",
	    "mx0.test[127.0.0.2]");
	expect(2, DELIVERY_SENT, "2.0.0", "250 third", "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[2].uses, 3);
	deliver(&plain, "x@one.test"); /* the server closed: a new connection, nobody notices */
	expect(3, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[3].uses, 1);
	join(0);
	assert_int_equal(t.servers[0].sessions, 2);
}

static void
test_stale_reuse(void **state)
{
	(void)state;
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "C MAIL\nS 421 4.4.2 idle too long\nX\n",
	    PLAIN_HELLO ENVELOPE DATA "C MAIL\nX\n", PLAIN_HELLO ENVELOPE DATA "X\n");
	for (size_t i = 0; i < 3; i++) {
		deliver(&plain, "u@one.test");
		expect(
		    i, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
		assert_int_equal(t.results[i].uses, 1);
	}
	join(0);
}

static void
test_connection_is_kept_for_a_moment_only(void **state)
{
	(void)state;
	set("smtp_connection_cache_time_limit", "1s");
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "C QUIT\n", NULL, NULL);
	deliver(&plain, "u@one.test");
	for (int64_t until = clock_mono_ms() + 1500; clock_mono_ms() < until;)
		turn_a_little();
	join(0);
}

/* The server goes while we still look at what the message holds. */
static void
test_server_goes_during_the_scan(void **state)
{
	struct message m = plain;
	char *body = x_malloc(32 << 20);

	(void)state;
	memset(body, 'x', 32 << 20);
	m.body = body;
	m.body_len = 32 << 20;
	m.flags = ENVELOPE_8BIT;
	start_relay();
	serve(0, PLAIN_HELLO "Z\n", NULL, NULL);
	deliver(&m, "u@one.test");
	assert_int_equal(t.results[0].status, DELIVERY_DEFERRED);
	assert_string_equal(t.results[0].dsn, "4.4.2");
	turn_a_little();
	free(body);
	join(0);
}

/* More jobs than connections: all are done, one after the other. */
static void
test_connection_limit(void **state)
{
	enum { N = 6 };
	const char *rcpt = "u@one.test";

	(void)state;
	set("smtp_connection_limit", "1");
	start_relay();
	serve(0,
	    PLAIN_HELLO ENVELOPE DATA ENVELOPE DATA ENVELOPE DATA ENVELOPE DATA ENVELOPE DATA
		ENVELOPE DATA "X\n",
	    NULL, NULL);
	for (int i = 0; i < N; i++)
		send_job(&plain, &rcpt, 1);
	turn_until_results(N);
	for (size_t i = 0; i < N; i++) {
		expect(
		    i, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
		assert_int_equal(t.results[i].uses, i + 1);
	}
	join(0);
}

/* qmgr goes at every stage: nothing is left behind, the worker lives on. */
static void
test_qmgr_lost(void **state)
{
	static const char *const scripts[] = { "N\n", "S 220 a\nC EHLO\nN\n",
		PLAIN_HELLO "C MAIL\nN\n", PLAIN_HELLO ENVELOPE "C DATA\nN\n",
		PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nN\n" };
	const char *rcpt = "u@one.test";

	(void)state;
	set("smtp_connection_limit", "1"); /* the second job waits */
	start_relay();
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
		int fds[2];

		serve(0, scripts[i], NULL, NULL);
		send_job(&plain, &rcpt, 1);
		send_job(&plain, &rcpt, 1);
		for (int n = 0; n < 3; n++)
			turn_a_little();
		ipc_conn_close(t.qmgr);
		t.qmgr = NULL;
		turn_a_little();
		join(0);
		buf_reset(&t.servers[0].data);
		assert_int_equal(t.nresults, 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
		t.qmgr = ipc_conn_new(t.loop, fds[0], &qmgr_ops, &t.qmgr);
		relay_qmgr_open(t.relay, ipc_conn_new(t.loop, fds[1], &relay_qmgr_ops, NULL));
	}
	serve(0, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	deliver(&plain, rcpt);
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
on_idle(void *arg)
{
	*(bool *)arg = true;
}

static void
test_drain(void **state)
{
	const char *rcpt = "u@one.test";
	bool idle = false;

	(void)state;
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	send_job(&plain, &rcpt, 1);
	turn_a_little();
	relay_drain(t.relay, on_idle, &idle);
	turn_until_results(1);
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	turn_a_little();
	assert_true(idle);
	join(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lost_connections),
		TEST(test_timeouts),
		TEST(test_reuse),
		TEST(test_stale_reuse),
		TEST(test_connection_is_kept_for_a_moment_only),
		TEST(test_server_goes_during_the_scan),
		TEST(test_connection_limit),
		TEST(test_qmgr_lost),
		TEST(test_drain),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
