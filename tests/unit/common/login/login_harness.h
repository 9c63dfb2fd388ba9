/* login_harness.h - a login front in a test: fake authd, master and keyd at the ends of socketpairs, a client
 * over loopback, and the session process played by the test. */
#ifndef TESTS_LOGIN_HARNESS_H
#define TESTS_LOGIN_HARNESS_H

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/keyd.h"
#include "common/ipc/msg/login.h"
#include "common/ipc/msg/master.h"
#include "common/log/log.h"
#include "common/login/login.h"
#include "common/net/addr.h"
#include "common/net/stream.h"
#include "common/net/tls.h"
#include "tests/unit/common/login/log_capture.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { PATIENCE_MS = 20000, HARNESS_CLIENTS = 4 };

struct harness_client {
	struct stream *s;
	struct buf got;
	bool is_closed, is_tls;
};

struct harness {
	struct loop *loop;
	struct conf conf;
	struct login_front *front;
	int listener;
	struct sockaddr_storage at;
	struct harness_client clients[HARNESS_CLIENTS];
	bool is_paused, is_idle;

	/* authd */
	struct ipc_edge *authd;
	struct ipc_conn *authd_end;
	char mech[32], message[256], service[8]; /* of the last request; NULs as '|' */
	uint32_t flags, session, aborted;
	int starts, steps;
	bool authd_is_silent;
	uint32_t pending_id;

	/* master */
	struct ipc_conn *master, *master_end;
	int handovers;
	uint32_t handover_status;
	int control, bytes; /* the session's ends */

	/* keyd */
	struct ipc_edge *keyd;
	struct ipc_conn *keyd_end;
	EVP_PKEY *key;
	X509 *cert;
	struct tls_context *client_tls;
};

static void
harness_nothing(void *arg)
{
	(void)arg;
}

static void
harness_turn(struct harness *h)
{
	struct loop_timer t;

	loop_timer_init(&t, h->loop, harness_nothing, NULL);
	loop_timer_start(&t, 10);
	loop_run_once(h->loop, true);
	loop_timer_stop(&t);
}

#define RUN_UNTIL(h, what)                                                                         \
	do {                                                                                       \
		int64_t until_ = clock_mono_ms() + PATIENCE_MS;                                    \
		while (!(what) && clock_mono_ms() < until_)                                        \
			harness_turn(h);                                                           \
		assert_true(what);                                                                 \
	} while (0)

/* ---- authd ---- */

static void
authd_answer(
    struct harness *h, uint32_t id, enum authd_step step, const char *data, const char *account)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, step);
	ipc_put_bytes(&o, data, strlen(data));
	ipc_put_str(&o, account);
	ipc_put_bytes(&o, "0123456789abcdef", step == AUTHD_STEP_DONE ? TICKET_BYTES : 0);
	ipc_put_str(&o, "reason for the log");
	assert_int_equal(ipc_conn_reply(h->authd_end, id, &o), 0);
}

static void
authd_note(struct harness *h, struct view message)
{
	size_t n = message.len < sizeof h->message - 1 ? message.len : sizeof h->message - 1;

	for (size_t i = 0; i < n; i++)
		h->message[i] = message.p[i] == '\0' ? '|' : message.p[i];
	h->message[n] = '\0';
}

