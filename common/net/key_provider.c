#include "common/net/key_provider.h"
#include "common/base/mem.h"
#include "common/base/view.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <strings.h>

#define PROVIDER_NAME "estafeta"
#define PROVIDER_PROPS "provider=estafeta"
#define PARAM_SPKI_HASH "estafeta-spki-sha256"

static key_sign_fn *provider_sign; /* set once, before any key is made */

/* ---- key objects ---- */

struct remote_key {
	const char *type; /* "RSA", "EC", "ED25519" */
	EVP_PKEY *pub;    /* owned; of the default provider */
	unsigned char spki_hash[KEY_SPKI_HASH];
	bool has_hash; /* a key that came by comparison has none and cannot sign */
};

static void *
key_new(const char *type)
{
	struct remote_key *k = OPENSSL_zalloc(sizeof *k);

	if (k != NULL)
		k->type = type;
	return k;
}

static void *
key_new_rsa(void *provctx)
{
	(void)provctx;
	return key_new("RSA");
}

static void *
key_new_ec(void *provctx)
{
	(void)provctx;
	return key_new("EC");
}

static void *
key_new_ed25519(void *provctx)
{
	(void)provctx;
	return key_new("ED25519");
}

static void
key_free(void *keydata)
{
	struct remote_key *k = keydata;

	if (k == NULL)
		return;
	EVP_PKEY_free(k->pub);
	OPENSSL_free(k);
}

static int
key_has(const void *keydata, int selection)
{
	const struct remote_key *k = keydata;

	/* the private part counts as there: it is, in keyd */
	return k != NULL && (k->pub != NULL || (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0);
}

static int
key_match(const void *keydata1, const void *keydata2, int selection)
{
	const struct remote_key *a = keydata1, *b = keydata2;

	(void)selection;
	return a->pub != NULL && b->pub != NULL && EVP_PKEY_eq(a->pub, b->pub) == 1;
}

static int
key_import(void *keydata, int selection, const OSSL_PARAM params[])
{
	struct remote_key *k = keydata;
	const OSSL_PARAM *hash = OSSL_PARAM_locate_const(params, PARAM_SPKI_HASH);
	EVP_PKEY_CTX *ctx;
	int ok;

	if (k->pub != NULL || (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) == 0)
		return 0;
	if (hash != NULL) {
		if (hash->data_type != OSSL_PARAM_OCTET_STRING ||
		    hash->data_size != sizeof k->spki_hash)
			return 0;
		memcpy(k->spki_hash, hash->data, sizeof k->spki_hash);
		k->has_hash = true;
	}
	ctx = EVP_PKEY_CTX_new_from_name(NULL, k->type, "provider=default");
	ok = ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
	     EVP_PKEY_fromdata(
		 ctx, &k->pub, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)(uintptr_t)params) == 1;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static const OSSL_PARAM *
key_import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_octet_string(PARAM_SPKI_HASH, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)selection;
	return types;
}

static int
key_get_params(void *keydata, OSSL_PARAM params[])
{
	struct remote_key *k = keydata;

	return k->pub != NULL && EVP_PKEY_get_params(k->pub, params);
}

static const OSSL_PARAM *
key_gettable_params(void *provctx)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)provctx;
	return params;
}

