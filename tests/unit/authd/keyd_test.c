/* keyd end to end: real files, its real messages, real TLS handshakes through the key provider. */
#include "authd/keyd.h"
#include "authd/keyd_shape.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/ipc/msg/keyd.h"
#include "common/net/stream.h"
#include "common/net/tls.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

static X509 *
cert_new(EVP_PKEY *key)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const unsigned char *)"mail.example.test", -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

/* A file with what the BIO holds; frees the BIO. */
static int
file_of(BIO *bio)
{
	char *p;
	long len = BIO_get_mem_data(bio, &p);
	int fd = memfd_create("pem", MFD_CLOEXEC);
	struct err e;

	assert_int_equal(fd_write_all(fd, p, (size_t)len, &e), 0);
	BIO_free(bio);
	return fd;
}

static int
key_file(EVP_PKEY *key, const char *passphrase)
{
	BIO *bio = BIO_new(BIO_s_mem());

	assert_int_equal(
	    PEM_write_bio_PrivateKey(bio, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
		(const unsigned char *)passphrase, passphrase != NULL ? (int)strlen(passphrase) : 0,
		NULL, NULL),
	    1);
	return file_of(bio);
}

static int
cert_file(X509 *a, X509 *b)
{
	BIO *bio = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_X509(bio, a), 1);
	if (b != NULL)
		assert_int_equal(PEM_write_bio_X509(bio, b), 1);
	return file_of(bio);
}

static int
text_file(const char *text)
{
	BIO *bio = BIO_new(BIO_s_mem());

	BIO_write(bio, text, (int)strlen(text));
	return file_of(bio);
}

static int
add_and_close(struct keyd *k, int (*add)(struct keyd *, const char *, int, struct err *),
    const char *name, int fd)
{
	struct err e;
	int r = add(k, name, fd, &e);

	close(fd);
	return r;
}

static void
on_report(void *arg, const char *text)
{
	assert_non_null(strstr(text, "certificate"));
	(*(int *)arg)++;
}

static void
certificates_find_their_keys(void **state)
{
	struct keyd *k = keyd_new();
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256"), *lost = EVP_EC_gen("P-256");
	X509 *rsa_cert = cert_new(rsa), *ec_cert = cert_new(ec), *lost_cert = cert_new(lost);
	int reports = 0;

	(void)state;
	assert_int_equal(add_and_close(k, keyd_add_key, "/r.key", key_file(rsa, NULL)), 0);
	assert_int_equal(add_and_close(k, keyd_add_key, "/e.key", key_file(ec, NULL)), 0);
	assert_int_equal(
	    add_and_close(k, keyd_add_chain, "/r.pem", cert_file(rsa_cert, ec_cert)), 0);
	assert_int_equal(add_and_close(k, keyd_add_chain, "/e.pem", cert_file(ec_cert, NULL)), 0);
	assert_int_equal(add_and_close(k, keyd_add_chain, "/l.pem", cert_file(lost_cert, NULL)), 0);
	assert_int_equal(keyd_match(k, on_report, &reports), 2);
	assert_int_equal(reports, 1);
	keyd_free(k);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(lost);
	X509_free(rsa_cert);
	X509_free(ec_cert);
	X509_free(lost_cert);
}

