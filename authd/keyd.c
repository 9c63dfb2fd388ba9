#include "authd/keyd.h"
#include "authd/keyd_shape.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/keyd.h"
#include "common/log/log.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/stat.h>

enum { PEM_BYTES_MAX = 1 << 20, CHAIN_CERTS_MAX = 16, REFUSALS_LOGGED = 10, REFUSALS_STEP = 1000 };

struct vault_key {
	LIST_ENTRY(vault_key) link;
	char *name;     /* owned */
	EVP_PKEY *pkey; /* owned */
};

struct vault_chain {
	LIST_ENTRY(vault_chain) link;
	char *name;                   /* owned */
	X509 *certs[CHAIN_CERTS_MAX]; /* owned, leaf first */
	size_t count;
	unsigned char spki_hash[SHA256_DIGEST_LENGTH];
	struct vault_key *key; /* borrowed from the vault */
};

struct keyd {
	LIST_HEAD(, vault_key) keys;
	LIST_HEAD(, vault_chain) chains;
};

struct keyd *
keyd_new(void)
{
	struct keyd *k = x_calloc(1, sizeof *k);

	LIST_INIT(&k->keys);
	LIST_INIT(&k->chains);
	return k;
}

static void
chain_free(struct vault_chain *c)
{
	for (size_t i = 0; i < c->count; i++)
		X509_free(c->certs[i]);
	free(c->name);
	free(c);
}

void
keyd_free(struct keyd *k)
{
	struct vault_chain *c;
	struct vault_key *key;

	if (k == NULL)
		return;
	while ((c = LIST_FIRST(&k->chains)) != NULL) {
		LIST_REMOVE(c, link);
		chain_free(c);
	}
	while ((key = LIST_FIRST(&k->keys)) != NULL) {
		LIST_REMOVE(key, link);
		EVP_PKEY_free(key->pkey);
		free(key->name);
		free(key);
	}
	free(k);
}

/* The file's text in OpenSSL's secure heap (locked, not dumped); OPENSSL_secure_clear_free it. */
static char *
pem_read(int fd, size_t *len, struct err *err)
{
	struct stat st;
	char *text;

	if (fstat(fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "fstat");
		return NULL;
	}
	if (st.st_size <= 0 || st.st_size > PEM_BYTES_MAX) {
		err_set(err, ERR_SYNTAX, "empty, or larger than %d bytes", PEM_BYTES_MAX);
		return NULL;
	}
	*len = (size_t)st.st_size;
	text = OPENSSL_secure_malloc(*len);
	if (text == NULL) {
		err_set(err, ERR_TEMP, "out of secure memory");
		return NULL;
	}
	if (fd_pread_all(fd, text, *len, 0, err) < 0) {
		OPENSSL_secure_clear_free(text, *len);
		return NULL;
	}
	return text;
}

/* Nobody is there to type a passphrase. */
static int
no_passphrase(char *out, int size, int is_writing, void *arg)
{
	(void)out;
	(void)size;
	(void)is_writing;
	(void)arg;
	return -1;
}

int
keyd_add_key(struct keyd *k, const char *name, int fd, struct err *err)
{
	struct vault_key *key;
	EVP_PKEY *pkey = NULL;
	size_t len = 0;
	char *text = pem_read(fd, &len, err);
	BIO *bio;

	if (text == NULL)
		return err_prefix(err, "key %s", name);
	bio = BIO_new_mem_buf(text, (int)len);
	if (bio != NULL)
		pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	OPENSSL_secure_clear_free(text, len);
	ERR_clear_error();
	if (pkey == NULL)
		return err_set(
		    err, ERR_SYNTAX, "key %s: no private key in PEM without passphrase", name);
	if (!EVP_PKEY_is_a(pkey, "RSA") && !EVP_PKEY_is_a(pkey, "EC") &&
	    !EVP_PKEY_is_a(pkey, "ED25519")) {
		EVP_PKEY_free(pkey);
		return err_set(err, ERR_PERM, "key %s: not RSA, EC or Ed25519", name);
	}
	key = x_calloc(1, sizeof *key);
	key->name = x_strdup(name);
	key->pkey = pkey;
	LIST_INSERT_HEAD(&k->keys, key, link);
	return 0;
}

