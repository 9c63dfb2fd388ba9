/* keyd.h - the vault of TLS private keys: certificates to show, and signatures of the shapes of keyd_shape.h.
 * Nothing else is ever done with a key: no decryption, no export. */
#ifndef AUTHD_KEYD_H
#define AUTHD_KEYD_H

#include "common/base/err.h"
#include "common/base/view.h"
#include "common/ipc/conn.h"

enum { KEYD_SIGNATURE_MAX = 1024 };

struct keyd;
struct keyd *keyd_new(void);
void keyd_free(struct keyd *k);

/* Reads PEM from fd (borrowed, read from offset 0).  name is the file name under which it is asked for.
 * 0 or -1: not read, or malformed. */
int keyd_add_key(struct keyd *k, const char *name, int fd, struct err *err);
int keyd_add_chain(struct keyd *k, const char *name, int fd, struct err *err);
/* Finds the key of each chain; a chain without one is reported and dropped.  Returns the number of chains
 * that can be used. */
size_t keyd_match(struct keyd *k, void (*report)(void *arg, const char *text), void *arg);

/* The messages of common/ipc/msg/keyd.h; their argument is a struct keyd_caller. */
struct keyd_caller {
	struct keyd *keyd; /* borrowed */
	const char *name;  /* for the log */
	unsigned shapes;   /* enum keyd_shape: what this caller may have signed */
	unsigned long refused;
};
extern const struct ipc_handler keyd_handlers[];

/* The signature alone: status of msg/keyd.h; sig has room for KEYD_SIGNATURE_MAX bytes. */
unsigned keyd_sign(struct keyd *k, unsigned shapes, struct view spki_hash, unsigned scheme,
    struct view tbs, unsigned char *sig, size_t *sig_len);

#endif