/* bob/secret may come in by PLAIN and LOGIN; SCRAM is played with fixed words. */
static void
authd_decide(struct harness *h, uint32_t id)
{
	bool is_start = h->starts > 0 && h->steps == 0,
	     has_initial = (h->flags & AUTHD_HAS_INITIAL) != 0;

	if (h->authd_is_silent) {
		h->pending_id = id;
	} else if (strcmp(h->mech, "PLAIN") == 0) {
		if (is_start && !has_initial)
			authd_answer(h, id, AUTHD_STEP_MORE, "", "");
		else if (strcmp(h->message, "|bob|secret") == 0)
			authd_answer(h, id, AUTHD_STEP_DONE, "", "bob@example.test");
		else if (strstr(h->message, "down") != NULL)
			authd_answer(h, id, AUTHD_STEP_TEMP, "", "");
		else
			authd_answer(h, id, AUTHD_STEP_FAILED, "", "");
	} else if (strcmp(h->mech, "LOGIN") == 0) {
		if (is_start && !has_initial)
			authd_answer(h, id, AUTHD_STEP_MORE, "Username:", "");
		else if (strcmp(h->message, "secret") == 0)
			authd_answer(h, id, AUTHD_STEP_DONE, "", "bob@example.test");
		else
			authd_answer(h, id, AUTHD_STEP_MORE, "Password:", "");
	} else {
		if (strstr(h->message, "p=") == NULL)
			authd_answer(h, id, AUTHD_STEP_MORE, "r=xyz,s=abc,i=4096", "");
		else
			authd_answer(h, id, AUTHD_STEP_DONE, "v=final", "bob@example.test");
	}
}

static void
authd_on_start(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct harness *h = arg;

	(void)c;
	h->session = ipc_get_u32(in);
	snprintf(h->service, sizeof h->service, "%s", ipc_get_str(in));
	snprintf(h->mech, sizeof h->mech, "%s", ipc_get_str(in));
	h->flags = ipc_get_u32(in);
	assert_string_equal(ipc_get_str(in), "127.0.0.1");
	assert_string_equal(ipc_get_str(in), "127.0.0.1");
	ipc_get_str(in);
	authd_note(h, ipc_get_bytes(in));
	h->starts++;
	h->steps = 0;
	authd_decide(h, in->id);
}

static void
authd_on_step(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct harness *h = arg;

	(void)c;
	assert_int_equal(ipc_get_u32(in), h->session);
	authd_note(h, ipc_get_bytes(in));
	h->steps++;
	authd_decide(h, in->id);
}

static void
authd_on_abort(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	((struct harness *)arg)->aborted = ipc_get_u32(in);
}

/* ---- master ---- */

static void
master_on_handover(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct harness *h = arg;
	struct ipc_out o;
	struct view ticket;

	h->handovers++;
	assert_string_equal(ipc_get_str(in), h->service);
	ticket = ipc_get_bytes(in);
	assert_int_equal(ticket.len, TICKET_BYTES);
	assert_memory_equal(ticket.p, "0123456789abcdef", TICKET_BYTES);
	assert_int_equal(ipc_get_u32(in), h->session);
	if (h->handover_status == 0) {
		h->control = ipc_get_fd(in);
		h->bytes = ipc_get_fd(in);
	}
	ipc_reply_init(&o);
	ipc_put_u32(&o, h->handover_status);
	ipc_put_str(&o, h->handover_status == 0 ? "4711" : "no process");
	assert_int_equal(ipc_conn_reply(c, in->id, &o), 0);
}

/* ---- keyd ---- */

static void
keyd_on_chain(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct harness *h = arg;
	unsigned char *der = NULL;
	int len = i2d_X509(h->cert, &der);
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, KEYD_OK);
	ipc_put_u32(&o, 1);
	ipc_put_bytes(&o, der, (size_t)len);
	OPENSSL_free(der);
	ipc_conn_reply(c, in->id, &o);
}

static void
keyd_on_sign(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct harness *h = arg;
	unsigned char sig[256];
	size_t len = sizeof sig;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct view tbs;
	struct ipc_out o;

	ipc_get_bytes(in);
	assert_int_equal(ipc_get_u32(in), 0x0403);
	tbs = ipc_get_bytes(in);
	assert_int_equal(EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, h->key), 1);
	assert_int_equal(EVP_DigestSign(md, sig, &len, (const unsigned char *)tbs.p, tbs.len), 1);
	EVP_MD_CTX_free(md);
	ipc_reply_init(&o);
	ipc_put_u32(&o, KEYD_OK);
	ipc_put_bytes(&o, sig, len);
	ipc_conn_reply(c, in->id, &o);
}

