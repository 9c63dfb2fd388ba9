/* Server contexts: what is negotiated, the chains that keyd gives, client certificates. */
#include "common/base/mem.h"
#include "common/ipc/msg/keyd.h"
#include "common/net/key_provider.h"
#include "common/net/tls_local.h"
#include "common/net/tls_ticket.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	CHAIN_TIMEOUT_MS = 30000,
	PEER_CHAIN_MAX =
	    32 << 10, /* bytes of a client's certificates; OpenSSL's own bound is 100 KB */
};

/* ---- protocols and ciphers ---- */

static int
protocol_rank(struct view name)
{
	static const char *const names[] = { "SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2",
		"TLSv1.3" };

	for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++)
		if (view_case_eq_str(name, names[i]))
			return i;
	return -1;
}

int
tls_protocols_parse(const char *text, int *min, int *max, struct err *err)
{
	enum { ALL = 0x3f, TLS12 = 1 << 4, TLS13 = 1 << 5 };
	unsigned included = 0, excluded = 0;
	struct view rest = view_of(text), item;

	while (view_token(&rest, " ,:\t\r\n", &item)) {
		size_t sign = view_starts(item, "!")                               ? 1
			      : view_starts(item, ">=") || view_starts(item, "<=") ? 2
										   : 0;
		int rank;

		if (item.len == 0)
			continue;
		rank = protocol_rank(view_make(item.p + sign, item.len - sign));
		if (rank < 0)
			return err_set(
			    err, ERR_SYNTAX, "unknown protocol \"%.*s\"", VIEW_ARG(item));
		if (sign == 0)
			included |= 1u << rank;
		else if (sign == 1)
			excluded |= 1u << rank;
		else
			excluded |= item.p[0] == '>' ? (1u << rank) - 1 : ALL & ~((2u << rank) - 1);
	}
	included = (included != 0 ? included : ALL) & ~excluded;
	*min = included & TLS12 ? TLS1_2_VERSION : TLS1_3_VERSION;
	*max = included & TLS13 ? TLS1_3_VERSION : TLS1_2_VERSION;
	return included & (TLS12 | TLS13)
		   ? 0
		   : err_set(err, ERR_PERM, "leaves neither TLSv1.2 nor TLSv1.3");
}

static const char *
value_of(const struct tls_server_setup *s, const char *param)
{
	return param != NULL ? conf_str(s->conf, param) : "";
}

/* What keyd does not do is never negotiated, whatever the list says: RSA key exchange would need it to
 * decrypt, and finite-field parameters are not a shape that it knows. */
static int
set_ciphers(SSL_CTX *c, const struct tls_server_setup *s, struct err *err)
{
	bool is_high = s->ciphers == NULL || strcmp(conf_str(s->conf, s->ciphers), "high") == 0;
	const char *list_name = is_high ? "tls_high_cipherlist" : "tls_medium_cipherlist";
	struct buf list;
	const char *text;
	int r = 0;

	buf_init(&list, 4096);
	buf_printf(&list, "%s:!kRSA:!kDHE:!kPSK:!kSRP:!aNULL:!eNULL", conf_str(s->conf, list_name));
	for (size_t i = 0; i < sizeof s->exclude / sizeof s->exclude[0]; i++) {
		struct view rest = view_of(value_of(s, s->exclude[i])), item;

		while (conf_next(&rest, &item))
			buf_printf(&list, ":!%.*s", VIEW_ARG(item));
	}
	text = buf_cstr(&list);
	if (text == NULL || SSL_CTX_set_cipher_list(c, text) != 1)
		r = tls_openssl_err(err, list_name);
	buf_clear(&list);
	if (conf_bool(s->conf, "tls_preempt_cipherlist"))
		SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	return r;
}

static int
set_protocols(SSL_CTX *c, const struct tls_server_setup *s, struct err *err)
{
	int min, max;

	if (tls_protocols_parse(value_of(s, s->protocols), &min, &max, err) < 0)
		return err_prefix(err, "%s", s->protocols);
	if (SSL_CTX_set_min_proto_version(c, min) != 1 ||
	    SSL_CTX_set_max_proto_version(c, max) != 1)
		return tls_openssl_err(err, "TLS versions");
	return 0;
}

/* ---- client certificates ---- */

/* ASK: whoever shows a certificate that nobody vouches for gets in as if without; SSL_get_verify_result tells. */
static int
accept_any(int is_ok, X509_STORE_CTX *ctx)
{
	(void)is_ok;
	(void)ctx;
	return 1;
}

