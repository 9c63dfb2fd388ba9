#include "common/mime/mime_params.h"
#include "common/base/mem.h"

#include <stdlib.h>

/* One attribute of the field: a whole parameter, or a piece of one (RFC 2231 3). */
struct mime_segment {
	size_t name, name_len; /* in text; lower case, without *section and final * */
	size_t value, value_len;
	int section;      /* -1: not numbered */
	bool is_extended; /* the name ended in '*': percent-encoded */
	size_t order;     /* place in the field */
};

void
mime_params_scratch_init(struct mime_params_scratch *s, size_t max_bytes)
{
	s->segments = x_calloc(MIME_MAX_FIELD_PARAMS, sizeof *s->segments);
	s->total = 0;
	buf_init(&s->text, max_bytes + 1);
	buf_init(&s->joined, max_bytes * 3 + 16);  /* percent-encoding triples */
	buf_init(&s->decoded, max_bytes * 9 + 16); /* U+FFFD for every byte */
}

void
mime_params_scratch_clear(struct mime_params_scratch *s)
{
	x_free(&s->segments);
	buf_clear(&s->text);
	buf_clear(&s->joined);
	buf_clear(&s->decoded);
}

/* "name*2*" -> name, section 2, extended (RFC 2231 7).  A number that is no number stays in the name. */
static void
split_name(const struct buf *text, struct mime_segment *seg)
{
	const char *p = text->p + seg->name;
	size_t len = seg->name_len, star;
	uint64_t number;

	seg->section = -1;
	seg->is_extended = len > 1 && p[len - 1] == '*';
	if (seg->is_extended)
		len--;
	for (star = len; star > 0 && ascii_is_digit(p[star - 1]); star--)
		continue;
	if (star > 1 && p[star - 1] == '*' &&
	    view_u64(view_make(p + star, len - star), 99999, &number)) {
		seg->section = (int)number;
		len = star - 1;
	}
	seg->name_len = len;
}

/* An unquoted value goes up to the ';': blanks and specials in it are wrong (RFC 2045 5.1) and frequent.  A comment
 * at its end is cut off. */
static void
read_plain_value(struct lexer *lx, struct buf *text)
{
	size_t from = text->len, depth = 0, end;

	for (; lx->p < lx->end && *lx->p != ';'; lx->p++)
		if (*lx->p != '\r' && *lx->p != '\n' && *lx->p != '\0')
			buf_append_byte(text, *lx->p);
	while (text->len > from && ascii_is_space(text->p[text->len - 1]))
		text->len--;
	if (text->len == from || text->p[text->len - 1] != ')')
		return;
	for (end = text->len; end > from; end--) {
		char c = text->p[end - 1];

		depth += c == ')';
		if (c == '(' && --depth == 0)
			break;
	}
	if (end <= from + 1 || !ascii_is_space(text->p[end - 2]))
		return;
	text->len = end - 1;
	while (text->len > from && ascii_is_space(text->p[text->len - 1]))
		text->len--;
}

/* One "name=value" behind its ';'.  false: there is nothing of that shape. */
static bool
read_segment(struct lexer *lx, struct buf *text, struct mime_segment *seg)
{
	lexer_skip_cfws(lx, NULL);
	seg->name = text->len;
	lexer_atom(lx, ";=()\"", text);
	seg->name_len = text->len - seg->name;
	lexer_skip_cfws(lx, NULL);
	if (seg->name_len == 0 || !lexer_at(lx, '='))
		return false;
	for (size_t i = seg->name; i < text->len; i++)
		text->p[i] = (char)ascii_lower((unsigned char)text->p[i]);
	lx->p++;
	lexer_skip_cfws(lx, NULL);
	seg->value = text->len;
	if (lexer_at(lx, '"'))
		lexer_quoted_string(lx, text);
	else
		read_plain_value(lx, text);
	seg->value_len = text->len - seg->value;
	split_name(text, seg);
	return true;
}

