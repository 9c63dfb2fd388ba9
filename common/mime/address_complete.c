#include "common/mime/address_complete.h"

enum {
	LONG_LINE = 600, /* RFC 5322 2.1.1: 998, less what one more address may have */
	SPEC_MAX = 320,  /* a longer address is none that anybody has a table for */
};

/* What the words since the last comma look like: an addr-spec as far as it goes, or something else (a name). */
enum spec { SPEC_NONE, SPEC_LOCAL, SPEC_LOCAL_DOT, SPEC_AT, SPEC_HOST, SPEC_NOT };

struct completer {
	const char *p, *end;
	const struct address_completion *how;
	struct buf *out;
	const char *copied; /* out holds the source up to here */
	size_t line_at;     /* in out: where the present line begins */
	enum spec spec;
	const char *spec_at, *spec_end; /* its first word, and behind its last */
	char text[SPEC_MAX];            /* its words without what stands between them */
	size_t text_len;
	bool has_at, has_host_dot; /* of the words since the last comma */
	bool is_long;              /* text does not hold all of it */
	bool in_angle, in_group;
	bool is_over; /* an address in <>, or a group: a separator must follow */
	bool is_changed;
};

enum address_field
address_field_kind(struct view name)
{
	/* those that Postfix's cleanup takes for senders and recipients */
	static const struct {
		const char *name;
		enum address_field kind;
	} rows[] = { { "From", ADDRESS_FIELD_SENDER }, { "Sender", ADDRESS_FIELD_SENDER },
		{ "Reply-To", ADDRESS_FIELD_SENDER }, { "To", ADDRESS_FIELD_RECIPIENT },
		{ "Cc", ADDRESS_FIELD_RECIPIENT }, { "Bcc", ADDRESS_FIELD_RECIPIENT },
		{ "Resent-From", ADDRESS_FIELD_SENDER }, { "Resent-Sender", ADDRESS_FIELD_SENDER },
		{ "Resent-Reply-To", ADDRESS_FIELD_RECIPIENT },
		{ "Resent-To", ADDRESS_FIELD_RECIPIENT }, { "Resent-Cc", ADDRESS_FIELD_RECIPIENT },
		{ "Resent-Bcc", ADDRESS_FIELD_RECIPIENT },
		{ "Apparently-To", ADDRESS_FIELD_RECIPIENT },
		{ "Disposition-Notification-To", ADDRESS_FIELD_SENDER },
		{ "Errors-To", ADDRESS_FIELD_SENDER }, { "Mail-Followup-To", ADDRESS_FIELD_SENDER },
		{ "Mail-Reply-To", ADDRESS_FIELD_SENDER },
		{ "Return-Receipt-To", ADDRESS_FIELD_SENDER } };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (view_case_eq_str(name, rows[i].name))
			return rows[i].kind;
	return ADDRESS_FIELD_NONE;
}

/* --- output ------------------------------------------------------------------------------------------------- */

static void
copy_up_to(struct completer *c, const char *to)
{
	size_t len = (size_t)(to - c->copied);
	const char *lf = memrchr(c->copied, '\n', len);

	buf_append(c->out, c->copied, len);
	if (lf != NULL)
		c->line_at = c->out->len - (size_t)(to - lf - 1);
	c->copied = to;
}

static void
add_text(struct completer *c, const char *p, size_t len)
{
	c->is_long |= len > sizeof c->text - c->text_len;
	if (c->is_long)
		return;
	memcpy(c->text + c->text_len, p, len);
	c->text_len += len;
}

static void
begin_address(struct completer *c)
{
	c->spec = SPEC_NONE;
	c->has_at = c->has_host_dot = c->is_long = false;
	c->text_len = 0;
}

/* The whole address, with `add` where that is missing, becomes another. */
static bool
replace_address(struct completer *c, char mark, struct view add)
{
	const char *instead;

	if (c->how->map == NULL || (c->spec == SPEC_LOCAL && add.len == 0))
		return false;
	if (add.len > 0) {
		add_text(c, &mark, 1);
		add_text(c, add.p, add.len);
	}
	if (c->is_long ||
	    (instead = c->how->map(c->how->arg, view_make(c->text, c->text_len))) == NULL)
		return false;
	copy_up_to(c, c->spec_at);
	buf_append_str(c->out, instead);
	c->copied = c->spec_end;
	return true;
}

/* At a separator: the words since the last one are an address, or not. */
static void
finish_address(struct completer *c)
{
	bool is_bare = c->spec == SPEC_LOCAL;
	bool is_short = c->spec == SPEC_HOST && !c->has_host_dot;
	char mark = is_bare ? '@' : '.';
	struct view add = is_bare ? c->how->origin : is_short ? c->how->domain : (struct view){ 0 };

	if ((is_bare || c->spec == SPEC_HOST) && replace_address(c, mark, add)) {
		c->is_changed = true;
	} else if (add.len > 0) {
		copy_up_to(c, c->spec_end);
		buf_append_byte(c->out, mark);
		buf_append_view(c->out, add);
		c->is_changed = true;
	}
	begin_address(c);
}

static void
fold_long_line(struct completer *c)
{
	if (!c->is_changed)
		return;
	copy_up_to(c, c->p);
	if (c->out->len - c->line_at < LONG_LINE || c->p == c->end || *c->p == '\r' ||
	    *c->p == '\n')
		return;
	buf_append_str(c->out, "\r\n\t");
	c->line_at = c->out->len - 1;
}

/* --- tokens; false: this is no list of addresses ------------------------------------------------------------ */

