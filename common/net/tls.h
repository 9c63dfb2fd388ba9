/* tls.h - TLS contexts whose private keys live in keyd (DESIGN 3).
 *
 * tls_init registers our OpenSSL provider once per process; its key objects hold only the public part and
 * ask keyd over the given edge.  SSL_MODE_ASYNC: while keyd signs, the handshake is parked and the loop
 * runs; stream.c resumes it.  TLS 1.2 and up, no renegotiation, no compression, no RSA key exchange.
 */
#ifndef COMMON_NET_TLS_H
#define COMMON_NET_TLS_H

#include "common/config/conf.h"
#include "common/ipc/conn.h"

#include <openssl/ssl.h>

struct tls_context; /* owned; refcounted SSL_CTX inside */

/* Once, before the cage closes (loads providers and algorithms).  keyd may be NULL for a client without
 * keys.  0 or -1. */
int tls_init(struct loop *l, struct ipc_edge *keyd, struct err *err);

/* Would a server context take this configuration's ciphers and curves?  0 or -1, naming the parameter. */
int tls_server_check(const struct conf *conf, struct err *err);
/* Server context: asks keyd for the chain behind cert_file; ready(arg, ctx, err) comes from the loop, once,
 * with ctx NULL on failure.  The context is the caller's. */
void tls_server_new(const char *cert_file, const struct conf *conf,
    void (*ready)(void *arg, struct tls_context *ctx, const struct err *err), void *arg);
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
/* A stream goes while its handshake is parked: lets the job end (as failed) so that SSL_free is safe. */
void tls_async_abort(SSL *ssl);

#endif
