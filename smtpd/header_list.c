#include "smtpd/header_list.h"
#include "common/base/mem.h"
#include "common/mime/message.h"

#include <stdlib.h>

void
header_list_init(struct header_list *l)
{
	*l = (struct header_list){ 0 };
	/* what is changed again and again is not given back before the end */
	arena_init(&l->arena, 4UL * HEADER_LIST_MAX_BYTES);
}

void
header_list_clear(struct header_list *l)
{
	x_free(&l->fields);
	l->count = l->cap = 0;
	arena_clear(&l->arena);
}

/* The first line of v, up to and with its CRLF; length 0: there is no whole one. */
static size_t
line_length(struct view v)
{
	size_t at = 0;
	const char *lf;

	while (at < v.len && (lf = memchr(v.p + at, '\n', v.len - at)) != NULL) {
		at = (size_t)(lf - v.p) + 1;
		if (at > 1 && v.p[at - 2] == '\r')
			return at;
	}
	return 0;
}

static bool
is_name_byte(unsigned char c)
{
	return c > ' ' && c < 127 && c != ':'; /* ftext of RFC 5322 3.6.8 */
}

static struct listed_field *
make_room(struct header_list *l, size_t at, struct err *err)
{
	if (l->count >= HEADER_LIST_MAX_FIELDS) {
		err_set(err, ERR_LIMIT, "more than %d header fields", HEADER_LIST_MAX_FIELDS);
		return NULL;
	}
	if (l->count == l->cap) {
		l->cap = l->cap == 0 ? 32 : l->cap * 2;
		l->fields = x_realloc(l->fields, l->cap, sizeof *l->fields);
	}
	if (at > l->count)
		at = l->count;
	memmove(l->fields + at + 1, l->fields + at, (l->count - at) * sizeof *l->fields);
	l->count++;
	return &l->fields[at];
}

/* Length of the field at the start of v, folded lines and all, with its last CRLF; 0: there is none. */
static size_t
field_length(struct view v, size_t *name_len)
{
	size_t len = line_length(v), more;

	if (len == 0 || (*name_len = header_name_length(view_make(v.p, len))) == 0)
		return 0;
	while (len < v.len && ascii_is_space(v.p[len])) {
		more = line_length(view_make(v.p + len, v.len - len));
		if (more == 0)
			break;
		len += more;
	}
	return len;
}

/* Length of all fields at the start of content. */
static size_t
section_length(struct view content)
{
	size_t at = 0, len, name_len;

	while ((len = field_length(view_make(content.p + at, content.len - at), &name_len)) > 0)
		at += len;
	return at;
}

static int
take_fields(struct header_list *l, struct view section, struct err *err)
{
	size_t len, name_len;

	for (; section.len > 0; section = view_make(section.p + len, section.len - len)) {
		struct listed_field *f = make_room(l, l->count, err);

		if (f == NULL)
			return -1;
		len = field_length(section, &name_len);
		f->name = view_make(section.p, name_len);
		f->value = view_make(section.p + name_len + 1, len - name_len - 3);
	}
	return 0;
}

int
header_list_parse(struct header_list *l, struct view content, size_t *body, struct err *err)
{
	size_t len = section_length(content);
	const char *copy;

	*body = 0;
	l->count = 0;
	l->has_empty_line = content.len - len >= 2 && memcmp(content.p + len, "\r\n", 2) == 0;
	if (len == 0 && content.len > 0 && !l->has_empty_line)
		return err_set(err, ERR_SYNTAX, "no header section");
	if (len > HEADER_LIST_MAX_BYTES ||
	    (copy = arena_strndup(&l->arena, len > 0 ? content.p : "", len)) == NULL)
		return err_set(
		    err, ERR_LIMIT, "header section of more than %d bytes", HEADER_LIST_MAX_BYTES);
	if (take_fields(l, view_make(copy, len), err) < 0) {
		l->count = 0;
		return -1;
	}
	*body = len + (l->has_empty_line ? 2 : 0);
	return 0;
}

/* --- changes ------------------------------------------------------------------------------------------ */

