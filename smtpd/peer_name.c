#include "smtpd/peer_name.h"
#include "common/base/mem.h"
#include "common/net/addr.h"
#include "common/proto/address.h"
#include "common/proto/idn.h"

#include <stdio.h>
#include <stdlib.h>

struct peer_lookup {
	struct ipc_edge *dnsd;
	struct sockaddr_storage address;
	struct dns_query *query;
	char reverse[DNS_NAME_MAX];
	void (*cb)(void *arg, const struct peer_name *n);
	void *arg;
};

static void
peer_done(struct peer_lookup *p, enum restrict_fact name_fact, enum restrict_fact reverse_fact)
{
	struct peer_name n = { .name_fact = name_fact, .reverse_fact = reverse_fact };

	if (reverse_fact == FACT_YES)
		n.reverse = p->reverse;
	if (name_fact == FACT_YES)
		n.name = p->reverse;
	p->cb(p->arg, &n);
	free(p);
}

/* What to make of it that a name is not in the answer. */
static enum restrict_fact
fact_of_missing(const struct dns_answer *a)
{
	return a->status == DNS_FAIL || a->status == DNS_BOGUS ? FACT_TEMP : FACT_NO;
}

static bool
is_same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	char ta[ADDR_TEXT], tb[ADDR_TEXT];

	return strcmp(addr_text(a, ta), addr_text(b, tb)) == 0;
}

static void
on_forward(void *arg, const struct dns_answer *a)
{
	struct peer_lookup *p = arg;
	struct sockaddr_storage found;

	p->query = NULL;
	for (size_t i = 0; i < a->count; i++) {
		if (dns_rdata_addr(a->rdata[i], &found) && is_same_address(&found, &p->address)) {
			peer_done(p, FACT_YES, FACT_YES);
			return;
		}
	}
	peer_done(p, fact_of_missing(a), FACT_YES);
}

/* The name goes into log lines and header fields: anything but a host name is no name.  A name that looks like
 * an address would deceive whoever reads it. */
static bool
take_reverse(struct peer_lookup *p, const struct dns_answer *a)
{
	struct sockaddr_storage numeric;

	for (size_t i = 0; i < a->count; i++)
		if (dns_rdata_name(a->rdata[i], p->reverse) && p->reverse[0] != '[' &&
		    hostname_is_valid(view_of(p->reverse), true) &&
		    !addr_parse(view_of(p->reverse), &numeric))
			return true;
	return false;
}

static void
on_reverse(void *arg, const struct dns_answer *a)
{
	struct peer_lookup *p = arg;
	enum restrict_fact missing = fact_of_missing(a);

	p->query = NULL;
	if (a->status != DNS_OK || !take_reverse(p, a)) {
		peer_done(p, missing, missing);
		return;
	}
	p->query = dns_lookup(p->dnsd, p->reverse,
	    p->address.ss_family == AF_INET6 ? DNS_AAAA : DNS_A, on_forward, p);
}

struct peer_lookup *
peer_lookup_start(struct ipc_edge *dnsd, const struct sockaddr_storage *address,
    void (*cb)(void *arg, const struct peer_name *n), void *arg)
{
	struct peer_lookup *p = x_calloc(1, sizeof *p);
	char name[DNS_NAME_MAX];

	p->dnsd = dnsd;
	p->address = *address;
	p->cb = cb;
	p->arg = arg;
	dns_reverse_name(address, name);
	p->query = dns_lookup(dnsd, name, DNS_PTR, on_reverse, p);
	return p;
}

void
peer_lookup_cancel(struct peer_lookup *p)
{
	if (p == NULL)
		return;
	dns_cancel(p->query);
	free(p);
}

struct domain_lookup {
	struct ipc_edge *dnsd;
	struct dns_query *query;
	struct loop_timer soon; /* the answer needs no question */
	size_t step;
	char name[DNS_NAME_MAX];
	void (*cb)(void *arg, enum restrict_fact fact);
	void *arg;
};

static const enum dns_type mail_types[] = { DNS_MX, DNS_A, DNS_AAAA };

static void
domain_done(struct domain_lookup *d, enum restrict_fact fact)
{
	void (*cb)(void *, enum restrict_fact) = d->cb;
	void *arg = d->arg;

	free(d);
	cb(arg, fact);
}

/* RFC 7505 3: one MX record, preference 0 or any, whose host is the root */
static bool
is_null_mx(const struct dns_answer *a)
{
	char host[DNS_NAME_MAX];
	unsigned preference;

	return a->count == 1 && dns_rdata_mx(a->rdata[0], &preference, host) && host[0] == '\0';
}

static void
on_domain_answer(void *arg, const struct dns_answer *a)
{
	struct domain_lookup *d = arg;

	d->query = NULL;
	if (a->status == DNS_OK)
		domain_done(
		    d, mail_types[d->step] == DNS_MX && is_null_mx(a) ? FACT_NULL_MX : FACT_YES);
	else if (a->status == DNS_NXDOMAIN)
		domain_done(d, FACT_NO);
	else if (a->status != DNS_NODATA)
		domain_done(d, FACT_TEMP);
	else if (++d->step == sizeof mail_types / sizeof mail_types[0])
		domain_done(d, FACT_NO);
	else
		d->query = dns_lookup(d->dnsd, d->name, mail_types[d->step], on_domain_answer, d);
}

static void
on_literal(void *arg)
{
	domain_done(arg, FACT_YES);
}

struct domain_lookup *
domain_lookup_start(struct ipc_edge *dnsd, struct loop *l, const char *domain,
    void (*cb)(void *arg, enum restrict_fact fact), void *arg)
{
	struct domain_lookup *d = x_calloc(1, sizeof *d);

	d->dnsd = dnsd;
	d->cb = cb;
	d->arg = arg;
	if (bytes_are_ascii(view_of(domain)) || !idn_to_ascii(view_of(domain), d->name))
		snprintf(d->name, sizeof d->name, "%s", domain);
	loop_timer_init(&d->soon, l, on_literal, d);
	if (domain[0] == '[')
		loop_timer_soon(&d->soon);
	else
		d->query = dns_lookup(dnsd, d->name, mail_types[0], on_domain_answer, d);
	return d;
}

void
domain_lookup_cancel(struct domain_lookup *d)
{
	if (d == NULL)
		return;
	loop_timer_stop(&d->soon);
	dns_cancel(d->query);
	free(d);
}
