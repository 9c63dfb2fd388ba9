/* TLS as main.cf and the sender want it. */
#include "tests/unit/qmgr/relay/relay_world.h"

#include <openssl/pem.h>

static void
test_tls(void **state)
{
	(void)state;
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	/* what the man in the middle puts behind 220 counts for nothing */
	serve(0,
	    HELLO
	    "S 250 STARTTLS\nC STARTTLS\nR 220 go\\r\\n250 evil\\r\\n250 SIZE 1\\r\\n\nT\nC EHLO\nS 250 mx\n" ENVELOPE
		DATA "X\n",
	    HELLO "S 250 STARTTLS\nC STARTTLS\nS 454 not now\n" ENVELOPE DATA "X\n", NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_tls_fails(void **state)
{
	(void)state;
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nS this is no TLS\nX\n",
	    HELLO "S 250 STARTTLS\n" ENVELOPE DATA "X\n", NULL); /* the same host, in the clear */
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_tls_required(void **state)
{
	(void)state;
	set("smtp_tls_security_level", "encrypt");
	start_relay();
	serve(0, PLAIN_HELLO "N\n",
	    HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nS this is no TLS\nX\n",
	    HELLO "S 250 STARTTLS\nC STARTTLS\nS 454 4.7.0 not now\nN\n");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.4",
	    "TLS is required, but was not offered by host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_DEFERRED, "4.7.5",
	    "Cannot start TLS: handshake failure with mx0.test[127.0.0.2]", "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test");
	expect(2, DELIVERY_DEFERRED, "4.7.0",
	    "host mx0.test[127.0.0.2] refused to start TLS, which is required: 454 4.7.0 not now",
	    "mx0.test[127.0.0.2]");
	join(0);
}

#define TLS_HELLO HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\n"
#define CERTIFICATE "/tmp/relay_test.XXXXXX"

/* The server's certificate becomes one of an authority that is trusted. */
static void
trust_server(char path[sizeof CERTIFICATE])
{
	FILE *f;

	snprintf(path, sizeof CERTIFICATE, CERTIFICATE);
	f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	PEM_write_X509(f, SSL_CTX_get0_certificate(t.server_tls));
	fclose(f);
	set("smtp_tls_CAfile", path);
}

/* RFC 8689 4.2.1 */
static void
test_requiretls(void **state)
{
	struct message m = plain;
	char path[sizeof CERTIFICATE];

	(void)state;
	m.flags = ENVELOPE_REQUIRETLS;
	m.nexthop =
	    "[mx0.test]"; /* named by the admin, not by an MX record that anybody could forge */
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	trust_server(path);
	start_relay();
	unlink(path);
	serve(0,
	    TLS_HELLO
	    "S 250-mx\nS 250 REQUIRETLS\nC MAIL FROM:<a@home.test> REQUIRETLS\nS 250 ok\nC RCPT\nS 250 ok\n" DATA
	    "X\n",
	    TLS_HELLO "S 250-mx\nS 250 HELP\nC QUIT\nX\n", HELLO "S 250 REQUIRETLS\nC QUIT\nX\n");
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_BOUNCED, "5.7.30",
	    "REQUIRETLS support required, but was not offered by host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	deliver(&m, "u@one.test");
	expect(2, DELIVERY_BOUNCED, "5.7.10",
	    "Encryption needed, but there is no TLS with host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_requiretls_needs_proof(void **state)
{
	struct message m = plain;
	char path[sizeof CERTIFICATE];

	(void)state;
	m.flags = ENVELOPE_REQUIRETLS;
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	trust_server(path);
	start_relay();
	unlink(path);
	serve(0, TLS_HELLO "S 250-mx\nS 250 REQUIRETLS\nC QUIT\nX\n",
	    TLS_HELLO
	    "S 250-mx\nS 250 REQUIRETLS\nC MAIL FROM:<> REQUIRETLS\nS 250 ok\nC RCPT\nS 250 ok\n" DATA
	    "X\n",
	    NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.7.10",
	    "Encryption needed, but the MX record that names host mx0.test[127.0.0.2] is not signed",
	    "mx0.test[127.0.0.2]");
	/* RFC 8689 5: a bounce goes on all the same */
	m.sender = "";
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

/* RFC 8689 4.2.1: an MTA-STS policy that is enforced is as good as a signed MX record, one in test is not. */
static void
test_requiretls_trusts_mta_sts(void **state)
{
	struct message m = plain;
	char path[sizeof CERTIFICATE];

	(void)state;
	m.flags = ENVELOPE_REQUIRETLS;
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	t.sts_mode = STS_ENFORCE;
	t.sts_mx = "mx0.test\n";
	trust_server(path);
	start_relay();
	unlink(path);
	serve(0,
	    TLS_HELLO
	    "S 250-mx\nS 250 REQUIRETLS\nC MAIL FROM:<a@home.test> REQUIRETLS\nS 250 ok\nC RCPT\nS 250 ok\n" DATA
	    "X\n",
	    TLS_HELLO "S 250-mx\nS 250 REQUIRETLS\nC QUIT\nX\n", NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	t.sts_mode = STS_TESTING;
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_BOUNCED, "5.7.10",
	    "Encryption needed, but the MX record that names host mx0.test[127.0.0.2] is not signed",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_requiretls_needs_a_known_certificate(void **state)
{
	struct message m = plain;

	(void)state;
	m.flags = ENVELOPE_REQUIRETLS;
	m.nexthop = "[mx0.test]";
	set("smtp_tls_security_level", "may");
	start_relay();
	serve(0, TLS_HELLO "S 250-mx\nS 250 REQUIRETLS\nC QUIT\nX\n", NULL, NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.7.10",
	    "Encryption needed, but the certificate of host mx0.test[127.0.0.2] is not trusted",
	    "mx0.test[127.0.0.2]");
	relay_free(t.relay);
	t.relay = NULL;
	turn_a_little();
	join(0);
}

/* RFC 8689 4.2.2 */
static void
test_tls_optional(void **state)
{
	struct message m = plain;

	(void)state;
	m.flags = ENVELOPE_TLS_OPTIONAL;
	set("smtp_tls_security_level", "encrypt");
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "C QUIT\nX\n", PLAIN_HELLO "N\n", NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test"); /* not over the connection that was kept */
	expect(1, DELIVERY_DEFERRED, "4.7.4",
	    "TLS is required, but was not offered by host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	join(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tls),
		TEST(test_tls_fails),
		TEST(test_tls_required),
		TEST(test_requiretls),
		TEST(test_requiretls_needs_proof),
		TEST(test_requiretls_trusts_mta_sts),
		TEST(test_requiretls_needs_a_known_certificate),
		TEST(test_tls_optional),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
