/* keyd end to end: real files, its real messages, real TLS handshakes through the key provider. */
#include "authd/keyd.h"
#include "authd/keyd_shape.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/ipc/msg/keyd.h"
#include "common/net/stream.h"
#include "common/net/tls.h"
#include "common/table/cert_names.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MAPS "texthash:/names"
enum { PATIENCE_MS = 20000 };

static X509 *
cert_named(EVP_PKEY *key, const char *cn)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static X509 *
cert_new(EVP_PKEY *key)
{
	return cert_named(key, "mail.example.test");
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

/* Files in this order: each a descriptor that is closed here, -1 = none. */
static int
set_of(struct cert_set *set, struct err *e, int a, int b, int c, int d)
{
	int fds[] = { a, b, c, d }, r = 0;

	cert_set_init(set);
	for (size_t i = 0; i < 4; i++) {
		if (fds[i] < 0)
			continue;
		if (r == 0)
			r = cert_set_add(set, fds[i], CERT_SET_KEYS | CERT_SET_CERTS, e);
		close(fds[i]);
	}
	return r < 0 ? r : cert_set_match(set, e);
}

static void
add_set(struct keyd *k, const char *name, int a, int b, int c, int d)
{
	struct cert_set set;
	struct err e;

	if (set_of(&set, &e, a, b, c, d) < 0 || keyd_add_set(k, name, &set, &e) < 0)
		fail_msg("%s", e.text);
	cert_set_clear(&set);
}

static void
chains_find_their_keys(void **state)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256");
	X509 *rsa_cert = cert_new(rsa), *ec_cert = cert_new(ec);
	struct cert_set set;
	struct err e;

	(void)state;
	/* key, leaf, issuer, key, leaf */
	assert_int_equal(set_of(&set, &e, key_file(rsa, NULL), cert_file(rsa_cert, ec_cert),
			     key_file(ec, NULL), cert_file(ec_cert, NULL)),
	    0);
	assert_int_equal(set.nchains, 2);
	assert_int_equal(set.chains[0].count, 2);
	assert_int_equal(set.chains[1].count, 1);
	assert_ptr_equal(set.chains[0].key, set.keys[0]);
	assert_ptr_equal(set.chains[1].key, set.keys[1]);
	cert_set_clear(&set);
	/* the other order, as in one file that is both tls_cert_file and tls_key_file */
	assert_int_equal(
	    set_of(&set, &e, cert_file(rsa_cert, NULL), key_file(rsa, NULL), -1, -1), 0);
	cert_set_clear(&set);
	assert_int_equal(
	    set_of(&set, &e, key_file(rsa, NULL), cert_file(ec_cert, NULL), -1, -1), -1);
	assert_non_null(strstr(e.text, "no key belongs"));
	cert_set_clear(&set);
	assert_int_equal(set_of(&set, &e, key_file(rsa, NULL), -1, -1, -1), -1);
	assert_non_null(strstr(e.text, "no certificate"));
	cert_set_clear(&set);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	X509_free(rsa_cert);
	X509_free(ec_cert);
}

static void
bad_files_are_errors(void **state)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256"), *dh = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	struct cert_set set;
	struct err e;

	(void)state;
	assert_int_equal(set_of(&set, &e, text_file(""), -1, -1, -1), -1);
	assert_int_equal(set_of(&set, &e, text_file("no PEM"), -1, -1, -1), -1);
	assert_int_equal(set_of(&set, &e, key_file(ec, "secret"), -1, -1, -1), -1);
	assert_int_equal(set_of(&set, &e, key_file(dh, NULL), -1, -1, -1), -1);
	assert_int_equal(e.kind, ERR_PERM);
	assert_int_equal(
	    set_of(&set, &e,
		text_file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), -1, -1,
		-1),
	    -1);
	assert_int_equal(set_of(&set, &e, memfd_create("x", 0), -1, -1, -1), -1);
	cert_set_clear(&set);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(dh);
}

struct host_list {
	char text[200];
};

static int
on_host(void *arg, const char *host, const char *files, struct err *err)
{
	struct host_list *l = arg;
	size_t len = strlen(l->text);

	(void)err;
	snprintf(l->text + len, sizeof l->text - len, "%s=%s;", host, files);
	return 0;
}