static int
chain_read(struct vault_chain *c, BIO *bio, struct err *err)
{
	X509 *cert;
	unsigned char *der = NULL;
	int len;

	while ((cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		if (c->count == CHAIN_CERTS_MAX) {
			X509_free(cert);
			return err_set(
			    err, ERR_LIMIT, "more than %d certificates", CHAIN_CERTS_MAX);
		}
		c->certs[c->count++] = cert;
	}
	ERR_clear_error();
	if (c->count == 0)
		return err_set(err, ERR_SYNTAX, "no certificate in PEM");
	len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->certs[0]), &der);
	if (len <= 0)
		return err_set(err, ERR_SYNTAX, "certificate without public key");
	SHA256(der, (size_t)len, c->spki_hash);
	OPENSSL_free(der);
	return 0;
}

int
keyd_add_chain(struct keyd *k, const char *name, int fd, struct err *err)
{
	size_t len = 0;
	char *text = pem_read(fd, &len, err);
	struct vault_chain *c;
	BIO *bio;
	int r = -1;

	if (text == NULL)
		return err_prefix(err, "certificate %s", name);
	c = x_calloc(1, sizeof *c);
	c->name = x_strdup(name);
	bio = BIO_new_mem_buf(text, (int)len);
	if (bio != NULL)
		r = chain_read(c, bio, err);
	else
		err_set(err, ERR_TEMP, "out of memory");
	BIO_free(bio);
	OPENSSL_secure_clear_free(text, len);
	if (r < 0) {
		chain_free(c);
		return err_prefix(err, "certificate %s", name);
	}
	LIST_INSERT_HEAD(&k->chains, c, link);
	return 0;
}

size_t
keyd_match(struct keyd *k, void (*report)(void *arg, const char *text), void *arg)
{
	struct vault_chain *c, *next;
	size_t usable = 0;

	for (c = LIST_FIRST(&k->chains); c != NULL; c = next) {
		struct vault_key *key;
		struct err e;

		next = LIST_NEXT(c, link);
		LIST_FOREACH (key, &k->keys, link)
			if (EVP_PKEY_eq(X509_get0_pubkey(c->certs[0]), key->pkey) == 1)
				break;
		ERR_clear_error();
		c->key = key;
		if (key != NULL) {
			usable++;
			continue;
		}
		err_set(&e, ERR_PERM, "certificate %s: none of the keys belongs to it", c->name);
		report(arg, e.text);
		LIST_REMOVE(c, link);
		chain_free(c);
	}
	return usable;
}

/* ---- signing ---- */

static const EVP_MD *
scheme_hash(unsigned scheme)
{
	switch (scheme) {
	case 0x0401:
	case 0x0403:
	case 0x0804:
		return EVP_sha256();
	case 0x0501:
	case 0x0503:
	case 0x0805:
		return EVP_sha384();
	case 0x0601:
	case 0x0603:
	case 0x0806:
		return EVP_sha512();
	default:
		return NULL; /* Ed25519 hashes by itself */
	}
}

static const char *
scheme_key_type(unsigned scheme)
{
	if (scheme == 0x0807)
		return "ED25519";
	return (scheme & 0xff) == 3 && scheme >> 8 != 8 ? "EC" : "RSA";
}

static unsigned
sign_with(EVP_PKEY *pkey, unsigned scheme, struct view tbs, unsigned char *sig, size_t *sig_len)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx = NULL;
	unsigned status = KEYD_FAILED;

	*sig_len = KEYD_SIGNATURE_MAX;
	if (md == NULL || EVP_DigestSignInit(md, &ctx, scheme_hash(scheme), NULL, pkey) != 1)
		goto out;
	if (scheme >> 8 == 8 && scheme != 0x0807 &&
	    (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) != 1 ||
		EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) != 1))
		goto out;
	if (EVP_DigestSign(md, sig, sig_len, (const unsigned char *)tbs.p, tbs.len) == 1)
		status = KEYD_OK;