static const struct ipc_handler authd_rows[] = {
	{ AUTHD_SASL_START, "ussusssb", IPC_STATE_ANY, authd_on_start },
	{ AUTHD_SASL_STEP, "ub", IPC_STATE_ANY, authd_on_step },
	{ AUTHD_SASL_ABORT, "u", IPC_STATE_ANY, authd_on_abort },
	{ 0, NULL, 0, NULL },
};
static const struct ipc_handler master_rows[] = {
	{ MASTER_HANDOVER, "sbuhh", IPC_STATE_ANY, master_on_handover },
	{ 0, NULL, 0, NULL },
};
static void
keyd_on_tickets(void *arg, struct ipc_conn *c, struct ipc_in *in)
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

static const struct ipc_handler keyd_rows[] = {
	{ KEYD_CHAIN, "s", IPC_STATE_ANY, keyd_on_chain },
	{ KEYD_SIGN, "bub", IPC_STATE_ANY, keyd_on_sign },
	{ KEYD_TICKETS, "", IPC_STATE_ANY, keyd_on_tickets },
	{ 0, NULL, 0, NULL },
};

static void
harness_peer_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)arg;
	(void)c;
	fail_msg("peer gone: %s", why->text);
}

static struct ipc_conn *
harness_pair(struct harness *h, const struct ipc_handler *rows, int *ours)
{
	struct ipc_conn_ops ops = { rows, harness_peer_gone };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	*ours = fds[0];
	return ipc_conn_new(h->loop, fds[1], &ops, h);
}

/* ---- the client ---- */

static void
client_on_input(void *arg, struct stream *s)
{
	struct harness_client *c = arg;
	struct view in = stream_input(s);

	assert_int_equal(buf_append_view(&c->got, in), 0);
	stream_consume(s, in.len);
}

static void
client_on_tls(void *arg, struct stream *s)
{
	(void)s;
	((struct harness_client *)arg)->is_tls = true;
}

static void
client_on_close(void *arg, struct stream *s, const struct err *why)
{
	struct harness_client *c = arg;

	(void)why;
	stream_free(s);
	c->s = NULL;
	c->is_closed = true;
}

static const struct stream_ops client_ops = { client_on_input, NULL, client_on_tls,
	client_on_close };
static const struct stream_limits client_limits = { 65536, 4 << 20 };

static void
client_connect(struct harness *h, unsigned n)
{
	struct harness_client *c = &h->clients[n];
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;
	struct err e;
	int fd;

	buf_clear(&c->got);
	buf_init(&c->got, 64 << 20);
	c->is_closed = c->is_tls = false;
	c->s = stream_connect(h->loop, &h->at, NULL, &client_limits, &client_ops, c, &e);
	assert_non_null(c->s);
	fd = accept4(h->listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	login_front_accept(h->front, fd, &peer);
}

static void
client_send(struct harness *h, const char *text)
{
	assert_int_equal(stream_write(h->clients[0].s, text, strlen(text)), 0);
}

static bool
client_has(struct harness *h, unsigned n, const char *text)
{
	return view_find(buf_view(&h->clients[n].got), view_of(text)) != NULL;
}

static void
client_expect_n(struct harness *h, unsigned n, const char *text)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;

	while (!client_has(h, n, text) && clock_mono_ms() < until)
		harness_turn(h);
	if (!client_has(h, n, text))
		fail_msg("no \"%s\" in \"%s\"", text, buf_cstr(&h->clients[n].got));
	buf_reset(&h->clients[n].got);
}

static void
client_expect(struct harness *h, const char *text)
{
	client_expect_n(h, 0, text);
}

static void
client_tls(struct harness *h)
{
	struct err e;

	assert_int_equal(
	    stream_start_tls(h->clients[0].s, h->client_tls, "mail.example.test", &e), 0);
	RUN_UNTIL(h, h->clients[0].is_tls);
}

/* ---- the session ---- */

