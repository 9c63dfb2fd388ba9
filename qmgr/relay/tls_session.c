#include "qmgr/relay/tls_session.h"
#include "common/base/codec.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/net/addr.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

enum {
	SESSIONS_MAX = 512,        /* up to some 30 KB each, with the server's certificates */
	SESSION_SECONDS = 3600,    /* Postfix's smtp_tls_session_cache_timeout */
	SESSION_BYTES_MAX = 16384, /* of one ticket and certificate: more is not kept */
	KEY_BYTES = 32,
	KEY_TEXT_MAX = 1 << 20,
};

/* A session that can be resumed, for the same server under the same policy: what was proved then holds still. */
struct kept {
	TAILQ_ENTRY(kept) link;
	unsigned char key[KEY_BYTES];
	SSL_SESSION *session; /* owned */
};

/* Hangs on each SSL. */
struct note {
	unsigned char key[KEY_BYTES];
	bool
	    needs_proof; /* what does not verify is not to be resumed: the server may have mended it since */
};

struct relay_tls {
	struct tls_context *context; /* owned */
	const EVP_MD *digest;        /* of fingerprints */
	struct map sessions;         /* key -> struct kept */
	TAILQ_HEAD(, kept) kept;     /* oldest first */
	size_t nkept;
	int note_index; /* of SSL's further data: struct note */
};

/* ---------------------------------------------------------------- sessions to be resumed */

static void
kept_free(struct relay_tls *t, struct kept *k)
{
	map_remove(&t->sessions, view_make(k->key, sizeof k->key));
	TAILQ_REMOVE(&t->kept, k, link);
	t->nkept--;
	SSL_SESSION_free(k->session);
	free(k);
}

static void
keep(struct relay_tls *t, const unsigned char *key, SSL_SESSION *session)
{
	struct kept *k = map_get(&t->sessions, view_make(key, KEY_BYTES));

	if (k != NULL)
		kept_free(t, k);
	else if (t->nkept == SESSIONS_MAX)
		kept_free(t, TAILQ_FIRST(&t->kept));
	k = x_calloc(1, sizeof *k);
	memcpy(k->key, key, KEY_BYTES);
	k->session = session;
	map_put(&t->sessions, view_make(k->key, sizeof k->key), k);
	TAILQ_INSERT_TAIL(&t->kept, k, link);
	t->nkept++;
}

/* OpenSSL has a new session: 1 = it is ours now. */
static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct relay_tls *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const struct note *note = SSL_get_ex_data(ssl, t->note_index);

	if (note == NULL || !SSL_SESSION_is_resumable(session) ||
	    (note->needs_proof && SSL_get_verify_result(ssl) != X509_V_OK) ||
	    i2d_SSL_SESSION(session, NULL) > SESSION_BYTES_MAX)
		return 0;
	keep(t, note->key, session);
	return 1;
}

static void
resume(struct relay_tls *t, SSL *ssl, const unsigned char *key)
{
	struct kept *k = map_get(&t->sessions, view_make(key, KEY_BYTES));

	if (k == NULL)
		return;
	if (time(NULL) - SSL_SESSION_get_time(k->session) > SESSION_SECONDS) {
		kept_free(t, k);
		return;
	}
	SSL_set_session(ssl, k->session);
	/* RFC 8446 C.4: a ticket is used once, or connections can be told to be the same client's */
	if (SSL_SESSION_get_protocol_version(k->session) >= TLS1_3_VERSION)
		kept_free(t, k);
}

static void
free_note(void *parent, void *note, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	(void)parent, (void)ad, (void)index, (void)argl, (void)argp;
	free(note);
}

/* ---------------------------------------------------------------- names */

/* What one word of a policy's match asks for; "" = nothing. */
static void
expand_name(struct view word, const struct relay_tls_peer *peer, char name[DNS_NAME_MAX + 1])
{
	if (view_case_eq_str(word, "hostname"))
		snprintf(name, DNS_NAME_MAX + 1, "%s", peer->host);
	else if (view_case_eq_str(word, "nexthop"))
		snprintf(name, DNS_NAME_MAX + 1, "%s", peer->nexthop);
	else if (view_case_eq_str(word, "dot-nexthop"))
		snprintf(name, DNS_NAME_MAX + 1, ".%s", peer->nexthop);
	else if (word.len <= DNS_NAME_MAX)
		snprintf(name, DNS_NAME_MAX + 1, "%.*s", VIEW_ARG(word));
	else
		name[0] = '\0';
}