/* The name of the signature algorithm of a key type; without it OpenSSL assumes that of the key. */
static const char *
key_operation_ec(int operation_id)
{
	return operation_id == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

static const char *
key_operation_rsa(int operation_id)
{
	return operation_id == OSSL_OP_SIGNATURE ? "RSA" : NULL;
}

static const char *
key_operation_ed25519(int operation_id)
{
	return operation_id == OSSL_OP_SIGNATURE ? "ED25519" : NULL;
}

typedef void (*dispatch_fn)(void);
#define FN(f) ((dispatch_fn)(f))
/* clang-format off */
#define KEYMGMT_TABLE(name, new_fn, operation_fn)                              \
	static const OSSL_DISPATCH name[] = {                                      \
		{ OSSL_FUNC_KEYMGMT_NEW, FN(new_fn) },                                 \
		{ OSSL_FUNC_KEYMGMT_FREE, FN(key_free) },                              \
		{ OSSL_FUNC_KEYMGMT_HAS, FN(key_has) },                                \
		{ OSSL_FUNC_KEYMGMT_MATCH, FN(key_match) },                            \
		{ OSSL_FUNC_KEYMGMT_IMPORT, FN(key_import) },                          \
		{ OSSL_FUNC_KEYMGMT_IMPORT_TYPES, FN(key_import_types) },              \
		{ OSSL_FUNC_KEYMGMT_GET_PARAMS, FN(key_get_params) },                  \
		{ OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, FN(key_gettable_params) },        \
		{ OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, FN(operation_fn) },          \
		{ 0, NULL },                                                           \
	}
KEYMGMT_TABLE(keymgmt_rsa, key_new_rsa, key_operation_rsa);
KEYMGMT_TABLE(keymgmt_ec, key_new_ec, key_operation_ec);
KEYMGMT_TABLE(keymgmt_ed25519, key_new_ed25519, key_operation_ed25519);

static const OSSL_ALGORITHM keymgmts[] = {
	{ "RSA:rsaEncryption", PROVIDER_PROPS, keymgmt_rsa, "RSA key in keyd" },
	{ "EC:id-ecPublicKey", PROVIDER_PROPS, keymgmt_ec, "EC key in keyd" },
	{ "ED25519", PROVIDER_PROPS, keymgmt_ed25519, "Ed25519 key in keyd" },
	{ NULL, NULL, NULL, NULL },
};
/* clang-format on */

/* ---- signatures ---- */

struct sign_ctx {
	struct remote_key *key; /* borrowed: EVP holds the key as long as this */
	unsigned hash_bits;     /* 256, 384, 512; 0: Ed25519 */
	bool is_pss;
	unsigned char tbs[KEY_TBS_MAX]; /* of the update calls */
	size_t tbs_len;
};

static void *
sign_newctx(void *provctx, const char *propq)
{
	(void)provctx;
	(void)propq;
	return OPENSSL_zalloc(sizeof(struct sign_ctx));
}

static void
sign_freectx(void *ctx)
{
	OPENSSL_free(ctx);
}

static void *
sign_dupctx(void *ctx)
{
	return OPENSSL_memdup(ctx, sizeof(struct sign_ctx));
}

static int
sign_set_pad_mode(struct sign_ctx *c, const OSSL_PARAM *p)
{
	int mode = 0;

	if (p->data_type == OSSL_PARAM_UTF8_STRING) {
		if (strcasecmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0)
			mode = RSA_PKCS1_PSS_PADDING;
		else if (strcasecmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0)
			mode = RSA_PKCS1_PADDING;
	} else if (!OSSL_PARAM_get_int(p, &mode)) {
		return 0;
	}
	if (mode != RSA_PKCS1_PADDING && mode != RSA_PKCS1_PSS_PADDING)
		return 0;
	c->is_pss = mode == RSA_PKCS1_PSS_PADDING;
	return 1;
}

/* TLS knows one salt length: that of the hash (RFC 8446 4.2.3). */
static int
sign_set_salt_len(const struct sign_ctx *c, const OSSL_PARAM *p)
{
	int len = 0;

	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		return strcmp(p->data, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0 ||
		       (unsigned)atoi(p->data) == c->hash_bits / 8;
	return OSSL_PARAM_get_int(p, &len) &&
	       (len == RSA_PSS_SALTLEN_DIGEST || (unsigned)len == c->hash_bits / 8);
}

static bool
sign_set_hash(struct sign_ctx *c, const char *mdname)
{
	EVP_MD *md;
	int bits;

	if (mdname == NULL || *mdname == '\0')
		return strcmp(c->key->type, "ED25519") == 0;
	md = EVP_MD_fetch(NULL, mdname, NULL);
	if (md == NULL)
		return false;
	bits = EVP_MD_is_a(md, "SHA256")   ? 256
	       : EVP_MD_is_a(md, "SHA384") ? 384
	       : EVP_MD_is_a(md, "SHA512") ? 512
					   : 0;
	EVP_MD_free(md);
	c->hash_bits = (unsigned)bits;
	return bits != 0;
}

static int
sign_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
	struct sign_ctx *c = ctx;
	const OSSL_PARAM *p;

	if (params == NULL)
		return 1;
	p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	if (p != NULL && !sign_set_pad_mode(c, p))
		return 0;
	p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
	return p == NULL || sign_set_salt_len(c, p);
}

static const OSSL_PARAM *
sign_settable_ctx_params(void *ctx, void *provctx)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)ctx;
	(void)provctx;
	return params;
}

