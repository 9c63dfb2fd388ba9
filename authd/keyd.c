#include "authd/keyd.h"
#include "authd/keyd_shape.h"
#include "common/base/mem.h"
#include "common/ipc/msg/keyd.h"
#include "common/log/log.h"
#include "common/net/pem.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/queue.h>

enum { REFUSALS_LOGGED = 10, REFUSALS_STEP = 1000 };

struct vault_key {
	LIST_ENTRY(vault_key) link;
	char *name;     /* owned */
	EVP_PKEY *pkey; /* owned */
};

struct vault_chain {
	LIST_ENTRY(vault_chain) link;
	char *name;                 /* owned */
	X509 *certs[PEM_CHAIN_MAX]; /* owned, leaf first */
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

int
keyd_add_key(struct keyd *k, const char *name, int fd, struct err *err)
{
	EVP_PKEY *pkey = pem_read_key(fd, err);
	struct vault_key *key;

	if (pkey == NULL)
		return err_prefix(err, "key %s", name);
	key = x_calloc(1, sizeof *key);
	key->name = x_strdup(name);
	key->pkey = pkey;
	LIST_INSERT_HEAD(&k->keys, key, link);
	return 0;
}

static int
hash_leaf(struct vault_chain *c, struct err *err)
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->certs[0]), &der);

	if (len <= 0)
		return err_set(err, ERR_SYNTAX, "certificate without public key");
	SHA256(der, (size_t)len, c->spki_hash);
	OPENSSL_free(der);
	return 0;
}

int
keyd_add_chain(struct keyd *k, const char *name, int fd, struct err *err)
{
	struct vault_chain *c = x_calloc(1, sizeof *c);
	int count = pem_read_chain(fd, c->certs, err);

	c->name = x_strdup(name);
	c->count = count > 0 ? (size_t)count : 0;
	if (count < 0 || hash_leaf(c, err) < 0) {
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
