#include "common/mime/message.h"
#include "common/mime/mime_params.h"

/* One pass over the lines of the message with a stack of open containers.  A line that is a delimiter of
 * any of them (RFC 2046 5.1.1) closes what is open above; all others are only counted.
 *
 * A delimiter is the whole line: "--", the boundary, "--" if it is the last, white space.  RFC 2046 lets a
 * reader accept more behind the boundary, but then one boundary that is the beginning of another ("a" and "ab",
 * which senders do make) is read differently by different programs. */

enum { MAX_LANGUAGES = 100, MAX_BOUNDARY = 1000 };

struct level {
	struct mime_part *part;
	struct mime_part *last_child;
	struct view boundary; /* empty: message/rfc822, or the closing delimiter was seen */
	uint32_t hash;        /* of boundary */
	size_t lines_before;  /* line ends before the body */
};

enum tree_state {
	IN_HEADER,
	IN_TEXT,  /* body of a leaf */
	BETWEEN,  /* preamble or epilogue of the innermost container */
	IN_OPAQUE /* the last part allowed: nothing is looked at any more */
};

struct tree_parser {
	struct view msg;
	struct arena *arena;
	unsigned max_depth, max_parts, parts;
	enum tree_state state;
	struct level *levels; /* in the arena; max_depth of them, the innermost last */
	unsigned depth;
	struct mime_part *leaf; /* whose header or text this is; NULL in BETWEEN */
	size_t leaf_lines_before;
	size_t lines; /* line ends before the present line */
	struct mime_params_scratch scratch;
};

/* FNV-1a: saves comparing each line with up to a hundred boundaries. */
static uint32_t
boundary_hash(const char *p, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)p[i]) * 16777619u;
	return h;
}

/* Lower-case token (RFC 2045 5.1) in the arena, "" if there is none; NULL: arena full. */
static const char *
read_token(struct tree_parser *t, struct lexer *lx)
{
	struct buf *b = &t->scratch.text;

	buf_reset(b);
	lexer_skip_cfws(lx, NULL);
	lexer_atom(lx, "()<>@,;:\\\"/[]?=", b);
	for (size_t i = 0; i < b->len; i++)
		b->p[i] = (char)ascii_lower((unsigned char)b->p[i]);
	return arena_strndup(t->arena, b->p, b->len);
}

static struct lexer
field_lexer(const struct header_field *f)
{
	return (struct lexer){ f->value.p, f->value.p + f->value.len };
}

static int
read_content_type(struct tree_parser *t, struct mime_part *part, const struct header_field *f)
{
	struct lexer lx = field_lexer(f);
	const char *type = read_token(t, &lx), *subtype = "";

	lexer_skip_cfws(&lx, NULL);
	if (lexer_at(&lx, '/')) {
		lx.p++;
		subtype = read_token(t, &lx);
	}
	if (type == NULL || subtype == NULL)
		return -1;
	/* what is malformed counts as text/plain (RFC 2045 5.2) */
	part->type = type[0] != '\0' && subtype[0] != '\0' ? type : "text";
	part->subtype = type[0] != '\0' && subtype[0] != '\0' ? subtype : "plain";
	return mime_params_parse(&lx, t->arena, &t->scratch, &part->params);
}

static int
read_encoding(struct tree_parser *t, struct mime_part *part, const struct header_field *f)
{
	struct lexer lx = field_lexer(f);
	const char *token = read_token(t, &lx);

	if (token != NULL && token[0] != '\0')
		part->encoding = token;
	return token == NULL ? -1 : 0;
}

static int
read_disposition(struct tree_parser *t, struct mime_part *part, const struct header_field *f)
{
	struct lexer lx = field_lexer(f);
	const char *token = read_token(t, &lx);

	if (token == NULL)
		return -1;
	if (token[0] == '\0')
		return 0;
	part->disposition = token;
	return mime_params_parse(&lx, t->arena, &t->scratch, &part->disposition_params);
}