static void
bad_files_are_errors(void **state)
{
	struct keyd *k = keyd_new();
	EVP_PKEY *ec = EVP_EC_gen("P-256"), *dh = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");

	(void)state;
	assert_int_equal(add_and_close(k, keyd_add_key, "/a", text_file("")), -1);
	assert_int_equal(add_and_close(k, keyd_add_key, "/a", text_file("no PEM")), -1);
	assert_int_equal(add_and_close(k, keyd_add_key, "/a", key_file(ec, "secret")), -1);
	assert_int_equal(add_and_close(k, keyd_add_key, "/a", key_file(dh, NULL)), -1);
	assert_int_equal(add_and_close(k, keyd_add_chain, "/a", text_file("no PEM")), -1);
	assert_int_equal(
	    add_and_close(k, keyd_add_chain, "/a",
		text_file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
	    -1);
	assert_int_equal(keyd_match(k, on_report, NULL), 0);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(dh);
	keyd_free(k);
}

/* ---- over its edge ---- */

struct fixture {
	struct loop *loop;
	struct conf conf;
	struct keyd *keyd;
	struct keyd_caller caller;
	struct ipc_conn *server_end;
	struct ipc_edge *edge;
	struct tls_context *server, *client;
	int ready, up, closed;
};

static void
on_ready(void *arg, struct tls_context *ctx, const struct err *err)
{
	struct fixture *f = arg;

	(void)err;
	f->ready++;
	f->server = ctx;
}

static void
on_nothing(void *arg)
{
	(void)arg;
}

static void
turn(struct fixture *f)
{
	struct loop_timer t;

	loop_timer_init(&t, f->loop, on_nothing, NULL);
	loop_timer_start(&t, 10);
	loop_run_once(f->loop, true);
	loop_timer_stop(&t);
}

static void
run_until(struct fixture *f, const int *value, int want)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;

	while (*value < want && clock_mono_ms() < until)
		turn(f);
	assert_int_equal(*value, want);
}

static void
fixture_init(struct fixture *f, EVP_PKEY *key, unsigned shapes)
{
	struct ipc_conn_ops ops = { .handlers = keyd_handlers };
	X509 *cert = cert_new(key);
	struct err e;
	int fds[2];

	*f = (struct fixture){ .loop = loop_new(), .keyd = keyd_new() };
	conf_init(&f->conf);
	assert_int_equal(add_and_close(f->keyd, keyd_add_key, "/k", key_file(key, NULL)), 0);
	assert_int_equal(add_and_close(f->keyd, keyd_add_chain, "/c", cert_file(cert, NULL)), 0);
	assert_int_equal(keyd_match(f->keyd, on_report, NULL), 1);
	X509_free(cert);
	f->caller = (struct keyd_caller){ f->keyd, "smtpd", shapes, 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	f->server_end = ipc_conn_new(f->loop, fds[1], &ops, &f->caller);
	f->edge = ipc_edge_new_fd(f->loop, fds[0], NULL, NULL);
	assert_int_equal(tls_init(f->loop, f->edge, &e), 0);
	tls_server_new("/c", &f->conf, on_ready, f);
	run_until(f, &f->ready, 1);
	assert_non_null(f->server);
	f->client = tls_client_new(&f->conf, &e);
}

static void
fixture_clear(struct fixture *f)
{
	tls_context_free(f->server);
	tls_context_free(f->client);
	ipc_edge_free(f->edge);
	ipc_conn_close(f->server_end);
	keyd_free(f->keyd);
	conf_clear(&f->conf);
	loop_free(f->loop);
}

static void
on_input(void *arg, struct stream *s)
{
	(void)arg;
	(void)s;
}

static void
on_tls(void *arg, struct stream *s)
{
	(void)s;
	((struct fixture *)arg)->up++;
}

static void
on_close(void *arg, struct stream *s, const struct err *why)
{
	(void)s;
	(void)why;
	((struct fixture *)arg)->closed++;
}

static void
try_handshake(struct fixture *f, int version, bool succeeds)
{
	static const struct stream_ops ops = { on_input, NULL, on_tls, on_close };
	static const struct stream_limits limits = { 4096, 4096 };
	struct stream *server, *client;
	struct err e;
	int fds[2];

	f->up = f->closed = 0;
	SSL_CTX_set_max_proto_version(tls_context_ssl(f->client), version);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	server = stream_new(f->loop, fds[0], &limits, &ops, f);
	client = stream_new(f->loop, fds[1], &limits, &ops, f);
	assert_int_equal(stream_start_tls(server, f->server, NULL, &e), 0);
	assert_int_equal(stream_start_tls(client, f->client, "mail.example.test", &e), 0);
	run_until(f, succeeds ? &f->up : &f->closed, 2);
	stream_free(server);
	stream_free(client);
}

static void
handshakes_are_signed(void **state)
{
	EVP_PKEY *keys[] = { EVP_RSA_gen(2048), EVP_EC_gen("P-256") };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture f;

		fixture_init(&f, keys[i], KEYD_SHAPE_SERVER_VERIFY | KEYD_SHAPE_KEY_EXCHANGE);
		try_handshake(&f, TLS1_3_VERSION, true);
		try_handshake(&f, TLS1_2_VERSION, true);
		assert_int_equal(f.caller.refused, 0);
		fixture_clear(&f);
	}
	for (size_t i = 0; i < 2; i++)
		EVP_PKEY_free(keys[i]);
}

