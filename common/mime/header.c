#include "common/mime/message.h"

/* Bytes of the line at the start of v, with its line end. */
static size_t
line_length(struct view v)
{
	const char *lf = memchr(v.p, '\n', v.len);

	return lf == NULL ? v.len : (size_t)(lf - v.p) + 1;
}

static bool
line_is_empty(const char *p, size_t len)
{
	return (len == 1 && p[0] == '\n') || (len == 2 && p[0] == '\r' && p[1] == '\n');
}

static struct view
drop_line_end(struct view v)
{
	if (v.len > 0 && v.p[v.len - 1] == '\n') {
		v.len--;
		if (v.len > 0 && v.p[v.len - 1] == '\r')
			v.len--;
	}
	return v;
}

/* RFC 5322 2.2: the name is printable ASCII; white space before the colon is obsolete syntax (4.5.8). */
static bool
field_name(struct view line, struct view *name)
{
	const char *colon = memchr(line.p, ':', line.len);

	if (colon == NULL)
		return false;
	*name = view_make(line.p, (size_t)(colon - line.p));
	while (name->len > 0 && ascii_is_space(name->p[name->len - 1]))
		name->len--;
	for (size_t i = 0; i < name->len; i++)
		if (name->p[i] <= ' ' || name->p[i] > '~')
			return false;
	return name->len > 0;
}

size_t
header_name_length(struct view line)
{
	size_t n = 0;

	while (n < line.len && line.p[n] > ' ' && line.p[n] < 127 && line.p[n] != ':')
		n++; /* ftext of RFC 5322 3.6.8 */
	if (n == 0)
		return 0;
	while (n < line.len && ascii_is_space(line.p[n]))
		n++;
	return n < line.len && line.p[n] == ':' ? n : 0;
}

static struct view
skip_leading_fws(struct view v)
{
	while (v.len > 0 && (ascii_is_space(v.p[0]) || v.p[0] == '\r' || v.p[0] == '\n'))
		v.p++, v.len--;
	return v;
}

bool
header_next(struct view *rest, struct header_field *out)
{
	while (rest->len > 0) {
		struct view field = view_make(rest->p, line_length(*rest));
		size_t first_line = field.len;
		struct view name;

		*rest = view_make(rest->p + field.len, rest->len - field.len);
		if (line_is_empty(field.p, field.len))
			return false;
		if (ascii_is_space(field.p[0]) ||
		    !field_name(view_make(field.p, first_line), &name))
			continue;
		while (rest->len > 0 && ascii_is_space(rest->p[0])) {
			size_t more = line_length(*rest);

			field.len += more;
			*rest = view_make(rest->p + more, rest->len - more);
		}
		out->raw = field;
		out->name = name;
		view_cut(field, ':', NULL, &out->value);
		out->value = skip_leading_fws(drop_line_end(out->value));
		return true;
	}
	return false;
}

bool
header_find(struct view headers, const char *name, struct header_field *out)
{
	while (header_next(&headers, out))
		if (view_case_eq_str(out->name, name))
			return true;
	return false;
}

size_t
header_block_length(struct view message)
{
	struct view rest = message;

	while (rest.len > 0) {
		size_t len = line_length(rest);

		rest = view_make(rest.p + len, rest.len - len);
		if (line_is_empty(rest.p - len, len))
			break;
	}
	return message.len - rest.len;
}

int
header_unfold(struct view value, struct buf *out)
{
	while (value.len > 0) {
		size_t len = line_length(value);

		if (buf_append_view(out, drop_line_end(view_make(value.p, len))) < 0)
			return -1;
		value = view_make(value.p + len, value.len - len);
	}
	return 0;
}
