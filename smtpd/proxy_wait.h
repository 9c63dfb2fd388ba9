/* proxy_wait.h - a connection from a proxy, until it has said whom it brings (smtpd_upstream_proxy_protocol).
 *
 * The header is looked at in the socket and only its own bytes are taken off: what follows may already be the client's
 * half of a TLS handshake, which is not for us to read.  Nothing was decided before: the client is counted, logged and
 * judged by the address in the header.  The header itself is believed: whoever can reach such a listener is the proxy. */
#ifndef SMTPD_PROXY_WAIT_H
#define SMTPD_PROXY_WAIT_H

#include "smtpd/server.h"

/* fd is owned from here on. */
void smtpd_proxy_wait(struct smtpd_server *v, int fd, const struct sockaddr_storage *peer);
/* All that wait are dropped. */
void smtpd_proxy_clear(struct smtpd_server *v);

#endif
