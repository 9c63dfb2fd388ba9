/* Probes: a transaction that ends behind RCPT TO, whatever the server says to it. */
#include "tests/unit/qmgr/relay/relay_world.h"

#define LHLO "S 220 mda LMTP\nC LHLO me.test\nS 250-mda\nS 250 PIPELINING\n"

static void
probe(const char *address, uint32_t protocol)
{
	struct ipc_out o;

	ipc_out_init(&o, RELAY_PROBE);
	ipc_put_u32(&o, ++t.next_job);
	ipc_put_u32(&o, protocol);
	ipc_put_str(&o, "4ABCDE0000zABC");
	ipc_put_str(&o, "[127.0.0.2]");
	ipc_put_str(&o, "double-bounce@home.test");
	ipc_put_str(&o, address);
	assert_int_equal(ipc_conn_send(t.qmgr, &o), 0);
	turn_until_results(t.nresults + 1);
}

static void
expect_probe(enum delivery_status status, const char *dsn, const char *text)
{
	expect(t.nresults - 1, status, dsn, text, "127.0.0.2[127.0.0.2]");
}

/* Turns until the server has seen the last of its script, QUIT often. */
static void
finish(void)
{
	int64_t deadline = clock_mono_ms() + WAIT_MS;

	while (clock_mono_ms() < deadline && pthread_tryjoin_np(t.servers[0].thread, NULL) != 0) {
		loop_run_once(t.loop, false);
		poll(NULL, 0, 1);
	}
	t.servers[0].has_thread = clock_mono_ms() >= deadline;
	join(0);
}

/* None waits for a command more than it must; QUIT or nothing follows, no DATA. */
static void
test_replies(void **state)
{
	static const struct {
		const char *script;
		enum delivery_status status;
		const char *dsn, *text;
	} rows[] = {
		{ PLAIN_HELLO
		    "C MAIL FROM:<double-bounce@home.test>\nS 250 ok\nC RCPT TO:<u@x.test>\n"
		    "S 250 2.1.5 fine\nC QUIT\n",
		    DELIVERY_SENT, "2.1.5", "250 2.1.5 fine" },
		{ PIPE_HELLO
		    "C MAIL FROM:<double-bounce@home.test>\nC RCPT\nS 250 ok\nS 250 2.1.5 fine\nC QUIT\n",
		    DELIVERY_SENT, "2.1.5", "250 2.1.5 fine" },
		{ CHUNK_HELLO "C MAIL\nC RCPT\nS 250 ok\nS 251 2.1.5 forwarded\nC QUIT\n",
		    DELIVERY_SENT, "2.1.5", "251 2.1.5 forwarded" },
		{ PLAIN_HELLO "C MAIL\nS 250 ok\nC RCPT\nS 550 5.1.1 who\nC QUIT\n",
		    DELIVERY_BOUNCED, "5.1.1", "550 5.1.1 who (in reply to RCPT TO command)" },
		{ PIPE_HELLO "C MAIL\nC RCPT\nS 250 ok\nS 450 4.2.0 come again\nC QUIT\n",
		    DELIVERY_DEFERRED, "4.2.0",
		    "450 4.2.0 come again (in reply to RCPT TO command)" },
		{ PLAIN_HELLO "C MAIL\nS 451 4.7.1 slow\nC QUIT\n", DELIVERY_DEFERRED, "4.7.1",
		    "451 4.7.1 slow (in reply to MAIL FROM command)" },
		{ PIPE_HELLO "C MAIL\nC RCPT\nS 550 5.7.1 no probes\nS 503 5.5.1 what\nC QUIT\n",
		    DELIVERY_BOUNCED, "5.7.1",
		    "550 5.7.1 no probes (in reply to MAIL FROM command)" },
		{ PIPE_HELLO "C MAIL\nC RCPT\nS 250 ok\nS 354 go on\nN\n", DELIVERY_DEFERRED,
		    "4.5.0", "354 go on (in reply to RCPT TO command)" },
		{ PLAIN_HELLO "C MAIL\nS 250 ok\nC RCPT\nS 421 4.3.2 going down\nX\n",
		    DELIVERY_DEFERRED, "4.3.2",
		    "421 4.3.2 going down (in reply to RCPT TO command)" },
	};
	char text[300];

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		serve(0, rows[i].script, NULL, NULL);
		probe("u@x.test", RELAY_SMTP);
		snprintf(text, sizeof text, "%s%s",
		    rows[i].status == DELIVERY_SENT ? "" : "host 127.0.0.2[127.0.0.2] said: ",
		    rows[i].text);
		expect_probe(rows[i].status, rows[i].dsn, text);
		finish();
		assert_null(strstr(buf_cstr(&t.servers[0].commands), "DATA"));
		assert_null(strstr(buf_cstr(&t.servers[0].commands), "BDAT"));
	}
}