static void
other_sides_handshakes_are_not(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct fixture f;

	(void)state;
	fixture_init(&f, key, KEYD_SHAPE_CLIENT_VERIFY);
	try_handshake(&f, TLS1_3_VERSION, false);
	try_handshake(&f, TLS1_2_VERSION, false);
	assert_int_equal(f.caller.refused, 2);
	fixture_clear(&f);
	EVP_PKEY_free(key);
}

static void
nothing_else_is_signed(void **state)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	unsigned char sig[KEYD_SIGNATURE_MAX], hash[32] = { 0 };
	char exchange[64 + 4 + 32] = { 0 };
	struct keyd *k = keyd_new();
	X509 *cert = cert_new(key);
	size_t len;

	(void)state;
	memcpy(exchange + 64, "\3\0\35\40", 4);
	assert_int_equal(add_and_close(k, keyd_add_key, "/k", key_file(key, NULL)), 0);
	assert_int_equal(add_and_close(k, keyd_add_chain, "/c", cert_file(cert, NULL)), 0);
	assert_int_equal(keyd_match(k, on_report, NULL), 1);
	assert_int_equal(
	    keyd_sign(k, ~0u, view_make(hash, 32), 0x0401, VIEW_LIT("any text"), sig, &len),
	    KEYD_REFUSED);
	assert_int_equal(keyd_sign(k, ~0u, view_make(hash, 32), 0x0401,
			     view_make(exchange, sizeof exchange), sig, &len),
	    KEYD_UNKNOWN);
	assert_int_equal(keyd_sign(k, ~0u, view_make(hash, 31), 0x0401,
			     view_make(exchange, sizeof exchange), sig, &len),
	    KEYD_UNKNOWN);
	X509_pubkey_digest(
	    cert, EVP_sha256(), hash, NULL); /* of the bits alone: not the name of a key */
	assert_int_equal(keyd_sign(k, ~0u, view_make(hash, 32), 0x0401,
			     view_make(exchange, sizeof exchange), sig, &len),
	    KEYD_UNKNOWN);
	{
		unsigned char *der = NULL;
		int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

		EVP_Digest(der, (size_t)n, hash, NULL, EVP_sha256(), NULL);
		OPENSSL_free(der);
	}
	assert_int_equal(keyd_sign(k, ~0u, view_make(hash, 32), 0x0403,
			     view_make(exchange, sizeof exchange), sig, &len),
	    KEYD_REFUSED);
	assert_int_equal(keyd_sign(k, ~0u, view_make(hash, 32), 0x0807,
			     view_make(exchange, sizeof exchange), sig, &len),
	    KEYD_REFUSED);
	assert_int_equal(keyd_sign(k, ~0u, view_make(hash, 32), 0x0401,
			     view_make(exchange, sizeof exchange), sig, &len),
	    KEYD_OK);
	assert_int_equal(len, 256);
	X509_free(cert);
	EVP_PKEY_free(key);
	keyd_free(k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_find_their_keys),
		cmocka_unit_test(bad_files_are_errors),
		cmocka_unit_test(handshakes_are_signed),
		cmocka_unit_test(other_sides_handshakes_are_not),
		cmocka_unit_test(nothing_else_is_signed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
