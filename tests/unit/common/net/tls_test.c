/* TLS over streams with keys that are in another process: here a fake keyd at the end of a socketpair. */
#include "common/net/tls.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/keyd.h"
#include "common/net/stream.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { PATIENCE_MS = 20000, ASKED_MAX = 64 };

/* ---- fake keyd ---- */

struct asked {
	uint32_t id, scheme;
	unsigned char tbs[512];
	size_t len;
};

struct fake_keyd {
	struct ipc_conn *conn;
	EVP_PKEY *key;
	X509 *cert;
	bool is_slow; /* answers only when told */
	bool dies;    /* closes instead of answering */
	bool lies;    /* sends a wrong signature */
	bool refuses;
	struct asked asked[ASKED_MAX];
	unsigned nasked, total;
};

static const EVP_MD *
scheme_md(uint32_t scheme)
{
	if (scheme == 0x0807)
		return NULL;
	switch (scheme >> 8 == 8 ? scheme & 0xff : scheme >> 8) {
	case 4:
		return EVP_sha256();
	case 5:
		return EVP_sha384();
	default:
		return EVP_sha512();
	}
}

static void
keyd_answer(struct fake_keyd *k, const struct asked *a)
{
	unsigned char sig[1024];
	size_t len = sizeof sig;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	struct ipc_out o;

	assert_int_equal(EVP_DigestSignInit(md, &pctx, scheme_md(a->scheme), NULL, k->key), 1);
	if (a->scheme >> 8 == 8 && a->scheme != 0x0807) {
		EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
	}
	assert_int_equal(EVP_DigestSign(md, sig, &len, a->tbs, a->len), 1);
	EVP_MD_CTX_free(md);
	if (k->lies)
		sig[len - 1] ^= 1;
	ipc_reply_init(&o);
	ipc_put_u32(&o, k->refuses ? KEYD_REFUSED : KEYD_OK);
	ipc_put_bytes(&o, sig, k->refuses ? 0 : len);
	assert_int_equal(ipc_conn_reply(k->conn, a->id, &o), 0);
}

static void
keyd_answer_all(struct fake_keyd *k)
{
	for (unsigned i = 0; i < k->nasked; i++)
		keyd_answer(k, &k->asked[i]);
	k->nasked = 0;
}

static void
on_sign(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fake_keyd *k = arg;
	struct asked *a = &k->asked[k->nasked++];
	unsigned char *der = NULL, hash[32];
	struct view spki = ipc_get_bytes(in), tbs;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(k->cert), &der);

	SHA256(der, (size_t)len, hash);
	OPENSSL_free(der);
	assert_int_equal(spki.len, 32);
	assert_memory_equal(spki.p, hash, 32);
	k->total++;
	a->id = in->id;
	a->scheme = ipc_get_u32(in);
	tbs = ipc_get_bytes(in);
	a->len = tbs.len;
	assert_true(tbs.len <= sizeof a->tbs && k->nasked < ASKED_MAX);
	memcpy(a->tbs, tbs.p, tbs.len);
	if (k->dies) {
		ipc_conn_close(c);
		k->conn = NULL;
		k->nasked = 0;
	} else if (!k->is_slow) {
		keyd_answer_all(k);
	}
}

static void
on_chain(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fake_keyd *k = arg;
	bool is_known = strcmp(ipc_get_str(in), "/cert.pem") == 0;
	unsigned char *der = NULL;
	int len = i2d_X509(k->cert, &der);
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, is_known ? KEYD_OK : KEYD_UNKNOWN);
	if (is_known) {
		ipc_put_u32(&o, 1);
		ipc_put_bytes(&o, der, (size_t)len);
	}
	OPENSSL_free(der);
	ipc_conn_reply(c, in->id, &o);
}