static struct view
bare_name(struct view name)
{
	while (name.len > 0 && ascii_is_space(name.p[name.len - 1]))
		name.len--;
	return name;
}

/* Line ends become CRLF, and a line that would begin something else a continuation.  An empty line inside would end the
 * section: it is left out. */
static int
put_value(struct buf *out, struct view value, struct err *err)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.p[i];

		if (c == '\r' && i + 1 < value.len && value.p[i + 1] == '\n')
			continue;
		if (c == '\0' || c == '\r')
			return err_set(err, ERR_SYNTAX, "header value with NUL or bare CR");
		if (c != '\n') {
			buf_append_byte(out, c);
			continue;
		}
		while (i + 1 < value.len &&
		       (value.p[i + 1] == '\n' ||
			   (value.p[i + 1] == '\r' && i + 2 < value.len && value.p[i + 2] == '\n')))
			i++;
		if (i + 1 == value.len)
			break;
		buf_append_str(out, ascii_is_space(value.p[i + 1]) ? "\r\n" : "\r\n\t");
	}
	return out->failed ? err_set(err, ERR_LIMIT, "header value too long") : 0;
}

static int
make_field(struct header_list *l, struct view name, struct view value, struct listed_field *f,
    struct err *err)
{
	struct buf clean;
	int r = 0;

	for (size_t i = 0; i < name.len; i++)
		if (!is_name_byte((unsigned char)name.p[i]))
			return err_set(err, ERR_SYNTAX, "not a header name");
	if (name.len == 0)
		return err_set(err, ERR_SYNTAX, "header without a name");
	buf_init(&clean, HEADER_LIST_MAX_BYTES);
	if (put_value(&clean, value, err) < 0) {
		r = -1;
	} else {
		f->name = view_make(arena_strndup(&l->arena, name.p, name.len), name.len);
		f->value = view_make(
		    arena_strndup(&l->arena, clean.len > 0 ? clean.p : "", clean.len), clean.len);
		if (f->name.p == NULL || f->value.p == NULL)
			r = err_set(err, ERR_LIMIT, "header section too large");
	}
	buf_clear(&clean);
	return r;
}

int
header_list_insert(
    struct header_list *l, size_t at, struct view name, struct view value, struct err *err)
{
	struct listed_field f, *place;

	if (make_field(l, name, value, &f, err) < 0 || (place = make_room(l, at, err)) == NULL)
		return -1;
	*place = f;
	l->is_changed = true;
	return 0;
}

size_t
header_list_find(const struct header_list *l, struct view name, size_t nth)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->fields[i].name.len >= name.len &&
		    view_case_eq(bare_name(l->fields[i].name), name) && --nth == 0)
			return i;
	return l->count;
}

int
header_list_replace(
    struct header_list *l, size_t at, struct view name, struct view value, struct err *err)
{
	struct listed_field f;

	if (at >= l->count)
		bug("header %zu of %zu", at, l->count);
	if (make_field(l, name, value, &f, err) < 0)
		return -1;
	l->fields[at] = f;
	l->is_changed = true;
	return 0;
}

void
header_list_remove(struct header_list *l, size_t at)
{
	if (at >= l->count)
		bug("header %zu of %zu", at, l->count);
	l->count--;
	memmove(l->fields + at, l->fields + at + 1, (l->count - at) * sizeof *l->fields);
	l->is_changed = true;
}

void
header_value_append(struct view value, struct buf *out)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.p[i] != '\r')
			buf_append_byte(out, value.p[i]);
}

int
header_field_write(const struct listed_field *f, struct buf *out)
{
	buf_append_view(out, f->name);
	buf_append_byte(out, ':');
	buf_append_view(out, f->value);
	return buf_append_str(out, "\r\n");
}

int
header_list_write(const struct header_list *l, struct buf *out)
{
	for (size_t i = 0; i < l->count; i++)
		header_field_write(&l->fields[i], out);
	if (l->has_empty_line || l->is_changed)
		buf_append_str(out, "\r\n");
	return out->failed ? -1 : 0;
}