out:
	EVP_MD_CTX_free(md);
	ERR_clear_error();
	return status;
}

unsigned
keyd_sign(struct keyd *k, unsigned shapes, struct view spki_hash, unsigned scheme, struct view tbs,
    unsigned char *sig, size_t *sig_len)
{
	unsigned shape = keyd_shape_of(tbs);
	struct vault_chain *c;

	if ((shape & shapes) == 0 || !keyd_shape_allows(shape, scheme))
		return KEYD_REFUSED;
	LIST_FOREACH (c, &k->chains, link)
		if (spki_hash.len == sizeof c->spki_hash &&
		    memcmp(spki_hash.p, c->spki_hash, spki_hash.len) == 0)
			break;
	if (c == NULL || c->key == NULL)
		return KEYD_UNKNOWN;
	if (!EVP_PKEY_is_a(c->key->pkey, scheme_key_type(scheme)) ||
	    EVP_PKEY_get_size(c->key->pkey) > KEYD_SIGNATURE_MAX)
		return KEYD_REFUSED;
	return sign_with(c->key->pkey, scheme, tbs, sig, sig_len);
}

/* ---- messages ---- */

/* A refusal means that a caller is broken, or broken into; it may repeat it as fast as it likes. */
static void
log_refusal(struct keyd_caller *caller, unsigned scheme, size_t len)
{
	if (caller->refused++ < REFUSALS_LOGGED || caller->refused % REFUSALS_STEP == 0)
		log_warn(
		    "refused to sign %zu bytes for %s (scheme 0x%04x, refusal %lu): not a TLS handshake of its side",
		    len, caller->name, scheme, caller->refused);
}

static void
on_sign(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct keyd_caller *caller = arg;
	struct view hash = ipc_get_bytes(in);
	uint32_t scheme = ipc_get_u32(in);
	struct view tbs = ipc_get_bytes(in);
	unsigned char sig[KEYD_SIGNATURE_MAX];
	size_t len = 0;
	unsigned status = keyd_sign(caller->keyd, caller->shapes, hash, scheme, tbs, sig, &len);
	struct ipc_out o;

	if (status == KEYD_REFUSED)
		log_refusal(caller, scheme, tbs.len);
	else if (status == KEYD_FAILED)
		log_error("signing for %s failed (scheme 0x%04x)", caller->name, scheme);
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_bytes(&o, sig, status == KEYD_OK ? len : 0);
	(void)ipc_conn_reply(conn, in->id, &o);
}

static bool
put_chain(struct ipc_out *o, const struct vault_chain *c)
{
	for (size_t i = 0; i < c->count; i++) {
		unsigned char *der = NULL;
		int len = i2d_X509(c->certs[i], &der);

		if (len <= 0)
			return false;
		ipc_put_bytes(o, der, (size_t)len);
		OPENSSL_free(der);
	}
	return !o->failed;
}

static void
on_chain(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct keyd_caller *caller = arg;
	const char *name = ipc_get_str(in);
	struct vault_chain *c;
	struct ipc_out o;

	LIST_FOREACH (c, &caller->keyd->chains, link)
		if (strcmp(c->name, name) == 0)
			break;
	ipc_reply_init(&o);
	ipc_put_u32(&o, c == NULL ? KEYD_UNKNOWN : KEYD_OK);
	if (c != NULL && !put_chain(&o, c)) {
		log_error("certificate chain %s does not fit into a message", c->name);
		ipc_out_clear(&o);
		ipc_reply_init(&o);
		ipc_put_u32(&o, KEYD_FAILED);
	}
	(void)ipc_conn_reply(conn, in->id, &o);
}

const struct ipc_handler keyd_handlers[] = {
	{ KEYD_CHAIN, "s", IPC_STATE_ANY, on_chain },
	{ KEYD_SIGN, "bub", IPC_STATE_ANY, on_sign },
	{ 0, NULL, 0, NULL },
};