static void
on_tickets(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	static const char key[KEYD_TICKET_KEY] = "0123456789abcdef";
	struct ipc_out o;

	(void)arg;
	ipc_reply_init(&o);
	ipc_put_u32(&o, KEYD_OK);
	ipc_put_u32(&o, 600);
	ipc_put_bytes(&o, key, sizeof key);
	ipc_put_bytes(&o, key, 0);
	ipc_conn_reply(c, in->id, &o);
}

static void
on_front_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)c;
	(void)why;
	((struct fake_keyd *)arg)->conn = NULL;
}

static const struct ipc_handler keyd_rows[] = {
	{ KEYD_CHAIN, "s", IPC_STATE_ANY, on_chain },
	{ KEYD_SIGN, "bub", IPC_STATE_ANY, on_sign },
	{ KEYD_TICKETS, "", IPC_STATE_ANY, on_tickets },
	{ 0, NULL, 0, NULL },
};

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
	assert_true(X509_sign(x, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256()) > 0);
	return x;
}

/* ---- fixture ---- */

struct fixture {
	struct loop *loop;
	struct conf conf;
	struct tls_server_setup setup;
	struct fake_keyd keyd;
	struct ipc_edge *edge;
	struct tls_context *server, *client;
	struct err err;
	int ready;
};