/* Up to the next ';' outside quotes and comments. */
static void
skip_to_semicolon(struct lexer *lx, struct buf *waste)
{
	size_t keep = waste->len;

	while (lx->p < lx->end && *lx->p != ';') {
		if (*lx->p == '"')
			lexer_quoted_string(lx, waste);
		else if (!lexer_skip_cfws(lx, NULL))
			lx->p++;
	}
	waste->len = keep;
}

static size_t
read_segments(struct lexer *lx, struct mime_params_scratch *s)
{
	size_t n = 0;

	buf_reset(&s->text);
	for (;;) {
		skip_to_semicolon(lx, &s->text);
		if (lx->p >= lx->end || n == MIME_MAX_FIELD_PARAMS ||
		    s->total + n >= MIME_MAX_TOTAL_PARAMS)
			return n;
		lx->p++;
		if (read_segment(lx, &s->text, &s->segments[n])) {
			s->segments[n].order = n;
			n++;
		}
	}
}

static struct view
segment_name(const struct mime_params_scratch *s, const struct mime_segment *seg)
{
	return view_make(s->text.p + seg->name, seg->name_len);
}

static int
compare_names(const void *pa, const void *pb, void *arg)
{
	const struct mime_segment *a = pa, *b = pb;
	const struct mime_params_scratch *s = arg;
	size_t shorter = a->name_len < b->name_len ? a->name_len : b->name_len;
	int c = memcmp(s->text.p + a->name, s->text.p + b->name, shorter);

	if (c == 0 && a->name_len != b->name_len)
		c = a->name_len < b->name_len ? -1 : 1;
	if (c == 0 && a->section != b->section)
		c = a->section < b->section ? -1 : 1;
	return c != 0 ? c : a->order < b->order ? -1 : 1;
}