static int
sign_init(void *ctx, const char *mdname, void *keydata, const OSSL_PARAM params[])
{
	struct sign_ctx *c = ctx;

	if (keydata != NULL)
		c->key = keydata;
	c->tbs_len = 0;
	return c->key != NULL && c->key->has_hash && sign_set_hash(c, mdname) &&
	       sign_set_ctx_params(c, params);
}

/* RFC 8446 4.2.3; 0 = none fits. */
static unsigned
sign_scheme(const struct sign_ctx *c)
{
	unsigned hash = c->hash_bits == 256 ? 4 : c->hash_bits == 384 ? 5 : 6;

	if (strcmp(c->key->type, "ED25519") == 0)
		return c->hash_bits == 0 ? 0x0807 : 0;
	if (c->hash_bits == 0)
		return 0;
	if (strcmp(c->key->type, "EC") == 0)
		return hash << 8 | 3;
	return c->is_pss ? 0x0800 | hash : hash << 8 | 1;
}

static int
sign_oneshot(void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize,
    const unsigned char *tbs, size_t tbslen)
{
	struct sign_ctx *c = ctx;
	unsigned char made[KEY_SIGNATURE_MAX];
	size_t len = 0;
	int max = EVP_PKEY_get_size(c->key->pub);

	if (max <= 0)
		return 0;
	if (sig == NULL) {
		*siglen = (size_t)max;
		return 1;
	}
	if (tbslen > KEY_TBS_MAX || sign_scheme(c) == 0 ||
	    provider_sign(c->key->spki_hash, sign_scheme(c), tbs, tbslen, made, &len) < 0 ||
	    len > sigsize || len > (size_t)max) {
		ERR_raise_data(ERR_LIB_USER, ERR_R_OPERATION_FAIL, "keyd gives no signature");
		return 0;
	}
	memcpy(sig, made, len);
	*siglen = len;
	return 1;
}

static int
sign_update(void *ctx, const unsigned char *data, size_t len)
{
	struct sign_ctx *c = ctx;

	if (len > sizeof c->tbs - c->tbs_len)
		return 0;
	memcpy(c->tbs + c->tbs_len, data, len);
	c->tbs_len += len;
	return 1;
}

static int
sign_final(void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize)
{
	struct sign_ctx *c = ctx;

	return sign_oneshot(c, sig, siglen, sigsize, c->tbs, c->tbs_len);
}

/* clang-format off */
static const OSSL_DISPATCH sign_functions[] = {
	{ OSSL_FUNC_SIGNATURE_NEWCTX, FN(sign_newctx) },
	{ OSSL_FUNC_SIGNATURE_FREECTX, FN(sign_freectx) },
	{ OSSL_FUNC_SIGNATURE_DUPCTX, FN(sign_dupctx) },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, FN(sign_init) },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, FN(sign_update) },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, FN(sign_final) },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN, FN(sign_oneshot) },
	{ OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, FN(sign_set_ctx_params) },
	{ OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, FN(sign_settable_ctx_params) },
	{ 0, NULL },
};
static const OSSL_ALGORITHM signatures[] = {
	{ "RSA:rsaEncryption", PROVIDER_PROPS, sign_functions, "RSA signature by keyd" },
	{ "ECDSA", PROVIDER_PROPS, sign_functions, "ECDSA signature by keyd" },
	{ "ED25519", PROVIDER_PROPS, sign_functions, "Ed25519 signature by keyd" },
	{ NULL, NULL, NULL, NULL },
};
/* clang-format on */

