#include "imapd/imap_section.h"
#include "imapd/imap_write.h"

#include <stdlib.h>

/* --- parsing --------------------------------------------------------------------------------------------- */
static bool
parse_path(struct imap_args *p, struct imap_section *out)
{
	out->path = arena_alloc(p->arena, MIME_MAX_DEPTH * sizeof out->path[0]);
	if (out->path == NULL)
		return imap_args_fail(p, "Command too large");
	while (p->rest.len > 0 && ascii_is_digit((unsigned char)p->rest.p[0])) {
		if (out->depth == MIME_MAX_DEPTH)
			return imap_args_fail(p, "Too many part numbers in a section");
		if (!imap_args_nz_number(p, &out->path[out->depth]))
			return false;
		out->depth++;
		if (!imap_args_try(p, '.'))
			return true;
		if (imap_args_next_is(p, ']'))
			return imap_args_fail(p, "Invalid section");
	}
	return true;
}

static int
by_name(const void *a, const void *b)
{
	const struct view *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	for (size_t i = 0; i < x->len; i++) {
		int c = ascii_lower((unsigned char)x->p[i]) - ascii_lower((unsigned char)y->p[i]);

		if (c != 0)
			return c;
	}
	return 0;
}

static bool
parse_field_name(struct imap_args *p, struct view *out)
{
	if (!imap_args_astring(p, out))
		return false;
	for (size_t i = 0; i < out->len; i++)
		if ((unsigned char)out->p[i] < ' ' || (unsigned char)out->p[i] >= 0x7f)
			return imap_args_fail(p, "Invalid header field name");
	return out->len > 0 || imap_args_fail(p, "Invalid header field name");
}

static bool
parse_fields(struct imap_args *p, struct imap_section *out)
{
	size_t size = IMAP_SECTION_FIELDS_MAX * sizeof out->fields[0];

	if (!imap_args_space(p) || !imap_args_open(p))
		return false;
	out->fields = arena_alloc(p->arena, size);
	if (out->fields == NULL)
		return imap_args_fail(p, "Command too large");
	do {
		if (out->nfields == IMAP_SECTION_FIELDS_MAX)
			return imap_args_fail(p, "Too many header fields in a section");
		if (!parse_field_name(p, &out->fields[out->nfields]))
			return false;
		out->nfields++;
	} while (imap_args_try(p, ' '));
	out->sorted = arena_alloc(p->arena, out->nfields * sizeof out->sorted[0]);
	if (out->sorted == NULL)
		return imap_args_fail(p, "Command too large");
	memcpy(out->sorted, out->fields, out->nfields * sizeof out->sorted[0]);
	qsort(out->sorted, out->nfields, sizeof out->sorted[0], by_name);
	return imap_args_close(p);
}

/* clang-format off */
static const struct {
	const char *word;
	enum imap_section_kind kind;
} section_words[] = {
	{ "HEADER",            SECTION_HEADER },
	{ "HEADER.FIELDS",     SECTION_FIELDS },
	{ "HEADER.FIELDS.NOT", SECTION_FIELDS_NOT },
	{ "TEXT",              SECTION_TEXT },
	{ "MIME",              SECTION_MIME },
};
/* clang-format on */

static bool
parse_word(struct imap_args *p, struct imap_section *out)
{
	struct view word;

	if (!imap_args_word(p, &word))
		return false;
	for (size_t i = 0; i < sizeof section_words / sizeof section_words[0]; i++)
		if (view_case_eq_str(word, section_words[i].word))
			out->kind = section_words[i].kind;
	if (out->kind == SECTION_ALL)
		return imap_args_fail(p, "Invalid section");
	/* RFC 3501 6.4.5: MIME must have a part number before it */
	if (out->kind == SECTION_MIME && out->depth == 0)
		return imap_args_fail(p, "Invalid section");
	if (out->kind == SECTION_FIELDS || out->kind == SECTION_FIELDS_NOT)
		return parse_fields(p, out);
	return true;
}

bool
imap_section_parse(struct imap_args *p, struct imap_section *out)
{
	*out = (struct imap_section){ .kind = SECTION_ALL };
	if (!parse_path(p, out))
		return false;
	if (!imap_args_next_is(p, ']')) {
		/* "[1TEXT]": the dot between number and word is not optional */
		if (out->depth > 0 && p->rest.p[-1] != '.')
			return imap_args_fail(p, "Invalid section");
		if (!parse_word(p, out))
			return false;
	}
	return imap_args_char(p, ']');
}

