#include "common/net/tls.h"
#include "common/base/mem.h"
#include "common/ipc/msg/keyd.h"
#include "common/log/log.h"
#include "common/net/key_provider.h"
#include "common/net/tls_ticket.h"

#include <openssl/async.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	SIGN_TIMEOUT_MS = 10000,
	CHAIN_TIMEOUT_MS = 30000,
	CHAIN_MAX_CERTS = 16,
	JOBS_MAX =
	    512, /* handshakes under way in one process; each has a stack of 32 KB; more wait */
};

struct tls_context {
	SSL_CTX *ssl_ctx; /* owned; each SSL made from it holds a reference */
};

static struct {
	struct ipc_edge *keyd;
	void (*wake)(void *arg); /* between tls_async_enter and _leave */
	void *wake_arg;
	bool is_aborting;
	bool has_jobs;
} tls;

/* ---- signatures by keyd ---- */

struct sign_op {
	struct ipc_call *call;
	void (*wake)(void *arg);
	void *wake_arg;
	size_t len;
	unsigned char sig[KEY_SIGNATURE_MAX];
};

static void
on_signed(void *arg, struct ipc_in *in)
{
	struct sign_op *op = arg;

	op->call = NULL;
	if (in != NULL && ipc_get_u32(in) == KEYD_OK) {
		struct view sig = ipc_get_bytes(in);

		if (sig.len > 0 && sig.len <= sizeof op->sig) {
			memcpy(op->sig, sig.p, sig.len);
			op->len = sig.len;
		}
	}
	if (op->wake != NULL)
		op->wake(op->wake_arg);
}

/* Runs on the stack of an OpenSSL job, which is left here until keyd has answered.  Outside of a job it
 * fails: waiting would stop the loop. */
static int
tls_sign(const unsigned char spki_hash[KEY_SPKI_HASH], unsigned scheme, const void *tbs,
    size_t tbs_len, unsigned char *sig, size_t *sig_len)
{
	struct sign_op *op;
	struct ipc_out o;
	int r = -1;

	if (tls.keyd == NULL || tls.is_aborting || ASYNC_get_current_job() == NULL)
		return -1;
	op = x_calloc(1, sizeof *op);
	op->wake = tls.wake;
	op->wake_arg = tls.wake_arg;
	ipc_out_init(&o, KEYD_SIGN);
	ipc_put_bytes(&o, spki_hash, KEY_SPKI_HASH);
	ipc_put_u32(&o, scheme);
	ipc_put_bytes(&o, tbs, tbs_len);
	op->call = ipc_edge_ask(tls.keyd, &o, "ub", SIGN_TIMEOUT_MS, on_signed, op);
	while (op->call != NULL && !tls.is_aborting)
		if (ASYNC_pause_job() != 1)
			break;
	if (op->call == NULL && op->len > 0) {
		memcpy(sig, op->sig, op->len);
		*sig_len = op->len;
		r = 0;
	}
	ipc_call_cancel(op->call);
	free(op);
	return r;
}

void
tls_async_enter(void (*wake)(void *arg), void *arg)
{
	tls.wake = wake;
	tls.wake_arg = arg;
}

void
tls_async_leave(void)
{
	tls.wake = NULL;
	tls.wake_arg = NULL;
}

void
tls_async_abort(SSL *ssl)
{
	if (!SSL_waiting_for_async(ssl))
		return;
	/* the job can only end by running: it sees the flag, gives up its request, and the handshake fails */
	tls.is_aborting = true;
	ERR_clear_error();
	(void)SSL_do_handshake(ssl);
	ERR_clear_error();
	tls.is_aborting = false;
	if (SSL_waiting_for_async(ssl))
		bug("tls: a parked handshake does not end");
}

int
tls_init(struct loop *l, struct ipc_edge *keyd, struct err *err)
{
	(void)l;
	tls.keyd = keyd;
	/* OpenSSL writes to the socket by write(2), which has no MSG_NOSIGNAL */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return err_sys(err, ERR_TEMP, "tls: signal");
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return err_set(err, ERR_TEMP, "tls: OpenSSL does not start");
	if (key_provider_register(tls_sign, err) < 0)
		return err_prefix(err, "tls");
	/* a second pool would replace the first and leak it */
	if (!tls.has_jobs && ASYNC_init_thread(JOBS_MAX, 0) != 1)
		return err_set(err, ERR_TEMP, "tls: no asynchronous jobs");
	tls.has_jobs = true;
	return 0;
}