/* ---- the provider ---- */

static const OSSL_ALGORITHM *
provider_query(void *provctx, int operation_id, int *no_cache)
{
	(void)provctx;
	*no_cache = 0;
	if (operation_id == OSSL_OP_KEYMGMT)
		return keymgmts;
	return operation_id == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static const OSSL_DISPATCH provider_functions[] = {
	{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, FN(provider_query) },
	{ 0, NULL },
};

static int
provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
    void **provctx)
{
	(void)in;
	*out = provider_functions;
	*provctx = (void *)(uintptr_t)handle;
	return 1;
}

int
key_provider_register(key_sign_fn *sign, struct err *err)
{
	static OSSL_PROVIDER *theirs, *ours; /* loaded until the process ends */

	provider_sign = sign;
	if (theirs != NULL && ours != NULL)
		return 0;
	/* What names no provider gets OpenSSL's own.  Not "provider!=estafeta",
	 * which would keep EVP from finding our signatures for our own keys. */
	if ((theirs = OSSL_PROVIDER_load(NULL, "default")) == NULL ||
	    OSSL_PROVIDER_add_builtin(NULL, PROVIDER_NAME, provider_init) != 1 ||
	    (ours = OSSL_PROVIDER_load(NULL, PROVIDER_NAME)) == NULL ||
	    EVP_set_default_properties(NULL, "?provider=default") != 1) {
		ERR_clear_error();
		return err_set(err, ERR_TEMP, "OpenSSL does not take the key provider");
	}
	return 0;
}

bool
key_spki_hash(X509 *cert, unsigned char hash[KEY_SPKI_HASH])
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	if (len <= 0)
		return false;
	SHA256(der, (size_t)len, hash);
	OPENSSL_free(der);
	return true;
}

static const char *
key_type(const EVP_PKEY *pub)
{
	if (EVP_PKEY_is_a(pub, "RSA"))
		return "RSA";
	if (EVP_PKEY_is_a(pub, "EC"))
		return "EC";
	return EVP_PKEY_is_a(pub, "ED25519") ? "ED25519" : NULL;
}

static EVP_PKEY *
key_from_params(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, PROVIDER_PROPS);
	EVP_PKEY *key = NULL;

	if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
		(void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

EVP_PKEY *
key_provider_key(X509 *cert, struct err *err)
{
	EVP_PKEY *pub = X509_get0_pubkey(cert), *key = NULL;
	unsigned char hash[KEY_SPKI_HASH];
	OSSL_PARAM *public_params = NULL, *all = NULL;
	OSSL_PARAM own[2] = { OSSL_PARAM_construct_octet_string(PARAM_SPKI_HASH, hash, sizeof hash),
		OSSL_PARAM_construct_end() };
	const char *type = pub == NULL ? NULL : key_type(pub);

	if (type == NULL) {
		err_set(err, ERR_PERM, "the certificate's key is not RSA, EC or Ed25519");
		return NULL;
	}
	if (key_spki_hash(cert, hash) &&
	    EVP_PKEY_todata(pub, EVP_PKEY_PUBLIC_KEY, &public_params) == 1 &&
	    (all = OSSL_PARAM_merge(public_params, own)) != NULL)
		key = key_from_params(type, all);
	OSSL_PARAM_free(public_params);
	OPENSSL_free(all);
	ERR_clear_error();
	if (key == NULL)
		err_set(err, ERR_TEMP, "OpenSSL does not take the certificate's public key");
	return key;
}