static void
on_server_ready(void *arg, struct tls_context *ctx, const struct err *err)
{
	struct fixture *f = arg;

	f->ready++;
	f->server = ctx;
	if (err != NULL)
		f->err = *err;
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

#define RUN_UNTIL(f, what)                                                                         \
	do {                                                                                       \
		int64_t until = clock_mono_ms() + PATIENCE_MS;                                     \
		while (!(what) && clock_mono_ms() < until)                                         \
			turn(f);                                                                   \
		assert_true(what);                                                                 \
	} while (0)

static EVP_PKEY *
key_make(const char *kind)
{
	if (strcmp(kind, "RSA") == 0)
		return EVP_RSA_gen(2048);
	if (strcmp(kind, "ED25519") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_EC_gen(kind);
}

static struct tls_server_setup
server_setup(struct conf *conf, const char *cert)
{
	struct err e;

	assert_int_equal(conf_set(conf, "tls_cert_file", cert, "test", 1, &e), 0);
	return (struct tls_server_setup){
		.conf = conf,
		.params = role_tls(ROLE_SMTPD),
		.service = "test",
		.ticket_seconds = 3600,
	};
}

static void
fixture_init(struct fixture *f, const char *kind)
{
	struct ipc_conn_ops ops = { .handlers = keyd_rows, .on_close = on_front_gone };
	int fds[2];
	struct err e;

	memset(f, 0, sizeof *f);
	f->loop = loop_new();
	conf_init(&f->conf);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	f->edge = ipc_edge_new_fd(f->loop, fds[0], NULL, NULL);
	if (tls_init(f->loop, f->edge, &e) < 0)
		fail_msg("%s", e.text);
	f->keyd.key = key_make(kind);
	f->keyd.cert = cert_new(f->keyd.key);
	f->keyd.conn = ipc_conn_new(f->loop, fds[1], &ops, &f->keyd);
	f->setup = server_setup(&f->conf, "/cert.pem");
	assert_int_equal(tls_server_prepare(&f->setup, &e), 0);
	tls_server_new(&f->setup, on_server_ready, f);
	RUN_UNTIL(f, f->ready == 1);
	if (f->server == NULL)
		fail_msg("%s", f->err.text);
	f->client = tls_client_new(&f->conf, &e);
	assert_non_null(f->client);
}

static void
fixture_clear(struct fixture *f)
{
	tls_context_free(f->server);
	tls_context_free(f->client);
	ipc_conn_close(f->keyd.conn);
	ipc_edge_free(f->edge);
	EVP_PKEY_free(f->keyd.key);
	X509_free(f->keyd.cert);
	conf_clear(&f->conf);
	loop_free(f->loop);
}

/* ---- a pair of streams, one is server ---- */

struct side {
	struct stream *s;
	bool is_up, is_closed, is_plain;
	struct buf got;
	struct err why;
	char description[128];
};
struct pair {
	struct side server, client;
};

static void
on_input(void *arg, struct stream *s)
{
	struct side *side = arg;
	struct view in = stream_input(s);

	buf_append_view(&side->got, in);
	stream_consume(s, in.len);
}

static void
on_tls(void *arg, struct stream *s)
{
	struct side *side = arg;

	side->is_up = true;
	tls_describe(stream_ssl(s), side->description, sizeof side->description);
	stream_printf(s, "hello");
}

static void
on_close(void *arg, struct stream *s, const struct err *why)
{
	struct side *side = arg;

	side->is_closed = true;
	side->why = *why;
	stream_free(s);
	side->s = NULL;
}

static const struct stream_ops ops = { on_input, NULL, on_tls, on_close };
static const struct stream_limits limits = { 65536, 1 << 20 };

static void
pair_init(struct fixture *f, struct pair *p)
{
	int fds[2];
	struct err e;

	memset(p, 0, sizeof *p);
	buf_init(&p->server.got, 1 << 24);
	buf_init(&p->client.got, 1 << 24);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	p->server.s = stream_new(f->loop, fds[0], &limits, &ops, &p->server);
	p->client.s = stream_new(f->loop, fds[1], &limits, &ops, &p->client);
	assert_int_equal(stream_start_tls(p->server.s, f->server, NULL, &e), 0);
	assert_int_equal(stream_start_tls(p->client.s, f->client, "mail.example.test", &e), 0);
}

static void
pair_clear(struct pair *p)
{
	stream_free(p->server.s);
	stream_free(p->client.s);
	buf_clear(&p->server.got);
	buf_clear(&p->client.got);
}

static void
handshake(const char *kind, int version, unsigned long scheme)
{
	struct fixture f;
	struct pair p;

	fixture_init(&f, kind);
	SSL_CTX_set_max_proto_version(tls_context_ssl(f.client), version);
	pair_init(&f, &p);
	RUN_UNTIL(&f, p.server.got.len == 5 && p.client.got.len == 5);
	assert_true(p.server.is_up && p.client.is_up);
	assert_int_equal(SSL_version(stream_ssl(p.server.s)), version);
	assert_int_equal(f.keyd.total, 1);
	assert_int_equal(f.keyd.asked[0].scheme, scheme);
	assert_non_null(strstr(p.server.description, " with cipher "));
	pair_clear(&p);
	fixture_clear(&f);
}

static void
rsa_tls13(void **state)
{
	(void)state;
	handshake("RSA", TLS1_3_VERSION, 0x0804);
}

static void
rsa_tls12(void **state)
{
	(void)state;
	handshake("RSA", TLS1_2_VERSION, 0x0804);
}

static void
p256_tls13(void **state)
{
	(void)state;
	handshake("P-256", TLS1_3_VERSION, 0x0403);
}

static void
p256_tls12(void **state)
{
	(void)state;
	handshake("P-256", TLS1_2_VERSION, 0x0403);
}

static void
p384_tls13(void **state)
{
	(void)state;
	handshake("P-384", TLS1_3_VERSION, 0x0503);
}

static void
p521_tls12(void **state)
{
	(void)state;
	handshake(
	    "P-521", TLS1_2_VERSION, 0x0403); /* TLS 1.2: the hash is not bound to the curve */
}

static void
ed25519_both(void **state)
{
	(void)state;
	handshake("ED25519", TLS1_3_VERSION, 0x0807);
	handshake("ED25519", TLS1_2_VERSION, 0x0807);
}

static void
rsa_pkcs1_in_tls12(void **state)
{
	struct fixture f;
	struct pair p;

	(void)state;
	fixture_init(&f, "RSA");
	SSL_CTX_set_max_proto_version(tls_context_ssl(f.client), TLS1_2_VERSION);
	assert_int_equal(SSL_CTX_set1_sigalgs_list(tls_context_ssl(f.client), "RSA+SHA384"), 1);
	pair_init(&f, &p);
	RUN_UNTIL(&f, p.server.got.len == 5 && p.client.got.len == 5);
	assert_int_equal(f.keyd.asked[0].scheme, 0x0501);
	pair_clear(&p);
	fixture_clear(&f);
}

/* While keyd is busy, the loop serves everyone else. */
static void
many_wait_for_a_slow_keyd(void **state)
{
	enum { PAIRS = 20 };
	struct fixture f;
	struct pair p[PAIRS];
	unsigned up = 0;

	(void)state;
	fixture_init(&f, "P-256");
	f.keyd.is_slow = true;
	for (int i = 0; i < PAIRS; i++)
		pair_init(&f, &p[i]);
	RUN_UNTIL(&f, f.keyd.nasked == PAIRS);
	for (int i = 0; i < PAIRS; i++)
		assert_false(p[i].server.is_up);
	/* one goes while it is parked, one whose client goes */
	stream_free(p[3].server.s);
	p[3].server.s = NULL;
	stream_free(p[4].client.s);
	p[4].client.s = NULL;
	keyd_answer_all(&f.keyd);
	RUN_UNTIL(&f, p[PAIRS - 1].server.got.len == 5 && p[0].client.got.len == 5);
	RUN_UNTIL(&f, p[3].client.is_closed && p[4].server.is_closed);
	for (int i = 0; i < PAIRS; i++)
		if (i != 3 && i != 4)
			RUN_UNTIL(&f, p[i].server.got.len == 5 && p[i].client.got.len == 5);
	for (int i = 0; i < PAIRS; i++) {
		up += p[i].server.is_up;
		pair_clear(&p[i]);
	}
	assert_true(up == PAIRS - 2 || up == PAIRS - 1);
	fixture_clear(&f);
}

static void
keyd_dies_in_mid_handshake(void **state)
{
	struct fixture f;
	struct pair p, q;

	(void)state;
	fixture_init(&f, "RSA");
	f.keyd.is_slow = true;
	pair_init(&f, &p);
	RUN_UNTIL(&f, f.keyd.nasked == 1);
	f.keyd.is_slow = false;
	f.keyd.dies = true;
	pair_init(&f, &q);
	RUN_UNTIL(&f,
	    p.server.is_closed && p.client.is_closed && q.server.is_closed && q.client.is_closed);
	assert_int_equal(p.server.why.kind, ERR_SYNTAX);
	assert_false(p.server.is_up || q.server.is_up || q.client.is_up);
	pair_clear(&p);
	pair_clear(&q);
	fixture_clear(&f);
}

static void
freed_while_parked(void **state)
{
	struct fixture f;
	struct pair p;

	(void)state;
	fixture_init(&f, "RSA");
	f.keyd.is_slow = true;
	pair_init(&f, &p);
	RUN_UNTIL(&f, f.keyd.nasked == 1);
	pair_clear(&p);
	keyd_answer_all(&f.keyd); /* the late answer finds nobody */
	for (int i = 0; i < 3; i++)
		turn(&f);
	fixture_clear(&f);
}

static void
deadline_while_parked(void **state)
{
	struct fixture f;
	struct pair p;

	(void)state;
	fixture_init(&f, "P-256");
	f.keyd.is_slow = true;
	pair_init(&f, &p);
	RUN_UNTIL(&f, f.keyd.nasked == 1);
	stream_set_deadline(p.server.s, 10);
	RUN_UNTIL(&f, p.server.is_closed);
	assert_int_equal(p.server.why.sys, ETIMEDOUT);
	pair_clear(&p);
	fixture_clear(&f);
}

static void
refusals_and_lies_fail_the_handshake(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct fixture f;
		struct pair p;

		fixture_init(&f, "P-256");
		f.keyd.lies = i == 0;
		f.keyd.refuses = i == 1;
		pair_init(&f, &p);
		RUN_UNTIL(&f, p.server.is_closed && p.client.is_closed);
		assert_false(p.client.is_up);
		pair_clear(&p);
		fixture_clear(&f);
	}
}

static void
unknown_certificate_is_told(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, "P-256");
	tls_context_free(f.server);
	f.setup = server_setup(&f.conf, "/other.pem");
	tls_server_new(&f.setup, on_server_ready, &f);
	RUN_UNTIL(&f, f.ready == 2);
	assert_null(f.server);
	assert_int_equal(f.err.kind, ERR_PERM);
	fixture_clear(&f);
}

