/* mx.h - which hosts take a domain's mail, and in which order they are tried (RFC 5321 5, RFC 7505).  Pure:
 * chance comes from the caller. */
#ifndef QMGR_RELAY_MX_H
#define QMGR_RELAY_MX_H

#include "common/net/dns.h"
#include "common/net/own_addresses.h"

enum {
	RELAY_MX_HOSTS_MAX = 20,     /* hosts of one domain whose addresses are looked up */
	RELAY_HOST_ADDRESSES_MAX = 8 /* of one host and family */
};

struct relay_mx {
	unsigned preference;
	char host[DNS_NAME_MAX];
};
struct relay_address {
	unsigned preference;
	unsigned host; /* index of the host it belongs to */
	struct sockaddr_storage addr;
};

/* A number in 0..bound-1. */
typedef uint32_t relay_pick(uint32_t bound);

/* Reads MX records, malformed ones left out, into out[max].  *is_null: the domain takes no mail at all (RFC 7505 3:
 * one record, and its host is the root).  Returns how many there are. */
size_t relay_mx_read(
    const struct view *rdata, size_t count, struct relay_mx *out, size_t max, bool *is_null);
/* By preference, in random order among equals. */
void relay_mx_sort(struct relay_mx *mx, size_t count, relay_pick *pick);
/* RFC 5321 5.1: if one of a sorted list is ourselves, it goes and so does every host that is not better.  Returns the number
 * left. */
size_t relay_mx_cut_own_name(const struct relay_mx *mx, size_t count, const char *myhostname);

/* The same for addresses in any order; "this host" (0.0.0.0/8, ::) is ourselves too. */
size_t relay_addresses_cut_own(
    struct relay_address *a, size_t count, const struct own_addresses *own);
/* Neither multicast nor broadcast. */
bool relay_address_is_usable(const struct sockaddr_storage *a);

enum relay_family { RELAY_FAMILY_ANY, RELAY_FAMILY_IPV4, RELAY_FAMILY_IPV6 };
/* By preference; among equals at random, the families by turns, or the preferred one first.  Returns how many to try:
 * at most limit, among them one of each family if there are both. */
size_t relay_addresses_order(
    struct relay_address *a, size_t count, size_t limit, enum relay_family first, relay_pick *pick);

#endif
