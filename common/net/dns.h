/* dns.h - the client of dnsd: lookups as callbacks, answers parsed and bounded.
 * Ownership: dns_answer is borrowed for the callback only.  No callback after dns_cancel. */
#ifndef COMMON_NET_DNS_H
#define COMMON_NET_DNS_H

#include "common/ipc/conn.h"

#include <netinet/in.h>

enum dns_type { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16,
	DNS_AAAA = 28, DNS_TLSA = 52 };
enum dns_status {
	DNS_OK = 0,       /* at least one record */
	DNS_NODATA = 1,   /* the name exists, not this type */
	DNS_NXDOMAIN = 2,
	DNS_FAIL = 3,     /* SERVFAIL, time-out, malformed: try again */
	DNS_BOGUS = 4,    /* DNSSEC validation failed: never used, as DNS_FAIL */
};
enum { DNS_MAX_RECORDS = 100, DNS_NAME_MAX = 254 };

struct dns_answer {
	enum dns_status status;
	bool is_secure; /* validated by dnsd, not by an AD bit from elsewhere */
	uint32_t ttl;
	const char *canonical; /* owner name after CNAMEs; "" = as asked */
	const char *why;       /* for the log */
	const struct view *rdata;
	size_t count;
};

struct dns_query;
struct dns_query *dns_lookup(struct ipc_edge *dnsd, const char *name, enum dns_type type,
    void (*cb)(void *arg, const struct dns_answer *a), void *arg);
void dns_cancel(struct dns_query *q); /* NULL is allowed */
/* PTR of an address: the in-addr.arpa or ip6.arpa name. */
void dns_reverse_name(const struct sockaddr_storage *a, char name[DNS_NAME_MAX]);

/* RDATA readers, pure: names are uncompressed, dot-terminated names lose the last dot, ASCII lower case; "."
 * is "". false: malformed. */
bool dns_rdata_mx(struct view rdata, unsigned *preference, char host[DNS_NAME_MAX]);
bool dns_rdata_name(struct view rdata, char name[DNS_NAME_MAX]); /* PTR, NS, CNAME */
bool dns_rdata_addr(struct view rdata, struct sockaddr_storage *out); /* A or AAAA, by length; v4-mapped is IPv4 */
int dns_rdata_txt(struct view rdata, struct buf *out); /* strings joined; -1 malformed */

#endif