static int
hex_digit(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = (char)(c | 32);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
percent_decode(struct view v, struct buf *out)
{
	for (size_t i = 0; i < v.len; i++) {
		int hi = v.p[i] == '%' && v.len - i > 2 ? hex_digit(v.p[i + 1]) : -1;
		int lo = hi >= 0 ? hex_digit(v.p[i + 2]) : -1;
		int c = lo >= 0 ? hi << 4 | lo : v.p[i];

		if (lo >= 0)
			i += 2;
		buf_append_byte(out, c == '\0' || c == '\r' || c == '\n' ? ' ' : c);
	}
}

static void
percent_encode(struct view v, struct buf *out)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (ascii_is_alnum(c) || (c != 0 && strchr("!#$&+-.^_`{|}~", c) != NULL))
			buf_append_byte(out, c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

/* The pieces of one value in the order of their numbers; they end at the first gap.  Returns whether it is extended. */
static bool
join(struct mime_params_scratch *s, const struct mime_segment *seg, size_t n)
{
	bool is_extended = false;
	size_t used = 0;
	int next = seg[0].section;

	for (size_t i = 0; i < n && seg[i].section <= next; i++) {
		if (seg[i].section < next)
			continue; /* a number given twice: the first counts */
		is_extended |= seg[i].is_extended;
		used = i + 1;
		next = next < 0 ? next : next + 1;
		if (next < 0)
			break;
	}
	buf_reset(&s->joined);
	if (is_extended && !seg[0].is_extended)
		buf_append_str(&s->joined, "''"); /* no charset was named */
	next = seg[0].section;
	for (size_t i = 0; i < used; i++) {
		struct view v = view_make(s->text.p + seg[i].value, seg[i].value_len);

		if (seg[i].section < next)
			continue;
		if (is_extended && !seg[i].is_extended)
			percent_encode(v, &s->joined);
		else
			buf_append_view(&s->joined, v);
		next++;
	}
	return is_extended;
}

/* charset'language'text (RFC 2231 4). */
static int
decode_extended(struct mime_params_scratch *s)
{
	struct view charset, rest;
	struct buf bytes;
	char name[64];
	int r;

	buf_init(&bytes, s->joined.len + 1);
	buf_reset(&s->decoded);
	if (!view_cut(buf_view(&s->joined), '\'', &charset, &rest) ||
	    !view_cut(rest, '\'', NULL, &rest)) {
		charset = view_make("", 0);
		rest = buf_view(&s->joined);
	}
	if (charset.len >= sizeof name)
		charset.len = 0;
	if (charset.len > 0)
		memcpy(name, charset.p, charset.len);
	name[charset.len] = '\0';
	percent_decode(rest, &bytes);
	r = charset_to_utf8(name, buf_view(&bytes), &s->decoded);
	buf_clear(&bytes);
	return r;
}

static struct mime_param *
make_param(struct mime_params_scratch *s, struct arena *a, const struct mime_segment *seg, size_t n)
{
	struct mime_param *p = arena_alloc(a, sizeof *p);
	const struct buf *value = &s->joined;
	bool is_extended = join(s, seg, n);

	if (p == NULL)
		return NULL;
	if (is_extended) {
		if (decode_extended(s) == 0)
			value = &s->decoded;
		p->extended = arena_strndup(a, s->joined.p, s->joined.len);
		if (p->extended == NULL)
			return NULL;
	}
	p->name = arena_strndup(a, segment_name(s, seg).p, seg->name_len);
	p->value = arena_strndup(a, value->p, value->len);
	return p->name == NULL || p->value == NULL ? NULL : p;
}

/* Which of the segments of one name make its value?  The extended form is the sender's better one (RFC 6266 4.3 says so
 * for HTTP), then the numbered one if it has a beginning, then the plain. */
static const struct mime_segment *
choose(const struct mime_segment *seg, size_t n, size_t *count)
{
	size_t plain = 0;

	while (plain < n && seg[plain].section < 0)
		plain++;
	for (size_t i = 0; i < plain; i++) {
		if (seg[i].is_extended) {
			*count = 1;
			return &seg[i];
		}
	}
	if (plain < n && (seg[plain].section == 0 || plain == 0)) {
		*count = n - plain;
		return &seg[plain];
	}
	*count = 1;
	return seg;
}

/* The list is put together in the order in which the names first appeared. */
struct made_param {
	size_t order;
	struct mime_param *param;
};

static int
compare_made(const void *pa, const void *pb)
{
	const struct made_param *a = pa, *b = pb;

	return a->order < b->order ? -1 : a->order > b->order;
}

static int
make_params(struct mime_params_scratch *s, size_t n, struct arena *a, struct made_param *made,
    size_t *count)
{
	size_t next;

	*count = 0;
	for (size_t i = 0; i < n; i = next) {
		const struct mime_segment *from;
		size_t order = s->segments[i].order, pieces;
		struct view name = segment_name(s, &s->segments[i]);

		for (next = i; next < n && view_eq(segment_name(s, &s->segments[next]), name);
		     next++)
			if (s->segments[next].order < order)
				order = s->segments[next].order;
		from = choose(&s->segments[i], next - i, &pieces);
		made[*count] = (struct made_param){ order, make_param(s, a, from, pieces) };
		if (made[(*count)++].param == NULL)
			return -1;
	}
	return 0;
}

int
mime_params_parse(
    struct lexer *lx, struct arena *a, struct mime_params_scratch *s, struct mime_param **out)
{
	size_t n = read_segments(lx, s), count;
	struct made_param *made;
	int r;

	*out = NULL;
	if (n == 0)
		return 0;
	made = x_calloc(n, sizeof *made);
	qsort_r(s->segments, n, sizeof *s->segments, compare_names, s);
	r = make_params(s, n, a, made, &count);
	if (r == 0) {
		s->total += count;
		qsort(made, count, sizeof *made, compare_made);
		for (size_t i = count; i > 0; i--) {
			made[i - 1].param->next = *out;
			*out = made[i - 1].param;
		}
	}
	free(made);
	return r;
}

const char *
mime_param_find(const struct mime_param *list, const char *name)
{
	for (; list != NULL; list = list->next)
		if (strcmp(list->name, name) == 0)
			return list->value;
	return NULL;
}
