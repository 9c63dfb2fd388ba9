/* tls_local.h - between the files of tls*.c. */
#ifndef COMMON_NET_TLS_LOCAL_H
#define COMMON_NET_TLS_LOCAL_H

#include "common/net/cert_set.h"
#include "common/net/tls.h"

#include <sys/queue.h>

/* What keyd sent of one set: a leaf for each key type, its key (in keyd), its issuers. */
struct tls_chains {
	struct {
		X509 *leaf;
		EVP_PKEY *key;
		STACK_OF(X509) * issuers;
	} items[CERT_SET_MAX]; /* owned */
	size_t count;
};
/* Reads the "(ub)" of an answer of keyd.  0, or -1 with *c cleared. */
int tls_chains_read(struct tls_chains *c, struct ipc_in *in, struct err *err);
void tls_chains_clear(struct tls_chains *c);

/* The chains of names that clients asked for, the last ones used. */
struct tls_names;
struct tls_names *tls_names_new(SSL_CTX *c, const char *maps);
void tls_names_free(struct tls_names *n);

struct tls_context {
	SSL_CTX *ssl_ctx;           /* owned; each SSL made from it holds a reference */
	struct tls_names *names;    /* owned; NULL: no table */
	struct loop_timer new_keys; /* of tickets */
	struct ipc_call *key_request;
};

SSL_CTX *tls_context_make(const SSL_METHOD *method, const struct conf *conf, struct err *err);
struct tls_context *tls_context_wrap(SSL_CTX *c);
/* Fills *err with OpenSSL's reason, and empties its queue.  Returns -1. */
int tls_openssl_err(struct err *err, const char *what);

struct loop *tls_loop(void);
struct ipc_edge *tls_keyd(void);
/* Whom to wake when the handshake on the stack can go on; between tls_async_enter and _leave. */
void tls_waker(void (**wake)(void *arg), void **arg);

#endif