static void
tables_of_names_are_read(void **state)
{
	char path[] = "/tmp/names-XXXXXX", spec[200];
	int fd = mkstemp(path);
	struct host_list l = { "" };
	struct err e;

	(void)state;
	assert_true(fd >= 0);
	dprintf(fd, "# comment\nA.Example.test /a.pem, /b.pem\n.example.test\n  /c.pem\n");
	close(fd);
	snprintf(
	    spec, sizeof spec, "hash:%s, inline:{ {d.test = /d.pem /e.pem}, {e.test=/f} }", path);
	assert_int_equal(cert_names_read(spec, on_host, &l, &e), 0);
	assert_string_equal(l.text,
	    "a.example.test=/a.pem, /b.pem;.example.test=/c.pem;d.test=/d.pem /e.pem;e.test=/f;");
	unlink(path);
	assert_int_equal(cert_names_read("pcre:/x", on_host, &l, &e), -1);
	assert_non_null(strstr(e.text, "pcre"));
	assert_int_equal(cert_names_read("texthash:/nonexistent", on_host, &l, &e), -1);
	assert_int_equal(cert_names_read("inline:{ {x} }", on_host, &l, &e), -1);
	assert_int_equal(cert_names_read("inline:x", on_host, &l, &e), -1);
}

/* ---- over its edge ---- */

struct fixture {
	struct loop *loop;
	struct conf conf;
	struct tls_server_setup setup;
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
	assert_int_equal(conf_set(&f->conf, "tls_cert_file", "/c", "test", 1, &e), 0);
	assert_int_equal(conf_set(&f->conf, "tls_server_sni_maps", MAPS, "test", 1, &e), 0);
	add_set(f->keyd, "/c", key_file(key, NULL), cert_file(cert, NULL), -1, -1);
	X509_free(cert);
	f->caller = (struct keyd_caller){ .keyd = f->keyd, .name = "smtpd", .shapes = shapes };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	f->server_end = ipc_conn_new(f->loop, fds[1], &ops, &f->caller);
	f->edge = ipc_edge_new_fd(f->loop, fds[0], NULL, NULL);
	assert_int_equal(tls_init(f->loop, f->edge, &e), 0);
	f->setup = (struct tls_server_setup){ .conf = &f->conf,
		.params = role_tls(ROLE_SMTPD),
		.service = "test",
		.ticket_seconds = 3600 };
	assert_int_equal(tls_server_prepare(&f->setup, &e), 0);
	tls_server_new(&f->setup, on_ready, f);
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

/* One handshake of a client of its own; returns the certificate it was shown, "" for none. */
static void
shown(struct fixture *f, const char *host, const char *sigalgs, char *name, size_t size)
{
	static const struct stream_ops ops = { on_input, NULL, on_tls, on_close };
	static const struct stream_limits limits = { 4096, 4096 };
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(c);
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	struct stream *server;
	X509 *cert;
	struct err e;
	int fds[2], r = -1;

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	server = stream_new(f->loop, fds[0], &limits, &ops, f);
	assert_int_equal(stream_start_tls(server, f->server, NULL, &e), 0);
	SSL_set_fd(ssl, fds[1]);
	if (host != NULL)
		SSL_set_tlsext_host_name(ssl, host);
	if (sigalgs != NULL)
		assert_int_equal(SSL_set1_sigalgs_list(ssl, sigalgs), 1);
	while ((r = SSL_connect(ssl)) != 1 && clock_mono_ms() < until)
		turn(f);
	assert_int_equal(r, 1);
	cert = SSL_get0_peer_certificate(ssl);
	assert_true(X509_NAME_get_text_by_NID(
			X509_get_subject_name(cert), NID_commonName, name, (int)size) > 0);
	strncat(name, EVP_PKEY_is_a(X509_get0_pubkey(cert), "RSA") ? " RSA" : " EC",
	    size - strlen(name) - 1);
	SSL_free(ssl);
	SSL_CTX_free(c);
	close(fds[1]);
	stream_free(server);
}

static void
add_host(struct fixture *f, const char *host, const char *cn, EVP_PKEY *rsa)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256");
	X509 *ec_cert = cert_named(ec, cn), *rsa_cert = rsa != NULL ? cert_named(rsa, cn) : NULL;

	add_set(f->keyd, host, key_file(ec, NULL), cert_file(ec_cert, NULL),
	    rsa != NULL ? key_file(rsa, NULL) : -1, rsa != NULL ? cert_file(rsa_cert, NULL) : -1);
	keyd_add_host(f->keyd, MAPS, host, host);
	EVP_PKEY_free(ec);
	X509_free(ec_cert);
	X509_free(rsa_cert);
}

