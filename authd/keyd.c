#include "authd/keyd.h"
#include "authd/keyd_shape.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/log/log.h"
#include "common/net/key_provider.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/queue.h>

enum {
	REFUSALS_LOGGED = 10,
	REFUSALS_STEP = 1000,
	TICKET_LIFE_MS = 3600 * 1000,
	TICKET_ASK_MS = 600 * 1000,
};

struct vault_cert {
	STAILQ_ENTRY(vault_cert) link;
	bool is_leaf;
	size_t len;
	unsigned char der[];
};
STAILQ_HEAD(vault_set, vault_cert); /* as it goes into an answer */

struct keyd {
	struct map keys; /* SHA-256 of the SubjectPublicKeyInfo -> EVP_PKEY *, owned */
	struct map sets; /* name -> struct vault_set *, owned */
	struct map
	    maps; /* value of tls_server_sni_maps -> struct map *, owned: host -> struct vault_set * */
};

struct keyd *
keyd_new(void)
{
	struct keyd *k = x_calloc(1, sizeof *k);

	map_init(&k->keys);
	map_init(&k->sets);
	map_init(&k->maps);
	return k;
}

static void
set_free(struct vault_set *set)
{
	struct vault_cert *c;

	while ((c = STAILQ_FIRST(set)) != NULL) {
		STAILQ_REMOVE_HEAD(set, link);
		free(c);
	}
	free(set);
}

void
keyd_free(struct keyd *k)
{
	struct map_walk keys = { 0 }, sets = { 0 }, maps = { 0 };
	struct map_entry *e;

	if (k == NULL)
		return;
	while ((e = map_next(&k->keys, &keys)) != NULL)
		EVP_PKEY_free(e->value);
	while ((e = map_next(&k->sets, &sets)) != NULL)
		set_free(e->value);
	while ((e = map_next(&k->maps, &maps)) != NULL) {
		map_clear(e->value);
		free(e->value);
	}
	map_clear(&k->keys);
	map_clear(&k->sets);
	map_clear(&k->maps);
	free(k);
}

static int
add_cert(struct vault_set *set, X509 *cert, bool is_leaf, struct err *err)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	struct vault_cert *c;

	if (len <= 0)
		return err_set(err, ERR_SYNTAX, "a certificate cannot be encoded");
	c = x_malloc(sizeof *c + (size_t)len);
	c->is_leaf = is_leaf;
	c->len = (size_t)len;
	memcpy(c->der, der, c->len);
	OPENSSL_free(der);
	STAILQ_INSERT_TAIL(set, c, link);
	return 0;
}

static int
add_key(struct keyd *k, X509 *leaf, EVP_PKEY *key, struct err *err)
{
	unsigned char hash[KEY_SPKI_HASH];

	if (!key_spki_hash(leaf, hash))
		return err_set(err, ERR_SYNTAX, "certificate without public key");
	EVP_PKEY_up_ref(key);
	EVP_PKEY_free(map_put(&k->keys, view_make(hash, sizeof hash), key));
	return 0;
}

int
keyd_add_set(struct keyd *k, const char *name, const struct cert_set *from, struct err *err)
{
	struct vault_set *set = x_calloc(1, sizeof *set);
	int r = 0;

	STAILQ_INIT(set);
	for (size_t i = 0; i < from->nchains && r == 0; i++) {
		const struct cert_chain *c = &from->chains[i];

		r = add_key(k, c->certs[0], c->key, err);
		for (size_t n = 0; n < c->count && r == 0; n++)
			r = add_cert(set, c->certs[n], n == 0, err);
	}
	if (r < 0)
		set_free(set);
	else
		map_put(&k->sets, view_of(name), set);
	return r;
}

bool
keyd_has_set(const struct keyd *k, const char *name)
{
	return map_get(&k->sets, view_of(name)) != NULL;
}

void
keyd_add_host(struct keyd *k, const char *maps, const char *host, const char *set)
{
	struct map *m = map_get(&k->maps, view_of(maps));

	if (m == NULL) {
		m = x_calloc(1, sizeof *m);
		map_init(m);
		map_put(&k->maps, view_of(maps), m);
	}
	if (map_get(m, view_of(host)) == NULL)
		map_put(m, view_of(host), map_get(&k->sets, view_of(set)));
}