static void
set_client_cert(SSL_CTX *c, const struct tls_server_setup *s)
{
	bool is_required = s->client_cert == TLS_CLIENT_CERT_REQUIRE;

	if (s->client_cert == TLS_CLIENT_CERT_NONE)
		return;
	SSL_CTX_set_verify(c,
	    SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE |
		(is_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
	    is_required ? NULL : accept_any);
	SSL_CTX_set_verify_depth(c, s->verify_depth);
	SSL_CTX_set_max_cert_list(c, PEER_CHAIN_MAX);
	if (s->trust != NULL)
		SSL_CTX_set1_cert_store(c, s->trust);
	if (s->ca_names != NULL)
		SSL_CTX_set_client_CA_list(c, SSL_dup_CA_list(s->ca_names));
}

/* The files that c_rehash(1) names: no directory can be looked into from the cage. */
static int
load_ca_path(X509_STORE *store, const char *path, struct err *err)
{
	DIR *dir = opendir(path);
	const struct dirent *e;

	if (dir == NULL)
		return err_sys(err, ERR_PERM, "%s", path);
	while ((e = readdir(dir)) != NULL) {
		char *file;

		if (strspn(e->d_name, "0123456789abcdef") != 8 || e->d_name[8] != '.')
			continue;
		file = x_asprintf("%s/%s", path, e->d_name);
		/* one that cannot be read vouches for nobody */
		(void)X509_STORE_load_file(store, file);
		ERR_clear_error();
		free(file);
	}
	closedir(dir);
	return 0;
}

static int
load_trust(struct tls_server_setup *s, struct err *err)
{
	const char *file = value_of(s, s->ca_file), *path = value_of(s, s->ca_path);

	if (s->client_cert == TLS_CLIENT_CERT_NONE || (s->trust = X509_STORE_new()) == NULL)
		return 0;
	if (file[0] != '\0' && (X509_STORE_load_file(s->trust, file) != 1 ||
				   (s->ca_names = SSL_load_client_CA_file(file)) == NULL)) {
		tls_openssl_err(err, file);
		return err_prefix(err, "%s", s->ca_file);
	}
	if (path[0] != '\0' && load_ca_path(s->trust, path, err) < 0)
		return err_prefix(err, "%s", s->ca_path);
	return 0;
}

/* ---- chains ---- */

void
tls_chains_clear(struct tls_chains *c)
{
	for (size_t i = 0; i < c->count; i++) {
		X509_free(c->items[i].leaf);
		EVP_PKEY_free(c->items[i].key);
		sk_X509_pop_free(c->items[i].issuers, X509_free);
	}
	c->count = 0;
}

static int
add_leaf(struct tls_chains *c, X509 *cert, struct err *err)
{
	EVP_PKEY *key;

	if (c->count == CERT_SET_MAX || (key = key_provider_key(cert, err)) == NULL) {
		X509_free(cert);
		return c->count == CERT_SET_MAX ? err_set(err, ERR_LIMIT, "too many certificates")
						: -1;
	}
	c->items[c->count].leaf = cert;
	c->items[c->count].key = key;
	c->items[c->count++].issuers = NULL;
	return 0;
}

static int
add_issuer(struct tls_chains *c, X509 *cert, struct err *err)
{
	STACK_OF(X509) **issuers = c->count > 0 ? &c->items[c->count - 1].issuers : NULL;

	if (issuers != NULL && *issuers == NULL)
		*issuers = sk_X509_new_null();
	if (issuers == NULL || sk_X509_num(*issuers) >= CERT_CHAIN_MAX ||
	    sk_X509_push(*issuers, cert) <= 0) {
		X509_free(cert);
		return err_set(err, ERR_LIMIT, "too many certificates, or no first one");
	}
	return 0;
}

int
tls_chains_read(struct tls_chains *c, struct ipc_in *in, struct err *err)
{
	int r = 0;

	c->count = 0;
	while (ipc_in_more(in) && r == 0) {
		bool is_leaf = ipc_get_u32(in) != 0;
		struct view der = ipc_get_bytes(in);
		const unsigned char *p = (const unsigned char *)der.p;
		X509 *cert = d2i_X509(NULL, &p, (long)der.len);

		if (cert == NULL)
			r = tls_openssl_err(err, "malformed certificate");
		else
			r = is_leaf ? add_leaf(c, cert, err) : add_issuer(c, cert, err);
	}
	if (r == 0 && c->count == 0)
		r = err_set(err, ERR_PERM, "tls: keyd has no certificate");
	if (r < 0)
		tls_chains_clear(c);
	return r;
}

static int
use_chains(SSL_CTX *c, struct tls_chains *chains, struct err *err)
{
	ERR_clear_error();
	for (size_t i = 0; i < chains->count; i++)
		if (SSL_CTX_use_cert_and_key(c, chains->items[i].leaf, chains->items[i].key,
			chains->items[i].issuers, 1) != 1)
			return tls_openssl_err(err, "certificate refused");
	return 0;
}

/* ---- the context ---- */

static SSL_CTX *
server_make(const struct tls_server_setup *s, struct err *err)
{
	unsigned char id[SHA256_DIGEST_LENGTH];
	SSL_CTX *c = tls_context_make(TLS_server_method(), s->conf, err);

	if (c == NULL)
		return NULL;
	SSL_CTX_set_mode(c, SSL_MODE_ASYNC);
	SHA256((const unsigned char *)s->service, strlen(s->service), id);
	if (set_protocols(c, s, err) < 0 || set_ciphers(c, s, err) < 0 ||
	    (SSL_CTX_set_session_id_context(c, id, sizeof id) != 1 &&
		tls_openssl_err(err, "session id") < 0) ||
	    (!tls_ticket_enable(c, s->ticket_seconds) &&
		tls_openssl_err(err, "session tickets") < 0)) {
		SSL_CTX_free(c);
		return NULL;
	}
	set_client_cert(c, s);
	return c;
}

int
tls_server_prepare(struct tls_server_setup *s, struct err *err)
{
	SSL_CTX *c;

	if (load_trust(s, err) < 0 || (c = server_make(s, err)) == NULL)
		return -1;
	SSL_CTX_free(c);
	return 0;
}

/* Questions to keyd, one after the other: the keys of tickets, each set of chains. */
struct server_request {
	struct tls_context *ctx;         /* owned */
	const char *sets[ROLE_TLS_SETS]; /* borrowed */
	size_t nsets, at;
	void (*ready)(void *arg, struct tls_context *ctx, const struct err *err);
	void *arg;
};

static void
request_end(struct server_request *r, const struct err *err)
{
	if (err != NULL) {
		tls_context_free(r->ctx);
		r->ctx = NULL;
	}
	r->ready(r->arg, r->ctx, err);
	free(r);
}

static void request_next(struct server_request *r);

static void
on_chain(void *arg, struct ipc_in *in)
{
	struct server_request *r = arg;
	struct tls_chains chains;
	struct err err = { 0 };
	uint32_t status;
	int done = -1;

	if (in == NULL)
		err_set(&err, ERR_TEMP, "tls: keyd does not answer");
	else if ((status = ipc_get_u32(in)) == KEYD_UNKNOWN)
		err_set(&err, ERR_PERM, "tls: keyd has no usable certificate %s", r->sets[r->at]);
	else if (status != KEYD_OK)
		err_set(&err, ERR_TEMP, "tls: keyd refuses the certificate %s", r->sets[r->at]);
	else if (tls_chains_read(&chains, in, &err) == 0) {
		done = use_chains(r->ctx->ssl_ctx, &chains, &err);
		tls_chains_clear(&chains);
	}
	if (done < 0) {
		request_end(r, &err);
		return;
	}
	r->at++;
	request_next(r);
}

static void
request_next(struct server_request *r)
{
	struct ipc_out o;

	if (r->at == r->nsets) {
		request_end(r, NULL);
		return;
	}
	ipc_out_init(&o, KEYD_CHAIN);
	ipc_put_str(&o, r->sets[r->at]);
	(void)ipc_edge_ask(tls_keyd(), &o, KEYD_CHAIN_REPLY, CHAIN_TIMEOUT_MS, on_chain, r);
}

static void
on_first_keys(void *arg, const struct err *err)
{
	struct server_request *r = arg;

	if (err != NULL)
		request_end(r, err);
	else
		request_next(r);
}

void
tls_server_new(const struct tls_server_setup *setup,
    void (*ready)(void *arg, struct tls_context *ctx, const struct err *err), void *arg)
{
	struct server_request *r = x_calloc(1, sizeof *r);
	const char *maps = conf_str(setup->conf, setup->params->names);
	struct err err;
	SSL_CTX *c = server_make(setup, &err);

	if (tls_keyd() == NULL)
		bug("tls_server_new without tls_init or without keyd");
	if (c == NULL)
		bug("tls_server_new: %s", err.text); /* tls_server_prepare has taken the same */
	r->ctx = tls_context_wrap(c);
	r->nsets = role_tls_sets(setup->params, setup->conf, r->sets);
	r->ready = ready;
	r->arg = arg;
	if (maps[0] != '\0')
		r->ctx->names = tls_names_new(c, maps);
	tls_ticket_start(r->ctx, on_first_keys, r);
}
