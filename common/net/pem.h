/* pem.h - certificate and key files as keyd takes them, and as `estafeta check` looks at them. */
#ifndef COMMON_NET_PEM_H
#define COMMON_NET_PEM_H

#include "common/base/err.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

enum { PEM_CHAIN_MAX = 16 };

/* Both read fd (borrowed) from offset 0, at most 1 MB, in OpenSSL's secure heap where there is one.
 * The private key, without a passphrase; RSA, EC or Ed25519.  NULL: ERR_SYNTAX, ERR_PERM (of another kind). */
EVP_PKEY *pem_read_key(int fd, struct err *err);
/* The certificates, leaf first; the caller frees them.  Their number, or -1: ERR_SYNTAX, ERR_LIMIT. */
int pem_read_chain(int fd, X509 *certs[PEM_CHAIN_MAX], struct err *err);

#endif
