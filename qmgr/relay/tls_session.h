/* tls_session.h - TLS with one server: how the handshake is set up, what it proved, and sessions kept to be resumed. */
#ifndef QMGR_RELAY_TLS_SESSION_H
#define QMGR_RELAY_TLS_SESSION_H

#include "common/config/conf.h"
#include "common/net/tls.h"
#include "qmgr/relay/dane.h"
#include "qmgr/relay/tls_policy.h"

struct relay_tls; /* what all connections of a process share */
/* Before the cage closes: reads the certification authorities.  NULL: *err. */
struct relay_tls *relay_tls_new(const struct conf *conf, struct err *err);
void relay_tls_free(struct relay_tls *t); /* NULL is allowed */

/* Who is to be met; borrowed. */
struct relay_tls_peer {
	const struct relay_tls_policy *policy;
	const struct relay_dane *dane; /* at the level dane */
	const char *host;              /* name of the server, or text of its address */
	const char *nexthop;           /* the domain, or the host, that mail is for */
	const char *canonical_nexthop; /* behind CNAMEs of its MX record; "": none */
	const char *address;           /* host[ip]:port */
};
/* For stream_start_tls_client.  NULL: *err; the configuration is at fault. */
SSL *relay_tls_start(struct relay_tls *t, const struct relay_tls_peer *peer, struct err *err);

enum relay_tls_trust {
	RELAY_TLS_ANONYMOUS, /* no certificate */
	RELAY_TLS_UNTRUSTED,
	RELAY_TLS_TRUSTED, /* somebody vouches for the certificate, which is not the one asked for */
	RELAY_TLS_VERIFIED,
};
/* After the handshake of such an SSL. */
enum relay_tls_trust relay_tls_judge(
    const struct relay_tls *t, SSL *ssl, const struct relay_tls_policy *policy);

#endif
