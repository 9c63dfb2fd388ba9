#include "smtpd/dnsbl.h"
#include "common/base/mem.h"
#include "common/net/addr.h"
#include "common/proto/address.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	RECORD_MAX = 65535,
	TEXT_MAX = 500, /* of a TXT record, in a reply */
	WEIGHT_MAX = 1000000,
};

/* --- pure --------------------------------------------------------------------------------------------- */

static bool
take_octet(struct view *rest, unsigned *n)
{
	size_t len = 0;

	*n = 0;
	while (len < rest->len && ascii_is_digit((unsigned char)rest->p[len]) && *n < 256)
		*n = *n * 10 + (unsigned)(rest->p[len++] - '0');
	*rest = view_make(rest->p + len, rest->len - len);
	return len > 0 && *n < 256;
}

static bool
take_literal(struct view *rest, const char *text)
{
	if (!view_starts(*rest, text))
		return false;
	*rest = view_make(rest->p + strlen(text), rest->len - strlen(text));
	return true;
}

/* "4", or "[2;4..11]".  False: malformed. */
static bool
take_part(struct view *rest, unsigned octet, bool *is_hit)
{
	unsigned low, high;

	*is_hit = false;
	if (!take_literal(rest, "[")) {
		*is_hit = take_octet(rest, &low) && low == octet;
		return low < 256;
	}
	do {
		if (!take_octet(rest, &low))
			return false;
		high = low;
		if (take_literal(rest, "..") && (!take_octet(rest, &high) || high < low))
			return false;
		*is_hit |= octet >= low && octet <= high;
	} while (take_literal(rest, ";"));
	return take_literal(rest, "]");
}

/* False: malformed. */
static bool
filter_matches(struct view filter, const unsigned char octets[4], bool *is_hit)
{
	*is_hit = true;
	for (size_t i = 0; i < 4; i++) {
		bool one;

		if (filter.len == 0 || !take_part(&filter, octets[i], &one))
			return false;
		*is_hit &= one;
		if (i < 3 && !take_literal(&filter, "."))
			return false;
	}
	return filter.len == 0;
}

static bool
take_weight(struct view text, int *weight)
{
	bool is_negative = take_literal(&text, "-");
	uint64_t n;

	if (!view_u64(text, WEIGHT_MAX, &n))
		return false;
	*weight = is_negative ? -(int)n : (int)n;
	return true;
}

int
dnsbl_site_parse(struct view text, struct dnsbl_site *out, struct err *err)
{
	static const unsigned char any[4];
	struct view domain, filter, weight;
	bool is_hit;

	*out = (struct dnsbl_site){ .weight = 1 };
	if (view_cut(text, '*', &text, &weight) && !take_weight(weight, &out->weight))
		return err_set(err, ERR_SYNTAX, "bad weight \"%.*s\"", VIEW_ARG(weight));
	if (view_cut(text, '=', &domain, &filter) &&
	    (filter.len >= sizeof out->filter || !filter_matches(filter, any, &is_hit)))
		return err_set(err, ERR_SYNTAX,
		    "bad filter \"%.*s\": d.d.d.d, each a number or a list as [2;4..11]",
		    VIEW_ARG(filter));
	if (domain.len >= sizeof out->domain || !hostname_is_valid(domain, true) ||
	    domain.p[0] == '[')
		return err_set(err, ERR_SYNTAX, "bad domain \"%.*s\"", VIEW_ARG(domain));
	memcpy(out->domain, domain.p, domain.len);
	if (filter.len > 0)
		memcpy(out->filter, filter.p, filter.len);
	return 0;
}

/* RFC 5782 2.1: answers are in 127/8; what is not comes from a domain that somebody else has bought since. */
bool
dnsbl_site_matches(const struct dnsbl_site *site, const struct sockaddr_storage *address)
{
	unsigned char octets[4];
	bool is_hit;

	if (address->ss_family != AF_INET)
		return false;
	memcpy(octets, &((const struct sockaddr_in *)address)->sin_addr, sizeof octets);
	if (site->filter[0] == '\0')
		return octets[0] == 127;
	return filter_matches(view_of(site->filter), octets, &is_hit) && is_hit;
}

static bool
join(char name[DNS_NAME_MAX], const char *head, size_t len, const char *domain)
{
	int n = snprintf(name, DNS_NAME_MAX, "%.*s.%s", (int)len, head, domain);

	return n > 0 && n < DNS_NAME_MAX;
}