/* One of the names is enough.  For OpenSSL an address is a condition beside them: it is one only where there is no name, as
 * for a nexthop that is an address itself. */
static bool
add_names(SSL *ssl, const struct relay_tls_peer *peer)
{
	struct view rest = buf_view(&peer->policy->match), word;
	char name[DNS_NAME_MAX + 1], address[DNS_NAME_MAX + 1] = "";
	struct sockaddr_storage addr;
	size_t count = 0;

	while (view_token(&rest, "\n", &word)) {
		expand_name(word, peer, name);
		if (addr_parse(view_of(name + (name[0] == '.')), &addr))
			snprintf(address, sizeof address, "%s", name + (name[0] == '.'));
		else if (name[0] == '\0' || SSL_add1_host(ssl, name) != 1)
			return false;
		else
			count++;
	}
	return count > 0 || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), address) == 1;
}

/* RFC 7672 3.2.2: the base domain, which SSL_dane_enable has set, and the domain that mail is for. */
static bool
set_dane(SSL *ssl, const struct relay_tls_peer *peer)
{
	if (SSL_dane_enable(ssl, peer->dane->base) <= 0)
		return false;
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (size_t i = 0; i < peer->dane->count; i++) {
		const struct relay_tlsa *r = &peer->dane->records[i];

		if (SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, r->data, r->len) < 0)
			return false;
	}
	return SSL_add1_host(ssl, peer->nexthop) == 1 &&
	       (peer->canonical_nexthop[0] == '\0' ||
		   SSL_add1_host(ssl, peer->canonical_nexthop) == 1);
}

/* SNI, and what the certificate is compared with. */
static bool
set_names(SSL *ssl, const struct relay_tls_peer *peer)
{
	const char *sni =
	    peer->policy->servername[0] != '\0' ? peer->policy->servername : peer->host;
	struct sockaddr_storage addr;

	SSL_set_hostflags(
	    ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
		     (peer->policy->is_sts ? 0 : X509_CHECK_FLAG_MULTI_LABEL_WILDCARDS));
	if (peer->dane != NULL)
		return set_dane(ssl, peer);
	/* RFC 6066 3: no address */
	if (!addr_parse(view_of(sni), &addr) && SSL_set_tlsext_host_name(ssl, sni) != 1)
		return false;
	if (peer->policy->level >= RELAY_TLS_VERIFY)
		return add_names(ssl, peer);
	if (addr_parse(view_of(peer->host), &addr))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), peer->host) == 1;
	return SSL_set1_host(ssl, peer->host) == 1;
}

/* A name that does not fit is no reason to leave the rest of the chain unlooked at. */
static int
on_verify(int is_ok, X509_STORE_CTX *ctx)
{
	int e = X509_STORE_CTX_get_error(ctx);

	return is_ok || e == X509_V_ERR_HOSTNAME_MISMATCH || e == X509_V_ERR_IP_ADDRESS_MISMATCH;
}

/* ---------------------------------------------------------------- the handshake */

/* Everything that what is proved depends on. */
static void
make_key(const struct relay_tls_peer *peer, unsigned char key[KEY_BYTES])
{
	const struct relay_tls_policy *p = peer->policy;
	struct buf b;

	buf_init(&b, KEY_TEXT_MAX);
	buf_printf(&b, "%s\n%s\n%s\n%s\n%d %d %d %d\n%zu\n%zu\n", peer->address, peer->nexthop,
	    peer->canonical_nexthop, p->servername, p->level, p->is_sts, p->min_version,
	    p->max_version, p->match.len, p->ciphers.len);
	buf_append_view(&b, buf_view(&p->match));
	buf_append_view(&b, buf_view(&p->ciphers));
	if (peer->dane != NULL)
		buf_printf(&b, "%s\n", peer->dane->base);
	for (size_t i = 0; peer->dane != NULL && i < peer->dane->count; i++) {
		const struct relay_tlsa *r = &peer->dane->records[i];

		buf_printf(&b, "%u %u %u %zu\n", r->usage, r->selector, r->matching, r->len);
		buf_append(&b, r->data, r->len);
	}
	if (b.failed || EVP_Digest(b.p, b.len, key, NULL, EVP_sha256(), NULL) != 1)
		bug("no key of a TLS session");
	buf_clear(&b);
}

static void
set_session(struct relay_tls *t, SSL *ssl, const struct relay_tls_peer *peer)
{
	struct note *note = x_calloc(1, sizeof *note);

	make_key(peer, note->key);
	note->needs_proof = peer->policy->level > RELAY_TLS_FINGERPRINT;
	if (SSL_set_ex_data(ssl, t->note_index, note) != 1)
		free(note);
	else
		resume(t, ssl, note->key);
}

