/* key_provider.h - private keys that are somewhere else, as an OpenSSL 3 provider (DESIGN 3).
 *
 * A key made here holds the public part and the SHA-256 of its SubjectPublicKeyInfo.  OpenSSL takes it
 * for a private key of type RSA, EC or ED25519; to sign, the provider calls the one function it was
 * registered with.  It can do nothing else: no decryption, no export, no verification, and other keys
 * never come here (property "provider=estafeta").
 */
#ifndef COMMON_NET_KEY_PROVIDER_H
#define COMMON_NET_KEY_PROVIDER_H

#include "common/base/err.h"

#include <openssl/evp.h>
#include <stdbool.h>

enum { KEY_SPKI_HASH = 32, KEY_SIGNATURE_MAX = 1024, KEY_TBS_MAX = 4096 };

/* Signs tbs (the text, not a digest) under a TLS SignatureScheme (RFC 8446 4.2.3): 0 and *sig_len, -1.
 * sig has room for KEY_SIGNATURE_MAX bytes.  May pause the OpenSSL ASYNC job it is called in. */
typedef int key_sign_fn(const unsigned char spki_hash[KEY_SPKI_HASH], unsigned scheme,
    const void *tbs, size_t tbs_len, unsigned char *sig, size_t *sig_len);

/* Once per process; loads OpenSSL's default provider beside ours.  0 or -1. */
int key_provider_register(key_sign_fn *sign, struct err *err);
/* The key object for this certificate's public key.  NULL: *err. */
EVP_PKEY *key_provider_key(X509 *cert, struct err *err);

/* SHA-256 of the certificate's SubjectPublicKeyInfo in DER: a key's name towards keyd. */
bool key_spki_hash(X509 *cert, unsigned char hash[KEY_SPKI_HASH]);

#endif
