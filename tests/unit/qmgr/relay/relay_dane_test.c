/* TLSA records: which of them count, and what an answer that fails, or is not signed, comes to (RFC 7672). */
#include "tests/unit/qmgr/relay/relay_world.h"

#include "qmgr/relay/dane.h"

#define OK "250 2.0.0 Ok: queued as X"
#define MX0 "mx0.test[127.0.0.2]"
#define TLS_HELLO HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\nS 250 mx\n"
#define ZEROES "0000000000000000000000000000000000000000000000000000000000000000"

static struct {
	char good[80];     /* 3 1 1 of the server's key */
	char owner[2][60]; /* _PORT._tcp.mx0.test, mx1.test */
} tlsa;

/* mx0 and its zone are signed, mx1's is not. */
static void
start(const char *level)
{
	X509 *cert = SSL_CTX_get0_certificate(t.server_tls);
	unsigned char *der = NULL, digest[32];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	assert_int_equal(EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL), 1);
	OPENSSL_free(der);
	snprintf(tlsa.good, sizeof tlsa.good, "030101");
	hex_encode(tlsa.good + 6, digest, sizeof digest);
	for (unsigned i = 0; i < 2; i++)
		snprintf(tlsa.owner[i], sizeof tlsa.owner[i], "_%u._tcp.mx%u.test", t.port, i);
	sign_records("one.test");
	sign_records("two.test");
	sign_records("mx0.test");
	set("smtp_tls_security_level", level);
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
}

static void
signed_tlsa(size_t host, enum dns_status status, const char *value)
{
	record(tlsa.owner[host], DNS_TLSA, status, 0, value);
	sign_records(tlsa.owner[host]);
}

static void
records_that_count(void **state)
{
	static const struct {
		const char *hex;
		bool is_usable;
	} cases[] = {
		{ "030101" ZEROES, true },
		{ "030001" ZEROES, true },
		{ "020101" ZEROES, true },
		{ "020002" ZEROES ZEROES, true },
		{ "030101" ZEROES "00", false },
		{ "030102" ZEROES, false },
		{ "030201" ZEROES, false },
		{ "030103" ZEROES, false },
		{ "000101" ZEROES, false },
		{ "010101" ZEROES, false },
		{ "040101" ZEROES, false },
		{ "ff0101" ZEROES, false },
		{ "030100" ZEROES, false }, /* no key */
		{ "020000" ZEROES, false }, /* no certificate */
		{ "030100", false },
		{ "0301", false },
		{ "", false },
	};
	struct relay_tlsa r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i].hex) / 2;
		unsigned char *rdata = x_malloc(len + 1);

		assert_true(hex_decode(rdata, len, view_of(cases[i].hex)));
		if (relay_tlsa_read(view_make(rdata, len), &r) != cases[i].is_usable)
			fail_msg("%s", cases[i].hex);
		free(rdata);
	}
}

static void
test_whole_things(void **state)
{
	X509 *cert = SSL_CTX_get0_certificate(t.server_tls);
	unsigned char *der = NULL, rdata[2000] = { 3, 0, 0 };
	int len = i2d_X509(cert, &der);
	struct relay_tlsa r;

	(void)state;
	assert_true(len > 0 && len < 1900);
	memcpy(rdata + 3, der, (size_t)len);
	OPENSSL_free(der);
	assert_true(relay_tlsa_read(view_make(rdata, (size_t)len + 3), &r));
	assert_true(r.usage == 3 && r.selector == 0 && r.matching == 0 && r.len == (size_t)len);
	assert_false(relay_tlsa_read(view_make(rdata, (size_t)len + 4), &r));
	rdata[1] = 1;
	assert_false(relay_tlsa_read(view_make(rdata, (size_t)len + 3), &r));
}

static void
test_the_key_it_names(void **state)
{
	(void)state;
	start("dane");
	signed_tlsa(0, DNS_OK, tlsa.good);
	serve(0, TLS_HELLO ENVELOPE DATA "C QUIT\nX\n", PLAIN_HELLO "N\n",
	    HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nN\n");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", OK, MX0);
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_DEFERRED, "4.7.4", "TLS is required, but was not offered by host " MX0,
	    MX0);
	t.records[t.nrecords - 1].value = "030101" ZEROES;
	deliver(&plain, "u@one.test");
	expect(2, DELIVERY_DEFERRED, "4.7.5", "Server certificate not trusted", MX0);
	join(0);
}

