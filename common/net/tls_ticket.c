#include "common/net/tls_ticket.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/ipc/msg/keyd.h"
#include "common/log/log.h"
#include "common/net/tls_local.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEY_KEPT_MS = 2 * 3600 * 1000, /* a key that keyd gave is not used longer than that */
	KEYS_TIMEOUT_MS = 30000,
	KEYS_RETRY_MS = 10000,
	TICKET_IV = 16,
};

struct ticket_key {
	unsigned char name[KEYD_TICKET_NAME];
	unsigned char cipher[32];
	unsigned char mac[32];
};
_Static_assert(sizeof(struct ticket_key) == KEYD_TICKET_KEY, "a ticket key is read as it comes");

/* The key in use, and the one before it: tickets under that are still read, and renewed. */
static struct {
	struct ticket_key current, previous;
	bool has_previous;
	int64_t got_ms;
} keys;

static void
keys_check_age(void)
{
	if (keys.got_ms != 0 && clock_mono_ms() - keys.got_ms < KEY_KEPT_MS)
		return;
	mem_wipe(&keys, sizeof keys);
	random_bytes(&keys.current, sizeof keys.current);
	keys.got_ms = clock_mono_ms();
}

static struct ticket_key *
ticket_key_find(const unsigned char *name)
{
	if (memcmp(name, keys.current.name, sizeof keys.current.name) == 0)
		return &keys.current;
	if (keys.has_previous && memcmp(name, keys.previous.name, sizeof keys.previous.name) == 0)
		return &keys.previous;
	return NULL;
}

static bool
ticket_mac_init(EVP_MAC_CTX *mac, struct ticket_key *k)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof k->mac),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's contract: 1 done, 2 done and renew the ticket, 0 unknown ticket (full handshake), -1 failed. */
static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int is_new)
{
	struct ticket_key *k = &keys.current;

	(void)ssl;
	keys_check_age();
	if (is_new) {
		random_bytes(iv, TICKET_IV);
		memcpy(name, k->name, sizeof k->name);
		return EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv) == 1 &&
			       ticket_mac_init(mac, k)
			   ? 1
			   : -1;
	}
	k = ticket_key_find(name);
	if (k == NULL)
		return 0;
	if (!ticket_mac_init(mac, k) ||
	    EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv) != 1)
		return -1;
	return k == &keys.current ? 1 : 2;
}

bool
tls_ticket_enable(SSL_CTX *ctx, int64_t seconds)
{
	if (seconds == 0) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		return SSL_CTX_set_num_tickets(ctx, 0) == 1;
	}
	SSL_CTX_set_timeout(ctx, (long)seconds);
	return SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
	       SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}

/* ---- keys from keyd ---- */

struct first_keys {
	struct tls_context *ctx;
	void (*ready)(void *arg, const struct err *err);
	void *arg;
};

static int
keys_read(struct ipc_in *in, uint32_t *seconds, struct err *err)
{
	struct view present, previous;

	if (in == NULL || ipc_get_u32(in) != KEYD_OK)
		return err_set(err, ERR_TEMP, "tls: keyd gives no keys for session tickets");
	*seconds = ipc_get_u32(in);
	present = ipc_get_bytes(in);
	previous = ipc_get_bytes(in);
	if (present.len != KEYD_TICKET_KEY ||
	    (previous.len != 0 && previous.len != KEYD_TICKET_KEY))
		return err_set(err, ERR_TEMP, "tls: keyd gives malformed keys for session tickets");
	memcpy(&keys.current, present.p, present.len);
	keys.has_previous = previous.len > 0;
	mem_wipe(&keys.previous, sizeof keys.previous);
	memcpy(&keys.previous, previous.p, previous.len);
	keys.got_ms = clock_mono_ms();
	return 0;
}

static void
keys_ask(struct tls_context *ctx, void (*cb)(void *arg, struct ipc_in *in), void *arg)
{
	struct ipc_out o;

	ipc_out_init(&o, KEYD_TICKETS);
	ctx->key_request = ipc_edge_ask(tls_keyd(), &o, "uubb", KEYS_TIMEOUT_MS, cb, arg);
}

static void
on_new_keys(void *arg, struct ipc_in *in)
{
	struct tls_context *ctx = arg;
	uint32_t seconds;
	struct err err;

	ctx->key_request = NULL;
	if (keys_read(in, &seconds, &err) == 0) {
		loop_timer_start(&ctx->new_keys, (int64_t)seconds * 1000);
		return;
	}
	log_warn("%s", err.text);
	loop_timer_start(&ctx->new_keys, KEYS_RETRY_MS);
}

static void
on_keys_due(void *arg)
{
	keys_ask(arg, on_new_keys, arg);
}

static void
on_first_keys(void *arg, struct ipc_in *in)
{
	struct first_keys f = *(struct first_keys *)arg;
	uint32_t seconds;
	struct err err;

	free(arg);
	f.ctx->key_request = NULL;
	if (keys_read(in, &seconds, &err) < 0) {
		f.ready(f.arg, &err);
		return;
	}
	loop_timer_start(&f.ctx->new_keys, (int64_t)seconds * 1000);
	f.ready(f.arg, NULL);
}

void
tls_ticket_start(
    struct tls_context *ctx, void (*ready)(void *arg, const struct err *err), void *arg)
{
	struct first_keys *f = x_calloc(1, sizeof *f);

	*f = (struct first_keys){ ctx, ready, arg };
	loop_timer_init(&ctx->new_keys, tls_loop(), on_keys_due, ctx);
	keys_ask(ctx, on_first_keys, f);
}
