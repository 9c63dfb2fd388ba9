#include "qmgr/relay/resolve.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/log/log.h"
#include "common/net/addr.h"

#include <stdio.h>
#include <stdlib.h>

struct host {
	struct relay_resolve *resolve;
	struct relay_mx mx;
	struct dns_query *a, *aaaa; /* under way, or NULL */
	bool is_insecure;           /* an answer with addresses was not signed */
	char canonical[DNS_NAME_MAX];
};

struct relay_resolve {
	struct loop_timer soon; /* for an answer that needs no question */
	struct ipc_edge *dnsd;
	const struct relay_conf *conf;
	struct relay_nexthop hop;
	void (*cb)(void *arg, const struct relay_target *targets, size_t count,
	    const struct relay_verdict *failure);
	void *arg;
	struct dns_query *mx;
	struct host *hosts; /* owned */
	size_t nhosts;
	size_t pending;                  /* address questions under way */
	struct relay_address *addresses; /* owned */
	size_t naddresses;
	bool has_unsafe_mx;        /* MX records without DNSSEC */
	char domain[DNS_NAME_MAX]; /* whose they are, behind CNAMEs */
	bool is_loop;              /* we are among the hosts */
	bool may_come;             /* a question failed for now */
	char failed_name[DNS_NAME_MAX];
	const char *failed_type;
	enum dns_status failed_status;
};

static void
resolve_free(struct relay_resolve *r)
{
	loop_timer_stop(&r->soon);
	dns_cancel(r->mx);
	for (size_t i = 0; i < r->nhosts; i++) {
		dns_cancel(r->hosts[i].a);
		dns_cancel(r->hosts[i].aaaa);
	}
	free(r->hosts);
	free(r->addresses);
	free(r);
}

void
relay_resolve_cancel(struct relay_resolve *r)
{
	if (r != NULL)
		resolve_free(r);
}

static void
finish(struct relay_resolve *r, const struct relay_target *targets, size_t count,
    const struct relay_verdict *failure)
{
	void (*cb)(void *, const struct relay_target *, size_t, const struct relay_verdict *) =
	    r->cb;
	void *arg = r->arg;

	resolve_free(r);
	cb(arg, targets, count, failure);
}

/* Postfix's words: people grep for them. */
static void
finish_not_found(
    struct relay_resolve *r, const char *name, const char *type, enum dns_status status)
{
	bool again = status == DNS_FAIL || status == DNS_BOGUS;
	const char *what = again ? "Host not found, try again"
			   : status == DNS_NODATA
			       ? "Host found but no data record of requested type"
			       : "Host not found";
	struct relay_verdict v;

	relay_verdict_set(&v, again ? DELIVERY_DEFERRED : DELIVERY_BOUNCED,
	    again ? "4.4.3" : "5.4.4",
	    "Host or domain name not found. Name service error for name=%s type=%s: %s", name, type,
	    what);
	v.is_unreachable = true;
	finish(r, NULL, 0, &v);
}

static void
finish_loop(struct relay_resolve *r)
{
	struct relay_verdict v;

	relay_verdict_set(
	    &v, DELIVERY_BOUNCED, "5.4.6", "mail for %s loops back to myself", r->hop.host);
	finish(r, NULL, 0, &v);
}

static void
finish_addresses(struct relay_resolve *r)
{
	size_t limit = r->conf->address_limit, n;
	struct relay_target *targets;

	if (r->hop.use_mx && r->hop.port == r->conf->port) {
		n = relay_addresses_cut_own(r->addresses, r->naddresses, &r->conf->own);
		r->is_loop = r->is_loop || n < r->naddresses;
		r->naddresses = n;
	}
	if (r->naddresses == 0 && r->is_loop) {
		finish_loop(r);
		return;
	}
	if (r->naddresses == 0) {
		finish_not_found(
		    r, r->failed_name, r->failed_type, r->may_come ? DNS_FAIL : r->failed_status);
		return;
	}
	/* smtp_balance_inet_protocols: one of each family within the limit */
	n = relay_addresses_order(r->addresses, r->naddresses,
	    r->conf->balances_families ? limit : r->naddresses, r->conf->first_family,
	    random_below);
	if (n > limit)
		n = limit;
	targets = x_calloc(n, sizeof *targets);
	for (size_t i = 0; i < n; i++) {
		const struct host *h = &r->hosts[r->addresses[i].host];
		struct relay_target *t = &targets[i];

		snprintf(t->host, sizeof t->host, "%s", h->mx.host);
		t->addr = r->addresses[i].addr;
		addr_set_port(&t->addr, r->hop.port);
		t->is_named_safely = !r->has_unsafe_mx;
		t->preference = r->addresses[i].preference;
		t->is_secure = !h->is_insecure && !r->hop.is_address;
		snprintf(t->canonical, sizeof t->canonical, "%s", h->canonical);
		snprintf(t->domain, sizeof t->domain, "%s", r->domain);
	}
	finish(r, targets, n, NULL);
	free(targets);
}