/* RFC 8689 4.2.2: whoever says that TLS is optional is not held up by DANE. */
static void
test_tls_optional(void **state)
{
	struct message m = plain;

	(void)state;
	m.flags = ENVELOPE_TLS_OPTIONAL;
	start("dane-only");
	signed_tlsa(0, DNS_OK, "030101" ZEROES);
	serve(0, PLAIN_HELLO ENVELOPE DATA "C QUIT\nX\n", NULL, NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", OK, MX0);
	join(0);
}

/* The host is left out; the next one may do. */
static void
test_no_answer(void **state)
{
	struct message two = to("two.test");
	char text[100];

	(void)state;
	start("dane");
	signed_tlsa(0, DNS_BOGUS, "");
	record(tlsa.owner[1], DNS_TLSA, DNS_FAIL, 0, ""); /* not asked: mx1 is not signed */
	serve(1, PLAIN_HELLO ENVELOPE DATA "C QUIT\nX\n", NULL, NULL);
	deliver(&two, "u@two.test");
	expect(0, DELIVERY_SENT, "2.0.0", OK, "mx1.test[127.0.0.3]");
	deliver(&plain, "u@one.test");
	snprintf(text, sizeof text, "TLSA lookup error for mx0.test:%u", t.port);
	expect(1, DELIVERY_DEFERRED, "4.7.5", text, "none");
	assert_true(t.results[1].unreachable & RELAY_UNREACHABLE);
	join(1);
}

/* mx0 is an alias of a host whose zone is not signed: the alias itself must be. */
static void
test_alias_out_of_the_zone(void **state)
{
	(void)state;
	for (size_t i = 0; i < t.nrecords; i++)
		if (strcmp(t.records[i].name, "mx0.test") == 0)
			t.records[i].alias_of = "host.other";
	start("dane-only");
	for (size_t i = 0; i < t.nrecords; i++)
		if (strcmp(t.records[i].name, "mx0.test") == 0)
			t.records[i].is_secure = false;
	signed_tlsa(0, DNS_OK, tlsa.good);
	serve(0, TLS_HELLO ENVELOPE DATA "C QUIT\nX\n", NULL, NULL);
	record("mx0.test", DNS_CNAME, DNS_OK, 0, "host.other");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.5", "no TLSA records found", "none");
	t.records[t.nrecords - 1].is_secure = true;
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", OK, MX0);
	t.records[t.nrecords - 1].status = DNS_FAIL;
	deliver(&plain, "u@one.test");
	assert_non_null(strstr(t.results[2].text, "TLSA lookup error"));
	join(0);
}

static void
test_dane_only(void **state)
{
	struct message literal = to("[127.0.0.2]"), two = to("two.test");

	(void)state;
	start("dane-only");
	t.records[1].is_secure = t.records[2].is_secure = false; /* the MX records of two.test */
	signed_tlsa(0, DNS_NODATA, "");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.5", "no TLSA records found", "none");
	deliver(&literal, "u@one.test");
	expect(1, DELIVERY_DEFERRED, "4.7.5", "no TLSA records found", "none");
	deliver(&two, "u@two.test");
	expect(2, DELIVERY_DEFERRED, "4.7.5", "non DNSSEC destination", "none");
}

static void
test_freed_while_it_asks(void **state)
{
	const char *rcpt = "u@one.test";

	(void)state;
	start("dane");
	signed_tlsa(0, DNS_OK, tlsa.good);
	send_job(&plain, &rcpt, 1);
	for (int i = 0; i < 3; i++)
		loop_run_once(t.loop, false);
	relay_free(t.relay);
	t.relay = NULL;
	turn_a_little();
	assert_int_equal(t.nresults, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_that_count),
		TEST(test_whole_things),
		TEST(test_the_key_it_names),
		TEST(test_tls_optional),
		TEST(test_no_answer),
		TEST(test_alias_out_of_the_zone),
		TEST(test_dane_only),
		TEST(test_freed_while_it_asks),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