bool
dnsbl_address_name(const struct sockaddr_storage *a, const char *domain, char name[DNS_NAME_MAX])
{
	char reverse[DNS_NAME_MAX];
	const char *end;

	dns_reverse_name(a, reverse);
	end = strstr(reverse, ".in-addr.arpa");
	if (end == NULL)
		end = strstr(reverse, ".ip6.arpa");
	return end != NULL && join(name, reverse, (size_t)(end - reverse), domain);
}

bool
dnsbl_domain_name(const char *host, const char *domain, char name[DNS_NAME_MAX])
{
	struct view h = view_of(host);
	struct sockaddr_storage numeric;

	if (h.len > 0 && h.p[h.len - 1] == '.')
		h.len--;
	return h.len < DNS_NAME_MAX && hostname_is_valid(h, true) && h.p[0] != '[' &&
	       !addr_parse(h, &numeric) && join(name, h.p, h.len, domain);
}

/* --- a question ----------------------------------------------------------------------------------------- */

struct dnsbl_lookup {
	struct ipc_edge *dnsd;
	struct dns_query *query;
	char name[DNS_NAME_MAX];
	char address[ADDR_TEXT];
	struct dnsbl_site site;
	bool wants_text;
	void (*cb)(void *arg, const struct dnsbl_answer *a);
	void *arg;
};

static void
lookup_done(struct dnsbl_lookup *d, enum restrict_fact fact, const char *text)
{
	struct dnsbl_answer a = { .fact = fact, .address = d->address, .text = text };

	d->cb(d->arg, &a);
	free(d);
}

/* It goes into replies and log lines. */
static void
make_printable(struct buf *text)
{
	if (text->len > TEXT_MAX)
		text->len = TEXT_MAX;
	for (size_t i = 0; i < text->len; i++)
		if ((unsigned char)text->p[i] < ' ' || (unsigned char)text->p[i] > '~')
			text->p[i] = '?';
}

static void
on_text(void *arg, const struct dns_answer *a)
{
	struct dnsbl_lookup *d = arg;
	const char *cstr = "";
	struct buf text;

	d->query = NULL;
	buf_init(&text, RECORD_MAX + 1);
	if (a->status == DNS_OK && a->count > 0 && dns_rdata_txt(a->rdata[0], &text) == 0) {
		make_printable(&text);
		cstr = buf_cstr(&text);
	}
	lookup_done(d, FACT_YES, cstr);
	buf_clear(&text);
}

static bool
has_hit(struct dnsbl_lookup *d, const struct dns_answer *a)
{
	struct sockaddr_storage found;

	for (size_t i = 0; i < a->count; i++) {
		if (!dns_rdata_addr(a->rdata[i], &found) || !dnsbl_site_matches(&d->site, &found))
			continue;
		addr_text(&found, d->address);
		return true;
	}
	return false;
}

static void
on_address(void *arg, const struct dns_answer *a)
{
	struct dnsbl_lookup *d = arg;

	d->query = NULL;
	if (a->status == DNS_FAIL || a->status == DNS_BOGUS)
		lookup_done(d, FACT_TEMP, "");
	else if (a->status != DNS_OK || !has_hit(d, a))
		lookup_done(d, FACT_NO, "");
	else if (!d->wants_text)
		lookup_done(d, FACT_YES, "");
	else
		d->query = dns_lookup(d->dnsd, d->name, DNS_TXT, on_text, d);
}

struct dnsbl_lookup *
dnsbl_lookup_start(struct ipc_edge *dnsd, const char *name, const struct dnsbl_site *site,
    bool wants_text, void (*cb)(void *arg, const struct dnsbl_answer *a), void *arg)
{
	struct dnsbl_lookup *d = x_calloc(1, sizeof *d);

	d->dnsd = dnsd;
	snprintf(d->name, sizeof d->name, "%s", name);
	d->site = *site;
	d->wants_text = wants_text;
	d->cb = cb;
	d->arg = arg;
	d->query = dns_lookup(dnsd, d->name, DNS_A, on_address, d);
	return d;
}

void
dnsbl_lookup_cancel(struct dnsbl_lookup *d)
{
	if (d == NULL)
		return;
	dns_cancel(d->query);
	free(d);
}