static void
add_address(struct host *h, const struct sockaddr_storage *a)
{
	struct relay_resolve *r = h->resolve;

	if (!relay_address_is_usable(a))
		return;
	r->addresses = x_realloc(r->addresses, r->naddresses + 1, sizeof *r->addresses);
	r->addresses[r->naddresses++] = (struct relay_address){
		.preference = h->mx.preference, .host = (unsigned)(h - r->hosts), .addr = *a
	};
}

static void
note_failure(struct host *h, const char *type, const struct dns_answer *a)
{
	struct relay_resolve *r = h->resolve;

	if (a->status == DNS_BOGUS)
		log_warn(
		    "%s: type %s: DNSSEC validation failed: %s", h->mx.host, type, lqs(a->why));
	/* told is what speaks most for trying again, then what says more than "not there" */
	if (a->status == DNS_FAIL || a->status == DNS_BOGUS)
		r->may_come = true;
	else if (r->may_come || (r->failed_type != NULL && a->status == DNS_NXDOMAIN))
		return;
	snprintf(r->failed_name, sizeof r->failed_name, "%s", h->mx.host);
	r->failed_type = type;
	r->failed_status = a->status;
}

static void
on_addresses(struct host *h, const char *type, const struct dns_answer *a)
{
	struct relay_resolve *r = h->resolve;
	size_t taken = 0;

	for (size_t i = 0; i < a->count && taken < RELAY_HOST_ADDRESSES_MAX; i++) {
		struct sockaddr_storage addr;

		if (dns_rdata_addr(a->rdata[i], &addr)) {
			add_address(h, &addr);
			taken++;
		}
	}
	if (a->status == DNS_OK) {
		h->is_insecure = h->is_insecure || !a->is_secure;
		snprintf(h->canonical, sizeof h->canonical, "%s", a->canonical);
	}
	if (a->status != DNS_OK)
		note_failure(h, type, a);
	else if (r->failed_type == NULL && taken == 0)
		note_failure(h, type, &(struct dns_answer){ .status = DNS_NODATA, .why = "" });
	if (--r->pending == 0)
		finish_addresses(r);
}

static void
on_a(void *arg, const struct dns_answer *a)
{
	struct host *h = arg;

	h->a = NULL;
	on_addresses(h, "A", a);
}

static void
on_aaaa(void *arg, const struct dns_answer *a)
{
	struct host *h = arg;

	h->aaaa = NULL;
	on_addresses(h, "AAAA", a);
}

/* A host name that is no name of a host (an address, say) has no address: nothing to ask. */
static void
look_up_host(struct host *h)
{
	struct relay_resolve *r = h->resolve;

	if (!relay_hostname_is_usable(h->mx.host)) {
		note_failure(h, "A", &(struct dns_answer){ .status = DNS_NXDOMAIN, .why = "" });
		return;
	}
	if (r->conf->use_ipv4) {
		h->a = dns_lookup(r->dnsd, h->mx.host, DNS_A, on_a, h);
		r->pending++;
	}
	if (r->conf->use_ipv6) {
		h->aaaa = dns_lookup(r->dnsd, h->mx.host, DNS_AAAA, on_aaaa, h);
		r->pending++;
	}
}

static void
on_soon(void *arg)
{
	finish_addresses(arg);
}