static int
read_languages(struct tree_parser *t, struct mime_part *part, const struct header_field *f)
{
	struct lexer lx = field_lexer(f);
	const char **list = arena_alloc(t->arena, (MAX_LANGUAGES + 1) * sizeof *list);
	size_t n = 0;

	if (list == NULL)
		return -1;
	while (lx.p < lx.end && n < MAX_LANGUAGES) {
		const char *token = read_token(t, &lx);

		if (token == NULL)
			return -1;
		if (token[0] != '\0')
			list[n++] = token;
		while (lx.p < lx.end && *lx.p++ != ',')
			continue;
	}
	if (n > 0)
		part->languages = list;
	return 0;
}

/* The value on one line, without NULs; an empty one counts as none. */
static int
read_text(struct tree_parser *t, const char **out, const struct header_field *f)
{
	struct buf *b = &t->scratch.text;
	size_t len = 0;
	struct view v;

	buf_reset(b);
	header_unfold(f->value, b);
	for (size_t i = 0; i < b->len; i++)
		if (b->p[i] != '\0')
			b->p[len++] = b->p[i];
	v = view_trim(view_make(b->p, len));
	if (v.len == 0)
		return 0;
	*out = arena_strndup(t->arena, v.p, v.len);
	return *out == NULL ? -1 : 0;
}

/* A field given twice counts once, the first. */
static int
read_field(
    struct tree_parser *t, struct mime_part *part, const struct header_field *f, unsigned *seen)
{
	static const char *const names[] = { "content-type", "content-transfer-encoding",
		"content-id", "content-description", "content-md5", "content-location",
		"content-disposition", "content-language" };
	unsigned i = 0;

	while (i < sizeof names / sizeof names[0] && !view_case_eq_str(f->name, names[i]))
		i++;
	if (i == sizeof names / sizeof names[0] || (*seen & 1u << i) != 0)
		return 0;
	*seen |= 1u << i;
	switch (i) {
	case 0:
		return read_content_type(t, part, f);
	case 1:
		return read_encoding(t, part, f);
	case 2:
		return read_text(t, &part->id, f);
	case 3:
		return read_text(t, &part->description, f);
	case 4:
		return read_text(t, &part->md5, f);
	case 5:
		return read_text(t, &part->location, f);
	case 6:
		return read_disposition(t, part, f);
	default:
		return read_languages(t, part, f);
	}
}

static int
read_header(struct tree_parser *t, struct mime_part *part)
{
	struct view rest = view_make(t->msg.p + part->header_off, part->header_len);
	struct header_field f;
	unsigned seen = 0;

	while (header_next(&rest, &f))
		if (view_case_starts(f.name, "content-") && read_field(t, part, &f, &seen) < 0)
			return -1;
	return 0;
}

static bool
is_digest(const struct mime_part *part)
{
	return part != NULL && strcmp(part->type, "multipart") == 0 &&
	       strcmp(part->subtype, "digest") == 0;
}

static void
make_opaque(struct mime_part *part)
{
	part->is_truncated = true;
	part->type = "application";
	part->subtype = "octet-stream";
}

/* A new part at off, child of the innermost container. */
static int
open_part(struct tree_parser *t, size_t off)
{
	struct mime_part *part = arena_alloc(t->arena, sizeof *part);
	struct level *in = t->depth > 0 ? &t->levels[t->depth - 1] : NULL;
	bool in_digest = in != NULL && is_digest(in->part);

	if (part == NULL)
		return -1;
	part->header_off = part->body_off = off;
	part->type = in_digest ? "message" : "text"; /* RFC 2046 5.1.5 */
	part->subtype = in_digest ? "rfc822" : "plain";
	part->encoding = "7bit";
	if (in != NULL) {
		part->parent = in->part;
		if (in->last_child != NULL)
			in->last_child->next = part;
		else
			in->part->first_child = part;
		in->last_child = part;
	}
	t->leaf = part;
	t->leaf_lines_before = t->lines;
	t->state = IN_HEADER;
	t->parts++;
	/* a root alone is worth reading; any other last part stands for all that could come */
	if (in != NULL && t->parts >= t->max_parts) {
		make_opaque(part);
		t->state = IN_OPAQUE;
	}
	return 0;
}