static void
clients_get_the_certificate_of_the_name_they_ask_for(void **state)
{
	/* clang-format off */
	static const struct { const char *host, *sigalgs, *want; } cases[] = {
		{ NULL,                 NULL,              "mail.example.test EC" },
		{ "a.test",             NULL,              "a EC" },
		{ "A.TEST",             "RSA-PSS+SHA256",  "a RSA" },
		{ "a.test",             "ECDSA+SHA256",    "a EC" },
		{ "b.test",             NULL,              "sub EC" },
		{ "x.y.b.test",         NULL,              "sub EC" },
		{ "own.b.test",         NULL,              "own EC" },
		{ "other.test",         NULL,              "mail.example.test EC" },
		{ "test",               NULL,              "mail.example.test EC" },
	};
	/* clang-format on */
	EVP_PKEY *key = EVP_EC_gen("P-256"), *rsa = EVP_RSA_gen(2048);
	struct fixture f;
	char name[64];

	(void)state;
	fixture_init(&f, key, KEYD_SHAPE_SERVER_VERIFY | KEYD_SHAPE_KEY_EXCHANGE);
	add_host(&f, "a.test", "a", rsa);
	add_host(&f, ".b.test", "sub", NULL);
	add_host(&f, "b.test", "sub", NULL);
	add_host(&f, "own.b.test", "own", NULL);
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			shown(&f, cases[i].host, cases[i].sigalgs, name, sizeof name);
			if (strcmp(name, cases[i].want) != 0)
				fail_msg(
				    "%s: %s instead of %s", cases[i].host, name, cases[i].want);
		}
	/* more names than are kept, and some of them again */
	for (int i = 0; i < 600; i++) {
		char host[32];

		snprintf(host, sizeof host, "h%d.b.test", i);
		shown(&f, i % 100 == 99 ? "a.test" : host, NULL, name, sizeof name);
		assert_string_equal(name, i % 100 == 99 ? "a EC" : "sub EC");
	}
	assert_int_equal(f.caller.refused, 0);
	fixture_clear(&f);
	EVP_PKEY_free(key);
	EVP_PKEY_free(rsa);
}

static void
keyd_lost_while_a_name_is_looked_up(void **state)
{
	static const struct stream_ops ops = { on_input, NULL, on_tls, on_close };
	static const struct stream_limits limits = { 4096, 4096 };
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct stream *server, *client;
	struct fixture f;
	struct err e;
	int fds[2];

	(void)state;
	fixture_init(&f, key, KEYD_SHAPE_SERVER_VERIFY | KEYD_SHAPE_KEY_EXCHANGE);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	server = stream_new(f.loop, fds[0], &limits, &ops, &f);
	client = stream_new(f.loop, fds[1], &limits, &ops, &f);
	ipc_conn_pause(f.server_end, true);
	assert_int_equal(stream_start_tls(server, f.server, NULL, &e), 0);
	assert_int_equal(stream_start_tls(client, f.client, "a.test", &e), 0);
	for (int i = 0; i < 5; i++)
		turn(&f);
	stream_free(server); /* its question goes with it */
	ipc_conn_pause(f.server_end, false);
	run_until(&f, &f.closed, 1);
	stream_free(client);
	fixture_clear(&f);
	EVP_PKEY_free(key);
}

static void
ticket_keys_change_every_hour(void **state)
{
	enum { HOUR = 3600 * 1000 };
	struct keyd_tickets t = { .born_ms = 0 }, before;

	(void)state;
	assert_int_equal(keyd_tickets_rotate(&t, 1000), HOUR);
	assert_false(t.has_previous);
	before = t;
	assert_int_equal(keyd_tickets_rotate(&t, 1000 + HOUR - 10), 10);
	assert_memory_equal(t.present, before.present, sizeof t.present);
	assert_int_equal(keyd_tickets_rotate(&t, 1000 + HOUR), HOUR);
	assert_true(t.has_previous);
	assert_memory_equal(t.previous, before.present, sizeof t.present);
	assert_memory_not_equal(t.present, before.present, sizeof t.present);
	/* nobody has asked for long: the one before is too old */
	keyd_tickets_rotate(&t, 1000 + 4 * HOUR);
	assert_false(t.has_previous);
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
	add_set(k, "/c", key_file(key, NULL), cert_file(cert, NULL), -1, -1);
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
		cmocka_unit_test(chains_find_their_keys),
		cmocka_unit_test(tables_of_names_are_read),
		cmocka_unit_test(clients_get_the_certificate_of_the_name_they_ask_for),
		cmocka_unit_test(keyd_lost_while_a_name_is_looked_up),
		cmocka_unit_test(ticket_keys_change_every_hour),
		cmocka_unit_test(bad_files_are_errors),
		cmocka_unit_test(handshakes_are_signed),
		cmocka_unit_test(other_sides_handshakes_are_not),
		cmocka_unit_test(nothing_else_is_signed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
