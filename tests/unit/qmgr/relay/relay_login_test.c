/* Logins at other servers (RFC 4954). */
#include "tests/unit/qmgr/relay/relay_world.h"

#include "qmgr/relay/sasl.h"

#define AUTH_HELLO HELLO "S 250 AUTH PLAIN LOGIN CRAM-MD5 X\n"
#define OK "250 2.0.0 Ok: queued as X"
#define MX0 "mx0.test[127.0.0.2]"

static void
start_with_logins(void)
{
	set("smtp_sasl_auth_enable", "yes");
	set("smtp_sasl_password_maps", "hash:/passwords");
	set("smtp_sasl_security_options", "noanonymous");
	start_relay();
}

static void
password(size_t i, const char *key, const char *value)
{
	t.passwords[i][0] = key;
	t.passwords[i][1] = value;
}

static void
test_mechanisms(void **state)
{
	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_with_logins();
	password(0, "mx0.test", "tim:tanstaaftanstaaf");
	serve(0,
	    AUTH_HELLO
	    "C AUTH CRAM-MD5\nS 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\n"
	    "C dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\nS 235 2.7.0 ok\n" ENVELOPE DATA
	    "C QUIT\n",
	    HELLO "S 250-AUTH=LOGIN\nS 250 AUTH PLAIN\nC AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\n"
		  "S 235 ok\n" ENVELOPE DATA "C QUIT\n",
	    HELLO "S 250 AUTH=LOGIN\nC AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC dGlt\nS 334 UGFzc3dvcmQ6\n"
		  "C dGFuc3RhYWZ0YW5zdGFhZg==\nS 235 ok\n" ENVELOPE DATA "C QUIT\n");
	for (size_t i = 0; i < 3; i++) {
		deliver(&plain, "u@one.test");
		expect(i, DELIVERY_SENT, "2.0.0", OK, MX0);
	}
	join(0);
	assert_string_equal(
	    buf_cstr(&t.asked), "mx0.test one.test \nmx0.test one.test \nmx0.test one.test \n");
}

/* As Postfix: who has no password, or meets no AUTH, goes on without. */
static void
test_strangers(void **state)
{
	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_with_logins();
	serve(0, AUTH_HELLO ENVELOPE DATA "C QUIT\n", PLAIN_HELLO ENVELOPE DATA "C QUIT\n", NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", OK, MX0);
	password(0, "one.test", "a:b");
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", OK, MX0);
	join(0);
	assert_string_equal(buf_cstr(&t.asked), "mx0.test one.test \n");
}

static void
test_refused(void **state)
{
	(void)state;
	start_with_logins();
	password(0, "one.test", "a:b");
	serve(0,
	    HELLO
	    "S 250 AUTH PLAIN\nC AUTH PLAIN AGEAYg==\nS 535 5.7.8 Error: authentication failed\nN\n",
	    HELLO "S 250 AUTH LOGIN\nC AUTH LOGIN\nS 334 -\nN\n",
	    HELLO "S 250 AUTH LOGIN\nC AUTH LOGIN\nX\n");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.8",
	    "SASL authentication failed; server mx0.test[127.0.0.2] said: 535 5.7.8 Error: authentication failed",
	    MX0);
	assert_true(t.results[0].unreachable & RELAY_UNREACHABLE);
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_DEFERRED, "4.7.0",
	    "SASL authentication failed; cannot authenticate to server mx0.test[127.0.0.2]: "
	    "the challenge is not base64",
	    MX0);
	deliver(&plain, "u@one.test");
	expect(2, DELIVERY_DEFERRED, "4.4.2",
	    "lost connection with mx0.test[127.0.0.2] while performing the EHLO handshake", MX0);
	join(0);
}

static void
test_hard_bounce_and_the_next_host(void **state)
{
	struct message m = to("two.test");

	(void)state;
	set("smtp_sasl_auth_soft_bounce", "no");
	start_with_logins();
	password(0, "mx0.test", "a:b");
	serve(0, HELLO "S 250 AUTH PLAIN\nC AUTH\nS 535 5.7.8 no\nN\n",
	    HELLO "S 250 AUTH PLAIN\nC AUTH\nS 535 5.7.8 no\nN\n", NULL);
	serve(1, AUTH_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	deliver(&m, "u@two.test");
	expect(0, DELIVERY_SENT, "2.0.0", OK, "mx1.test[127.0.0.3]");
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_BOUNCED, "5.7.8",
	    "SASL authentication failed; server mx0.test[127.0.0.2] said: 535 5.7.8 no", MX0);
	join(0);
	join(1);
}

static void
test_no_mechanism(void **state)
{
	struct message m = to("two.test");

	(void)state;
	set("smtp_sasl_mechanism_filter", "plain, digest-md5");
	start_with_logins();
	t.rc.sasl_security = relay_sasl_security_read("noplaintext");
	password(0, "one.test", "a:b");
	password(1, "two.test", NULL);
	serve(0, HELLO "S 250 AUTH LOGIN\nN\n", HELLO "S 250 AUTH PLAIN LOGIN\nN\n",
	    HELLO "S 250 AUTH PLAIN\nN\n");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.0",
	    "SASL authentication failed: server mx0.test[127.0.0.2] offered no compatible authentication "
	    "mechanisms for this type of connection security",
	    MX0);
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_DEFERRED, "4.7.0",
	    "SASL authentication failed; cannot authenticate to server mx0.test[127.0.0.2]: no mechanism available",
	    MX0);
	down(1);
	deliver(&m, "u@two.test"); /* authd has no answer; the second host is not there */
	expect(2, DELIVERY_DEFERRED, "4.4.1",
	    "connect to mx1.test[127.0.0.3]:@: Connection refused", "none");
	join(0);
}

/* Sessions are kept for who would log in the same way, and for nobody else. */
static void
test_senders_do_not_share_sessions(void **state)
{
	static const char *const senders[] = { "A+x@home.test", "A+x@home.test", "b@home.test",
		"" };
	struct message m = plain;

	(void)state;
	set("smtp_sender_dependent_authentication", "yes");
	set("recipient_delimiter", "+");
	set("smtp_connection_cache_time_limit", "1s");
	start_with_logins();
	password(0, "@home.test", "tim:tanstaaftanstaaf");
	serve(0,
	    HELLO "S 250 AUTH PLAIN\nC AUTH PLAIN\nS 235 ok\n" ENVELOPE DATA ENVELOPE DATA
		  "C QUIT\n",
	    HELLO "S 250 AUTH PLAIN\nC AUTH PLAIN\nS 235 ok\n" ENVELOPE DATA "C QUIT\n",
	    HELLO "S 250 AUTH PLAIN\n" ENVELOPE DATA "X\n");
	for (size_t i = 0; i < 4; i++) {
		m.sender = senders[i];
		/* the server serves one after the other: the third waits until the first is kept no longer */
		deliver(&m, "u@one.test");
		expect(i, DELIVERY_SENT, "2.0.0", OK, MX0);
	}
	join(0);
	assert_string_equal(buf_cstr(&t.asked),
	    "A+x@home.test ~A@home.test ~@home.test mx0.test one.test \n"
	    "b@home.test ~@home.test mx0.test one.test \n"
	    "mx0.test one.test \n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mechanisms),
		TEST(test_strangers),
		TEST(test_refused),
		TEST(test_hard_bounce_and_the_next_host),
		TEST(test_no_mechanism),
		TEST(test_senders_do_not_share_sessions),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