/* ---- contexts ---- */

static int
openssl_err(struct err *err, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	err_set(err, ERR_PERM, "%s%s%s", what, reason != NULL ? ": " : "",
	    reason != NULL ? reason : "");
	ERR_clear_error();
	return -1;
}

/* Postfix's list, with commas or spaces, as OpenSSL's, with colons. */
static int
context_set_curves(SSL_CTX *c, const struct conf *conf, struct err *err)
{
	struct view rest = view_of(conf_str(conf, "tls_eecdh_auto_curves")), name;
	struct buf list;
	const char *text;
	bool ok;

	buf_init(&list, 1024);
	while (view_token(&rest, " ,:\t", &name)) {
		char one[64];

		if (name.len == 0)
			continue;
		snprintf(one, sizeof one, "%.*s", VIEW_ARG(name));
		if (SSL_CTX_set1_groups_list(c, one) != 1) {
			buf_clear(&list);
			ERR_clear_error();
			return err_set(
			    err, ERR_PERM, "tls_eecdh_auto_curves: unknown curve \"%s\"", one);
		}
		(void)buf_append_str(&list, list.len > 0 ? ":" : "");
		(void)buf_append_view(&list, name);
	}
	text = buf_cstr(&list);
	ok = text != NULL && SSL_CTX_set1_groups_list(c, text) == 1;
	buf_clear(&list);
	return ok ? 0 : openssl_err(err, "tls_eecdh_auto_curves");
}