void
imap_section_write(const struct imap_section *s, struct buf *out)
{
	buf_append_byte(out, '[');
	for (size_t i = 0; i < s->depth; i++)
		buf_printf(out, "%s%u", i ? "." : "", s->path[i]);
	for (size_t i = 0; i < sizeof section_words / sizeof section_words[0]; i++)
		if (section_words[i].kind == s->kind)
			buf_printf(out, "%s%s", s->depth ? "." : "", section_words[i].word);
	if (s->nfields > 0) {
		for (size_t i = 0; i < s->nfields; i++) {
			buf_append_str(out, i ? " " : " (");
			imap_write_astring(out, s->fields[i]);
		}
		buf_append_byte(out, ')');
	}
	buf_append_byte(out, ']');
}

bool
imap_section_is_header_only(const struct imap_section *s)
{
	return s->depth == 0 && (s->kind == SECTION_HEADER || s->kind == SECTION_FIELDS ||
				    s->kind == SECTION_FIELDS_NOT);
}

bool
imap_section_needs_tree(const struct imap_section *s)
{
	return s->depth > 0;
}

/* --- finding ----------------------------------------------------------------------------------------------- */
static bool
is_type(const struct mime_part *part, const char *type)
{
	return part->type != NULL && strcmp(part->type, type) == 0;
}

static const struct mime_part *
nth_child(const struct mime_part *part, uint32_t n)
{
	const struct mime_part *child = part->first_child;

	while (child != NULL && --n > 0)
		child = child->next;
	return child;
}

/* Part n of this message (the whole one, or one embedded): a multipart's n-th part, else its body is part 1. */
static const struct mime_part *
part_of_message(const struct mime_part *message, uint32_t n)
{
	if (is_type(message, "multipart") && message->first_child != NULL)
		return nth_child(message, n);
	return n == 1 ? message : NULL;
}

/* Part n below a part that was reached by number. */
static const struct mime_part *
part_of_part(const struct mime_part *part, uint32_t n)
{
	if (is_type(part, "multipart"))
		return nth_child(part, n);
	if (is_type(part, "message") && part->first_child != NULL)
		return part_of_message(part->first_child, n);
	return NULL;
}

static struct view
slice(struct view message, size_t off, size_t len)
{
	if (off > message.len)
		off = message.len;
	if (len > message.len - off)
		len = message.len - off;
	return view_make(message.p + off, len);
}

/* RFC 3501 6.4.5: the fields as they stand, and the empty line behind them always. */
static int
pick_fields(const struct imap_section *s, struct view header, struct buf *scratch, struct view *out)
{
	struct header_field field;
	bool wanted = s->kind == SECTION_FIELDS;

	buf_reset(scratch);
	while (header_next(&header, &field)) {
		bool named = bsearch(&field.name, s->sorted, s->nfields, sizeof s->sorted[0],
				 by_name) != NULL;

		if (named != wanted)
			continue;
		buf_append_view(scratch, field.raw);
		if (!view_ends(field.raw, "\n"))
			buf_append_str(scratch, "\r\n");
	}
	buf_append_str(scratch, "\r\n");
	*out = buf_view(scratch);
	return scratch->failed ? -1 : 0;
}

/* header and body: of the message that the path names. */
static int
pick(const struct imap_section *s, struct view header, struct view body, struct buf *scratch,
    struct view *out)
{
	switch (s->kind) {
	case SECTION_FIELDS:
	case SECTION_FIELDS_NOT:
		return pick_fields(s, header, scratch, out);
	case SECTION_TEXT:
		*out = body;
		return 0;
	default:
		*out = header;
		return 0;
	}
}

int
imap_section_find(const struct imap_section *s, struct view message, const struct mime_part *root,
    struct buf *scratch, struct view *out)
{
	const struct mime_part *part = root;

	if (s->depth == 0) {
		size_t header = s->kind == SECTION_ALL ? 0 : header_block_length(message);

		*out = message;
		return s->kind == SECTION_ALL
			   ? 0
			   : pick(s, slice(message, 0, header), slice(message, header, message.len),
				 scratch, out);
	}
	for (size_t i = 0; i < s->depth && part != NULL; i++)
		part = i == 0 ? part_of_message(part, s->path[i]) : part_of_part(part, s->path[i]);
	if (part == NULL)
		return 1;
	if (s->kind == SECTION_ALL || s->kind == SECTION_MIME) {
		*out = s->kind == SECTION_ALL ? slice(message, part->body_off, part->body_len)
					      : slice(message, part->header_off, part->header_len);
		return 0;
	}
	/* HEADER and TEXT below a number: of an embedded message only */
	if (!is_type(part, "message") || part->first_child == NULL)
		return 1;
	part = part->first_child;
	return pick(s, slice(message, part->header_off, part->header_len),
	    slice(message, part->body_off, part->body_len), scratch, out);
}
