#include "common/net/tls.h"
#include "common/base/mem.h"
#include "common/ipc/msg/keyd.h"
#include "common/log/log.h"
#include "common/net/key_provider.h"
#include "common/net/tls_local.h"

#include <openssl/async.h>
#include <openssl/err.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	SIGN_TIMEOUT_MS = 10000,
	JOBS_MAX =
	    128, /* handshakes at keyd in one process: each has a stack of 32 KB, kept; more wait */
	TRIM_AFTER_MS = 2000,
	TRIM_HANDSHAKES = 64, /* fewer leave no holes worth the work */
};

static struct {
	struct loop *loop;
	struct ipc_edge *keyd;
	void (*wake)(void *arg); /* between tls_async_enter and _leave */
	void *wake_arg;
	bool is_aborting;
	bool has_jobs;
	struct loop_timer trim;
	unsigned handshakes; /* ended since the last trim */
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

static void
on_trim(void *arg)
{
	(void)arg;
	if (tls.handshakes >= TRIM_HANDSHAKES)
		malloc_trim(0);
	tls.handshakes = 0;
}

void
tls_handshake_ended(void)
{
	if (tls.loop != NULL && tls.handshakes++ == 0)
		loop_timer_start(&tls.trim, TRIM_AFTER_MS);
}

void
tls_waker(void (**wake)(void *arg), void **arg)
{
	*wake = tls.wake;
	*arg = tls.wake_arg;
}

struct loop *
tls_loop(void)
{
	return tls.loop;
}

struct ipc_edge *
tls_keyd(void)
{
	return tls.keyd;
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
	tls.loop = l;
	tls.handshakes = 0;
	loop_timer_init(&tls.trim, l, on_trim, NULL);
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

int
tls_openssl_err(struct err *err, const char *what)
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
	return ok ? 0 : tls_openssl_err(err, "tls_eecdh_auto_curves");
}

SSL_CTX *
tls_context_make(const SSL_METHOD *method, const struct conf *conf, struct err *err)
{
	SSL_CTX *c = SSL_CTX_new(method);

	if (c == NULL) {
		tls_openssl_err(err, "no context");
		return NULL;
	}
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(
	    c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	if ((SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 &&
		tls_openssl_err(err, "TLS 1.2") < 0) ||
	    context_set_curves(c, conf, err) < 0) {
		SSL_CTX_free(c);
		return NULL;
	}
	return c;
}

struct tls_context *
tls_context_wrap(SSL_CTX *c)
{
	struct tls_context *ctx = x_calloc(1, sizeof *ctx);

	ctx->ssl_ctx = c;
	return ctx;
}

struct tls_context *
tls_client_new(const struct conf *conf, struct err *err)
{
	SSL_CTX *c = tls_context_make(TLS_client_method(), conf, err);
	const char *ca_file = conf_str(conf, "smtp_tls_CAfile");

	if (c == NULL)
		return NULL;
	SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
	if (ca_file[0] != '\0' && SSL_CTX_load_verify_locations(c, ca_file, NULL) != 1) {
		tls_openssl_err(err, ca_file);
		log_warn("smtp_tls_CAfile: %s", err->text);
	}
	return tls_context_wrap(c);
}

void
tls_context_free(struct tls_context *ctx)
{
	if (ctx == NULL)
		return;
	if (ctx->new_keys.fn != NULL)
		loop_timer_stop(&ctx->new_keys);
	ipc_call_cancel(ctx->key_request);
	SSL_CTX_free(ctx->ssl_ctx);
	tls_names_free(ctx->names);
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
