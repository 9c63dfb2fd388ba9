/* Certificates by the name that a client asks for (RFC 6066 3), fetched from keyd when they are needed. */
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/ipc/msg/keyd.h"
#include "common/net/tls_local.h"

#include <openssl/err.h>
#include <stdlib.h>

enum { NAMES_KEPT = 512, NAME_TIMEOUT_MS = 10000, NAME_BYTES_MAX = 255 };

struct name_entry {
	TAILQ_ENTRY(name_entry) link;
	char *host; /* owned, lower case */
	struct tls_chains chains;
};

TAILQ_HEAD(name_list, name_entry);

struct tls_names {
	char *maps;                 /* owned */
	struct map by_host;         /* -> struct name_entry * */
	struct name_list last_used; /* owned; first: used last */
};

/* One handshake that waits for keyd, kept with its SSL. */
struct name_wait {
	struct tls_names *names; /* borrowed: outlives every handshake */
	struct ipc_call *call;   /* NULL: answered */
	char *host;              /* owned */
	void (*wake)(void *arg);
	void *wake_arg;
};

static void
entry_drop(struct tls_names *n, struct name_entry *e)
{
	TAILQ_REMOVE(&n->last_used, e, link);
	map_remove(&n->by_host, view_of(e->host));
	tls_chains_clear(&e->chains);
	free(e->host);
	free(e);
}

static void
entry_add(struct tls_names *n, const char *host, const struct tls_chains *chains)
{
	struct name_entry *e = map_get(&n->by_host, view_of(host));

	if (e != NULL)
		entry_drop(n, e); /* two handshakes have asked at the same time */
	else if (n->by_host.count >= NAMES_KEPT)
		entry_drop(n, TAILQ_LAST(&n->last_used, name_list));
	e = x_calloc(1, sizeof *e);
	e->host = x_strdup(host);
	e->chains = *chains;
	map_put(&n->by_host, view_of(host), e);
	TAILQ_INSERT_HEAD(&n->last_used, e, link);
}

static void
wait_free(struct name_wait *w)
{
	if (w == NULL)
		return;
	ipc_call_cancel(w->call);
	free(w->host);
	free(w);
}

static void
on_ssl_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	wait_free(ptr);
}

static int
wait_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_free);
	return index;
}

/* No answer, or none that can be used: the client gets the default. */
static void
on_name(void *arg, struct ipc_in *in)
{
	struct name_wait *w = arg;
	struct tls_chains chains;
	struct err err;

	w->call = NULL;
	if (in != NULL && ipc_get_u32(in) == KEYD_OK && tls_chains_read(&chains, in, &err) == 0)
		entry_add(w->names, w->host, &chains);
	if (w->wake != NULL)
		w->wake(w->wake_arg);
}

static void
ask(struct tls_names *n, SSL *ssl, const char *host)
{
	struct name_wait *w = x_calloc(1, sizeof *w);
	struct ipc_out o;

	w->names = n;
	w->host = x_strdup(host);
	tls_waker(&w->wake, &w->wake_arg);
	ipc_out_init(&o, KEYD_NAME);
	ipc_put_str(&o, n->maps);
	ipc_put_str(&o, host);
	w->call = ipc_edge_ask(tls_keyd(), &o, KEYD_CHAIN_REPLY, NAME_TIMEOUT_MS, on_name, w);
	SSL_set_ex_data(ssl, wait_index(), w);
}

static bool
show(SSL *ssl, const struct tls_chains *c)
{
	SSL_certs_clear(ssl);
	for (size_t i = 0; i < c->count; i++)
		if (SSL_use_cert_and_key(
			ssl, c->items[i].leaf, c->items[i].key, c->items[i].issuers, 1) != 1)
			return false;
	return true;
}

/* Nothing that could not stand in a table: the name comes from a stranger. */
static bool
fold_host(const char *from, char to[NAME_BYTES_MAX + 1])
{
	size_t i;

	for (i = 0; from[i] != '\0'; i++) {
		char c = from[i];

		if (i == NAME_BYTES_MAX || c <= ' ' || c > '~')
			return false;
		to[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	to[i] = '\0';
	return i > 0 && to[0] != '.';
}

/* OpenSSL's contract: 1 go on, 0 fail, -1 call again later.  Called when a certificate is needed, so not for a session
 * that is resumed. */
static int
on_cert(SSL *ssl, void *arg)
{
	struct tls_names *n = arg;
	const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	struct name_wait *w = SSL_get_ex_data(ssl, wait_index());
	struct name_entry *e;
	char host[NAME_BYTES_MAX + 1];

	if (asked == NULL || !fold_host(asked, host))
		return 1;
	if (w != NULL && w->call != NULL)
		return -1;
	e = map_get(&n->by_host, view_of(host));
	if (e == NULL && w == NULL) {
		ask(n, ssl, host);
		return -1;
	}
	SSL_set_ex_data(ssl, wait_index(), NULL);
	wait_free(w);
	if (e == NULL)
		return 1;
	TAILQ_REMOVE(&n->last_used, e, link);
	TAILQ_INSERT_HEAD(&n->last_used, e, link);
	return show(ssl, &e->chains);
}

/* The name belongs to the session: TLS 1.2 does not resume it under another. */
static int
on_servername(SSL *ssl, int *alert, void *arg)
{
	(void)alert;
	(void)arg;
	return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) != NULL ? SSL_TLSEXT_ERR_OK
									  : SSL_TLSEXT_ERR_NOACK;
}

struct tls_names *
tls_names_new(SSL_CTX *c, const char *maps)
{
	struct tls_names *n = x_calloc(1, sizeof *n);

	n->maps = x_strdup(maps);
	map_init(&n->by_host);
	TAILQ_INIT(&n->last_used);
	SSL_CTX_set_cert_cb(c, on_cert, n);
	SSL_CTX_set_tlsext_servername_callback(c, on_servername);
	return n;
}

void
tls_names_free(struct tls_names *n)
{
	struct name_entry *e;

	if (n == NULL)
		return;
	while ((e = TAILQ_FIRST(&n->last_used)) != NULL)
		entry_drop(n, e);
	map_clear(&n->by_host);
	free(n->maps);
	free(n);
}
