/* dnsbl.h - DNS lists of addresses and domains (RFC 5782): "domain", "domain=filter", "domain=filter*weight".
 * The filter is Postfix's: d.d.d.d where each d is a number, or in brackets a ";"-list of numbers and ranges
 * ("127.0.0.[2;4..11]"); none: any address of 127/8 is a hit.  Parsing and matching are pure. */
#ifndef SMTPD_DNSBL_H
#define SMTPD_DNSBL_H

#include "common/net/dns.h"
#include "smtpd/restrict.h"

#include <sys/socket.h>

struct dnsbl_site {
	char domain[DNS_NAME_MAX];
	char filter[100]; /* as written, "" = none */
	int weight;       /* 1 unless given; negative: an allow-list */
};
/* -1: ERR_SYNTAX */
int dnsbl_site_parse(struct view text, struct dnsbl_site *out, struct err *err);
/* Is this A record a hit? */
bool dnsbl_site_matches(const struct dnsbl_site *site, const struct sockaddr_storage *address);
/* "1.2.0.192.domain", or the nibbles of an IPv6 address.  false: too long. */
bool dnsbl_address_name(
    const struct sockaddr_storage *a, const char *domain, char name[DNS_NAME_MAX]);
/* "example.com.domain".  false: not a host name, or too long. */
bool dnsbl_domain_name(const char *host, const char *domain, char name[DNS_NAME_MAX]);

struct dnsbl_answer {
	enum restrict_fact fact; /* YES: listed, the filter considered; NO; TEMP */
	const char *address;     /* the record that hit: "127.0.0.2"; "" */
	const char *text; /* TXT record, printable ASCII only; "" when none or not asked for */
};
struct dnsbl_lookup;
/* Asks for A, and for TXT when that is a hit and wants_text.  cb comes once, from the loop. */
struct dnsbl_lookup *dnsbl_lookup_start(struct ipc_edge *dnsd, const char *name,
    const struct dnsbl_site *site, bool wants_text,
    void (*cb)(void *arg, const struct dnsbl_answer *a), void *arg);
void dnsbl_lookup_cancel(struct dnsbl_lookup *d); /* NULL is allowed */

#endif