/* RFC 3207 4.2: what came in the clear does not count under TLS. */
static void
input_before_tls_is_dropped(void **state)
{
	struct fixture f;
	struct side server = { 0 };
	int fds[2];
	char text[64];
	struct err e;
	struct view in;

	(void)state;
	fixture_init(&f, "P-256");
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	server.s = stream_new(f.loop, fds[0], &limits,
	    &(struct stream_ops){ on_input, NULL, on_tls, on_close }, &server);
	buf_init(&server.got, 100);
	assert_int_equal(send(fds[1], "STLS\r\nUSER x\r\n", 14, 0), 14);
	/* as a protocol would in on_input: takes one line, answers, starts TLS */
	RUN_UNTIL(&f, server.got.len == 14);
	stream_printf(server.s, "+OK\r\n");
	assert_int_equal(stream_start_tls(server.s, f.server, NULL, &e), 0);
	in = stream_input(server.s);
	assert_int_equal(in.len, 0);
	assert_false(stream_has_tls(server.s));
	for (int i = 0; i < 3; i++)
		turn(&f);
	assert_int_equal(recv(fds[1], text, sizeof text, 0), 5);
	assert_int_equal(send(fds[1], "USER x\r\nPASS y\r\n", 16, 0), 16);
	RUN_UNTIL(&f, server.is_closed);
	assert_int_equal(server.why.kind, ERR_SYNTAX);
	buf_clear(&server.got);
	close(fds[1]);
	fixture_clear(&f);
}

