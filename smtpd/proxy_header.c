#include "smtpd/proxy_header.h"
#include "common/net/addr.h"

enum {
	V1_MAX = 107, /* with its CRLF */
	V2_FIXED = 16,
	V2_VERSION = 2,
	V2_LOCAL = 0,
	V2_PROXY = 1,
	V2_UNSPEC = 0x00,
	V2_TCP4 = 0x11,
	V2_TCP6 = 0x21,
	TLV_HEAD = 3,
};

static const struct view v2_signature = { "\r\n\r\n\0\r\nQUIT\n", 12 };

/* Could in be the beginning of what? */
static bool
may_become(struct view in, struct view what)
{
	size_t len = in.len < what.len ? in.len : what.len;

	return memcmp(in.p, what.p, len) == 0;
}

/* --- version 1: a line ----------------------------------------------------------------------------------- */

static bool
take_endpoint(struct view ip, struct view port, sa_family_t family, struct sockaddr_storage *out)
{
	uint64_t n;

	if (!addr_parse(ip, out) || !view_u64(port, 65535, &n))
		return false;
	/* a v4-mapped address is an IPv4 address, whatever the proxy calls it */
	if (out->ss_family != family && out->ss_family != AF_INET)
		return false;
	addr_set_port(out, (unsigned)n);
	return true;
}

static int
parse_line(struct view line, struct proxy_header *out, struct err *err)
{
	struct view word[6];
	size_t n = 0;
	bool more = true;
	sa_family_t family;

	while (more && n < 6)
		more = view_cut(line, ' ', &word[n++], &line);
	if (n >= 2 && view_eq_str(word[1], "UNKNOWN"))
		return 0;
	if (more || n != 6 || (!view_eq_str(word[1], "TCP4") && !view_eq_str(word[1], "TCP6")))
		return err_set(err, ERR_SYNTAX, "malformed PROXY line");
	family = word[1].p[3] == '4' ? AF_INET : AF_INET6;
	if (!take_endpoint(word[2], word[4], family, &out->client) ||
	    !take_endpoint(word[3], word[5], family, &out->server))
		return err_set(err, ERR_SYNTAX, "bad address or port in the PROXY line");
	out->has_addresses = true;
	return 0;
}

static int
parse_v1(struct view in, size_t *used, struct proxy_header *out, struct err *err)
{
	const char *lf = memchr(in.p, '\n', in.len < V1_MAX ? in.len : V1_MAX);

	if (lf == NULL)
		return in.len < V1_MAX ? 1 : err_set(err, ERR_LIMIT, "PROXY line too long");
	if (lf[-1] != '\r')
		return err_set(err, ERR_SYNTAX, "PROXY line without CRLF");
	*used = (size_t)(lf - in.p) + 1;
	return parse_line(view_make(in.p, *used - 2), out, err);
}

/* --- version 2: binary ------------------------------------------------------------------------------------ */

static unsigned
get_u16(const char *p)
{
	return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

/* Additional values are stepped over; but they must be what they say. */
static bool
tlvs_are_whole(struct view v)
{
	while (v.len > 0) {
		size_t len;

		if (v.len < TLV_HEAD || (len = TLV_HEAD + get_u16(v.p + 1)) > v.len)
			return false;
		v = view_make(v.p + len, v.len - len);
	}
	return true;
}

static void
set_address(struct sockaddr_storage *to, int family, const char *ip, const char *port)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;

	*to = (struct sockaddr_storage){ .ss_family = (sa_family_t)family };
	if (family == AF_INET)
		memcpy(&in4->sin_addr, ip, 4);
	else if (IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)ip)) {
		to->ss_family = AF_INET;
		memcpy(&in4->sin_addr, ip + 12, 4);
	} else
		memcpy(&in6->sin6_addr, ip, 16);
	addr_set_port(to, get_u16(port));
}

static int
parse_addresses(struct view v, int family, struct proxy_header *out, struct err *err)
{
	size_t ip = family == AF_INET ? 4 : 16, all = 2 * ip + 4;

	if (v.len < all || !tlvs_are_whole(view_make(v.p + all, v.len - all)))
		return err_set(err, ERR_SYNTAX, "PROXY header cut short");
	set_address(&out->client, family, v.p, v.p + 2 * ip);
	set_address(&out->server, family, v.p + ip, v.p + 2 * ip + 2);
	out->has_addresses = true;
	return 0;
}

static int
parse_v2(struct view in, size_t *used, struct proxy_header *out, struct err *err)
{
	unsigned version, command, family;
	struct view rest;

	if (in.len < V2_FIXED)
		return 1;
	version = (unsigned char)in.p[12] >> 4;
	command = (unsigned char)in.p[12] & 15;
	family = (unsigned char)in.p[13];
	*used = V2_FIXED + get_u16(in.p + 14);
	if (version != V2_VERSION || command > V2_PROXY)
		return err_set(err, ERR_SYNTAX, "unknown version or command in the PROXY header");
	if (*used > PROXY_HEADER_MAX)
		return err_set(err, ERR_LIMIT, "PROXY header of %zu bytes", *used);
	if (in.len < *used)
		return 1;
	rest = view_make(in.p + V2_FIXED, *used - V2_FIXED);
	if (command == V2_LOCAL || family == V2_UNSPEC)
		return 0;
	if (family != V2_TCP4 && family != V2_TCP6)
		return err_set(err, ERR_SYNTAX, "PROXY header of a protocol that is not TCP");
	return parse_addresses(rest, family == V2_TCP4 ? AF_INET : AF_INET6, out, err);
}

int
proxy_header_parse(struct view in, size_t *used, struct proxy_header *out, struct err *err)
{
	*out = (struct proxy_header){ 0 };
	*used = 0;
	if (in.len == 0)
		return 1;
	if (may_become(in, v2_signature))
		return in.len < v2_signature.len ? 1 : parse_v2(in, used, out, err);
	if (may_become(in, VIEW_LIT("PROXY ")))
		return in.len < 6 ? 1 : parse_v1(in, used, out, err);
	return err_set(err, ERR_SYNTAX, "no PROXY header");
}