static SSL_CTX *
context_make(const SSL_METHOD *method, const struct conf *conf, struct err *err)
{
	SSL_CTX *c = SSL_CTX_new(method);

	if (c == NULL) {
		openssl_err(err, "no context");
		return NULL;
	}
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(
	    c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	if ((SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 &&
		openssl_err(err, "TLS 1.2") < 0) ||
	    context_set_curves(c, conf, err) < 0) {
		SSL_CTX_free(c);
		return NULL;
	}
	return c;
}

static struct tls_context *
context_wrap(SSL_CTX *c)
{
	struct tls_context *ctx = x_calloc(1, sizeof *ctx);

	ctx->ssl_ctx = c;
	return ctx;
}

/* What keyd does not do is never negotiated, whatever the list says: RSA key exchange would need it to
 * decrypt, and finite-field parameters are not a shape that it knows. */
static int
server_set_ciphers(SSL_CTX *c, const struct conf *conf, struct err *err)
{
	char list[1024];
	int n = snprintf(list, sizeof list, "%s:!kRSA:!kDHE:!kPSK:!kSRP:!aNULL:!eNULL",
	    conf_str(conf, "tls_high_cipherlist"));

	if (n < 0 || (size_t)n >= sizeof list || SSL_CTX_set_cipher_list(c, list) != 1)
		return openssl_err(err, "tls_high_cipherlist");
	if (conf_bool(conf, "tls_preempt_cipherlist"))
		SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	return 0;
}

static int
server_set_key(SSL_CTX *c, X509 *leaf, struct err *err)
{
	EVP_PKEY *key = key_provider_key(leaf, err);
	int r = 0;

	if (key == NULL)
		return -1;
	ERR_clear_error();
	if (SSL_CTX_use_certificate(c, leaf) != 1)
		r = openssl_err(err, "certificate refused");
	else if (SSL_CTX_use_PrivateKey(c, key) != 1 || SSL_CTX_check_private_key(c) != 1)
		r = openssl_err(err, "key refused");
	EVP_PKEY_free(key);
	return r;
}

/* The chain as keyd sent it: leaf first. */
static int
server_set_chain(SSL_CTX *c, struct ipc_in *in, struct err *err)
{
	unsigned count = 0;
	int r = 0;

	while (ipc_in_more(in) && r == 0) {
		struct view der = ipc_get_bytes(in);
		const unsigned char *p = (const unsigned char *)der.p;
		X509 *cert = count < CHAIN_MAX_CERTS ? d2i_X509(NULL, &p, (long)der.len) : NULL;

		if (cert == NULL)
			r = openssl_err(err, "malformed certificate");
		else if (count++ == 0)
			r = server_set_key(c, cert, err);
		else if (SSL_CTX_add1_chain_cert(c, cert) != 1)
			r = openssl_err(err, "certificate chain refused");
		X509_free(cert);
	}
	if (r == 0 && count == 0)
		r = err_set(err, ERR_PERM, "tls: keyd has no certificate");
	return r;
}

int
tls_server_check(const struct conf *conf, struct err *err)
{
	SSL_CTX *c = context_make(TLS_server_method(), conf, err);
	int r = c != NULL ? server_set_ciphers(c, conf, err) : -1;

	SSL_CTX_free(c);
	return r;
}

static struct tls_context *
server_make(struct ipc_in *in, const struct conf *conf, struct err *err)
{
	static const unsigned char id[] = "estafeta";
	SSL_CTX *c = context_make(TLS_server_method(), conf, err);

	if (c == NULL)
		return NULL;
	SSL_CTX_set_mode(c, SSL_MODE_ASYNC);
	SSL_CTX_set_num_tickets(c, 1);
	if (server_set_ciphers(c, conf, err) < 0 || server_set_chain(c, in, err) < 0) {
		SSL_CTX_free(c);
		return NULL;
	}
	if (SSL_CTX_set_session_id_context(c, id, sizeof id - 1) != 1 || !tls_ticket_enable(c)) {
		openssl_err(err, "session tickets");
		SSL_CTX_free(c);
		return NULL;
	}
	return context_wrap(c);
}

struct server_request {
	char *cert_file;         /* owned */
	const struct conf *conf; /* borrowed: the process's */
	void (*ready)(void *arg, struct tls_context *ctx, const struct err *err);
	void *arg;
};

static void
on_chain(void *arg, struct ipc_in *in)
{
	struct server_request *r = arg;
	struct tls_context *ctx = NULL;
	struct err err = { 0 };
	uint32_t status;

	if (in == NULL)
		err_set(&err, ERR_TEMP, "tls: keyd does not answer");
	else if ((status = ipc_get_u32(in)) == KEYD_UNKNOWN)
		err_set(&err, ERR_PERM, "tls: keyd has no usable certificate %s", r->cert_file);
	else if (status != KEYD_OK)
		err_set(&err, ERR_TEMP, "tls: keyd refuses the certificate %s", r->cert_file);
	else
		ctx = server_make(in, r->conf, &err);
	r->ready(r->arg, ctx, ctx == NULL ? &err : NULL);
	free(r->cert_file);
	free(r);
}

void
tls_server_new(const char *cert_file, const struct conf *conf,
    void (*ready)(void *arg, struct tls_context *ctx, const struct err *err), void *arg)
{
	struct server_request *r = x_calloc(1, sizeof *r);
	struct ipc_out o;

	if (tls.keyd == NULL)
		bug("tls_server_new without tls_init or without keyd");
	r->cert_file = x_strdup(cert_file);
	r->conf = conf;
	r->ready = ready;
	r->arg = arg;
	ipc_out_init(&o, KEYD_CHAIN);
	ipc_put_str(&o, cert_file);
	(void)ipc_edge_ask(tls.keyd, &o, "u(b)", CHAIN_TIMEOUT_MS, on_chain, r);
}

struct tls_context *
tls_client_new(const struct conf *conf, struct err *err)
{
	SSL_CTX *c = context_make(TLS_client_method(), conf, err);
	const char *ca_file = conf_str(conf, "smtp_tls_CAfile");

	if (c == NULL)
		return NULL;
	SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
	if (ca_file[0] != '\0' && SSL_CTX_load_verify_locations(c, ca_file, NULL) != 1) {
		openssl_err(err, ca_file);
		log_warn("smtp_tls_CAfile: %s", err->text);
	}
	return context_wrap(c);
}

void
tls_context_free(struct tls_context *ctx)
{
	if (ctx == NULL)
		return;
	SSL_CTX_free(ctx->ssl_ctx);
	free(ctx);
}

SSL_CTX *
tls_context_ssl(struct tls_context *ctx)
{
	return ctx->ssl_ctx;
}

void
tls_describe(SSL *ssl, char *out, size_t size)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	int alg_bits = 0, bits = SSL_CIPHER_get_bits(cipher, &alg_bits);

	snprintf(out, size, "%s with cipher %s (%d/%d bits)", SSL_get_version(ssl),
	    SSL_CIPHER_get_name(cipher), bits, alg_bits);
}
