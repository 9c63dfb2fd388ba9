#include "common/mime/mime_lines.h"
#include "common/base/mem.h"
#include "common/mime/message.h"

#include <stdlib.h>

void
mime_lines_init(struct mime_lines *m, size_t field_max, unsigned depth_max,
    int (*fn)(void *arg, enum mime_line_kind kind, struct view text, unsigned lines), void *arg)
{
	*m = (struct mime_lines){
		.fn = fn, .arg = arg, .is_in_headers = true, .section = LINE_HEADER
	};
	m->depth_max = depth_max < MIME_LINES_DEPTH ? depth_max : MIME_LINES_DEPTH;
	buf_init(&m->field, field_max);
}

static void
pop_to(struct mime_lines *m, unsigned depth)
{
	while (m->depth > depth)
		free(m->boundaries[--m->depth]);
}

void
mime_lines_clear(struct mime_lines *m)
{
	pop_to(m, 0);
	x_free(&m->boundary);
	buf_clear(&m->field);
}

/* --- Content-Type ------------------------------------------------------------------------------------- */

static struct view
skip_space(struct view v)
{
	while (v.len > 0 && (ascii_is_space(v.p[0]) || v.p[0] == '\n'))
		v = view_make(v.p + 1, v.len - 1);
	return v;
}

/* A token or a quoted string at the start of *v, taken off (RFC 2045 5.1); at most MIME_LINES_BOUNDARY bytes. */
static void
take_value(struct view *v, struct buf *out)
{
	bool is_quoted = v->len > 0 && v->p[0] == '"';
	size_t i = is_quoted ? 1 : 0;

	for (; i < v->len; i++) {
		char c = v->p[i];

		if (is_quoted ? c == '"' : (c == ';' || ascii_is_space(c) || c == '\n' || c == '('))
			break;
		if (is_quoted && c == '\\' && i + 1 < v->len)
			c = v->p[++i];
		if (c != '\n')
			buf_append_byte(out, c);
	}
	*v = view_make(v->p + i, v->len - i);
}

/* The parameter of this name, "" = none.  Good enough to find what readers find; comments are passed over as text. */
static void
find_param(struct view v, const char *name, struct buf *out)
{
	while (view_cut(v, ';', NULL, &v)) {
		struct view key, rest = skip_space(v);

		if (!view_cut(rest, '=', &key, &rest))
			return;
		if (view_case_eq_str(view_trim(key), name)) {
			rest = skip_space(rest);
			take_value(&rest, out);
			return;
		}
		if (rest.len > 0 && skip_space(rest).p[0] == '"') {
			/* a ';' in a quoted string separates nothing */
			struct buf skipped;

			buf_init(&skipped, MIME_LINES_BOUNDARY);
			rest = skip_space(rest);
			take_value(&rest, &skipped);
			buf_clear(&skipped);
			v = rest;
		}
	}
}

static void
note_type(struct mime_lines *m, struct view value)
{
	struct buf boundary;

	value = skip_space(value);
	m->is_message = view_case_starts(value, "message/rfc822") ||
			(!m->global_is_text && view_case_starts(value, "message/global"));
	m->is_digest = view_case_starts(value, "multipart/digest");
	x_free(&m->boundary);
	if (!view_case_starts(value, "multipart/"))
		return;
	buf_init(&boundary, MIME_LINES_BOUNDARY);
	find_param(value, "boundary", &boundary);
	if (boundary.len > 0 && !boundary.failed)
		m->boundary = x_strndup(boundary.p, boundary.len);
	buf_clear(&boundary);
}

/* --- fields --------------------------------------------------------------------------------------------- */

bool
mime_lines_is_mime_field(struct view name)
{
	return view_case_starts(name, "content-") || view_case_starts(name, "mime-version");
}

static int
emit_field(struct mime_lines *m)
{
	struct view text = buf_view(&m->field), name, value;
	enum mime_line_kind kind = m->section;
	int r;

	if (m->field_lines == 0)
		return 0;
	if (!view_cut(text, ':', &name, &value))
		name = value = view_make("", 0);
	if (view_case_eq_str(view_trim(name), "content-type"))
		note_type(m, value);
	if (mime_lines_is_mime_field(name))
		kind = LINE_MIME_HEADER;
	r = m->fn(m->arg, kind, text, m->field_lines);
	buf_reset(&m->field);
	m->field.failed = false;
	m->field_lines = 0;
	return r;
}

/* The header section is over: what follows is a message, parts, or text. */
static void
end_section(struct mime_lines *m)
{
	m->is_in_headers = false;
	if (m->boundary != NULL && m->depth >= m->depth_max) {
		m->is_too_deep = true;
		x_free(&m->boundary);
	} else if (m->boundary != NULL) {
		m->digests[m->depth] = m->is_digest;
		m->boundaries[m->depth++] = m->boundary;
		m->boundary = NULL;
	}
	if (m->is_message) {
		m->is_in_headers = true;
		m->section = LINE_NESTED_HEADER;
	}
	m->is_message = false;
}

static void
start_part(struct mime_lines *m)
{
	m->is_in_headers = true;
	m->is_message = m->digests[m->depth - 1]; /* RFC 2046 5.1.5 */
	x_free(&m->boundary);
	m->section = LINE_MIME_HEADER;
}

/* --- boundaries ------------------------------------------------------------------------------------------- */

/* Number of the open multipart that this line belongs to, plus one; 0: none.  *is_end: it closes it. */
static unsigned
find_boundary(const struct mime_lines *m, struct view line, bool *is_end)
{
	if (line.len < 3 || line.p[0] != '-' || line.p[1] != '-')
		return 0;
	for (unsigned i = m->depth; i > 0; i--) {
		size_t len = strlen(m->boundaries[i - 1]);

		if (line.len < len + 2 || memcmp(line.p + 2, m->boundaries[i - 1], len) != 0)
			continue;
		*is_end = line.len >= len + 4 && line.p[len + 2] == '-' && line.p[len + 3] == '-';
		return i;
	}
	return 0;
}

/* --- lines -------------------------------------------------------------------------------------------------- */

static int
feed_header(struct mime_lines *m, struct view line)
{
	int r;

	if (line.len > 0 && ascii_is_space(line.p[0]) && m->field_lines > 0) {
		buf_append_byte(&m->field, '\n');
		buf_append_view(&m->field, line);
		m->field_lines++;
		return 0;
	}
	if ((r = emit_field(m)) != 0)
		return r;
	if (header_name_length(line) > 0) {
		buf_append_view(&m->field, line);
		m->field_lines = 1;
		return 0;
	}
	end_section(m);
	/* a line that is no field ends the section, and is text already */
	if (line.len > 0)
		return mime_lines_feed(m, line);
	return m->fn(m->arg, LINE_FRAME, line, 1);
}

int
mime_lines_feed(struct mime_lines *m, struct view line)
{
	bool is_end = false;
	unsigned part = find_boundary(m, line, &is_end);
	int r;

	if (part > 0) {
		r = emit_field(m);
		pop_to(m, is_end ? part - 1 : part);
		m->is_in_headers = false;
		if (!is_end)
			start_part(m);
		return r != 0 ? r : m->fn(m->arg, LINE_FRAME, line, 1);
	}
	return m->is_in_headers ? feed_header(m, line) : m->fn(m->arg, LINE_TEXT, line, 1);
}

int
mime_lines_finish(struct mime_lines *m)
{
	return emit_field(m);
}
