#include "qmgr/relay/nexthop.h"
#include "common/net/addr.h"
#include "common/proto/idn.h"

#include <stdio.h>

bool
relay_hostname_is_usable(const char *name)
{
	size_t label = 0, digits = 0;

	for (const char *p = name;; p++) {
		if (*p == '.' || *p == '\0') {
			if (label == 0 || label > 63)
				return false;
			if (*p == '\0')
				return (size_t)(p - name) < DNS_NAME_MAX - 1 && digits < label;
			label = digits = 0;
			continue;
		}
		if (!ascii_is_alnum(*p) && *p != '-' && *p != '_')
			return false;
		digits += ascii_is_digit(*p) ? 1 : 0;
		label++;
	}
}

static bool
parse_port(struct view v, unsigned *port)
{
	uint64_t n;

	if (view_case_eq_str(v, "smtp"))
		n = 25;
	else if (view_case_eq_str(v, "submission"))
		n = 587;
	else if (!view_u64(v, 65535, &n))
		return false;
	*port = (unsigned)n;
	return n > 0;
}

static int
parse_host(struct view v, struct relay_nexthop *out, struct err *err)
{
	struct view name = v;
	char host[IDN_DOMAIN_MAX];

	if (name.len > 0 && name.p[name.len - 1] == '.')
		name.len--;
	if (!idn_to_ascii(name, host))
		return err_set(err, ERR_SYNTAX, "not a domain name");
	snprintf(out->host, sizeof out->host, "%s", host);
	if (!relay_hostname_is_usable(out->host))
		return err_set(err, ERR_SYNTAX, "not a host or domain name");
	return 0;
}

static int
parse_bracketed(struct view inside, struct relay_nexthop *out, struct err *err)
{
	struct view text = inside;

	if (view_case_starts(text, "ipv6:")) {
		text.p += 5;
		text.len -= 5;
	}
	if (!addr_parse(text, &out->address))
		return parse_host(inside, out, err);
	out->is_address = true;
	addr_text(&out->address, out->host);
	return 0;
}

int
relay_nexthop_parse(
    const char *text, unsigned default_port, struct relay_nexthop *out, struct err *err)
{
	struct view v = view_of(text), host, port;
	bool has_brackets = v.len > 0 && v.p[0] == '[', has_port;
	int rc;

	memset(out, 0, sizeof *out);
	out->port = default_port;
	if (has_brackets) {
		if (!view_cut(view_make(v.p + 1, v.len - 1), ']', &host, &port))
			return err_set(err, ERR_SYNTAX, "] is missing");
		has_port = port.len > 0;
		if (has_port && port.p[0] != ':')
			return err_set(err, ERR_SYNTAX, "unexpected text behind ]");
		if (has_port)
			port = view_make(port.p + 1, port.len - 1);
	} else {
		has_port = view_cut(v, ':', &host, &port);
	}
	if (has_port && !parse_port(port, &out->port))
		return err_set(err, ERR_SYNTAX, "bad port");
	out->use_mx = !has_brackets;
	rc = has_brackets ? parse_bracketed(host, out, err) : parse_host(host, out, err);
	if (rc == 0 && out->is_address)
		addr_set_port(&out->address, out->port);
	return rc;
}
