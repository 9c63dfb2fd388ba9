/* host_lookup.h - the hosts behind a domain, as check_*_a_access, _mx_access and _ns_access look at them. */
#ifndef SMTPD_HOST_LOOKUP_H
#define SMTPD_HOST_LOOKUP_H

#include "common/net/dns.h"
#include "smtpd/restrict.h"

struct host_lookup;
/* HOSTS_A: the domain's addresses.  HOSTS_MX: its mail exchangers' names and addresses (itself when it has none, RFC 5321
 * 5.1).  HOSTS_NS: those of its name servers, or of the nearest parent that has some.  At most RESTRICT_HOSTS_MAX strings;
 * what does not answer is left out.  cb comes once, from the loop; the strings are borrowed. */
struct host_lookup *host_lookup_start(struct ipc_edge *dnsd, const char *domain, enum restrict_hosts what,
    void (*cb)(void *arg, const char *const *hosts, size_t count), void *arg);
void host_lookup_cancel(struct host_lookup *h); /* NULL is allowed */

#endif
