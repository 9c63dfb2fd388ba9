/* keyd.h - the vault of TLS private keys: certificates to show, and signatures of the shapes of keyd_shape.h.
 * Nothing else is ever done with a key: no decryption, no export. */
#ifndef AUTHD_KEYD_H
#define AUTHD_KEYD_H

#include "common/base/err.h"
#include "common/base/view.h"
#include "common/ipc/conn.h"
#include "common/ipc/msg/keyd.h"
#include "common/net/cert_set.h"

enum { KEYD_SIGNATURE_MAX = 1024 };

struct keyd;
struct keyd *keyd_new(void);
void keyd_free(struct keyd *k);

/* Chains and keys (cert_set_match has been done) under a name; once for each name. */
int keyd_add_set(struct keyd *k, const char *name, const struct cert_set *set, struct err *err);
bool keyd_has_set(const struct keyd *k, const char *name);
/* A client that asks for host under this value of tls_server_sni_maps gets this set, which is there.  The first one
 * counts. */
void keyd_add_host(struct keyd *k, const char *maps, const char *host, const char *set);
bool keyd_has_maps(const struct keyd *k, const char *maps);

/* The messages of common/ipc/msg/keyd.h; their argument is a struct keyd_caller. */
struct keyd_tickets {
	unsigned char present[KEYD_TICKET_KEY], previous[KEYD_TICKET_KEY];
	int64_t born_ms; /* of present; 0: none yet */
	bool has_previous;
};
struct keyd_caller {
	struct keyd *keyd; /* borrowed */
	const char *name;  /* for the log */
	unsigned shapes;   /* enum keyd_shape: what this caller may have signed */
	unsigned long refused;
	struct keyd_tickets tickets;
};
extern const struct ipc_handler keyd_handlers[];

/* Session tickets (RFC 5077, RFC 8446 4.6.1): whoever gets a key later reads all that was resumed under it, so that a
 * key is in use for an hour and gone an hour after that; it is on no disk.  Returns the time until the next is due. */
int64_t keyd_tickets_rotate(struct keyd_tickets *t, int64_t now_ms);

/* The signature alone: status of msg/keyd.h; sig has room for KEYD_SIGNATURE_MAX bytes. */
unsigned keyd_sign(struct keyd *k, unsigned shapes, struct view spki_hash, unsigned scheme,
    struct view tbs, unsigned char *sig, size_t *sig_len);

#endif
