/* dane.h - the TLSA records of one SMTP server (RFC 7672 2.2.2, 2.2.3).
 *
 * Only what dnsd has validated counts.  A question that fails, or whose answer is bogus, is told as such: that server is not
 * to be used, for an attacker could do no less. */
#ifndef QMGR_RELAY_DANE_H
#define QMGR_RELAY_DANE_H

#include "common/net/dns.h"

enum {
	TLSA_DANE_TA = 2, /* RFC 7218 */
	TLSA_DANE_EE = 3,
};

struct relay_tlsa {
	unsigned char usage, selector, matching;
	unsigned char *data; /* owned */
	size_t len;
};
/* RFC 7672 3.1.3: usages 0 and 1 mean nothing here.  Pure; out->data points into rdata.  false: not usable. */
bool relay_tlsa_read(struct view rdata, struct relay_tlsa *out);

struct relay_dane {
	char base[DNS_NAME_MAX];    /* the TLSA base domain */
	struct relay_tlsa *records; /* owned: those that are usable */
	size_t count;
};
void relay_dane_clear(struct relay_dane *d); /* zeroed is allowed */

enum relay_dane_result {
	RELAY_DANE_FAILED,   /* a question without an answer that may be believed */
	RELAY_DANE_NONE,     /* no records, or none that are signed */
	RELAY_DANE_UNUSABLE, /* records, which promise TLS, and none that we understand */
	RELAY_DANE_USABLE,
};

/* What the look-up of the server's addresses said. */
struct relay_dane_host {
	const char *name, *canonical; /* behind CNAMEs; "": none */
	bool is_secure;               /* all of it */
	unsigned port;
};
struct relay_dane_query;
/* The callback comes once, from the loop, never after a cancel.  *d is the callback's to take; host is borrowed for the call
 * only. */
struct relay_dane_query *relay_dane_start(struct loop *l, struct ipc_edge *dnsd,
    const struct relay_dane_host *host,
    void (*cb)(void *arg, enum relay_dane_result r, struct relay_dane *d), void *arg);
void relay_dane_cancel(struct relay_dane_query *q); /* NULL is allowed */

#endif
