/* Sessions to be resumed: for the same server under the same policy, each ticket once, and no more than so many. */
#include "qmgr/relay/tls_session.h"

#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct {
	struct conf conf;
	struct relay_tls *tls;
	SSL_CTX *server;
	struct relay_tls_policy policy;
	struct relay_tls_peer peer;
} t;

static const struct relay_tls_defaults defaults = {
	.level = RELAY_TLS_ENCRYPT,
	.protocols = { "", "" },
	.grade = { "medium", "medium" },
	.exclude = { "", "" },
	.high_cipherlist = "",
	.fingerprint_match = "",
	.verify_match = "hostname",
	.secure_match = "nexthop",
	.servername = "",
};

static void
use_policy(const char *entry)
{
	struct err e;

	relay_tls_policy_clear(&t.policy);
	if (relay_tls_policy_read(&defaults, entry, RELAY_TLS_SECURE, &t.policy, &e) < 0)
		fail_msg("%s", e.text);
}

/* One connection, with a byte sent, so that TLS 1.3's tickets arrive: was it resumed? */
static bool
connect_once(enum relay_tls_trust trust)
{
	struct err e;
	SSL *client = relay_tls_start(t.tls, &t.peer, &e), *server = SSL_new(t.server);
	BIO *a, *b;
	bool is_resumed;
	char byte;

	assert_non_null(client);
	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	for (int i = 0; i < 20; i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
	}
	assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
	assert_int_equal(SSL_write(server, "x", 1), 1);
	assert_int_equal(SSL_read(client, &byte, 1), 1);
	assert_int_equal(relay_tls_judge(t.tls, client, &t.policy), trust);
	is_resumed = SSL_session_reused(client) == 1;
	SSL_shutdown(client);
	SSL_free(client);
	SSL_free(server);
	return is_resumed;
}

static void
test_resumed(void **state)
{
	static const char *const entries[] = { "encrypt protocols=TLSv1.3",
		"encrypt protocols=TLSv1.2" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		use_policy(entries[i]);
		assert_false(connect_once(RELAY_TLS_UNTRUSTED));
		assert_true(connect_once(RELAY_TLS_UNTRUSTED));
		assert_true(connect_once(RELAY_TLS_UNTRUSTED));
	}
}

static void
test_for_the_same_only(void **state)
{
	(void)state;
	use_policy("encrypt");
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
	t.peer.address = "mx.test[192.0.2.2]:25";
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
	t.peer.nexthop = "b.test";
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
	use_policy("encrypt servername=a.test");
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
	assert_true(connect_once(RELAY_TLS_UNTRUSTED));
}

/* Who could not prove itself is looked at anew each time. */
static void
test_no_failure_is_kept(void **state)
{
	(void)state;
	use_policy("verify");
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
}

static void
test_dane_records_are_part_of_it(void **state)
{
	X509 *cert = SSL_CTX_get0_certificate(t.server);
	unsigned char *der = NULL, zeroes[32] = { 0 };
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	struct relay_tlsa records[2] = { { TLSA_DANE_EE, 1, 0, der, (size_t)len },
		{ TLSA_DANE_EE, 1, 1, zeroes, sizeof zeroes } };
	struct relay_dane dane = { "mx.test", records, 1 };

	(void)state;
	use_policy("dane");
	t.peer.dane = &dane;
	assert_false(connect_once(RELAY_TLS_VERIFIED));
	assert_true(connect_once(RELAY_TLS_VERIFIED));
	dane.count = 2;
	assert_false(connect_once(RELAY_TLS_VERIFIED));
	dane.records = records + 1;
	dane.count = 1;
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
	OPENSSL_free(der);
}

/* The oldest go. */
static void
test_bounded(void **state)
{
	char address[40];

	(void)state;
	use_policy("encrypt protocols=TLSv1.2");
	for (int i = 0; i < 513; i++) {
		snprintf(address, sizeof address, "mx[192.0.2.1]:%d", i);
		t.peer.address = address;
		assert_false(connect_once(RELAY_TLS_UNTRUSTED));
	}
	assert_true(connect_once(RELAY_TLS_UNTRUSTED));
	t.peer.address = "mx[192.0.2.1]:0";
	assert_false(connect_once(RELAY_TLS_UNTRUSTED));
}

static int
setup(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	struct err e;

	(void)state;
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
	    (const unsigned char *)"mx.test", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_sign(cert, key, EVP_sha256());
	t.server = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(t.server, cert);
	SSL_CTX_use_PrivateKey(t.server, key);
	X509_free(cert);
	EVP_PKEY_free(key);
	conf_init(&t.conf);
	t.tls = relay_tls_new(&t.conf, &e);
	assert_non_null(t.tls);
	t.policy = (struct relay_tls_policy){ 0 };
	t.peer = (struct relay_tls_peer){ &t.policy, NULL, "mx.test", "a.test", "",
		"mx.test[192.0.2.1]:25" };
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	relay_tls_policy_clear(&t.policy);
	relay_tls_free(t.tls);
	SSL_CTX_free(t.server);
	conf_clear(&t.conf);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_resumed),
		TEST(test_for_the_same_only),
		TEST(test_no_failure_is_kept),
		TEST(test_dane_records_are_part_of_it),
		TEST(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