static bool
is_control(unsigned char c)
{
	return (c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 127;
}

/* Up to and with the closing character, over quoted pairs; comments nest (RFC 5322 3.2.2). */
static bool
skip_enclosed(struct completer *c, char open, char close)
{
	size_t depth = 1;

	for (c->p++; c->p < c->end; c->p++) {
		if (is_control((unsigned char)*c->p))
			return false;
		if (*c->p == '\\') {
			if (c->end - c->p < 2 || is_control((unsigned char)c->p[1]))
				return false;
			c->p++;
		} else if (*c->p == close) {
			if (--depth > 0)
				continue;
			c->p++;
			return true;
		} else if (*c->p == open) {
			depth++;
		}
	}
	return false;
}

static void
add_word(struct completer *c, const char *from, bool may_be_local, bool may_be_host)
{
	if (c->spec == SPEC_NONE)
		c->spec_at = from;
	add_text(c, from, (size_t)(c->p - from));
	if ((c->spec == SPEC_NONE || c->spec == SPEC_LOCAL_DOT) && may_be_local)
		c->spec = SPEC_LOCAL;
	else if (c->spec == SPEC_AT && may_be_host)
		c->spec = SPEC_HOST;
	else
		c->spec = SPEC_NOT;
	c->spec_end = c->p;
}

static bool
take_quoted(struct completer *c)
{
	const char *from = c->p;

	if (!skip_enclosed(c, '"', '"'))
		return false;
	add_word(c, from, true, false);
	return true;
}

static bool
take_literal(struct completer *c)
{
	const char *from = c->p;

	if (c->spec != SPEC_AT || c->has_host_dot || !skip_enclosed(c, '[', ']'))
		return false;
	c->has_host_dot = true; /* nothing is missing from it */
	add_word(c, from, false, true);
	return true;
}

static bool
take_atom(struct completer *c)
{
	const char *from = c->p;
	bool is_encoded;

	while (c->p < c->end && (unsigned char)*c->p > ' ' && *c->p != 127 &&
	       strchr("()<>[]:;@\\,.\"", *c->p) == NULL)
		c->p++;
	/* RFC 2047 5: such a word is of a name, never of an address */
	is_encoded =
	    c->p - from > 4 && memcmp(from, "=?", 2) == 0 && memcmp(c->p - 2, "?=", 2) == 0;
	add_word(c, from, !is_encoded, !is_encoded);
	return c->p > from;
}

static bool
take_dot(struct completer *c)
{
	if (c->spec == SPEC_LOCAL)
		c->spec = SPEC_LOCAL_DOT;
	else if (c->spec == SPEC_HOST)
		c->spec = SPEC_AT;
	else
		c->spec = SPEC_NOT;
	c->has_host_dot |= c->has_at;
	add_text(c, c->p++, 1);
	return true;
}

static bool
take_at(struct completer *c)
{
	c->spec = c->spec == SPEC_LOCAL ? SPEC_AT : SPEC_NOT;
	c->has_at = true;
	add_text(c, c->p++, 1);
	return true;
}

/* What stood before was a name, even one with an "@" in it. */
static bool
open_angle(struct completer *c)
{
	if (c->in_angle)
		return false;
	c->in_angle = true;
	begin_address(c);
	c->p++;
	return true;
}

static bool
close_angle(struct completer *c)
{
	if (!c->in_angle)
		return false;
	finish_address(c);
	c->in_angle = false;
	c->is_over = true;
	c->p++;
	return true;
}

/* "@a,@b:" of an obsolete route (RFC 5322 4.4): such an address stays as it is. */
static bool
is_in_route(const struct completer *c)
{
	return c->in_angle && c->spec == SPEC_NOT && c->has_at;
}

static bool
open_group(struct completer *c)
{
	c->p++;
	if (is_in_route(c))
		return true;
	if (c->in_angle || c->in_group || c->has_at || c->spec == SPEC_NONE)
		return false;
	c->in_group = true;
	begin_address(c);
	return true;
}

static bool
close_group(struct completer *c)
{
	if (c->in_angle || !c->in_group)
		return false;
	finish_address(c);
	c->in_group = false;
	c->is_over = true;
	c->p++;
	return true;
}

static bool
take_comma(struct completer *c)
{
	c->p++;
	if (is_in_route(c))
		return true;
	if (c->in_angle)
		return false;
	finish_address(c);
	c->is_over = false;
	fold_long_line(c);
	return true;
}

static bool
take_token(struct completer *c)
{
	if (c->is_over && strchr(" \t\r\n(,;", *c->p) == NULL)
		return false;
	switch (*c->p) {
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		c->p++;
		return true;
	case '(':
		return skip_enclosed(c, '(', ')');
	case '"':
		return take_quoted(c);
	case '[':
		return take_literal(c);
	case '.':
		return take_dot(c);
	case '@':
		return take_at(c);
	case '<':
		return open_angle(c);
	case '>':
		return close_angle(c);
	case ':':
		return open_group(c);
	case ';':
		return close_group(c);
	case ',':
		return take_comma(c);
	default:
		return take_atom(c);
	}
}

int
address_complete(struct view value, const struct address_completion *how, struct buf *out)
{
	size_t before = out->len;
	struct completer c = { .p = value.p,
		.end = value.p + value.len,
		.how = how,
		.out = out,
		.copied = value.p,
		.line_at = before };
	bool is_list = true;

	while (is_list && c.p < c.end)
		is_list = *c.p != '\0' && take_token(&c);
	if (is_list && !c.in_angle && !c.in_group) {
		finish_address(&c);
		if (c.is_changed && !out->failed) {
			copy_up_to(&c, c.end);
			if (!out->failed)
				return 1;
		}
	}
	out->len = before;
	return out->failed ? -1 : 0;
}
