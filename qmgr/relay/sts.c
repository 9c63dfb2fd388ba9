#include "qmgr/relay/sts.h"
#include "common/base/mem.h"
#include "common/net/dns.h"

#include <stdio.h>
#include <stdlib.h>

enum { FETCH_MS = 90000, TXT_MAX = 4096 };

struct relay_sts_query {
	struct ipc_edge *fetchd;
	char domain[DNS_NAME_MAX];
	struct dns_query *txt;
	struct ipc_call *call;
	void (*cb)(void *arg, const struct relay_sts_policy *p);
	void *arg;
};

static void
on_fetched(void *arg, struct ipc_in *in)
{
	struct relay_sts_query q = *(struct relay_sts_query *)arg;
	struct relay_sts_policy p = { STS_NONE, "", "", FETCH_STS_GOOD };
	uint32_t mode, fault;

	free(arg);
	if (in != NULL) {
		mode = ipc_get_u32(in);
		p.id = ipc_get_str(in);
		p.mx = ipc_get_str(in);
		fault = ipc_get_u32(in);
		p.fault =
		    fault <= FETCH_STS_UNTRUSTED ? (enum fetch_sts_fault)fault : FETCH_STS_GOOD;
		p.mode = mode <= STS_ENFORCE ? (enum sts_mode)mode : STS_NONE;
	}
	q.cb(q.arg, &p);
}

/* RFC 8461 3.1: of records that begin with our version there must be one, and it must be well-formed. */
static void
find_id(const struct dns_answer *a, char id[STS_ID_MAX + 1])
{
	char other[STS_ID_MAX + 1];
	size_t found = 0;
	struct buf text;

	id[0] = '\0';
	buf_init(&text, TXT_MAX);
	for (size_t i = 0; i < a->count; i++) {
		buf_reset(&text);
		if (dns_rdata_txt(a->rdata[i], &text) == 0 &&
		    sts_record_read(buf_view(&text), other) && ++found == 1)
			snprintf(id, STS_ID_MAX + 1, "%s", other);
	}
	if (found > 1)
		id[0] = '\0';
	buf_clear(&text);
}

/* Without a record, too: a policy that is known holds until it expires (RFC 8461 5.1). */
static void
on_txt(void *arg, const struct dns_answer *a)
{
	struct relay_sts_query *q = arg;
	char id[STS_ID_MAX + 1];
	struct ipc_out o;

	q->txt = NULL;
	find_id(a, id);
	ipc_out_init(&o, FETCH_STS_POLICY);
	ipc_put_str(&o, q->domain);
	ipc_put_str(&o, id);
	q->call = ipc_edge_ask(q->fetchd, &o, FETCH_STS_SIG, FETCH_MS, on_fetched, q);
}

struct relay_sts_query *
relay_sts_start(struct ipc_edge *dnsd, struct ipc_edge *fetchd, const char *domain,
    void (*cb)(void *arg, const struct relay_sts_policy *p), void *arg)
{
	struct relay_sts_query *q = x_calloc(1, sizeof *q);
	char *name = x_asprintf("_mta-sts.%s", domain);

	q->fetchd = fetchd;
	snprintf(q->domain, sizeof q->domain, "%s", domain);
	q->cb = cb;
	q->arg = arg;
	q->txt = dns_lookup(dnsd, name, DNS_TXT, on_txt, q); /* a name too long is none */
	free(name);
	return q;
}

void
relay_sts_cancel(struct relay_sts_query *q)
{
	if (q == NULL)
		return;
	dns_cancel(q->txt);
	ipc_call_cancel(q->call);
	free(q);
}
