#include "qmgr/relay/dane.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEAD = 3, SELECTOR_CERT = 0, SELECTOR_SPKI = 1 };

struct relay_dane_query {
	struct ipc_edge *dnsd;
	unsigned port;
	char bases[2][DNS_NAME_MAX]; /* candidates, best first */
	size_t nbases, at;
	struct dns_query *dns;
	struct loop_timer soon;
	void (*cb)(void *arg, enum relay_dane_result r, struct relay_dane *d);
	void *arg;
};

/* ---------------------------------------------------------------- records */

/* Matching type 0 is the thing itself (RFC 6698 2.1.3). */
static bool
is_whole(const struct relay_tlsa *r)
{
	const unsigned char *p = r->data, *end = p + r->len;
	bool is_good;

	if (r->len == 0)
		return false;
	if (r->selector == SELECTOR_CERT) {
		X509 *cert = d2i_X509(NULL, &p, (long)r->len);

		is_good = cert != NULL && p == end;
		X509_free(cert);
	} else {
		EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)r->len);

		is_good = key != NULL && p == end;
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
	return is_good;
}

bool
relay_tlsa_read(struct view rdata, struct relay_tlsa *out)
{
	unsigned char *p = (unsigned char *)rdata.p;

	if (rdata.len < HEAD)
		return false;
	*out = (struct relay_tlsa){ p[0], p[1], p[2], p + HEAD, rdata.len - HEAD };
	if ((out->usage != TLSA_DANE_TA && out->usage != TLSA_DANE_EE) ||
	    out->selector > SELECTOR_SPKI)
		return false;
	switch (out->matching) {
	case 0:
		return is_whole(out);
	case 1:
		return out->len == SHA256_DIGEST_LENGTH;
	case 2:
		return out->len == SHA512_DIGEST_LENGTH;
	default:
		return false;
	}
}

void
relay_dane_clear(struct relay_dane *d)
{
	for (size_t i = 0; i < d->count; i++)
		free(d->records[i].data);
	free(d->records);
	*d = (struct relay_dane){ 0 };
}

static void
take_records(struct relay_dane *d, const struct dns_answer *a)
{
	struct relay_tlsa r;

	d->records = x_calloc(a->count, sizeof *d->records);
	for (size_t i = 0; i < a->count; i++)
		if (relay_tlsa_read(a->rdata[i], &r)) {
			r.data = x_malloc(r.len);
			memcpy(r.data, a->rdata[i].p + HEAD, r.len);
			d->records[d->count++] = r;
		}
}

/* ---------------------------------------------------------------- questions */

static void
finish(struct relay_dane_query *q, enum relay_dane_result r, struct relay_dane *d)
{
	void (*cb)(void *, enum relay_dane_result, struct relay_dane *) = q->cb;
	void *arg = q->arg;
	struct relay_dane none = { 0 };

	relay_dane_cancel(q);
	cb(arg, r, d != NULL ? d : &none);
}

static void on_tlsa(void *arg, const struct dns_answer *a);

static bool
has_failed(const char *name, const char *type, const struct dns_answer *a)
{
	if (a->status != DNS_FAIL && a->status != DNS_BOGUS)
		return false;
	log_warn("%s: type %s: %s%s", name, type,
	    a->status == DNS_BOGUS ? "DNSSEC validation failed: " : "lookup error: ", lqs(a->why));
	return true;
}

static void
ask_next(struct relay_dane_query *q)
{
	char name[DNS_NAME_MAX + sizeof "_65535._tcp."];

	if (q->at == q->nbases) {
		finish(q, RELAY_DANE_NONE, NULL);
		return;
	}
	/* too long for the DNS: dns_lookup says that there is no such name */
	snprintf(name, sizeof name, "_%u._tcp.%s", q->port, q->bases[q->at]);
	q->dns = dns_lookup(q->dnsd, name, DNS_TLSA, on_tlsa, q);
}

static void
on_tlsa(void *arg, const struct dns_answer *a)
{
	struct relay_dane_query *q = arg;
	struct relay_dane d = { 0 };

	q->dns = NULL;
	if (has_failed(q->bases[q->at], "TLSA", a)) {
		finish(q, RELAY_DANE_FAILED, NULL);
		return;
	}
	if (a->status != DNS_OK || !a->is_secure) {
		q->at++;
		ask_next(q);
		return;
	}
	snprintf(d.base, sizeof d.base, "%s", q->bases[q->at]);
	take_records(&d, a);
	finish(q, d.count > 0 ? RELAY_DANE_USABLE : RELAY_DANE_UNUSABLE, &d);
}

/* An alias whose target is not signed: the alias itself may be (RFC 7672 2.2.2, "Insecure CNAME"). */
static void
on_cname(void *arg, const struct dns_answer *a)
{
	struct relay_dane_query *q = arg;

	q->dns = NULL;
	if (has_failed(q->bases[0], "CNAME", a)) {
		finish(q, RELAY_DANE_FAILED, NULL);
		return;
	}
	q->nbases = a->status == DNS_OK && a->is_secure ? 1 : 0;
	ask_next(q);
}

static void
on_soon(void *arg)
{
	ask_next(arg);
}

struct relay_dane_query *
relay_dane_start(struct loop *l, struct ipc_edge *dnsd, const struct relay_dane_host *host,
    void (*cb)(void *arg, enum relay_dane_result r, struct relay_dane *d), void *arg)
{
	struct relay_dane_query *q = x_calloc(1, sizeof *q);
	bool is_alias = host->canonical[0] != '\0' && strcmp(host->canonical, host->name) != 0;

	q->dnsd = dnsd;
	q->port = host->port;
	q->cb = cb;
	q->arg = arg;
	loop_timer_init(&q->soon, l, on_soon, q);
	if (host->is_secure && is_alias)
		snprintf(q->bases[q->nbases++], DNS_NAME_MAX, "%s", host->canonical);
	snprintf(q->bases[q->nbases++], DNS_NAME_MAX, "%s", host->name);
	if (host->is_secure) {
		ask_next(q);
	} else if (is_alias) {
		q->dns = dns_lookup(dnsd, host->name, DNS_CNAME, on_cname, q);
	} else {
		/* RFC 7672 2.2.2: name servers of such zones may fail at questions for TLSA */
		q->nbases = 0;
		loop_timer_soon(&q->soon);
	}
	return q;
}

void
relay_dane_cancel(struct relay_dane_query *q)
{
	if (q == NULL)
		return;
	loop_timer_stop(&q->soon);
	dns_cancel(q->dns);
	free(q);
}
