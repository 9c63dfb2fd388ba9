/* tls.h - TLS contexts whose private keys live in keyd (DESIGN 3).
 *
 * tls_init registers our OpenSSL provider once per process; its key objects hold only the public part and
 * ask keyd over the given edge.  SSL_MODE_ASYNC: while keyd signs, the handshake is parked and the loop
 * runs; stream.c resumes it.  TLS 1.2 and up, no renegotiation, no compression, no RSA key exchange.
 */
#ifndef COMMON_NET_TLS_H
#define COMMON_NET_TLS_H

#include "common/config/master_cf.h"
#include "common/ipc/conn.h"

#include <openssl/ssl.h>

struct tls_context; /* owned; refcounted SSL_CTX inside */

/* Once, before the cage closes (loads providers and algorithms).  keyd may be NULL for a client without
 * keys.  0 or -1. */
int tls_init(struct loop *l, struct ipc_edge *keyd, struct err *err);

enum tls_client_cert { TLS_CLIENT_CERT_NONE, TLS_CLIENT_CERT_ASK, TLS_CLIENT_CERT_REQUIRE };

/* What a server's contexts are made of; all borrowed for as long as there is one. */
struct tls_server_setup {
	const struct conf *conf;
	const struct role_tls *params;
	const char *service; /* tickets of another service do not resume here */
	/* Names of parameters; NULL: the default. */
	const char *protocols;  /* tls_protocols_parse */
	const char *ciphers;    /* grade; default: high */
	const char *exclude[2]; /* lists of ciphers never to be used */
	const char *ca_file, *ca_path;
	int64_t ticket_seconds; /* how long a session can be resumed; 0: not at all */
	enum tls_client_cert
	    client_cert; /* require: the handshake fails without one that ca_file or ca_path vouches for */
	int verify_depth;
	X509_STORE *trust; /* tls_server_prepare fills these two, for the life of the process */
	STACK_OF(X509_NAME) * ca_names;
};

/* Before the cage closes: would a context take the ciphers, curves and protocols?  Reads the CA certificates.  0 or -1,
 * naming the parameter. */
int tls_server_prepare(struct tls_server_setup *setup, struct err *err);
/* Server context: asks keyd for the chains that the configuration names, and for the keys of tickets; ready(arg, ctx, err)
 * comes from the loop, once, with ctx NULL on failure.  The context is the caller's.  A client that asks for a name in
 * tls_server_sni_maps gets that name's chains: fetched from keyd while its handshake waits, the last ones kept. */
void tls_server_new(const struct tls_server_setup *setup,
    void (*ready)(void *arg, struct tls_context *ctx, const struct err *err), void *arg);
/* Postfix's ">=TLSv1.2", "!TLSv1, !TLSv1.1", "TLSv1.3" as OpenSSL's lowest and highest version; never below TLS 1.2.
 * Pure.  -1: ERR_SYNTAX, or neither TLS 1.2 nor 1.3 is left (ERR_PERM). */
int tls_protocols_parse(const char *text, int *min, int *max, struct err *err);
/* Client context: a handshake goes on whatever the certificate; SSL_get_verify_result tells afterwards whether it is the
 * host's and leads to smtp_tls_CAfile, which is read here.  A file that cannot be read is logged: nobody is trusted then. */
struct tls_context *tls_client_new(const struct conf *conf, struct err *err);
void tls_context_free(struct tls_context *ctx);
SSL_CTX *tls_context_ssl(struct tls_context *ctx);

/* "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)" as Postfix logs it. */
void tls_describe(SSL *ssl, char *out, size_t size);

/* Used by stream.c around each OpenSSL call that can park: the stream to wake when the signature is there. */
void tls_async_enter(void (*wake)(void *arg), void *arg);
void tls_async_leave(void);
/* Many handshakes at a time take several times the memory of the sessions that stay: what lies free between those is
 * given back to the kernel a moment after them. */
void tls_handshake_ended(void);
/* A stream goes while its handshake is parked: lets the job end (as failed) so that SSL_free is safe. */
void tls_async_abort(SSL *ssl);

#endif
