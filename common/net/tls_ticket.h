/* tls_ticket.h - session tickets (RFC 5077, RFC 8446 4.6.1) under keys of this process that live for hours.
 * OpenSSL's own ticket key lives as long as the context: whoever gets it later reads all of the TLS 1.2
 * traffic resumed under it.  Ours is replaced every hour and forgotten an hour after that.  Another process's
 * ticket is unknown here, which costs that client a full handshake. */
#ifndef COMMON_NET_TLS_TICKET_H
#define COMMON_NET_TLS_TICKET_H

#include <openssl/ssl.h>
#include <stdbool.h>

bool tls_ticket_enable(SSL_CTX *ctx);

#endif
