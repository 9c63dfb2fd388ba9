/* cert_set.h - the private keys and certificate chains of a few PEM files, as keyd takes them, and as `estafeta check`
 * looks at them.
 *
 * A set is what one server name shows: a chain for each key type.  In its files, read in order, a certificate behind a
 * private key begins a chain, as does the first of all; those behind it are its issuers (Postfix's
 * smtpd_tls_chain_files). */
#ifndef COMMON_NET_CERT_SET_H
#define COMMON_NET_CERT_SET_H

#include "common/base/err.h"
#include "common/base/view.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

enum { CERT_CHAIN_MAX = 16, CERT_SET_MAX = 8 };

/* What is taken of a file. */
enum { CERT_SET_KEYS = 1, CERT_SET_CERTS = 2 };

struct cert_chain {
	X509 *certs[CERT_CHAIN_MAX]; /* owned, leaf first */
	size_t count;
	EVP_PKEY *key; /* borrowed from the set; NULL before cert_set_match */
};

struct cert_set {
	EVP_PKEY *keys[CERT_SET_MAX]; /* owned; RSA, EC or Ed25519 */
	size_t nkeys;
	struct cert_chain chains[CERT_SET_MAX];
	size_t nchains;
	bool is_behind_key; /* the next certificate begins a chain */
};

void cert_set_init(struct cert_set *s);
void cert_set_clear(struct cert_set *s);

/* Reads fd (borrowed) from offset 0, at most 1 MB, in OpenSSL's secure heap where there is one.  No passphrases.
 * 0; -1: ERR_SYNTAX (also: there is nothing of what was wanted), ERR_LIMIT, ERR_PERM (a key of another kind). */
int cert_set_add(struct cert_set *s, int fd, unsigned what, struct err *err);
/* The same by name; only a regular file. */
int cert_set_add_file(struct cert_set *s, const char *path, unsigned what, struct err *err);
/* All of a list "FILE, FILE ...", keys and certificates, then cert_set_match. */
int cert_set_add_list(struct cert_set *s, const char *files, struct err *err);
/* Finds the key of each chain.  -1 (ERR_PERM): one has none, or there is no chain. */
int cert_set_match(struct cert_set *s, struct err *err);

#endif
