/* peer_name.h - DNS questions whose answers become facts (restrict.h): the verified name of a client's address,
 * and whether a domain exists for mail.  An async call returns a handle; after cancel its callback never comes,
 * nor does it come from within the start call. */
#ifndef SMTPD_PEER_NAME_H
#define SMTPD_PEER_NAME_H

#include "common/net/dns.h"
#include "smtpd/restrict.h"

struct peer_name {
	const char *name;    /* leads back to the address; NULL: none does */
	const char *reverse; /* what the PTR record says, a valid host name; NULL: none */
	enum restrict_fact name_fact, reverse_fact;
};
struct peer_lookup;
/* PTR, then A or AAAA of its first valid name (RFC 1912 2.1: they should agree). */
struct peer_lookup *peer_lookup_start(struct ipc_edge *dnsd, const struct sockaddr_storage *address,
    void (*cb)(void *arg, const struct peer_name *n), void *arg);
void peer_lookup_cancel(struct peer_lookup *p); /* NULL is allowed */

struct domain_lookup;
/* MX, A, AAAA in turn until one exists (RFC 5321 5.1).  An address literal is YES without a question. */
struct domain_lookup *domain_lookup_start(struct ipc_edge *dnsd, struct loop *l, const char *domain,
    void (*cb)(void *arg, enum restrict_fact fact), void *arg);
void domain_lookup_cancel(struct domain_lookup *d); /* NULL is allowed */

#endif