static void
look_up_hosts(struct relay_resolve *r, const struct relay_mx *mx, size_t count)
{
	r->hosts = x_calloc(count, sizeof *r->hosts);
	r->nhosts = count;
	for (size_t i = 0; i < count; i++) {
		r->hosts[i].resolve = r;
		r->hosts[i].mx = mx[i];
	}
	for (size_t i = 0; i < count; i++)
		look_up_host(&r->hosts[i]);
	if (r->pending == 0)
		loop_timer_soon(&r->soon);
}

static void
look_up_one_host(struct relay_resolve *r)
{
	struct relay_mx mx = { 0 };

	snprintf(mx.host, sizeof mx.host, "%s", r->hop.host);
	look_up_hosts(r, &mx, 1);
}

static void
take_mx(struct relay_resolve *r, const struct dns_answer *a)
{
	struct relay_mx *mx = x_calloc(DNS_MAX_RECORDS, sizeof *mx);
	struct relay_verdict v;
	bool is_null;
	size_t n = relay_mx_read(a->rdata, a->count, mx, DNS_MAX_RECORDS, &is_null), left;

	relay_mx_sort(mx, n, random_below);
	left = r->hop.port == r->conf->port ? relay_mx_cut_own_name(mx, n, r->conf->myhostname) : n;
	r->is_loop = left < n;
	if (is_null) {
		relay_verdict_set(&v, DELIVERY_BOUNCED, "5.1.10",
		    "Domain %s does not accept mail (nullMX)", r->hop.host);
		finish(r, NULL, 0, &v);
	} else if (left > 0) {
		look_up_hosts(r, mx, left < RELAY_MX_HOSTS_MAX ? left : RELAY_MX_HOSTS_MAX);
	} else if (r->is_loop) {
		finish_loop(r);
	} else {
		finish_not_found(
		    r, r->hop.host, "MX", DNS_FAIL); /* records, but none well-formed */
	}
	free(mx);
}

static void
on_mx(void *arg, const struct dns_answer *a)
{
	struct relay_resolve *r = arg;

	r->mx = NULL;
	switch (a->status) {
	case DNS_OK:
		r->has_unsafe_mx = !a->is_secure;
		snprintf(r->domain, sizeof r->domain, "%s", a->canonical);
		take_mx(r, a);
		break;
	case DNS_NODATA: /* RFC 5321 5.1: the domain itself, as an MX of preference 0 */
		look_up_one_host(r);
		break;
	case DNS_BOGUS:
		log_warn("%s: type MX: DNSSEC validation failed: %s", r->hop.host, lqs(a->why));
		/* fall through */
	default:
		finish_not_found(r, r->hop.host, "MX", a->status);
		break;
	}
}

static void
take_literal(struct relay_resolve *r)
{
	r->hosts = x_calloc(1, sizeof *r->hosts);
	r->nhosts = 1;
	r->hosts[0].resolve = r;
	snprintf(r->hosts[0].mx.host, sizeof r->hosts[0].mx.host, "%s", r->hop.host);
	r->failed_type = "A";
	r->failed_status = DNS_NXDOMAIN;
	snprintf(r->failed_name, sizeof r->failed_name, "%s", r->hop.host);
	add_address(&r->hosts[0], &r->hop.address);
	loop_timer_soon(&r->soon);
}

struct relay_resolve *
relay_resolve_start(struct loop *l, struct ipc_edge *dnsd, const struct relay_conf *conf,
    const struct relay_nexthop *hop,
    void (*cb)(void *arg, const struct relay_target *targets, size_t count,
	const struct relay_verdict *failure),
    void *arg)
{
	struct relay_resolve *r = x_calloc(1, sizeof *r);

	r->dnsd = dnsd;
	r->conf = conf;
	r->hop = *hop;
	r->cb = cb;
	r->arg = arg;
	loop_timer_init(&r->soon, l, on_soon, r);
	if (hop->is_address)
		take_literal(r);
	else if (hop->use_mx)
		r->mx = dns_lookup(dnsd, hop->host, DNS_MX, on_mx, r);
	else
		look_up_one_host(r);
	return r;
}
