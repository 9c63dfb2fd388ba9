/* TLS as smtp_tls_policy_maps and smtp_tls_security_level want it of each destination. */
#include "tests/unit/qmgr/relay/relay_world.h"

#include <openssl/pem.h>

#define OK "250 2.0.0 Ok: queued as X"
#define MX0 "mx0.test[127.0.0.2]"
#define TLS_HELLO HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\nS 250 mx\n"
#define CERTIFICATE "/tmp/relay_policy_test.XXXXXX"

static void
policy(size_t i, const char *key, const char *value)
{
	t.policies[i][0] = key;
	t.policies[i][1] = value;
}

/* Without connections that are kept; the server's certificate, for mx0.test, is one of an authority that is trusted. */
static void
start(const char *level)
{
	char path[] = CERTIFICATE;
	FILE *f = fdopen(mkstemp(path), "w");

	assert_non_null(f);
	PEM_write_X509(f, SSL_CTX_get0_certificate(t.server_tls));
	fclose(f);
	set("smtp_tls_CAfile", path);
	set("smtp_tls_security_level", level);
	set("smtp_tls_policy_maps", "hash:/policy");
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	unlink(path);
}

static void
digest_of(const unsigned char *der, int len, const EVP_MD *md, char *text)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size;

	assert_int_equal(EVP_Digest(der, (size_t)len, digest, &size, md, NULL), 1);
	for (unsigned i = 0; i < size; i++)
		snprintf(text + 3 * i, 4, "%02X:", digest[i]);
	text[3 * size - 1] = '\0';
}

static void
fingerprint(bool of_key, const EVP_MD *md, char *text)
{
	X509 *cert = SSL_CTX_get0_certificate(t.server_tls);
	unsigned char *der = NULL;
	int len = of_key ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : i2d_X509(cert, &der);

	digest_of(der, len, md, text);
	OPENSSL_free(der);
}

static void
test_keys(void **state)
{
	struct message m = to("sub.one.test");

	(void)state;
	record("sub.one.test", DNS_MX, DNS_OK, 10, "mx0.test");
	start("none");
	policy(0, ".one.test", "encrypt");
	serve(0, PLAIN_HELLO "N\n", PLAIN_HELLO ENVELOPE DATA "C QUIT\nX\n",
	    PLAIN_HELLO ENVELOPE DATA "C QUIT\nX\n");
	deliver(&m, "u@sub.one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.4", "TLS is required, but was not offered by host " MX0,
	    MX0);
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", OK, MX0);
	m.nexthop = "[mx0.test]";
	deliver(&m, "u@sub.one.test");
	expect(2, DELIVERY_SENT, "2.0.0", OK, MX0);
	join(0);
	assert_string_equal(
	    buf_cstr(&t.asked), "sub.one.test .one.test .test \none.test .test \n[mx0.test] \n");
}

static void
expect_levels(const char *const entries[3], const char *const texts[3])
{
	const char *scripts[3];

	for (size_t i = 0; i < 3; i++)
		scripts[i] = texts[i] == NULL ? TLS_HELLO ENVELOPE DATA "C QUIT\nX\n"
					      : HELLO
				 "S 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nN\n";
	serve(0, scripts[0], scripts[1], scripts[2]);
	for (size_t i = 0; i < 3; i++) {
		policy(0, "one.test", entries[i]);
		deliver(&plain, "u@one.test");
		if (texts[i] == NULL)
			expect(i, DELIVERY_SENT, "2.0.0", OK, MX0);
		else
			expect(i, DELIVERY_DEFERRED, "4.7.5", texts[i], MX0);
	}
	join(0);
}

static void
test_names(void **state)
{
	static const char *const entries[3] = { "verify", "secure",
		"secure match=other.test:.test" };
	static const char *const texts[3] = { NULL, "Server certificate not verified", NULL };

	(void)state;
	start("may");
	expect_levels(entries, texts);
}

static void
test_names_of_nobody_known(void **state)
{
	static const char *const entries[3] = { "verify", "encrypt", "may" };
	static const char *const texts[3] = { "Server certificate not trusted", NULL, NULL };

	(void)state;
	set("smtp_tls_policy_maps", "hash:/policy");
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	expect_levels(entries, texts);
}

static void
test_fingerprints(void **state)
{
	char of_cert[200] = "fingerprint match=00|", of_key[200] = "fingerprint match=";
	const char *entries[3] = { of_cert, of_key, "fingerprint match=00" };
	static const char *const texts[3] = { NULL, NULL, "Server certificate not verified" };

	(void)state;
	set("smtp_tls_fingerprint_digest", "sha384");
	start("may");
	fingerprint(false, EVP_sha384(), of_cert + strlen(of_cert));
	fingerprint(true, EVP_sha384(), of_key + strlen(of_key));
	expect_levels(entries, texts);
}

/* Mail waits rather than goes by a policy that nobody has understood. */
static void
test_faults(void **state)
{
	static const char *const entries[] = { "secured", "secure tafile=/x", NULL };
	static const char text[] = "client TLS configuration problem";

	(void)state;
	start("may");
	serve(0, HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nN\n", NULL, NULL);
	for (size_t i = 0; i < 3; i++) {
		policy(0, "one.test", entries[i]);
		deliver(&plain, "u@one.test");
		expect(i, DELIVERY_DEFERRED, "4.7.5", text, "none");
	}
	policy(0, "one.test", "encrypt protocols=TLSv1.2 exclude=ALL");
	deliver(&plain, "u@one.test");
	expect(3, DELIVERY_DEFERRED, "4.7.5", text, MX0);
	join(0);
}

static void
test_wrapped(void **state)
{
	(void)state;
	set("smtp_tls_wrappermode", "yes");
	start("encrypt");
	policy(0, "one.test", "may");
	serve(0, "T\n" PLAIN_HELLO ENVELOPE DATA "C QUIT\nX\n", "S 220 this is no TLS\nX\n", NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.5", "client TLS configuration problem", "none");
	policy(0, "one.test", "verify");
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", OK, MX0);
	deliver(&plain, "u@one.test");
	expect(2, DELIVERY_DEFERRED, "4.7.5", "Cannot start TLS: handshake failure with " MX0, MX0);
	join(0);
}

/* A connection is kept for mail of the same policy only. */
static void
test_reuse(void **state)
{
	(void)state;
	start("may");
	t.rc.cache_ms = 1000;
	serve(0, TLS_HELLO ENVELOPE DATA ENVELOPE DATA "C QUIT\nX\n",
	    TLS_HELLO ENVELOPE DATA "C QUIT\nX\n", NULL);
	for (size_t i = 0; i < 3; i++) {
		policy(0, "one.test", i < 2 ? "encrypt" : "verify");
		deliver(&plain, "u@one.test");
		expect(i, DELIVERY_SENT, "2.0.0", OK, MX0);
	}
	assert_int_equal(t.results[1].uses, 2);
	assert_int_equal(t.results[2].uses, 1);
	relay_free(t.relay);
	t.relay = NULL;
	turn_a_little();
	join(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_keys),
		TEST(test_names),
		TEST(test_names_of_nobody_known),
		TEST(test_fingerprints),
		TEST(test_faults),
		TEST(test_wrapped),
		TEST(test_reuse),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
