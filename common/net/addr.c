#include "common/net/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

/* Network byte order of an address in one array, IPv4-mapped IPv6 as IPv4.  Length, 0 = no IP address. */
static size_t
addr_bytes(const struct sockaddr_storage *a, unsigned char bytes[16])
{
	if (a->ss_family == AF_INET) {
		memcpy(bytes, &((const struct sockaddr_in *)a)->sin_addr, 4);
		return 4;
	}
	if (a->ss_family == AF_INET6) {
		const struct in6_addr *in6 = &((const struct sockaddr_in6 *)a)->sin6_addr;

		if (IN6_IS_ADDR_V4MAPPED(in6)) {
			memcpy(bytes, in6->s6_addr + 12, 4);
			return 4;
		}
		memcpy(bytes, in6, 16);
		return 16;
	}
	return 0;
}

/* inet_pton of bytes that need no terminator.  Length of the address, 0 = not one. */
static size_t
addr_parse_bytes(struct view text, unsigned char bytes[16])
{
	char tmp[INET6_ADDRSTRLEN];
	struct in6_addr in6;

	if (text.len == 0 || text.len >= sizeof tmp || memchr(text.p, '\0', text.len) != NULL)
		return 0;
	memcpy(tmp, text.p, text.len);
	tmp[text.len] = '\0';
	if (inet_pton(AF_INET, tmp, bytes) == 1)
		return 4;
	if (inet_pton(AF_INET6, tmp, &in6) != 1)
		return 0;
	memcpy(bytes, &in6, 16);
	return 16;
}

static void
addr_from_bytes(struct sockaddr_storage *a, const unsigned char *bytes, size_t len)
{
	memset(a, 0, sizeof *a);
	if (len == 4) {
		a->ss_family = AF_INET;
		memcpy(&((struct sockaddr_in *)a)->sin_addr, bytes, 4);
	} else {
		a->ss_family = AF_INET6;
		memcpy(&((struct sockaddr_in6 *)a)->sin6_addr, bytes, 16);
	}
}

bool
addr_parse(struct view text, struct sockaddr_storage *out)
{
	unsigned char bytes[16];
	size_t len = addr_parse_bytes(text, bytes);

	if (len == 0)
		return false;
	addr_from_bytes(out, bytes, len);
	len = addr_bytes(out, bytes);
	addr_from_bytes(out, bytes, len);
	return true;
}

void
addr_set_port(struct sockaddr_storage *a, unsigned port)
{
	if (a->ss_family == AF_INET)
		((struct sockaddr_in *)a)->sin_port = htons((uint16_t)port);
	else if (a->ss_family == AF_INET6)
		((struct sockaddr_in6 *)a)->sin6_port = htons((uint16_t)port);
}

unsigned
addr_port(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)a)->sin_port);
	if (a->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)a)->sin6_port);
	return 0;
}

socklen_t
addr_len(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return sizeof(struct sockaddr_in);
	if (a->ss_family == AF_INET6)
		return sizeof(struct sockaddr_in6);
	return sizeof *a;
}

const char *
addr_text(const struct sockaddr_storage *a, char out[ADDR_TEXT])
{
	unsigned char bytes[16];
	size_t len = addr_bytes(a, bytes);

	if (len == 0 || inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, out, ADDR_TEXT) == NULL)
		snprintf(out, ADDR_TEXT, "unknown");
	return out;
}

const char *
addr_literal(const struct sockaddr_storage *a, char out[ADDR_TEXT])
{
	char text[ADDR_TEXT];

	addr_text(a, text);
	snprintf(out, ADDR_TEXT, "%s%.50s", strchr(text, ':') != NULL ? "IPv6:" : "", text);
	return out;
}

/* Takes the brackets off "[addr]" and "[addr]/n"; *bits is empty when no length was given. */
static bool
prefix_split(struct view text, struct view *host, struct view *bits, bool *has_bits)
{
	*bits = VIEW_LIT("");
	if (text.len > 0 && text.p[0] == '[') {
		struct view rest;

		text.p++;
		text.len--;
		if (!view_cut(text, ']', host, &rest))
			return false;
		*has_bits = rest.len > 0;
		if (*has_bits && rest.p[0] != '/')
			return false;
		if (*has_bits)
			*bits = (struct view){ rest.p + 1, rest.len - 1 };
		return true;
	}
	*has_bits = view_cut(text, '/', host, bits);
	return true;
}

static bool
bits_are_zero_from(const unsigned char *bytes, size_t len, unsigned bits)
{
	for (size_t i = bits; i < len * 8; i++)
		if (bytes[i / 8] & (0x80u >> (i % 8)))
			return false;
	return true;
}

int
net_prefix_parse(struct view text, struct net_prefix *out, struct err *err)
{
	struct view host, bits, whole = text;
	struct net_prefix p = { 0 };
	bool has_bits;
	uint64_t n;
	size_t len;

	while (text.len > 0 && text.p[0] == '!') {
		p.is_negated = !p.is_negated;
		text.p++;
		text.len--;
	}
	if (!prefix_split(text, &host, &bits, &has_bits) ||
	    (len = addr_parse_bytes(host, p.bytes)) == 0)
		return err_set(err, ERR_SYNTAX, "not a network or address: %.*s", VIEW_ARG(whole));
	n = len * 8;
	if (has_bits && !view_u64(bits, len * 8, &n))
		return err_set(err, ERR_SYNTAX, "bad prefix length: %.*s", VIEW_ARG(whole));
	p.family = len == 4 ? AF_INET : AF_INET6;
	p.bits = (unsigned)n;
	if (!bits_are_zero_from(p.bytes, len, p.bits))
		return err_set(
		    err, ERR_SYNTAX, "host bits are not zero in network: %.*s", VIEW_ARG(whole));
	*out = p;
	return 0;
}

static bool
prefix_covers(const struct net_prefix *p, const unsigned char *bytes, size_t len)
{
	unsigned whole = p->bits / 8, rest = p->bits % 8;

	if (len != (p->family == AF_INET ? 4u : 16u) || memcmp(p->bytes, bytes, whole) != 0)
		return false;
	return rest == 0 || ((p->bytes[whole] ^ bytes[whole]) >> (8 - rest)) == 0;
}

bool
net_list_match(const struct net_prefix *list, size_t count, const struct sockaddr_storage *a)
{
	unsigned char bytes[16];
	size_t len = addr_bytes(a, bytes);

	for (size_t i = 0; len > 0 && i < count; i++)
		if (prefix_covers(&list[i], bytes, len))
			return !list[i].is_negated;
	return false;
}
