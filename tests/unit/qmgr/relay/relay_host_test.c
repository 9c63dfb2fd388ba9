/* Whom relay sends to. */
#include "tests/unit/qmgr/relay/relay_world.h"

static void
test_second_mx(void **state)
{
	struct message m = to("two.test");

	(void)state;
	start_relay();
	down(0);
	serve(1, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	deliver(&m, "u@two.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx1.test[127.0.0.3]");
	join(1);
}

static void
test_second_mx_after_refusals(void **state)
{
	struct message m = to("two.test");

	(void)state;
	start_relay();
	serve(0, "S 554 go away\nX\n",
	    PLAIN_HELLO "C MAIL\nS 250 ok\nC RCPT\nS 450 4.7.1 grey\nC QUIT\n", NULL);
	serve(1, PLAIN_HELLO ENVELOPE DATA "X\n", PLAIN_HELLO ENVELOPE DATA "X\n", NULL);
	deliver(&m, "u@two.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx1.test[127.0.0.3]");
	turn_a_little(); /* the connection to mx1 is gone */
	deliver(&m, "u@two.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx1.test[127.0.0.3]");
	join(1);
}

static void
test_all_hosts_down(void **state)
{
	struct message m = to("two.test");

	(void)state;
	start_relay();
	down(0);
	down(1);
	deliver(&m, "u@two.test");
	expect(0, DELIVERY_DEFERRED, "4.4.1",
	    "connect to mx1.test[127.0.0.3]:@: Connection refused", "none");
	assert_int_equal(t.results[0].unreachable, 1);
}

static void
test_refused_greeting(void **state)
{
	(void)state;
	start_relay();
	serve(0, "S 554 5.7.1 go away\nX\n", NULL, NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.1",
	    "host mx0.test[127.0.0.2] refused to talk to me: 554 5.7.1 go away",
	    "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[0].unreachable, 1);
	join(0);
}

static void
test_dns_outcomes(void **state)
{
	static const struct {
		const char *domain;
		enum delivery_status status;
		const char *dsn, *text;
	} cases[] = {
		{ "null.test", DELIVERY_BOUNCED, "5.1.10",
		    "Domain null.test does not accept mail (nullMX)" },
		{ "nowhere.test", DELIVERY_BOUNCED, "5.4.4",
		    "Host or domain name not found. Name service error for name=nowhere.test type=MX: Host not found" },
		{ "fail.test", DELIVERY_DEFERRED, "4.4.3",
		    "Host or domain name not found. Name service error for name=fail.test type=MX: Host not found, try again" },
		{ "bogus.test", DELIVERY_DEFERRED, "4.4.3",
		    "Host or domain name not found. Name service error for name=bogus.test type=MX: Host not found, try again" },
		{ "noaddr.test", DELIVERY_BOUNCED, "5.4.4",
		    "Host or domain name not found. Name service error for name=gone.test type=A: Host not found" },
		{ "softaddr.test", DELIVERY_DEFERRED, "4.4.3",
		    "Host or domain name not found. Name service error for name=soft.test type=A: Host not found, try again" },
		{ "mxip.test", DELIVERY_BOUNCED, "5.4.4",
		    "Host or domain name not found. Name service error for name=192.0.2.1 type=A: Host not found" },
		{ "loop.test", DELIVERY_BOUNCED, "5.4.6",
		    "mail for loop.test loops back to myself" },
		{ "loopaddr.test", DELIVERY_BOUNCED, "5.4.6",
		    "mail for loopaddr.test loops back to myself" },
		{ "zero.test", DELIVERY_BOUNCED, "5.4.6",
		    "mail for zero.test loops back to myself" },
		{ "self.test", DELIVERY_BOUNCED, "5.4.6",
		    "mail for self.test loops back to myself" },
	};

	(void)state;
	start_relay();
	record("null.test", DNS_MX, DNS_OK, 0, "");
	record("fail.test", DNS_MX, DNS_FAIL, 0, "");
	record("bogus.test", DNS_MX, DNS_BOGUS, 0, "");
	record("noaddr.test", DNS_MX, DNS_OK, 10, "gone.test");
	record("softaddr.test", DNS_MX, DNS_OK, 10, "soft.test");
	record("softaddr.test", DNS_MX, DNS_OK, 20, "gone.test");
	record("soft.test", DNS_A, DNS_FAIL, 0, "");
	record("mxip.test", DNS_MX, DNS_OK, 10, "192.0.2.1");
	record("loop.test", DNS_MX, DNS_OK, 10, "me.test");
	record("loop.test", DNS_MX, DNS_OK, 10, "mx0.test"); /* equal to us: not tried */
	record("loop.test", DNS_MX, DNS_OK, 20, "mx1.test");
	record("loopaddr.test", DNS_MX, DNS_OK, 10, "alias.test");
	record("alias.test", DNS_A, DNS_OK, 0, "127.0.0.1");
	record("zero.test", DNS_MX, DNS_OK, 10, "zeroaddr.test");
	record("zeroaddr.test", DNS_A, DNS_OK, 0, "0.0.0.0");
	record("self.test", DNS_A, DNS_OK, 0, "127.0.0.1"); /* no MX */
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct message m = to(cases[i].domain);

		deliver(&m, "u@x.test");
		expect(i, cases[i].status, cases[i].dsn, cases[i].text, "none");
	}
	turn_a_little();
	assert_int_equal(t.nresults, sizeof cases / sizeof cases[0]);
	assert_int_equal(t.servers[0].sessions, 0);
}

static void
test_better_mx_than_ourselves(void **state)
{
	struct message m = to("backup.test");

	(void)state;
	start_relay();
	record("backup.test", DNS_MX, DNS_OK, 10, "mx1.test");
	record("backup.test", DNS_MX, DNS_OK, 20, "me.test");
	record("backup.test", DNS_MX, DNS_OK, 30, "mx0.test");
	down(1);
	deliver(&m, "u@backup.test"); /* mx0 is worse than we are: waits for mx1 */
	expect(0, DELIVERY_DEFERRED, "4.4.1",
	    "connect to mx1.test[127.0.0.3]:@: Connection refused", "none");
}

static void
test_nexthop_forms(void **state)
{
	char hop[64];
	struct message m;

	(void)state;
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "X\n", PLAIN_HELLO ENVELOPE DATA "X\n", NULL);
	snprintf(hop, sizeof hop, "[127.0.0.2]:%u", t.port);
	m = to(hop);
	deliver(&m, "u@x.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "127.0.0.2[127.0.0.2]");
	turn_a_little();
	snprintf(hop, sizeof hop, "[mx0.test]:%u", t.port);
	deliver(&m, "u@x.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	m = to("[mx0.test]:x");
	deliver(&m, "u@x.test");
	expect(2, DELIVERY_DEFERRED, "4.3.5",
	    "mail system configuration error: nexthop [mx0.test]:x: bad port", "none");
	m = to("a..b");
	deliver(&m, "u@a..b");
	expect(3, DELIVERY_BOUNCED, "5.1.2", "invalid domain name: a..b: not a host or domain name",
	    "none");
	m = to("one.test");
	deliver(&m, "u@one.test> NOTIFY=NEVER");
	expect(4, DELIVERY_BOUNCED, "5.1.3", "bad recipient address syntax", "none");
	m.sender = "a\"@home.test";
	deliver(&m, "u@one.test");
	expect(5, DELIVERY_BOUNCED, "5.1.7", "bad sender address syntax", "none");
	join(0);
}

static void
test_server_bears_our_name(void **state)
{
	(void)state;
	start_relay();
	serve(0, "S 220 x\nC EHLO\nS 250 me.test\nN\n", NULL, NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.4.6", "mail for one.test loops back to myself",
	    "mx0.test[127.0.0.2]");
	join(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_second_mx),
		TEST(test_second_mx_after_refusals),
		TEST(test_all_hosts_down),
		TEST(test_refused_greeting),
		TEST(test_dns_outcomes),
		TEST(test_better_mx_than_ourselves),
		TEST(test_nexthop_forms),
		TEST(test_server_bears_our_name),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
