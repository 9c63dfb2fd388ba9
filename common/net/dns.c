#include "common/net/dns.h"
#include "common/base/mem.h"
#include "common/ipc/msg/dns.h"
#include "common/net/addr.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	/* dnsd answers within dns_timeout; this only catches a dnsd that does not answer at all */
	LOOKUP_TIMEOUT_MS = 60000,
	LABEL_MAX = 63, /* RFC 1035 2.3.4 */
};

struct dns_query {
	struct ipc_call *call; /* owned until its callback ran */
	bool is_malformed;     /* no such name can exist: not asked */
	void (*cb)(void *arg, const struct dns_answer *a);
	void *arg;
};

/* What can stand in a question: anything else cannot be the name of a host, a domain or a list. */
static bool
label_byte_is_safe(unsigned char c)
{
	return ascii_is_alnum(c) || c == '-' || c == '_' || c == '/';
}

static bool
query_name_is_valid(const char *name)
{
	size_t len = strlen(name), label = 0;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len >= DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!label_byte_is_safe((unsigned char)name[i]) || ++label > LABEL_MAX)
			return false;
	}
	return label > 0;
}

static void
query_answer(struct dns_query *q, const struct dns_answer *a)
{
	void (*cb)(void *, const struct dns_answer *) = q->cb;
	void *arg = q->arg;

	free(q);
	cb(arg, a);
}

static void
query_fail(struct dns_query *q)
{
	struct dns_answer a = { .status = DNS_FAIL, .canonical = "", .why = "no answer from dnsd" };

	if (q->is_malformed) {
		a.status = DNS_NXDOMAIN;
		a.why = "malformed name";
	}
	query_answer(q, &a);
}

static void
on_reply(void *arg, struct ipc_in *in)
{
	struct dns_query *q = arg;
	struct view rdata[DNS_MAX_RECORDS];
	struct dns_answer a = { .rdata = rdata };
	uint32_t status;

	q->call = NULL;
	if (in == NULL) {
		query_fail(q);
		return;
	}
	status = ipc_get_u32(in);
	a.is_secure = (ipc_get_u32(in) & 1) != 0;
	a.ttl = ipc_get_u32(in);
	a.canonical = ipc_get_str(in);
	a.why = ipc_get_str(in);
	while (ipc_in_more(in) && a.count < DNS_MAX_RECORDS)
		rdata[a.count++] = ipc_get_bytes(in);
	a.status = status <= DNS_BOGUS ? (enum dns_status)status : DNS_FAIL;
	if (a.status == DNS_OK && a.count == 0)
		a.status = DNS_FAIL;
	if (a.status != DNS_OK)
		a.count = 0;
	if (a.status == DNS_FAIL || a.status == DNS_BOGUS)
		a.is_secure = false;
	query_answer(q, &a);
}

struct dns_query *
dns_lookup(struct ipc_edge *dnsd, const char *name, enum dns_type type,
    void (*cb)(void *arg, const struct dns_answer *a), void *arg)
{
	struct dns_query *q = x_calloc(1, sizeof *q);
	struct ipc_out o;

	q->cb = cb;
	q->arg = arg;
	q->is_malformed = !query_name_is_valid(name);
	ipc_out_init(&o, DNS_QUERY);
	ipc_put_str(&o, q->is_malformed ? "" : name);
	ipc_put_u32(&o, type);
	/* a message that is marked as failed is never sent: the callback still comes from the loop */
	if (q->is_malformed)
		o.failed = true;
	q->call = ipc_edge_ask(dnsd, &o, DNS_ANSWER_SIG, LOOKUP_TIMEOUT_MS, on_reply, q);
	return q;
}

void
dns_cancel(struct dns_query *q)
{
	if (q == NULL)
		return;
	ipc_call_cancel(q->call);
	free(q);
}

static void
reverse_v6(const unsigned char bytes[16], char name[DNS_NAME_MAX])
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 16; i-- > 0;) {
		name[n++] = digits[bytes[i] & 15];
		name[n++] = '.';
		name[n++] = digits[bytes[i] >> 4];
		name[n++] = '.';
	}
	snprintf(name + n, DNS_NAME_MAX - n, "ip6.arpa");
}

static void
reverse_v4(const unsigned char b[4], char name[DNS_NAME_MAX])
{
	snprintf(name, DNS_NAME_MAX, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
}

void
dns_reverse_name(const struct sockaddr_storage *a, char name[DNS_NAME_MAX])
{
	unsigned char b[16];

	name[0] = '\0';
	if (a->ss_family == AF_INET) {
		memcpy(b, &((const struct sockaddr_in *)a)->sin_addr, 4);
		reverse_v4(b, name);
	} else if (a->ss_family == AF_INET6) {
		const struct in6_addr *in6 = &((const struct sockaddr_in6 *)a)->sin6_addr;

		memcpy(b, in6, 16);
		if (IN6_IS_ADDR_V4MAPPED(in6))
			reverse_v4(b + 12, name);
		else
			reverse_v6(b, name);
	}
}

bool
dns_rdata_name(struct view rdata, char name[DNS_NAME_MAX])
{
	const unsigned char *p = (const unsigned char *)rdata.p;
	size_t at = 0, n = 0;

	name[0] = '\0';
	for (;;) {
		size_t label;

		if (at >= rdata.len)
			return false;
		label = p[at++];
		if (label == 0)
			break;
		if (label > LABEL_MAX || label > rdata.len - at || n + label + 2 > DNS_NAME_MAX)
			return false;
		if (n > 0)
			name[n++] = '.';
		for (size_t i = 0; i < label; i++) {
			if (!label_byte_is_safe(p[at + i]))
				return false;
			name[n++] = (char)ascii_lower(p[at + i]);
		}
		at += label;
		name[n] = '\0';
	}
	return at == rdata.len;
}

bool
dns_rdata_mx(struct view rdata, unsigned *preference, char host[DNS_NAME_MAX])
{
	const unsigned char *p = (const unsigned char *)rdata.p;

	if (rdata.len < 3)
		return false;
	*preference = (unsigned)p[0] << 8 | p[1];
	return dns_rdata_name(view_make(p + 2, rdata.len - 2), host);
}

bool
dns_rdata_addr(struct view rdata, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof *out);
	if (rdata.len == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, rdata.p, 4);
		return true;
	}
	if (rdata.len == 16) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, rdata.p, 16);
		/* a connection to it would be one to the IPv4 address: it must compare as that */
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
			return dns_rdata_addr(view_make(rdata.p + 12, 4), out);
		return true;
	}
	return false;
}

int
dns_rdata_txt(struct view rdata, struct buf *out)
{
	size_t at = 0;

	if (rdata.len == 0)
		return -1; /* RFC 1035 3.3.14: one or more strings */
	while (at < rdata.len) {
		size_t len = (unsigned char)rdata.p[at++];

		if (len > rdata.len - at || buf_append(out, rdata.p + at, len) < 0)
			return -1;
		at += len;
	}
	return 0;
}
