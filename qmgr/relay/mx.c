#include "qmgr/relay/mx.h"

#include <stdlib.h>

size_t
relay_mx_read(
    const struct view *rdata, size_t count, struct relay_mx *out, size_t max, bool *is_null)
{
	size_t n = 0;

	*is_null = false;
	for (size_t i = 0; i < count && n < max; i++) {
		if (!dns_rdata_mx(rdata[i], &out[n].preference, out[n].host))
			continue;
		if (out[n].host[0] != '\0')
			n++;
		else if (count == 1)
			*is_null = true;
	}
	return n;
}

static int
mx_compare(const void *a, const void *b)
{
	unsigned x = ((const struct relay_mx *)a)->preference,
		 y = ((const struct relay_mx *)b)->preference;

	return x < y ? -1 : x > y;
}

static void
shuffle(void *array, size_t count, size_t size, void *swap, relay_pick *pick)
{
	char *p = array;

	for (size_t i = count; i > 1; i--) {
		size_t other = pick((uint32_t)i);

		memcpy(swap, p + (i - 1) * size, size);
		memmove(p + (i - 1) * size, p + other * size, size);
		memcpy(p + other * size, swap, size);
	}
}

void
relay_mx_sort(struct relay_mx *mx, size_t count, relay_pick *pick)
{
	struct relay_mx swap;

	if (count == 0)
		return;
	qsort(mx, count, sizeof *mx, mx_compare);
	for (size_t from = 0, to; from < count; from = to) {
		for (to = from + 1; to < count && mx[to].preference == mx[from].preference; to++)
			;
		shuffle(mx + from, to - from, sizeof *mx, &swap, pick);
	}
}

size_t
relay_mx_cut_own_name(const struct relay_mx *mx, size_t count, const char *myhostname)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if (!view_case_eq_str(view_of(mx[i].host), myhostname))
			continue;
		while (left < count && mx[left].preference < mx[i].preference)
			left++;
		return left;
	}
	return count;
}

/* A connection to "no address" ends on this machine. */
static bool
address_is_unspecified(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 0;
	return a->ss_family == AF_INET6 &&
	       IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static bool
is_own(const struct own_addresses *own, const struct sockaddr_storage *a)
{
	return address_is_unspecified(a) || own_addresses_have(own, a);
}

size_t
relay_addresses_cut_own(struct relay_address *a, size_t count, const struct own_addresses *own)
{
	unsigned best = ~0u;
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (a[i].preference < best && is_own(own, &a[i].addr))
			best = a[i].preference;
	for (size_t i = 0; i < count; i++)
		if (a[i].preference < best)
			a[n++] = a[i];
	return n;
}

bool
relay_address_is_usable(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 28) < 14;
	return a->ss_family == AF_INET6 &&
	       !IN6_IS_ADDR_MULTICAST(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int
address_compare(const void *a, const void *b)
{
	unsigned x = ((const struct relay_address *)a)->preference,
		 y = ((const struct relay_address *)b)->preference;

	return x < y ? -1 : x > y;
}

/* Moves the first address of this family at or behind `at` to `at`; the others keep their order. */
static void
bring_family(struct relay_address *a, size_t count, size_t at, sa_family_t family)
{
	for (size_t i = at; i < count; i++) {
		struct relay_address found = a[i];

		if (found.addr.ss_family != family)
			continue;
		memmove(a + at + 1, a + at, (i - at) * sizeof *a);
		a[at] = found;
		return;
	}
}

static void
order_equals(struct relay_address *a, size_t count, enum relay_family first, relay_pick *pick)
{
	struct relay_address swap;
	sa_family_t family = first == RELAY_FAMILY_IPV4 ? AF_INET : AF_INET6;

	shuffle(a, count, sizeof *a, &swap, pick);
	if (first == RELAY_FAMILY_ANY && pick(2) == 0)
		family = AF_INET;
	for (size_t at = 0; at < count; at++) {
		bring_family(a, count, at, family);
		if (first == RELAY_FAMILY_ANY)
			family = a[at].addr.ss_family == AF_INET ? AF_INET6 : AF_INET;
	}
}

/* A host whose one family does not work here must not hide the other behind the limit. */
static void
keep_both_families(struct relay_address *a, size_t count, size_t limit)
{
	sa_family_t family = a[0].addr.ss_family;

	for (size_t i = 0; i < limit; i++)
		if (a[i].addr.ss_family != family)
			return;
	bring_family(a, count, limit - 1, family == AF_INET ? AF_INET6 : AF_INET);
}

size_t
relay_addresses_order(
    struct relay_address *a, size_t count, size_t limit, enum relay_family first, relay_pick *pick)
{
	if (count == 0 || limit == 0)
		return 0;
	qsort(a, count, sizeof *a, address_compare);
	for (size_t from = 0, to; from < count; from = to) {
		for (to = from + 1; to < count && a[to].preference == a[from].preference; to++)
			;
		order_equals(a + from, to - from, first, pick);
	}
	if (count <= limit)
		return count;
	if (limit > 1)
		keep_both_families(a, count, limit);
	return limit;
}
