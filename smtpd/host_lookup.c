#include "smtpd/host_lookup.h"
#include "common/base/mem.h"
#include "common/net/addr.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAMES_MAX = 10 }; /* hosts whose addresses are asked for */

struct host_lookup {
	struct ipc_edge *dnsd;
	struct dns_query *query;
	enum restrict_hosts what;
	char domain[DNS_NAME_MAX];           /* asked for MX or NS */
	char names[NAMES_MAX][DNS_NAME_MAX]; /* whose addresses are asked for */
	size_t nnames, at;                   /* at: twice the present name, plus one for AAAA */
	char *hosts[RESTRICT_HOSTS_MAX];     /* owned */
	size_t count;
	void (*cb)(void *arg, const char *const *hosts, size_t count);
	void *arg;
};

static void
add_host(struct host_lookup *h, const char *text)
{
	if (h->count < RESTRICT_HOSTS_MAX)
		h->hosts[h->count++] = x_strdup(text);
}

static void
add_name(struct host_lookup *h, const char *name)
{
	if (name[0] != '\0' && h->nnames < NAMES_MAX)
		snprintf(h->names[h->nnames++], DNS_NAME_MAX, "%s", name);
}

static void
host_free(struct host_lookup *h)
{
	for (size_t i = 0; i < h->count; i++)
		free(h->hosts[i]);
	free(h);
}

static void
done(struct host_lookup *h)
{
	h->cb(h->arg, (const char *const *)h->hosts, h->count);
	host_free(h);
}

static void on_address(void *arg, const struct dns_answer *a);

/* The next address, or the end. */
static void
next_address(struct host_lookup *h)
{
	size_t i = h->at / 2;

	if (i >= h->nnames) {
		done(h);
		return;
	}
	if (h->at % 2 == 0 && h->what != HOSTS_A)
		add_host(h, h->names[i]);
	h->query = dns_lookup(
	    h->dnsd, h->names[i], h->at % 2 == 0 ? DNS_A : DNS_AAAA, on_address, h);
}

static void
on_address(void *arg, const struct dns_answer *a)
{
	struct host_lookup *h = arg;
	struct sockaddr_storage ss;
	char text[ADDR_TEXT];

	h->query = NULL;
	for (size_t i = 0; a->status == DNS_OK && i < a->count; i++)
		if (dns_rdata_addr(a->rdata[i], &ss))
			add_host(h, addr_text(&ss, text));
	h->at++;
	next_address(h);
}

static bool
take_names(struct host_lookup *h, const struct dns_answer *a)
{
	char name[DNS_NAME_MAX];
	unsigned preference;

	for (size_t i = 0; a->status == DNS_OK && i < a->count; i++)
		if (h->what == HOSTS_MX ? dns_rdata_mx(a->rdata[i], &preference, name)
					: dns_rdata_name(a->rdata[i], name))
			add_name(h, name);
	return h->nnames > 0;
}

static void
on_names(void *arg, const struct dns_answer *a)
{
	struct host_lookup *h = arg;
	const char *parent = strchr(h->domain, '.');

	h->query = NULL;
	if (!take_names(h, a)) {
		if (h->what == HOSTS_MX) {
			add_name(h, h->domain);
		} else if (parent != NULL && strchr(parent + 1, '.') != NULL) {
			memmove(h->domain, parent + 1, strlen(parent + 1) + 1);
			h->query = dns_lookup(h->dnsd, h->domain, DNS_NS, on_names, h);
			return;
		}
	}
	next_address(h);
}

struct host_lookup *
host_lookup_start(struct ipc_edge *dnsd, const char *domain, enum restrict_hosts what,
    void (*cb)(void *arg, const char *const *hosts, size_t count), void *arg)
{
	struct host_lookup *h = x_calloc(1, sizeof *h);

	h->dnsd = dnsd;
	h->what = what;
	h->cb = cb;
	h->arg = arg;
	snprintf(h->domain, sizeof h->domain, "%s", domain);
	if (what == HOSTS_A) {
		add_name(h, domain);
		next_address(h);
	} else {
		h->query = dns_lookup(dnsd, h->domain, what == HOSTS_MX ? DNS_MX : DNS_NS, on_names, h);
	}
	return h;
}

void
host_lookup_cancel(struct host_lookup *h)
{
	if (h == NULL)
		return;
	dns_cancel(h->query);
	host_free(h);
}