bool
keyd_has_maps(const struct keyd *k, const char *maps)
{
	return map_get(&k->maps, view_of(maps)) != NULL;
}

/* The name itself, then ".domain" of every domain above it. */
static const struct vault_set *
find_host(const struct keyd *k, const char *maps, const char *host)
{
	const struct map *m = map_get(&k->maps, view_of(maps));
	const struct vault_set *set = NULL;

	while (m != NULL && host != NULL && set == NULL) {
		set = map_get(m, view_of(host));
		host = host[0] != '\0' ? strchr(host + 1, '.') : NULL;
	}
	return set;
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
	EVP_PKEY *key;

	if ((shape & shapes) == 0 || !keyd_shape_allows(shape, scheme))
		return KEYD_REFUSED;
	key = map_get(&k->keys, spki_hash);
	if (key == NULL)
		return KEYD_UNKNOWN;
	if (!EVP_PKEY_is_a(key, scheme_key_type(scheme)) ||
	    EVP_PKEY_get_size(key) > KEYD_SIGNATURE_MAX)
		return KEYD_REFUSED;
	return sign_with(key, scheme, tbs, sig, sig_len);
}

/* ---- tickets ---- */

int64_t
keyd_tickets_rotate(struct keyd_tickets *t, int64_t now_ms)
{
	int64_t age = now_ms - t->born_ms;

	if (t->born_ms != 0 && age < TICKET_LIFE_MS)
		return TICKET_LIFE_MS - age;
	t->has_previous = t->born_ms != 0 && age < 2 * TICKET_LIFE_MS;
	memcpy(t->previous, t->present, sizeof t->previous);
	if (!t->has_previous)
		mem_wipe(t->previous, sizeof t->previous);
	random_bytes(t->present, sizeof t->present);
	t->born_ms = now_ms;
	return TICKET_LIFE_MS;
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

static void
reply_set(struct ipc_conn *conn, uint32_t id, const struct vault_set *set)
{
	const struct vault_cert *c;
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, set == NULL ? KEYD_UNKNOWN : KEYD_OK);
	if (set != NULL)
		STAILQ_FOREACH (c, set, link) {
			ipc_put_u32(&o, c->is_leaf);
			ipc_put_bytes(&o, c->der, c->len);
		}
	if (o.failed) {
		log_error("a set of certificates does not fit into a message");
		ipc_out_clear(&o);
		ipc_reply_init(&o);
		ipc_put_u32(&o, KEYD_FAILED);
	}
	(void)ipc_conn_reply(conn, id, &o);
}

static void
on_chain(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct keyd_caller *caller = arg;

	reply_set(conn, in->id, map_get(&caller->keyd->sets, view_of(ipc_get_str(in))));
}

static void
on_name(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct keyd_caller *caller = arg;
	const char *maps = ipc_get_str(in), *host = ipc_get_str(in);

	reply_set(conn, in->id, find_host(caller->keyd, maps, host));
}

static void
on_tickets(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct keyd_tickets *t = &((struct keyd_caller *)arg)->tickets;
	int64_t left_ms = keyd_tickets_rotate(t, clock_mono_ms());
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, KEYD_OK);
	/* not later than that: another keyd than this one may have come meanwhile */
	ipc_put_u32(&o, (uint32_t)((left_ms < TICKET_ASK_MS ? left_ms : TICKET_ASK_MS) / 1000 + 1));
	ipc_put_bytes(&o, t->present, sizeof t->present);
	ipc_put_bytes(&o, t->previous, t->has_previous ? sizeof t->previous : 0);
	(void)ipc_conn_reply(conn, in->id, &o);
}

const struct ipc_handler keyd_handlers[] = {
	{ KEYD_CHAIN, "s", IPC_STATE_ANY, on_chain },
	{ KEYD_SIGN, "bub", IPC_STATE_ANY, on_sign },
	{ KEYD_NAME, "ss", IPC_STATE_ANY, on_name },
	{ KEYD_TICKETS, "", IPC_STATE_ANY, on_tickets },
	{ 0, NULL, 0, NULL },
};
