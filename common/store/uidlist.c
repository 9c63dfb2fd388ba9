#include "common/store/uidlist.h"

static bool
is_hex(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (!ascii_is_digit(v.p[i]) && !((v.p[i] | 32) >= 'a' && (v.p[i] | 32) <= 'f'))
			return false;
	return true;
}

static bool
take_u32(struct view v, uint32_t max, uint32_t *out)
{
	uint64_t n;

	if (!view_u64(v, max, &n) || n == 0)
		return false;
	*out = (uint32_t)n;
	return true;
}

static int
parse_header_v3(struct view rest, struct uidlist_header *h, struct err *err)
{
	struct view token;

	while (view_token(&rest, " ", &token)) {
		struct view value = view_make(token.p + 1, token.len - 1);

		if (token.p[0] == 'V' && !take_u32(value, UINT32_MAX, &h->uidvalidity))
			return err_set(err, ERR_SYNTAX, "uidlist: bad UIDVALIDITY");
		if (token.p[0] == 'N' && !take_u32(value, UINT32_MAX, &h->uidnext))
			return err_set(err, ERR_SYNTAX, "uidlist: bad next UID");
		if (token.p[0] == 'G' && value.len == 32 && is_hex(value))
			h->guid = value;
	}
	if (h->uidvalidity == 0 || h->uidnext == 0)
		return err_set(err, ERR_SYNTAX, "uidlist: header without UIDVALIDITY or next UID");
	return 0;
}

static int
parse_header(struct view line, struct uidlist_header *h, struct err *err)
{
	struct view version, validity, next, rest;

	*h = (struct uidlist_header){ .line = line };
	view_cut(line, ' ', &version, &rest);
	if (view_eq_str(version, "3")) {
		h->version = 3;
		return parse_header_v3(rest, h, err);
	}
	if (!view_eq_str(version, "1"))
		return err_set(err, ERR_SYNTAX, "uidlist: unknown version");
	h->version = 1;
	view_cut(rest, ' ', &validity, &next);
	if (!take_u32(validity, UINT32_MAX, &h->uidvalidity) ||
	    !take_u32(view_trim(next), UINT32_MAX, &h->uidnext))
		return err_set(err, ERR_SYNTAX, "uidlist: bad version 1 header");
	return 0;
}

static bool
parse_record(struct view line, unsigned version, struct uidlist_record *r)
{
	struct view uid, rest;
	size_t at = 0;

	if (!view_cut(line, ' ', &uid, &rest) || !take_u32(uid, UIDLIST_MAX_UID, &r->uid))
		return false;
	if (version == 3) {
		/* The name begins behind the first field that starts with a colon. */
		while (at < rest.len && rest.p[at] != ':') {
			const char *sp = memchr(rest.p + at, ' ', rest.len - at);

			if (sp == NULL)
				return false;
			at = (size_t)(sp - rest.p) + 1;
		}
		if (at >= rest.len)
			return false;
		r->fields = view_trim(view_make(rest.p, at));
		rest = view_make(rest.p + at + 1, rest.len - at - 1);
	} else {
		r->fields = view_make("", 0);
	}
	view_cut(rest, ':', &r->base, NULL);
	return r->base.len > 0 && r->base.len <= 255 &&
	       memchr(r->base.p, '/', r->base.len) == NULL &&
	       memchr(r->base.p, '\0', r->base.len) == NULL;
}

int
uidlist_parse(struct view text, struct uidlist_header *header,
    void (*fn)(void *arg, const struct uidlist_record *r), void *arg, size_t *faults,
    struct err *err)
{
	struct uidlist_record r;
	struct view line, rest = text;
	uint32_t last = 0;

	*faults = 0;
	if (!view_cut(rest, '\n', &line, &rest)) {
		*header = (struct uidlist_header){ 0 };
		return err_set(err, ERR_SYNTAX, "uidlist: no header line");
	}
	if (parse_header(line, header, err) < 0)
		return -1;
	while (rest.len > 0) {
		bool is_whole = view_cut(rest, '\n', &line, &rest);

		if (!is_whole || !parse_record(line, header->version, &r) || r.uid <= last) {
			++*faults;
			continue;
		}
		last = r.uid;
		fn(arg, &r);
	}
	return 0;
}

bool
uidlist_field(struct view fields, char letter, struct view *value)
{
	struct view token;

	while (view_token(&fields, " ", &token))
		if (token.p[0] == letter) {
			*value = view_make(token.p + 1, token.len - 1);
			return true;
		}
	return false;
}

int
uidlist_other_fields(struct view header_line, struct buf *out)
{
	struct view token, rest = header_line;

	if (!view_token(&rest, " ", &token) || !view_eq_str(token, "3"))
		return 0;
	while (view_token(&rest, " ", &token))
		if (strchr("VNG", token.p[0]) == NULL)
			if (buf_append_byte(out, ' ') < 0 || buf_append_view(out, token) < 0)
				return -1;
	return 0;
}

int
uidlist_format_header(
    struct buf *out, uint32_t uidvalidity, uint32_t uidnext, const char *guid, struct view others)
{
	return buf_printf(out, "3 V%u N%u G%s%.*s\n", uidvalidity, uidnext, guid, VIEW_ARG(others));
}

static bool
has_line_end(struct view v)
{
	return v.len > 0 && memchr(v.p, '\n', v.len) != NULL;
}

int
uidlist_format_record(struct buf *out, uint32_t uid, struct view fields, struct view base)
{
	if (has_line_end(fields) || has_line_end(base)) { /* would forge a record of another UID */
		out->failed = true;
		return -1;
	}
	if (fields.len > 0)
		return buf_printf(out, "%u %.*s :%.*s\n", uid, VIEW_ARG(fields), VIEW_ARG(base));
	return buf_printf(out, "%u :%.*s\n", uid, VIEW_ARG(base));
}
