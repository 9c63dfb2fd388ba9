/* XFORWARD: who gave us the message, to servers that want to know. */
#include "tests/unit/qmgr/relay/relay_world.h"

#define X_HELLO HELLO "S 250-PIPELINING\nS 250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\n"
#define REST                                                                                       \
	"C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 ok\n"

static struct message
from_client(void)
{
	struct message m = plain;
	static const char *const client[] = { "c.test", "192.0.2.1", "4711", "he+lo =x",
		"ESMTPSA" };

	memcpy(m.client, client, sizeof client);
	return m;
}

static void
test_what_is_said(void **state)
{
	struct message m = from_client(), v6 = plain;

	(void)state;
	v6.client[0] = "unknown";
	v6.client[1] = "2001:db8::1";
	v6.client[4] = "SMTP";
	set("smtp_send_xforward_command", "yes");
	start_relay();
	serve(0,
	    X_HELLO
	    "C XFORWARD NAME=c.test ADDR=192.0.2.1 PORT=4711\n"
	    "C XFORWARD PROTO=ESMTP HELO=he+2Blo+20+3Dx IDENT=4ABCDE0000zABC SOURCE=REMOTE\n" REST
	    "C XFORWARD NAME=[UNAVAILABLE] ADDR=IPv6:2001:db8::1 PORT=[UNAVAILABLE]\n"
	    "C XFORWARD PROTO=SMTP HELO=[UNAVAILABLE] IDENT=4ABCDE0000zABC SOURCE=REMOTE\n" REST
	    "C XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]\n"
	    "C XFORWARD PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE] IDENT=4ABCDE0000zABC SOURCE=LOCAL\n" REST
	    "X\n",
	    NULL, NULL);
	deliver(&m, "u@one.test");
	deliver(&v6, "u@one.test");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 ok", "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_SENT, "2.0.0", "250 ok", "mx0.test[127.0.0.2]");
	join(0);
}

/* The message goes all the same; RSET and XFORWARD go before the next one. */
static void
test_refused(void **state)
{
	struct message m = from_client();

	(void)state;
	set("smtp_send_xforward_command", "yes");
	start_relay();
	serve(0,
	    HELLO
	    "S 250 XFORWARD ADDR IDENT other\n"
	    "C XFORWARD ADDR=192.0.2.1\nS 550 5.7.0 no\nC XFORWARD IDENT=4ABCDE0000zABC\nS 501 no\n"
	    "C MAIL\nS 550 5.7.1 no\n"
	    "C RSET\nS 250 ok\nC XFORWARD ADDR=192.0.2.1\nS 250 ok\nC XFORWARD IDENT=4A\nS 250 ok\n" ENVELOPE
		DATA "X\n",
	    NULL, NULL);
	deliver(&m, "u@one.test");
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.7.1",
	    "host mx0.test[127.0.0.2] said: 550 5.7.1 no (in reply to MAIL FROM command)",
	    "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_lost(void **state)
{
	struct message m = from_client();

	(void)state;
	set("smtp_send_xforward_command", "yes");
	start_relay();
	serve(0, X_HELLO "C XFORWARD\nC XFORWARD\nC MAIL\nC RCPT\nC DATA\nX\n",
	    X_HELLO "C XFORWARD\nC XFORWARD\nC MAIL\nC RCPT\nC DATA\nS 421 4.3.2 away\nX\n", NULL);
	deliver(&m, "u@one.test");
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.4.2",
	    "lost connection with mx0.test[127.0.0.2] while sending XFORWARD",
	    "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_DEFERRED, "4.3.2",
	    "host mx0.test[127.0.0.2] said: 421 4.3.2 away (in reply to XFORWARD command)",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_not_wanted(void **state)
{
	struct message m = from_client();

	(void)state;
	set("lmtp_send_xforward_command", "yes");
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, HELLO "S 250 XFORWARD ADDR\n" ENVELOPE DATA "C QUIT\n", NULL, NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_said),
		TEST(test_refused),
		TEST(test_lost),
		TEST(test_not_wanted),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
