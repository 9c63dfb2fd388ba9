#include "common/net/tls_ticket.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/random.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

enum { TICKET_KEY_LIFE_MS = 3600 * 1000, TICKET_IV = 16 };

struct ticket_key {
	unsigned char name[16];
	unsigned char cipher[32];
	unsigned char mac[32];
	int64_t born_ms;
};
/* the one in use, and the one before it: tickets under that are still read, and renewed */
static struct ticket_key current, previous;

static void
ticket_keys_rotate(void)
{
	int64_t now = clock_mono_ms();

	if (current.born_ms != 0 && now - current.born_ms < TICKET_KEY_LIFE_MS)
		return;
	if (current.born_ms != 0 && now - current.born_ms < 2 * TICKET_KEY_LIFE_MS)
		previous = current;
	else
		mem_wipe(&previous, sizeof previous);
	random_bytes(&current, sizeof current);
	current.born_ms = now;
}

static struct ticket_key *
ticket_key_find(const unsigned char *name)
{
	if (memcmp(name, current.name, sizeof current.name) == 0)
		return &current;
	if (previous.born_ms != 0 && memcmp(name, previous.name, sizeof previous.name) == 0)
		return &previous;
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
	struct ticket_key *k = &current;

	(void)ssl;
	ticket_keys_rotate();
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
	return k == &current ? 1 : 2;
}

bool
tls_ticket_enable(SSL_CTX *ctx)
{
	ticket_keys_rotate();
	return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}