static void
session_expect(struct harness *h, const char *text)
{
	char got[4096];
	size_t len = 0;
	int64_t until = clock_mono_ms() + PATIENCE_MS;

	memset(got, 0, sizeof got);
	while (strstr(got, text) == NULL && clock_mono_ms() < until) {
		ssize_t n = recv(h->bytes, got + len, sizeof got - 1 - len, MSG_DONTWAIT);

		if (n > 0)
			len += (size_t)n;
		harness_turn(h);
	}
	if (strstr(got, text) == NULL)
		fail_msg("no \"%s\" in \"%s\"", text, got);
}

static void
session_send(struct harness *h, const char *text)
{
	assert_int_equal(send(h->bytes, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static bool
log_has(struct harness *h, const char *text)
{
	(void)h;
	return log_capture_has(text);
}

/* ---- life ---- */

static void
harness_pause(void *arg, bool paused)
{
	((struct harness *)arg)->is_paused = paused;
}

static void
harness_idle(void *arg)
{
	((struct harness *)arg)->is_idle = true;
}

static X509 *
harness_cert(EVP_PKEY *key)
{
	X509 *x = X509_new();

	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

/* settings: "name = value\n" lines; has_tls: a certificate is configured */
static struct harness *
harness_new(const struct login_protocol *p, const char *settings, bool has_tls)
{
	struct harness *h = calloc(1, sizeof *h);
	socklen_t len = sizeof h->at;
	struct login_setup setup;
	struct err e;
	int fd;

	h->loop = loop_new();
	h->control = h->bytes = -1;
	conf_init(&h->conf);
	if (conf_parse(&h->conf, view_of(settings), "test", &e) < 0)
		fail_msg("%s", e.text);
	if (has_tls)
		assert_int_equal(
		    conf_set(&h->conf, "tls_cert_file", "/cert.pem", "test", 1, &e), 0);
	h->authd_end = harness_pair(h, authd_rows, &fd);
	h->authd = ipc_edge_new_fd(h->loop, fd, NULL, NULL);
	h->keyd_end = harness_pair(h, keyd_rows, &fd);
	h->keyd = ipc_edge_new_fd(h->loop, fd, NULL, NULL);
	h->master_end = harness_pair(h, master_rows, &fd);
	h->master = ipc_conn_new(h->loop, fd, NULL, NULL);
	h->key = EVP_EC_gen("P-256");
	h->cert = harness_cert(h->key);
	assert_int_equal(tls_init(h->loop, h->keyd, &e), 0);
	h->client_tls = tls_client_new(&h->conf, &e);
	log_capture_start();
	setup = (struct login_setup){ h->loop, &h->conf, h->authd, h->master, harness_pause,
		harness_idle, h };
	h->front = login_front_new(&setup, p);
	login_front_start(h->front);
	RUN_UNTIL(h, !h->is_paused);
	h->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(addr_parse(VIEW_LIT("127.0.0.1"), &h->at));
	assert_int_equal(bind(h->listener, (struct sockaddr *)&h->at, addr_len(&h->at)), 0);
	assert_int_equal(listen(h->listener, 50), 0);
	assert_int_equal(getsockname(h->listener, (struct sockaddr *)&h->at, &len), 0);
	return h;
}

static void
harness_free(struct harness *h)
{
	for (int i = 0; i < HARNESS_CLIENTS; i++) {
		stream_free(h->clients[i].s);
		buf_clear(&h->clients[i].got);
	}
	for (int i = 0; i < 3; i++)
		harness_turn(h);
	login_front_free(h->front);
	for (int i = 0; i < 3; i++)
		harness_turn(h); /* streams that are finishing */
	fd_close(&h->listener);
	fd_close(&h->control);
	fd_close(&h->bytes);
	ipc_edge_free(h->authd);
	ipc_edge_free(h->keyd);
	ipc_conn_close(h->authd_end);
	ipc_conn_close(h->keyd_end);
	ipc_conn_close(h->master_end);
	ipc_conn_close(h->master);
	EVP_PKEY_free(h->key);
	X509_free(h->cert);
	tls_context_free(h->client_tls);
	conf_clear(&h->conf);
	loop_free(h->loop);
	log_capture_end();
	free(h);
}

#endif