static void
close_part(struct mime_part *part, size_t end, size_t lines_before, size_t lines_at_end)
{
	part->body_len = end > part->body_off ? end - part->body_off : 0;
	part->body_lines = (uint32_t)(part->body_len > 0 && lines_at_end > lines_before
					  ? lines_at_end - lines_before
					  : 0);
}

static int
close_leaf(struct tree_parser *t, size_t end, size_t lines)
{
	struct mime_part *part = t->leaf;

	if (part == NULL)
		return 0;
	t->leaf = NULL;
	if (t->state == IN_HEADER) { /* no empty line: all header */
		part->header_len = end > part->header_off ? end - part->header_off : 0;
		part->body_off = part->header_off + part->header_len;
		if (read_header(t, part) < 0)
			return -1;
	}
	close_part(part, end, t->leaf_lines_before, lines);
	return 0;
}

/* Closes everything down to depth levels. */
static int
close_levels(struct tree_parser *t, unsigned depth, size_t end, size_t lines)
{
	if (close_leaf(t, end, lines) < 0)
		return -1;
	while (t->depth > depth) {
		struct level *l = &t->levels[--t->depth];

		close_part(l->part, end, l->lines_before, lines);
	}
	t->state = BETWEEN;
	return 0;
}

static struct view
boundary_of(const struct mime_part *part)
{
	struct view b = view_of(mime_param_find(part->params, "boundary"));

	while (b.len > 0 &&
	       ascii_is_space(b.p[b.len - 1])) /* RFC 2046 5.1.1: does not end in white space */
		b.len--;
	return b.len > MAX_BOUNDARY ? view_make(NULL, 0) : b;
}

static void
push_level(struct tree_parser *t, struct view boundary)
{
	t->levels[t->depth++] = (struct level){ .part = t->leaf,
		.boundary = boundary,
		.hash = boundary_hash(boundary.p, boundary.len),
		.lines_before = t->leaf_lines_before };
	t->leaf = NULL;
	t->state = BETWEEN;
}

static bool
is_embedded_message(const struct mime_part *part)
{
	if (strcmp(part->type, "message") != 0)
		return false;
	return strcmp(part->subtype, "rfc822") == 0 || strcmp(part->subtype, "global") == 0;
}

/* RFC 2046 5.2.1 and RFC 6532 3.7 (message/global): what is encoded cannot be looked into. */
static bool
is_identity_encoding(const char *encoding)
{
	return strcmp(encoding, "base64") != 0 && strcmp(encoding, "quoted-printable") != 0;
}

/* The header of the present part is complete. */
static int
begin_body(struct tree_parser *t, size_t body_off)
{
	struct mime_part *part = t->leaf;
	bool may_nest = t->depth < t->max_depth && t->parts < t->max_parts;
	bool is_multipart, is_message;
	struct view boundary;

	part->header_len = body_off - part->header_off;
	part->body_off = body_off;
	t->leaf_lines_before = t->lines;
	t->state = IN_TEXT;
	if (read_header(t, part) < 0)
		return -1;
	is_multipart = strcmp(part->type, "multipart") == 0;
	is_message = is_embedded_message(part) && is_identity_encoding(part->encoding);
	boundary = is_multipart ? boundary_of(part) : view_make(NULL, 0);
	if ((is_message || boundary.len > 0) && !may_nest) {
		make_opaque(part);
	} else if (boundary.len > 0) {
		push_level(t, boundary);
	} else if (is_message) {
		push_level(t, view_make(NULL, 0));
		return open_part(t, body_off);
	}
	return 0;
}