SSL *
relay_tls_start(struct relay_tls *t, const struct relay_tls_peer *peer, struct err *err)
{
	const struct relay_tls_policy *p = peer->policy;
	SSL *ssl = SSL_new(tls_context_ssl(t->context));
	const char *ciphers;
	struct buf list;

	buf_init(&list, p->ciphers.len + 1);
	buf_append_view(&list, buf_view(&p->ciphers));
	ciphers = buf_cstr(&list);
	if (ssl == NULL || ciphers == NULL || SSL_set_cipher_list(ssl, ciphers) != 1 ||
	    SSL_set_min_proto_version(ssl, p->min_version) != 1 ||
	    SSL_set_max_proto_version(ssl, p->max_version) != 1 || !set_names(ssl, peer)) {
		const char *reason = ERR_reason_error_string(ERR_peek_last_error());

		err_set(err, ERR_PERM, "TLS cannot be set up: %s", reason != NULL ? reason : "-");
		ERR_clear_error();
		SSL_free(ssl);
		ssl = NULL;
	} else {
		set_session(t, ssl, peer);
	}
	buf_clear(&list);
	return ssl;
}

/* ---------------------------------------------------------------- what it proved */

static bool
has_digest(const struct relay_tls *t, struct view match, const unsigned char *der, int len)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[2 * EVP_MAX_MD_SIZE + 1];
	unsigned size;
	struct view word;

	if (der == NULL || len <= 0 ||
	    EVP_Digest(der, (size_t)len, digest, &size, t->digest, NULL) != 1)
		return false;
	hex_encode(text, digest, size);
	while (view_token(&match, "\n", &word))
		if (view_eq_str(word, text))
			return true;
	return false;
}

/* As Postfix: of the certificate, or of its public key. */
static bool
has_fingerprint(const struct relay_tls *t, X509 *cert, struct view match)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	bool found = has_digest(t, match, der, len);

	OPENSSL_free(der);
	der = NULL;
	if (!found) {
		len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
		found = has_digest(t, match, der, len);
		OPENSSL_free(der);
	}
	ERR_clear_error();
	return found;
}

enum relay_tls_trust
relay_tls_judge(const struct relay_tls *t, SSL *ssl, const struct relay_tls_policy *policy)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);

	if (cert == NULL)
		return RELAY_TLS_ANONYMOUS;
	if (policy->level == RELAY_TLS_FINGERPRINT)
		return has_fingerprint(t, cert, buf_view(&policy->match)) ? RELAY_TLS_VERIFIED
									  : RELAY_TLS_UNTRUSTED;
	switch (SSL_get_verify_result(ssl)) {
	case X509_V_OK:
		return RELAY_TLS_VERIFIED;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return RELAY_TLS_TRUSTED;
	default:
		return RELAY_TLS_UNTRUSTED;
	}
}

/* ---------------------------------------------------------------- life */

static void
set_callbacks(struct relay_tls *t)
{
	SSL_CTX *c = tls_context_ssl(t->context);

	SSL_CTX_set_verify(c, SSL_VERIFY_NONE, on_verify);
	SSL_CTX_set_app_data(c, t);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c, on_new_session);
}

struct relay_tls *
relay_tls_new(const struct conf *conf, struct err *err)
{
	struct relay_tls *t = x_calloc(1, sizeof *t);

	map_init(&t->sessions);
	TAILQ_INIT(&t->kept);
	t->digest = EVP_get_digestbyname(conf_str(conf, "smtp_tls_fingerprint_digest"));
	t->note_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_note);
	t->context = tls_client_new(conf, err);
	if (t->context == NULL) {
		relay_tls_free(t);
		return NULL;
	}
	if (t->digest == NULL || t->note_index < 0 ||
	    SSL_CTX_dane_enable(tls_context_ssl(t->context)) <= 0) {
		err_set(err, ERR_TEMP, "TLS of outgoing mail cannot be set up");
		relay_tls_free(t);
		return NULL;
	}
	set_callbacks(t);
	return t;
}

void
relay_tls_free(struct relay_tls *t)
{
	struct kept *k;

	if (t == NULL)
		return;
	while ((k = TAILQ_FIRST(&t->kept)) != NULL)
		kept_free(t, k);
	map_clear(&t->sessions);
	tls_context_free(t->context);
	free(t);
}
