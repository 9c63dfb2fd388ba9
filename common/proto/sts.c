#include "common/proto/sts.h"
#include "common/proto/address.h"

static const char *const mode_names[] = { "none", "testing", "enforce" };

/* ---------------------------------------------------------------- the record */

bool
sts_id_is_valid(struct view id)
{
	for (size_t i = 0; i < id.len; i++)
		if (!ascii_is_alnum((unsigned char)id.p[i]))
			return false;
	return id.len > 0 && id.len <= STS_ID_MAX;
}

static bool
is_field_name(struct view name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum((unsigned char)name.p[i]) &&
		    (i == 0 || memchr("_-.", name.p[i], 3) == NULL))
			return false;
	return name.len > 0 && name.len <= 32;
}

static bool
is_field_value(struct view value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.p[i] <= ' ' || value.p[i] > '~' || value.p[i] == '=')
			return false;
	return value.len > 0;
}

/* RFC 8461 3.1: of a field that stands twice the first counts, as 3.2 has it for policies. */
static bool
read_fields(struct view rest, char id[STS_ID_MAX + 1])
{
	struct view field, name, value;

	for (bool more = true; more;) {
		more = view_cut(rest, ';', &field, &rest);
		field = view_trim(field);
		if (field.len == 0 && !more)
			break; /* the last semicolon ends the record */
		if (!view_cut(field, '=', &name, &value) || !is_field_name(name) ||
		    !is_field_value(value))
			return false;
		if (!view_eq_str(name, "id") || id[0] != '\0')
			continue;
		if (!sts_id_is_valid(value))
			return false;
		memcpy(id, value.p, value.len);
		id[value.len] = '\0';
	}
	return true;
}

bool
sts_record_read(struct view txt, char id[STS_ID_MAX + 1])
{
	struct view version, rest;

	id[0] = '\0';
	if (!view_cut(txt, ';', &version, &rest) || !view_starts(version, "v=STSv1") ||
	    view_trim(version).len != sizeof "v=STSv1" - 1)
		return false;
	if (!read_fields(rest, id))
		id[0] = '\0';
	return true;
}

/* ---------------------------------------------------------------- the policy */

enum { HAS_VERSION = 1, HAS_MODE = 2, HAS_MAX_AGE = 4, HAS_ALL = 7 };

static int
bad(struct err *err, const char *what, struct view value)
{
	return err_set(err, ERR_SYNTAX, "%s \"%.*s\" is not valid", what,
	    (int)(value.len < 80 ? value.len : 80), value.len > 0 ? value.p : "");
}

static int
take_mode(struct sts_policy *p, struct view value, struct err *err)
{
	for (size_t i = 0; i < sizeof mode_names / sizeof mode_names[0]; i++)
		if (view_eq_str(value, mode_names[i])) {
			p->mode = (enum sts_mode)i;
			return 0;
		}
	return bad(err, "mode", value);
}

static int
take_max_age(struct sts_policy *p, struct view value, struct err *err)
{
	uint64_t n;

	if (value.len > 10 || !view_u64(value, UINT64_MAX, &n))
		return bad(err, "max_age", value);
	p->max_age = n < STS_MAX_AGE ? (uint32_t)n : STS_MAX_AGE;
	return 0;
}

static int
take_mx(struct sts_policy *p, struct view value, struct err *err)
{
	struct view name = value;

	if (view_starts(name, "*."))
		name = view_make(name.p + 2, name.len - 2);
	if (name.len > 0 && name.p[name.len - 1] == '.')
		value.len--, name.len--;
	if (name.len == 0 || name.p[0] == '[' || !hostname_is_valid(name, true))
		return bad(err, "mx", value);
	for (size_t i = 0; i < value.len; i++)
		buf_append_byte(&p->mx, ascii_lower((unsigned char)value.p[i]));
	buf_append_byte(&p->mx, '\n');
	return p->mx.failed ? err_set(err, ERR_LIMIT, "too many mx patterns") : 0;
}

/* A field that may stand once: what comes again is passed over (RFC 8461 3.2). */
static bool
is_first(unsigned *seen, unsigned field)
{
	bool first = !(*seen & field);

	*seen |= field;
	return first;
}

static int
take_line(struct sts_policy *p, struct view line, unsigned *seen, struct err *err)
{
	struct view name, value;

	if (!view_cut(line, ':', &name, &value))
		return bad(err, "line", line);
	value = view_trim(value);
	if (view_eq_str(name, "mx"))
		return take_mx(p, value, err);
	if (view_eq_str(name, "version") && is_first(seen, HAS_VERSION))
		return view_eq_str(value, "STSv1") ? 0 : bad(err, "version", value);
	if (view_eq_str(name, "mode") && is_first(seen, HAS_MODE))
		return take_mode(p, value, err);
	if (view_eq_str(name, "max_age") && is_first(seen, HAS_MAX_AGE))
		return take_max_age(p, value, err);
	return is_field_name(name) ? 0 : bad(err, "field", name);
}

int
sts_policy_read(struct view text, struct sts_policy *out, struct err *err)
{
	unsigned seen = 0;
	struct view line;

	*out = (struct sts_policy){ .mode = STS_NONE };
	buf_init(&out->mx, STS_MX_BYTES);
	if (text.len > STS_POLICY_BYTES)
		return err_set(err, ERR_LIMIT, "the policy is too long");
	while (text.len > 0) {
		view_cut(text, '\n', &line, &text);
		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		line = view_trim(line);
		if (line.len > 0 && take_line(out, line, &seen, err) < 0)
			return -1;
	}
	if (seen != HAS_ALL)
		return err_set(err, ERR_SYNTAX, "the policy has no %s",
		    !(seen & HAS_VERSION) ? "version"
		    : !(seen & HAS_MODE)  ? "mode"
					  : "max_age");
	if (out->mode != STS_NONE && out->mx.len == 0)
		return err_set(err, ERR_SYNTAX, "the policy has no mx");
	return 0;
}

void
sts_policy_clear(struct sts_policy *p)
{
	buf_clear(&p->mx);
}

const char *
sts_mode_name(enum sts_mode mode)
{
	return mode_names[mode];
}

void
sts_policy_write(const struct sts_policy *p, struct buf *out)
{
	struct view rest = buf_view(&p->mx), mx;

	buf_printf(out, "version: STSv1\nmode: %s\n", mode_names[p->mode]);
	while (view_token(&rest, "\n", &mx))
		buf_printf(out, "mx: %.*s\n", VIEW_ARG(mx));
	buf_printf(out, "max_age: %u\n", p->max_age);
}

bool
sts_mx_match(struct view patterns, const char *host)
{
	struct view name = view_of(host), parent, pattern;

	if (name.len > 0 && name.p[name.len - 1] == '.')
		name.len--;
	view_cut(name, '.', NULL, &parent);
	while (view_token(&patterns, "\n", &pattern)) {
		/* the asterisk stands for one label */
		if (view_starts(pattern, "*.")
			? view_case_eq(parent, view_make(pattern.p + 2, pattern.len - 2))
			: view_case_eq(name, pattern))
			return true;
	}
	return false;
}
