/* The LMTP client (RFC 2033). */
#include "tests/unit/qmgr/relay/relay_world.h"

#define LHLO "S 220 mda LMTP\nC LHLO me.test\nS 250-mda\n"
#define LPIPE LHLO "S 250-8BITMIME\nS 250-ENHANCEDSTATUSCODES\nS 250 PIPELINING\n"
#define MX0 "mx0.test[127.0.0.2]"

static const struct message local = { .sender = "a@home.test",
	.nexthop = "mx0.test",
	.headers = "Subject: x\r\n\r\n",
	.body = "hello\r\n",
	.envid = "",
	.protocol = RELAY_LMTP };
static const char *const three[] = { "a@x.test", "b@x.test", "c@x.test" };

static void
start_lmtp(void)
{
	char port[16];

	snprintf(port, sizeof port, "%u", t.port);
	set("lmtp_tcp_port", port);
	set("smtp_tls_security_level", "encrypt"); /* says nothing about LMTP */
	start_relay();
	t.rc.port = 25;
}

static void
expect_of(uint32_t number, enum delivery_status status, const char *dsn, const char *text)
{
	for (size_t i = 0; i < t.nresults; i++)
		if (t.results[i].number == number) {
			expect(i, status, dsn, text, MX0);
			return;
		}
	fail_msg("no result for %u", number);
}

/* Each recipient its own reply, in the order of those that were taken. */
static void
test_a_reply_for_each(void **state)
{
	(void)state;
	start_lmtp();
	serve(0,
	    LPIPE
	    "C MAIL FROM:<a@home.test>\nC RCPT\nC RCPT\nC RCPT\nC DATA\n"
	    "S 250 ok\nS 250 ok\nS 550 5.1.1 who\nS 250 ok\nS 354 go\nD\n"
	    "S 250 2.1.5 first\nS 452 4.2.2 full\n"
	    "C RSET\nC MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 2.0.0 again\nX\n",
	    NULL, NULL);
	send_job(&local, three, 3);
	turn_until_results(3);
	expect_of(0, DELIVERY_SENT, "2.1.5", "250 2.1.5 first");
	expect_of(1, DELIVERY_BOUNCED, "5.1.1",
	    "host mx0.test[127.0.0.2] said: 550 5.1.1 who (in reply to RCPT TO command)");
	expect_of(2, DELIVERY_DEFERRED, "4.2.2",
	    "host mx0.test[127.0.0.2] said: 452 4.2.2 full (in reply to end of DATA command)");
	/* the session is good for another message */
	deliver(&local, "d@x.test");
	expect(3, DELIVERY_SENT, "2.0.0", "250 2.0.0 again", MX0);
	join(0);
}

static void
test_nobody_is_taken(void **state)
{
	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_lmtp();
	serve(0,
	    LPIPE "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 550 5.1.1 who\nS 503 5.5.1 nobody\nC QUIT\n",
	    LPIPE "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 550 5.1.1 who\nS 354 all the same\nN\n",
	    LHLO "S 250 ok\nC MAIL\nS 250 ok\nC RCPT\nS 550 5.1.1 who\nC QUIT\n");
	for (size_t i = 0; i < 3; i++) {
		deliver(&local, "u@x.test");
		expect(i, DELIVERY_BOUNCED, "5.1.1",
		    "host mx0.test[127.0.0.2] said: 550 5.1.1 who (in reply to RCPT TO command)",
		    MX0);
	}
	turn_a_little();
	join(0);
}

/* Who has been told is told; only the others may get it twice. */
static void
test_lost_between_replies(void **state)
{
	(void)state;
	start_lmtp();
	serve(0,
	    LPIPE
	    "C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\n"
	    "S 250 2.0.0 first\nX\n",
	    LPIPE
	    "C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\n"
	    "S 250 2.0.0 first\nS 250 2.0.0 second\nS 421 4.3.2 going down\nX\n",
	    NULL);
	send_job(&local, three, 3);
	turn_until_results(3);
	expect_of(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 first");
	for (uint32_t i = 1; i < 3; i++)
		expect_of(i, DELIVERY_DEFERRED, "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending end of data -- message may be "
		    "sent more than once");
	t.nresults = 0;
	send_job(&local, three, 3);
	turn_until_results(3);
	expect_of(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 second");
	expect_of(2, DELIVERY_DEFERRED, "4.3.2",
	    "host mx0.test[127.0.0.2] said: 421 4.3.2 going down (in reply to end of DATA command)");
	join(0);
}

/* No EHLO, no HELO, no MX: a host is what the nexthop names; and a session of one protocol is none of the other. */
static void
test_neither_smtp_nor_mx(void **state)
{
	struct message m = local;

	(void)state;
	record("home.test", DNS_MX, DNS_OK, 10, "mx1.test");
	record("home.test", DNS_A, DNS_OK, 0, "127.0.0.2");
	start_lmtp();
	serve(0, "S 220 x ESMTP\nC LHLO\nS 500 5.5.1 what\nN\n",
	    LHLO "S 250 ok\n" ENVELOPE DATA "X\n",
	    "S 220 x ESMTP\nC EHLO\nS 250 x\n" ENVELOPE DATA "X\n");
	m.nexthop = "home.test";
	deliver(&m, "u@x.test");
	expect(0, DELIVERY_DEFERRED, "4.5.1",
	    "host home.test[127.0.0.2] refused to talk to me: 500 5.5.1 what",
	    "home.test[127.0.0.2]");
	m.nexthop = "[127.0.0.2]";
	deliver(&m, "u@x.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "127.0.0.2[127.0.0.2]");
	t.rc.port = t.port;
	t.rc.tls_defaults.level = RELAY_TLS_NONE;
	m.protocol = RELAY_SMTP;
	deliver(&m, "u@x.test");
	expect(2, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "127.0.0.2[127.0.0.2]");
	join(0);
	m.protocol = 7;
	deliver(&m, "u@x.test");
	assert_string_equal(t.results[3].text, "mail system error: unknown protocol");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_reply_for_each),
		TEST(test_nobody_is_taken),
		TEST(test_lost_between_replies),
		TEST(test_neither_smtp_nor_mx),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