/* Innermost level of which this line is a delimiter, -1: none. */
static int
find_delimiter(const struct tree_parser *t, struct view line, bool *is_last)
{
	struct view b;
	uint32_t whole, without;

	while (line.len > 0 && lexer_is_fws(line.p[line.len - 1]))
		line.len--;
	if (line.len <= 2 || line.len > MAX_BOUNDARY + 4)
		return -1;
	b = view_make(line.p + 2, line.len - 2);
	whole = boundary_hash(b.p, b.len);
	*is_last = view_ends(b, "--");
	without = *is_last ? boundary_hash(b.p, b.len - 2) : whole;
	for (unsigned i = t->depth; i-- > 0;) {
		const struct level *l = &t->levels[i];

		if (l->boundary.len == 0)
			continue;
		if (l->hash == whole && view_eq(l->boundary, b)) {
			*is_last = false; /* a boundary that itself ends in "--" */
			return (int)i;
		}
		if (*is_last && l->hash == without &&
		    view_eq(l->boundary, view_make(b.p, b.len - 2)))
			return (int)i;
	}
	return -1;
}

/* The line end before a delimiter belongs to it (RFC 2046 5.1.1), unless it is also the empty line that ends a
 * header: then it is the header's. */
static size_t
end_before(const struct tree_parser *t, size_t line_off)
{
	const struct mime_part *in = t->leaf != NULL ? t->leaf : t->levels[t->depth - 1].part;
	size_t end = line_off;

	if (end > 0 && t->msg.p[end - 1] == '\n')
		end--;
	if (end > 0 && end < line_off && t->msg.p[end - 1] == '\r')
		end--;
	return end < in->body_off ? line_off : end;
}

static int
on_delimiter(struct tree_parser *t, int level, bool is_last, size_t line_off, size_t next_off)
{
	size_t end = end_before(t, line_off);
	size_t lines = end < line_off ? t->lines - 1 : t->lines;

	if (close_levels(t, (unsigned)level + 1, end, lines) < 0)
		return -1;
	if (is_last) {
		t->levels[level].boundary.len = 0;
		return 0;
	}
	t->lines++; /* the new part begins behind this line */
	if (open_part(t, next_off) < 0)
		return -1;
	t->lines--;
	return 0;
}

static int
on_line(struct tree_parser *t, size_t off, size_t len)
{
	const char *p = t->msg.p + off;
	bool is_last;
	int level;

	if (len >= 2 && p[0] == '-' && p[1] == '-' && t->depth > 0 &&
	    (level = find_delimiter(t, view_make(p, len), &is_last)) >= 0)
		return on_delimiter(t, level, is_last, off, off + len);
	if (t->state == IN_HEADER &&
	    ((len == 1 && p[0] == '\n') || (len == 2 && p[0] == '\r' && p[1] == '\n'))) {
		t->lines++;
		if (begin_body(t, off + len) < 0)
			return -1;
		t->lines--;
	}
	return 0;
}

static int
parse_lines(struct tree_parser *t)
{
	size_t off = 0;

	while (off < t->msg.len) {
		const char *lf = memchr(t->msg.p + off, '\n', t->msg.len - off);
		size_t len = lf == NULL ? t->msg.len - off : (size_t)(lf - t->msg.p) + 1 - off;

		if (t->state != IN_OPAQUE && on_line(t, off, len) < 0)
			return -1;
		t->lines += lf != NULL;
		off += len;
	}
	/* a message or last part of headers only may still be a container, without parts */
	if (t->state == IN_HEADER && begin_body(t, t->msg.len) < 0)
		return -1;
	return close_levels(t, 0, t->msg.len, t->lines);
}

struct mime_part *
mime_parse(struct view message, struct arena *a, unsigned max_depth, unsigned max_parts)
{
	struct tree_parser t = {
		.msg = message, .arena = a, .max_depth = max_depth, .max_parts = max_parts
	};
	struct mime_part *root = NULL;

	t.levels = arena_alloc(a, (max_depth + 1) * sizeof *t.levels);
	if (t.levels == NULL)
		return NULL;
	mime_params_scratch_init(&t.scratch, message.len);
	if (open_part(&t, 0) == 0) {
		root = t.leaf;
		if (parse_lines(&t) < 0)
			root = NULL;
	}
	mime_params_scratch_clear(&t.scratch);
	return root;
}