static void
test_lost(void **state)
{
	(void)state;
	start_relay();
	serve(0, PIPE_HELLO "C MAIL\nC RCPT\nS 250 ok\nX\n",
	    PIPE_HELLO "C MAIL\nC RCPT\nS 250 ok\nS 250 fine\nX\n", PLAIN_HELLO "X\n");
	probe("u@x.test", RELAY_SMTP);
	expect_probe(DELIVERY_DEFERRED, "4.4.2",
	    "lost connection with 127.0.0.2[127.0.0.2] while sending RCPT TO");
	probe("u@x.test", RELAY_SMTP); /* what was said before counts */
	expect_probe(DELIVERY_SENT, "2.0.0", "250 fine");
	turn_a_little();
	probe("u@x.test", RELAY_SMTP);
	assert_int_equal(t.results[t.nresults - 1].status, DELIVERY_DEFERRED);
	join(0);
}

/* A kept connection: RSET is between a probe and what comes next, a probe or mail. */
static void
test_connection_is_kept(void **state)
{
	struct message m = { .sender = "a@home.test",
		.nexthop = "[127.0.0.2]",
		.headers = "Subject: x\r\n\r\n",
		.body = "hello\r\n",
		.envid = "" };

	(void)state;
	set("smtp_connection_cache_destinations", "[127.0.0.2]");
	start_relay();
	serve(0,
	    PLAIN_HELLO ENVELOPE "C RSET\nS 250 ok\n" ENVELOPE
				 "C RSET\nS 250 ok\n" ENVELOPE DATA ENVELOPE "X\n",
	    NULL, NULL);
	probe("u@x.test", RELAY_SMTP);
	expect_probe(DELIVERY_SENT, "2.1.5", "250 2.1.5 ok");
	probe("v@x.test", RELAY_SMTP);
	expect_probe(DELIVERY_SENT, "2.1.5", "250 2.1.5 ok");
	deliver(&m, "u@x.test");
	expect_probe(DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X");
	probe("u@x.test", RELAY_SMTP);
	expect_probe(DELIVERY_SENT, "2.1.5", "250 2.1.5 ok");
	join(0);
}

static void
test_lmtp(void **state)
{
	char port[16];

	(void)state;
	snprintf(port, sizeof port, "%u", t.port);
	set("lmtp_tcp_port", port);
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, LHLO "C MAIL\nC RCPT\nS 250 ok\nS 250 2.1.5 fine\nC QUIT\n",
	    LHLO "C MAIL\nC RCPT\nS 250 ok\nS 550 5.1.1 who\nC QUIT\n", NULL);
	probe("u@x.test", RELAY_LMTP);
	expect_probe(DELIVERY_SENT, "2.1.5", "250 2.1.5 fine");
	probe("u@x.test", RELAY_LMTP);
	expect_probe(DELIVERY_BOUNCED, "5.1.1",
	    "host 127.0.0.2[127.0.0.2] said: 550 5.1.1 who (in reply to RCPT TO command)");
	finish();
}

/* What qmgr must not send. */
static void
test_bad_probes(void **state)
{
	(void)state;
	start_relay();
	probe("u@x.test", 7);
	assert_int_equal(t.results[0].status, DELIVERY_DEFERRED);
	assert_string_equal(t.results[0].text, "mail system error: unknown protocol");
	probe("", RELAY_SMTP);
	assert_int_equal(t.results[1].status, DELIVERY_BOUNCED);
	assert_string_equal(t.results[1].text, "bad recipient address syntax");
	probe("a>\r\nDATA", RELAY_SMTP);
	assert_int_equal(t.results[2].status, DELIVERY_BOUNCED);
	assert_string_equal(t.results[2].text, "bad recipient address syntax");
}

static void
test_utf8(void **state)
{
	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, PLAIN_HELLO "C QUIT\n",
	    HELLO "S 250 SMTPUTF8\nC MAIL FROM:<double-bounce@home.test> SMTPUTF8\nS 250 ok\n"
		  "C RCPT\nS 250 2.1.5 fine\nC QUIT\n",
	    NULL);
	probe("m\xc3\xbcller@x.test", RELAY_SMTP);
	expect_probe(DELIVERY_BOUNCED, "5.6.7",
	    "SMTPUTF8 is required, but was not offered by host 127.0.0.2[127.0.0.2]");
	probe("m\xc3\xbcller@x.test", RELAY_SMTP);
	expect_probe(DELIVERY_SENT, "2.1.5", "250 2.1.5 fine");
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replies),
		TEST(test_lost),
		TEST(test_connection_is_kept),
		TEST(test_lmtp),
		TEST(test_bad_probes),
		TEST(test_utf8),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