static void
large_transfer_with_back_pressure(void **state)
{
	enum { TOTAL = 8 << 20 };
	struct fixture f;
	struct pair p;
	static char block[60000];
	size_t sent = 0;

	(void)state;
	fixture_init(&f, "P-256");
	pair_init(&f, &p);
	RUN_UNTIL(&f, p.server.got.len == 5 && p.client.got.len == 5);
	while (sent < TOTAL) {
		if (stream_output_pending(p.client.s) < 500000) {
			assert_int_equal(stream_write(p.client.s, block, sizeof block), 0);
			sent += sizeof block;
		}
		turn(&f);
		if (sent / sizeof block % 7 == 0)
			stream_pause(p.server.s, true);
		else
			stream_pause(p.server.s, false);
	}
	stream_pause(p.server.s, false);
	RUN_UNTIL(&f, p.server.got.len == sent + 5);
	stream_finish(p.client.s, 1000);
	p.client.s = NULL;
	RUN_UNTIL(&f, p.server.is_closed);
	assert_int_equal(p.server.why.kind, ERR_GONE);
	for (int i = 0; i < 3; i++)
		turn(&f); /* the finishing stream sees our end */
	pair_clear(&p);
	fixture_clear(&f);
}

static void
tickets_resume(void **state)
{
	struct fixture f;
	struct pair p;
	SSL_SESSION *session;
	struct err e;
	int fds[2];

	(void)state;
	fixture_init(&f, "P-256");
	pair_init(&f, &p);
	RUN_UNTIL(&f, p.server.got.len == 5 && p.client.got.len == 5);
	/* a copy: SSL_free spoils the session of a connection that was not shut down */
	session = SSL_SESSION_dup(SSL_get_session(stream_ssl(p.client.s)));
	assert_true(SSL_SESSION_has_ticket(session));
	pair_clear(&p);
	memset(&p, 0, sizeof p);
	buf_init(&p.server.got, 100);
	buf_init(&p.client.got, 100);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	p.server.s = stream_new(f.loop, fds[0], &limits, &ops, &p.server);
	assert_int_equal(stream_start_tls(p.server.s, f.server, NULL, &e), 0);
	{
		SSL *ssl = SSL_new(tls_context_ssl(f.client));
		int r = -1;

		SSL_set_fd(ssl, fds[1]);
		SSL_set_tlsext_host_name(ssl, "mail.example.test");
		SSL_set_session(ssl, session);
		for (int i = 0; i < 1000 && r != 1; i++) {
			r = SSL_connect(ssl);
			turn(&f);
		}
		assert_int_equal(r, 1);
		assert_true(SSL_session_reused(ssl));
		assert_int_equal(f.keyd.total, 1);
		SSL_free(ssl);
		close(fds[1]);
	}
	SSL_SESSION_free(session);
	RUN_UNTIL(&f, p.server.is_closed);
	pair_clear(&p);
	fixture_clear(&f);
}

