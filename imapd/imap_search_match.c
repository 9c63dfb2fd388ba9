#include "imapd/imap_search.h"
#include "common/mime/message.h"
#include "imapd/imap_date.h"
#include "common/base/err.h"

#include <locale.h>
#include <wctype.h>

enum {
	SEARCH_MESSAGE_MAX = 256 << 20,
	SEARCH_TEXT_MAX = 512 << 20,
	SEARCH_ARENA_MAX = 64 << 20,
};

/* --- folding ------------------------------------------------------------------------------------------ */
static locale_t unicode; /* of the process; set once before the cage closes */

void
imap_search_preload(void)
{
	if (unicode == (locale_t)0)
		unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* Decodes one UTF-8 sequence of at least two bytes; 0: it is none. */
static size_t
decode_utf8(const unsigned char *p, size_t len, uint32_t *out)
{
	size_t n = p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
	uint32_t c;

	if (p[0] >= 0xf5 || n == 0 || n > len)
		return 0;
	c = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	*out = c;
	return n;
}

static void
append_utf8(struct buf *out, uint32_t c)
{
	char p[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (n == 1) {
		buf_append_byte(out, (int)c);
		return;
	}
	for (size_t i = n - 1; i > 0; i--) {
		p[i] = (char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	p[0] = (char)(0xffu << (8 - n) | c);
	buf_append(out, p, n);
}

int
imap_search_fold(struct view in, struct buf *out)
{
	size_t i = 0;

	while (i < in.len) {
		size_t run = i, n;
		uint32_t c = 0;
		char *to;

		while (run < in.len && (unsigned char)in.p[run] < 0x80)
			run++;
		if (run > i) {
			if ((to = buf_reserve(out, run - i)) == NULL)
				return -1;
			for (size_t k = 0; k < run - i; k++)
				to[k] = (char)ascii_lower((unsigned char)in.p[i + k]);
			out->len += run - i;
			i = run;
			continue;
		}
		n = decode_utf8((const unsigned char *)in.p + i, in.len - i, &c);
		if (n == 0) {
			buf_append_byte(out, in.p[i++]);
			continue;
		}
		append_utf8(out, unicode ? (uint32_t)towlower_l((wint_t)c, unicode) : c);
		i += n;
	}
	return out->failed ? -1 : 0;
}

/* --- what is searched ------------------------------------------------------------------------------------- */
void
imap_search_work_init(struct imap_search_work *w)
{
	memset(w, 0, sizeof *w);
	buf_init(&w->raw, SEARCH_MESSAGE_MAX);
	buf_init(&w->header, SEARCH_MESSAGE_MAX);
	buf_init(&w->decoded, SEARCH_MESSAGE_MAX);
	buf_init(&w->utf8, SEARCH_TEXT_MAX);
	buf_init(&w->field_text, SEARCH_TEXT_MAX);
	buf_init(&w->head_text, SEARCH_TEXT_MAX);
	buf_init(&w->mime_text, SEARCH_TEXT_MAX);
	buf_init(&w->body_text, SEARCH_TEXT_MAX);
	arena_init(&w->arena, SEARCH_ARENA_MAX);
}

void
imap_search_work_clear(struct imap_search_work *w)
{
	struct buf *all[] = { &w->raw, &w->header, &w->decoded, &w->utf8, &w->field_text,
		&w->head_text, &w->mime_text, &w->body_text };

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		buf_clear(all[i]);
	arena_clear(&w->arena);
}

static int
need_raw(const struct imap_search_source *src, struct imap_search_work *w)
{
	if (w->has_raw)
		return 0;
	buf_reset(&w->raw);
	if (src->read_whole(src->arg, &w->raw) != 0)
		return -1;
	w->has_raw = true;
	return 0;
}

static int
need_header(const struct imap_search_source *src, struct imap_search_work *w)
{
	if (w->has_header)
		return 0;
	buf_reset(&w->header);
	if (w->has_raw) {
		struct view raw = buf_view(&w->raw);

		buf_append(&w->header, raw.p, raw.len ? header_block_length(raw) : 0);
	} else if (src->read_header(src->arg, &w->header) != 0) {
		return -1;
	}
	w->has_header = true;
	return 0;
}

/* A field's value as a reader sees it, folded, behind what is in *out. */
static void
append_value(struct imap_search_work *w, struct view value, struct buf *out)
{
	buf_reset(&w->utf8);
	buf_reset(&w->decoded);
	if (header_unfold(value, &w->decoded) == 0 && w->decoded.len > 0 &&
	    encoded_words_decode(buf_view(&w->decoded), &w->utf8) == 0)
		imap_search_fold(buf_view(&w->utf8), out);
}

static void
append_header(struct imap_search_work *w, struct view header, struct buf *out)
{
	struct header_field field;

	while (header_next(&header, &field)) {
		imap_search_fold(field.name, out);
		buf_append_str(out, ": ");
		append_value(w, field.value, out);
		buf_append_byte(out, '\0'); /* no needle spans two fields */
	}
}

static const char *
part_charset(const struct mime_part *part)
{
	for (const struct mime_param *p = part->params; p != NULL; p = p->next)
		if (view_case_eq_str(view_of(p->name), "charset") &&
		    !view_case_eq_str(view_of(p->value), "us-ascii"))
			return p->value;
	return "utf-8"; /* contains ASCII, and is what unlabelled 8-bit text mostly is */
}

static void
append_part(struct imap_search_work *w, const struct mime_part *part)
{
	struct view raw = buf_view(&w->raw);

	if (part->parent != NULL && part->header_len > 0)
		append_header(
		    w, view_make(raw.p + part->header_off, part->header_len), &w->mime_text);
	if (strcmp(part->type, "text") == 0 && part->body_len > 0) {
		buf_reset(&w->decoded);
		buf_reset(&w->utf8);
		transfer_decode(
		    part->encoding, view_make(raw.p + part->body_off, part->body_len), &w->decoded);
		if (w->decoded.len > 0)
			charset_to_utf8(part_charset(part), buf_view(&w->decoded), &w->utf8);
		imap_search_fold(buf_view(&w->utf8), &w->body_text);
		buf_append_byte(&w->body_text, '\0');
	}
	for (const struct mime_part *c = part->first_child; c != NULL; c = c->next)
		append_part(w, c);
}

static int
need_body_text(const struct imap_search_source *src, struct imap_search_work *w)
{
	struct mime_part *root;

	if (w->has_body_text)
		return 0;
	if (need_raw(src, w) != 0)
		return -1;
	buf_reset(&w->mime_text);
	buf_reset(&w->body_text);
	arena_clear(&w->arena);
	if (w->raw.len > 0 && (root = mime_parse(buf_view(&w->raw), &w->arena, MIME_MAX_DEPTH,
				   MIME_MAX_PARTS)) != NULL)
		append_part(w, root);
	w->has_body_text = true;
	return 0;
}

static int
need_head_text(const struct imap_search_source *src, struct imap_search_work *w)
{
	if (w->has_head_text)
		return 0;
	if (need_header(src, w) != 0)
		return -1;
	buf_reset(&w->head_text);
	append_header(w, buf_view(&w->header), &w->head_text);
	w->has_head_text = true;
	return 0;
}

static bool
contains(const struct buf *text, struct view needle)
{
	return needle.len == 0 ||
	       (text->len >= needle.len && view_find(buf_view(text), needle) != NULL);
}

/* --- deciding ------------------------------------------------------------------------------------------- */
static int64_t
day_of(int64_t utc, int zone_minutes)
{
	int64_t local = utc + (int64_t)zone_minutes * 60;

	return local >= 0 ? local / 86400 : -((86399 - local) / 86400);
}

static bool
compare_days(enum imap_search_op op, int64_t day, int64_t wanted)
{
	switch (op) {
	case SEARCH_BEFORE:
	case SEARCH_SENTBEFORE:
		return day < wanted;
	case SEARCH_ON:
	case SEARCH_SENTON:
		return day == wanted;
	default:
		return day >= wanted;
	}
}

/* RFC 3501 6.4.4: the Date header's own day, time and zone disregarded.  A message without one matches nothing. */
static int
match_sent(const struct imap_search_key *key, const struct imap_search_source *src,
    struct imap_search_work *w)
{
	struct header_field field;
	int64_t utc;
	int zone;

	if (need_header(src, w) != 0)
		return -1;
	if (!header_find(buf_view(&w->header), "Date", &field) ||
	    !date_parse(field.value, &utc, &zone))
		return 0;
	return compare_days(key->op, day_of(utc, zone), key->number);
}

static int
match_header(const struct imap_search_key *key, const struct imap_search_source *src,
    struct imap_search_work *w)
{
	struct header_field field;
	struct view rest;

	if (need_header(src, w) != 0)
		return -1;
	rest = buf_view(&w->header);
	while (header_next(&rest, &field)) {
		if (!view_case_eq_str(field.name, key->word))
			continue;
		if (key->needle.len == 0) /* RFC 3501 6.4.4: the field is there, whatever it says */
			return 1;
		buf_reset(&w->field_text);
		append_value(w, field.value, &w->field_text);
		if (contains(&w->field_text, key->needle))
			return 1;
	}
	return 0;
}

static int
match_text(const struct imap_search_key *key, const struct imap_search_source *src,
    struct imap_search_work *w)
{
	if (key->op == SEARCH_TEXT) {
		if (need_head_text(src, w) != 0)
			return -1;
		if (contains(&w->head_text, key->needle))
			return 1;
	}
	if (need_body_text(src, w) != 0)
		return -1;
	return contains(&w->body_text, key->needle) ||
	       (key->op == SEARCH_TEXT && contains(&w->mime_text, key->needle));
}

static bool
has_keyword(const struct imap_search_key *key, const struct message_info *info)
{
	if (key->flags != 0 && (info->flags & key->flags))
		return true;
	return key->keyword >= 0 && key->keyword < STORE_MAX_KEYWORDS &&
	       (info->keywords.bits[key->keyword / 64] >> (key->keyword % 64) & 1);
}

static int match_key(const struct imap_search_key *key, const struct imap_search_source *src,
    struct imap_search_work *w);

static int
match_children(const struct imap_search_key *key, const struct imap_search_source *src,
    struct imap_search_work *w)
{
	int decisive = key->op == SEARCH_OR;

	for (const struct imap_search_key *c = key->children; c != NULL; c = c->next) {
		int r = match_key(c, src, w);

		if (r < 0 || r == decisive)
			return r;
	}
	return !decisive;
}

static int
match_plain(const struct imap_search_key *key, const struct imap_search_source *src,
    struct imap_search_work *w)
{
	const struct message_info *info = src->info;

	switch (key->op) {
	case SEARCH_ALL:
		return 1;
	case SEARCH_AND:
	case SEARCH_OR:
		return match_children(key, src, w);
	case SEARCH_SEQ:
		return imap_seqset_has(&key->set, src->seq);
	case SEARCH_UID:
		return imap_seqset_has(&key->set, info->uid);
	case SEARCH_FLAG:
		return (info->flags & key->flags) == key->flags;
	case SEARCH_NEW:
		return src->is_recent && !(info->flags & FLAG_SEEN);
	case SEARCH_RECENT:
		return src->is_recent;
	case SEARCH_KEYWORD:
		return has_keyword(key, info);
	case SEARCH_BEFORE:
	case SEARCH_ON:
	case SEARCH_SINCE:
		return compare_days(key->op,
		    day_of(info->internal_date, imap_local_zone(info->internal_date)), key->number);
	case SEARCH_LARGER:
		return info->size > (uint64_t)key->number;
	case SEARCH_SMALLER:
		return info->size < (uint64_t)key->number;
	case SEARCH_SENTBEFORE:
	case SEARCH_SENTON:
	case SEARCH_SENTSINCE:
		return match_sent(key, src, w);
	case SEARCH_HEADER:
		return match_header(key, src, w);
	case SEARCH_BODY:
	case SEARCH_TEXT:
		return match_text(key, src, w);
	}
	bug("search key %d", (int)key->op);
}

static int
match_key(const struct imap_search_key *key, const struct imap_search_source *src,
    struct imap_search_work *w)
{
	int r = match_plain(key, src, w);

	return r < 0 ? r : (r != 0) != key->is_negated;
}

int
imap_search_match(const struct imap_search_key *root, const struct imap_search_source *src,
    struct imap_search_work *w)
{
	w->has_raw = w->has_header = w->has_head_text = w->has_body_text = false;
	return match_key(root, src, w);
}
