/* tls_ticket.h - session tickets (RFC 5077, RFC 8446 4.6.1) under keys that keyd makes, replaces every hour, and gives to all
 * processes of one role: a ticket is good at each of them, and after a restart.  OpenSSL's own ticket key would live as long
 * as the process: whoever gets it later reads all of the TLS 1.2 traffic resumed under it.  Should keyd give no new key for
 * too long, this process goes on with one of its own. */
#ifndef COMMON_NET_TLS_TICKET_H
#define COMMON_NET_TLS_TICKET_H

#include "common/net/tls.h"

/* Sessions can be resumed for so long (0: never), but not longer than their key is kept. */
bool tls_ticket_enable(SSL_CTX *ctx, int64_t seconds);
/* Gets the keys from keyd, and new ones from time to time until the context is freed.  ready(arg, err) comes once, from the
 * loop: the context must not be used before. */
void tls_ticket_start(
    struct tls_context *ctx, void (*ready)(void *arg, const struct err *err), void *arg);

#endif
