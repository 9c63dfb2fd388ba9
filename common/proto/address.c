#include "common/proto/address.h"
#include "common/base/utf8.h"

#include <arpa/inet.h>
#include <stdio.h>

/* A cursor over the input; every read compares with what is left. */
struct scan {
	struct view in;
	size_t at;
	unsigned options;
};

static int
scan_peek(const struct scan *s)
{
	return s->at < s->in.len ? (unsigned char)s->in.p[s->at] : -1;
}

static bool
scan_take(struct scan *s, int c)
{
	if (scan_peek(s) != c)
		return false;
	s->at++;
	return true;
}

static void
scan_spaces(struct scan *s)
{
	while (ascii_is_space(scan_peek(s)))
		s->at++;
}

/* RFC 5322 3.2.3, and UTF8-non-ascii of RFC 6531 3.3 where asked for (the whole input was checked). */
static bool
is_atext(int c, unsigned options)
{
	if (c >= 0x80)
		return (options & ADDRESS_ALLOW_UTF8) != 0;
	return ascii_is_alnum(c) || (c > 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_dot_string(struct view v, unsigned options)
{
	bool after_dot = true;

	for (size_t i = 0; i < v.len; i++) {
		if (v.p[i] == '.') {
			if (after_dot)
				return false;
			after_dot = true;
		} else {
			if (!is_atext((unsigned char)v.p[i], options))
				return false;
			after_dot = false;
		}
	}
	return !after_dot;
}

static bool
label_is_valid(struct view label, bool lax, bool utf8)
{
	if (label.len == 0 || label.len > 63 || label.p[0] == '-' || label.p[label.len - 1] == '-')
		return false;
	for (size_t i = 0; i < label.len; i++) {
		unsigned char c = (unsigned char)label.p[i];

		if (!ascii_is_alnum(c) && c != '-' && !(lax && c == '_') && !(utf8 && c >= 0x80))
			return false;
	}
	return true;
}

static bool
is_all_digits(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (!ascii_is_digit(v.p[i]))
			return false;
	return v.len > 0;
}

/* A last label of digits only would be an IPv4 address without its brackets (RFC 1123 2.1). */
static bool
domain_is_valid(struct view name, bool lax, bool utf8)
{
	struct view rest = name, label;
	bool more;

	if (name.len == 0 || name.len > ADDRESS_DOMAIN_MAX)
		return false;
	do {
		more = view_cut(rest, '.', &label, &rest);
		if (!label_is_valid(label, lax, utf8))
			return false;
	} while (more);
	return !is_all_digits(label);
}

/* RFC 5321 4.1.3.  Of the general form, Standardized-tag ":" dcontent, no tag but IPv6 was ever registered. */
bool
address_literal_is_valid(struct view literal)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	struct view inner;
	int family = AF_INET;

	if (literal.len < 2 || literal.p[0] != '[' || literal.p[literal.len - 1] != ']')
		return false;
	inner = view_make(literal.p + 1, literal.len - 2);
	if (view_case_starts(inner, "IPv6:")) {
		family = AF_INET6;
		inner = view_make(inner.p + 5, inner.len - 5);
	}
	if (inner.len == 0 || inner.len >= sizeof text || memchr(inner.p, '\0', inner.len) != NULL)
		return false;
	memcpy(text, inner.p, inner.len);
	text[inner.len] = '\0';
	return inet_pton(family, text, bytes) == 1;
}

bool
hostname_is_valid(struct view name, bool lax)
{
	if (name.len > 0 && name.p[0] == '[')
		return address_literal_is_valid(name);
	return domain_is_valid(name, lax, false);
}

static int
out_byte(struct address *out, size_t *len, int c, size_t max, struct err *err)
{
	if (*len >= max)
		return err_set(err, ERR_LIMIT, "address too long");
	out->text[(*len)++] = (char)c;
	return 0;
}

/* RFC 5321 4.1.2 Quoted-string: the bytes between the quotes, escapes taken off, go to plain. */
static int
scan_quoted(struct scan *s, char *plain, size_t *len, struct err *err)
{
	*len = 0;
	s->at++;
	for (;;) {
		int c = scan_peek(s);

		if (c == '"') {
			s->at++;
			return 0;
		}
		if (c == '\\') {
			s->at++;
			c = scan_peek(s);
		}
		if (c < ' ' || c == 127 || (c >= 0x80 && !(s->options & ADDRESS_ALLOW_UTF8)))
			return err_set(err, ERR_SYNTAX, "bad byte in a quoted local part");
		if (*len >= ADDRESS_LOCAL_MAX)
			return err_set(err, ERR_LIMIT, "local part too long");
		plain[(*len)++] = (char)c;
		s->at++;
	}
}

/* The shortest form: quotes only where a dot-string cannot hold it, escapes only for '"' and '\'. */
static int
put_local(struct view plain, unsigned options, struct address *out, size_t *len, struct err *err)
{
	if (is_dot_string(plain, options)) {
		memcpy(out->text + *len, plain.p, plain.len);
		*len += plain.len;
		return 0;
	}
	out->text[(*len)++] = '"';
	for (size_t i = 0; i < plain.len; i++) {
		if ((plain.p[i] == '"' || plain.p[i] == '\\') &&
		    out_byte(out, len, '\\', ADDRESS_LOCAL_MAX, err) < 0)
			return -1;
		if (out_byte(out, len, plain.p[i], ADDRESS_LOCAL_MAX, err) < 0)
			return -1;
	}
	return out_byte(out, len, '"', ADDRESS_LOCAL_MAX + 1, err);
}

static int
scan_local(struct scan *s, struct address *out, size_t *len, struct err *err)
{
	char plain[ADDRESS_LOCAL_MAX];
	size_t plain_len, start = s->at;
	struct view v;

	if (scan_peek(s) == '"') {
		if (scan_quoted(s, plain, &plain_len, err) < 0)
			return -1;
		/* an empty local part names nobody (hostile: ""@x) */
		if (plain_len == 0)
			return err_set(err, ERR_SYNTAX, "empty local part");
		return put_local(view_make(plain, plain_len), s->options, out, len, err);
	}
	while (is_atext(scan_peek(s), s->options) || scan_peek(s) == '.')
		s->at++;
	v = view_make(s->in.p + start, s->at - start);
	if (v.len > ADDRESS_LOCAL_MAX)
		return err_set(err, ERR_LIMIT, "local part too long");
	if (!is_dot_string(v, s->options))
		return err_set(err, ERR_SYNTAX, "malformed local part");
	return put_local(v, s->options, out, len, err);
}

/* The domain's bytes as they stand: up to a byte that cannot belong to one. */
static struct view
scan_domain(struct scan *s)
{
	size_t start = s->at;

	if (scan_peek(s) == '[') {
		while (s->at < s->in.len && s->in.p[s->at] != ']')
			s->at++;
		scan_take(s, ']');
	} else {
		while (ascii_is_alnum(scan_peek(s)) || scan_peek(s) == '.' || scan_peek(s) == '-' ||
		       scan_peek(s) == '_' || scan_peek(s) >= 0x80)
			s->at++;
	}
	return view_make(s->in.p + start, s->at - start);
}

static bool
scanned_domain_ok(struct view d, unsigned options)
{
	if (d.len > 0 && d.p[0] == '[')
		return address_literal_is_valid(d);
	return domain_is_valid(d, true, (options & ADDRESS_ALLOW_UTF8) != 0);
}

/* A-d-l ":" of RFC 5321 4.1.2; appendix C: accepted, checked, ignored. */
static int
scan_source_route(struct scan *s, struct err *err)
{
	while (scan_take(s, '@')) {
		if (!scanned_domain_ok(scan_domain(s), s->options))
			return err_set(err, ERR_SYNTAX, "malformed source route");
		if (scan_take(s, ':'))
			return 0;
		if (!scan_take(s, ','))
			break;
	}
	return err_set(err, ERR_SYNTAX, "malformed source route");
}

static int
put_domain(struct scan *s, struct address *out, size_t len, struct err *err)
{
	struct view d = scan_domain(s);

	if (d.len > ADDRESS_DOMAIN_MAX || d.len >= ADDRESS_MAX - len)
		return err_set(err, ERR_LIMIT, "domain too long");
	if (!scanned_domain_ok(d, s->options))
		return err_set(err, ERR_SYNTAX, "malformed domain");
	out->text[len++] = '@';
	out->domain = out->text + len;
	for (size_t i = 0; i < d.len; i++)
		out->text[len++] = (char)ascii_lower((unsigned char)d.p[i]);
	out->text[len] = '\0';
	return 0;
}

static int
scan_mailbox(struct scan *s, struct address *out, struct err *err)
{
	size_t len = 0;

	if (scan_local(s, out, &len, err) < 0)
		return -1;
	out->local_len = len;
	if (scan_take(s, '@'))
		return put_domain(s, out, len, err);
	if (!(s->options & ADDRESS_ALLOW_BARE))
		return err_set(err, ERR_SYNTAX, "address without a domain");
	out->text[len] = '\0';
	out->domain = out->text + len;
	return 0;
}

static void
address_set_null(struct address *out)
{
	out->text[0] = '\0';
	out->local_len = 0;
	out->domain = out->text;
}

static int
check_bytes(struct view v, unsigned options, struct err *err)
{
	if ((options & ADDRESS_ALLOW_UTF8) && !utf8_is_valid(v))
		return err_set(err, ERR_SYNTAX, "invalid UTF-8 in an address");
	return 0;
}

/* Without brackets, for clients that leave them out (Postfix: strict_rfc821_envelopes = no). */
static int
parse_unbracketed(struct scan *s, struct address *out, struct err *err)
{
	int c;

	if (scan_mailbox(s, out, err) < 0)
		return -1;
	c = scan_peek(s);
	if (c != -1 && !ascii_is_space(c))
		return err_set(err, ERR_SYNTAX, "unexpected byte behind the address");
	return 0;
}

static int
parse_bracketed(struct scan *s, struct address *out, struct err *err)
{
	bool lax = !(s->options & ADDRESS_STRICT);

	if (lax)
		scan_spaces(s);
	if (scan_peek(s) == '>' && (s->options & ADDRESS_ALLOW_NULL)) {
		s->at++;
		address_set_null(out);
		return 0;
	}
	if (scan_peek(s) == '@' && scan_source_route(s, err) < 0)
		return -1;
	if (scan_mailbox(s, out, err) < 0)
		return -1;
	if (lax)
		scan_spaces(s);
	if (!scan_take(s, '>'))
		return err_set(err, ERR_SYNTAX, "unexpected byte in the address");
	return 0;
}

/* UTF-8 is checked in the part that was used: what follows it is not ours. */
int
address_parse_path(
    struct view input, unsigned options, struct address *out, size_t *used, struct err *err)
{
	struct scan s = { input, 0, options };
	int r;

	address_set_null(out);
	if (scan_take(&s, '<'))
		r = parse_bracketed(&s, out, err);
	else if (options & ADDRESS_STRICT)
		r = err_set(err, ERR_SYNTAX, "address without <>");
	else
		r = parse_unbracketed(&s, out, err);
	if (r == 0)
		r = check_bytes(view_make(input.p, s.at), options, err);
	if (r < 0)
		address_set_null(out);
	*used = s.at;
	return r;
}

int
address_parse(struct view text, unsigned options, struct address *out, struct err *err)
{
	struct scan s = { text, 0, options };
	int r;

	address_set_null(out);
	if (text.len == 0 && (options & ADDRESS_ALLOW_NULL))
		return 0;
	if ((r = check_bytes(text, options, err)) == 0)
		r = scan_mailbox(&s, out, err);
	if (r == 0 && s.at != text.len)
		r = err_set(err, ERR_SYNTAX, "unexpected byte in the address");
	if (r < 0)
		address_set_null(out);
	return r;
}

int
address_local_plain(const struct address *a, char *out, size_t size)
{
	bool is_quoted = a->local_len >= 2 && a->text[0] == '"';
	size_t end = is_quoted ? a->local_len - 1 : a->local_len, len = 0;

	for (size_t i = is_quoted; i < end; i++) {
		if (is_quoted && a->text[i] == '\\' && i + 1 < end)
			i++;
		if (len + 1 >= size)
			return -1;
		out[len++] = a->text[i];
	}
	if (len >= size)
		return -1;
	out[len] = '\0';
	return (int)len;
}

const char *
address_domain(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? at + 1 : "";
}

size_t
address_local_length(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? (size_t)(at - address) : strlen(address);
}

size_t
address_base_length(const char *address, const char *delimiters)
{
	size_t len = address_local_length(address), n = 1;

	while (n < len && strchr(delimiters, address[n]) == NULL)
		n++;
	return n < len ? n : len;
}