static void
protocols_are_read_as_postfix_does(void **state)
{
	/* clang-format off */
	static const struct { const char *text; int min, max; } cases[] = {
		{ "",                          TLS1_2_VERSION, TLS1_3_VERSION },
		{ ">=TLSv1.2",                 TLS1_2_VERSION, TLS1_3_VERSION },
		{ ">=TLSv1",                   TLS1_2_VERSION, TLS1_3_VERSION },
		{ "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1", TLS1_2_VERSION, TLS1_3_VERSION },
		{ "!SSLv2 !SSLv3",             TLS1_2_VERSION, TLS1_3_VERSION },
		{ "TLSv1.2",                   TLS1_2_VERSION, TLS1_2_VERSION },
		{ "TLSv1, TLSv1.2",            TLS1_2_VERSION, TLS1_2_VERSION },
		{ "TLSv1.2:TLSv1.3",           TLS1_2_VERSION, TLS1_3_VERSION },
		{ ">=TLSv1.3",                 TLS1_3_VERSION, TLS1_3_VERSION },
		{ "!tlsv1.2",                  TLS1_3_VERSION, TLS1_3_VERSION },
		{ ">=TLSv1, <=TLSv1.2",        TLS1_2_VERSION, TLS1_2_VERSION },
		{ "TLSv1",                     0, 0 },
		{ "<=TLSv1.1",                 0, 0 },
		{ "!TLSv1.2, !TLSv1.3",        0, 0 },
		{ "TLSv1.4",                   0, 0 },
		{ "> TLSv1.2",                 0, 0 },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int min = 0, max = 0;
		struct err e;
		int r = tls_protocols_parse(cases[i].text, &min, &max, &e);

		if (r != (cases[i].min != 0 ? 0 : -1))
			fail_msg("\"%s\"", cases[i].text);
		if (r == 0 && (min != cases[i].min || max != cases[i].max))
			fail_msg("\"%s\": %x %x", cases[i].text, min, max);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rsa_tls13),
		cmocka_unit_test(rsa_tls12),
		cmocka_unit_test(p256_tls13),
		cmocka_unit_test(p256_tls12),
		cmocka_unit_test(p384_tls13),
		cmocka_unit_test(p521_tls12),
		cmocka_unit_test(ed25519_both),
		cmocka_unit_test(rsa_pkcs1_in_tls12),
		cmocka_unit_test(many_wait_for_a_slow_keyd),
		cmocka_unit_test(keyd_dies_in_mid_handshake),
		cmocka_unit_test(freed_while_parked),
		cmocka_unit_test(deadline_while_parked),
		cmocka_unit_test(refusals_and_lies_fail_the_handshake),
		cmocka_unit_test(unknown_certificate_is_told),
		cmocka_unit_test(input_before_tls_is_dropped),
		cmocka_unit_test(large_transfer_with_back_pressure),
		cmocka_unit_test(tickets_resume),
		cmocka_unit_test(protocols_are_read_as_postfix_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
