#include "common/mime/lexer.h"
#include "common/mime/message.h"

/* One pass over the field; what cannot be an address becomes a local part without domain, as RFC 3501's
 * ENVELOPE must show something for it.
 *
 * Until a '<', ':' or '@' tells what they are, words may be a display name, a group name or a local part.  They
 * are collected in both spellings: a phrase keeps its blanks, a local part has none around dots. */
struct words {
	struct buf phrase, local;
	unsigned count;
	bool after_dot; /* the last token was a dot */
};

struct list_parser {
	struct lexer lx;
	struct arena *arena;
	struct buf entries; /* struct mail_address, one behind the other */
	size_t count, max;
	bool in_group;
	bool is_full; /* arena */
	struct words words;
	struct buf comment, domain, route;
};

/* The characters that end an atom here; others, 8-bit ones too, are let through. */
#define LIST_SPECIALS "()<>@,;:\"."

static void
words_reset(struct words *w)
{
	buf_reset(&w->phrase);
	buf_reset(&w->local);
	w->count = 0;
	w->after_dot = false;
}

/* Room for one more token, a blank before it where the source had white space. */
static void
words_gap(struct words *w, bool had_space, bool is_dot)
{
	if (had_space && w->count > 0) {
		buf_append_byte(&w->phrase, ' ');
		if (!is_dot && !w->after_dot)
			buf_append_byte(&w->local, ' ');
	}
	w->count++;
	w->after_dot = is_dot;
}

static void
words_copy_to_local(struct words *w, size_t phrase_len)
{
	if (w->phrase.len > phrase_len)
		buf_append(&w->local, w->phrase.p + phrase_len, w->phrase.len - phrase_len);
}

static const char *
keep(struct list_parser *lp, const struct buf *b)
{
	const char *s = arena_strndup(lp->arena, b->p, b->len);

	if (s == NULL)
		lp->is_full = true;
	return s;
}

static void
push(struct list_parser *lp, enum mail_address_kind kind, const char *name, const char *route,
    const char *local, const char *domain)
{
	struct mail_address a = { kind, name, route, local, domain };
	size_t reserved = lp->in_group && kind != MAIL_GROUP_END; /* a group's end always fits */

	if (lp->is_full || lp->count + reserved >= lp->max)
		return;
	if (buf_append(&lp->entries, &a, sizeof a) == 0)
		lp->count++;
	else
		lp->is_full = true;
}

static bool
at_limit(const struct list_parser *lp)
{
	return lp->is_full || lp->count + lp->in_group >= lp->max;
}

/* dot-atom or domain literal with the white space and comments of obs-domain left out.  White space before what
 * is no dot ends it. */
static void
read_domain(struct list_parser *lp)
{
	struct lexer *lx = &lp->lx;
	bool want_more = true;

	buf_reset(&lp->domain);
	lexer_skip_cfws(lx, NULL);
	while (lx->p < lx->end) {
		if (*lx->p == '.') {
			buf_append_byte(&lp->domain, *lx->p++);
			lexer_skip_cfws(lx, NULL);
			want_more = true;
		} else if (want_more && *lx->p == '[') {
			while (lx->p < lx->end && *lx->p != ']' && *lx->p != '>') {
				if (!lexer_is_fws(*lx->p) && *lx->p != '\0')
					buf_append_byte(&lp->domain, *lx->p);
				lx->p++;
			}
			if (lexer_at(lx, ']'))
				buf_append_byte(&lp->domain, *lx->p++);
			return;
		} else if (want_more && strchr(LIST_SPECIALS, *lx->p) == NULL) {
			lexer_atom(lx, LIST_SPECIALS, &lp->domain);
			want_more = false;
			lexer_skip_cfws(lx, &lp->comment);
		} else if (want_more && *lx->p == '\0') {
			lx->p++;
		} else {
			return;
		}
	}
}

/* One token of a phrase or local part; false where another rule must go on. */
static bool
read_word_token(struct list_parser *lp, bool had_space)
{
	struct words *w = &lp->words;
	struct lexer *lx = &lp->lx;
	size_t from;

	if (lx->p >= lx->end)
		return false;
	if (*lx->p == '.') {
		words_gap(w, had_space, true);
		buf_append_byte(&w->phrase, '.');
		buf_append_byte(&w->local, '.');
		lx->p++;
		return true;
	}
	if (*lx->p != '"' && *lx->p != '\0' && strchr(LIST_SPECIALS, *lx->p) != NULL)
		return false;
	words_gap(w, had_space, false);
	from = w->phrase.len;
	if (*lx->p == '"')
		lexer_quoted_string(lx, &w->phrase);
	else
		lexer_atom(lx, LIST_SPECIALS, &w->phrase);
	words_copy_to_local(w, from);
	return true;
}

/* "@a,@b:" before the address proper (RFC 5322 4.4). */
static bool
read_route(struct list_parser *lp)
{
	struct lexer *lx = &lp->lx;

	buf_reset(&lp->route);
	while (lx->p < lx->end && (*lx->p == '@' || *lx->p == ',')) {
		if (*lx->p++ == ',') {
			lexer_skip_cfws(lx, NULL);
			continue;
		}
		read_domain(lp);
		if (lp->route.len > 0)
			buf_append_byte(&lp->route, ',');
		buf_append_byte(&lp->route, '@');
		buf_append_view(&lp->route, buf_view(&lp->domain));
		lexer_skip_cfws(lx, NULL);
	}
	if (!lexer_at(lx, ':'))
		return false;
	lx->p++;
	return true;
}

/* After '<'.  The words collected so far are the display name. */
static void
read_angle(struct list_parser *lp)
{
	struct lexer *lx = &lp->lx;
	const char *name = lp->words.count > 0 ? keep(lp, &lp->words.phrase) : NULL;
	const char *route = NULL;
	bool had_space;

	lx->p++;
	words_reset(&lp->words);
	buf_reset(&lp->domain);
	had_space = lexer_skip_cfws(lx, NULL);
	if (lexer_at(lx, '@') && read_route(lp)) {
		route = keep(lp, &lp->route);
		buf_reset(&lp->domain);
		had_space = lexer_skip_cfws(lx, NULL);
	}
	while (read_word_token(lp, had_space))
		had_space = lexer_skip_cfws(lx, NULL);
	if (lexer_at(lx, '@')) {
		lx->p++;
		read_domain(lp);
	}
	push(lp, MAIL_ADDRESS, name, route, keep(lp, &lp->words.local), keep(lp, &lp->domain));
	words_reset(&lp->words);
	/* whatever else stands there belongs to nobody */
	while (lx->p < lx->end && *lx->p != '>' && *lx->p != ',' && *lx->p != ';')
		lx->p++;
	if (lexer_at(lx, '>'))
		lx->p++;
}

/* Behind a complete address: up to the separator, over comments and quoted strings. */
static void
skip_to_separator(struct list_parser *lp)
{
	struct lexer *lx = &lp->lx;

	while (lx->p < lx->end && *lx->p != ',' && *lx->p != ';') {
		buf_reset(&lp->domain); /* no longer needed: takes the text that is thrown away */
		if (*lx->p == '"')
			lexer_quoted_string(lx, &lp->domain);
		else if (!lexer_skip_cfws(lx, NULL))
			lx->p++;
	}
}

/* "local@domain" or words alone, an old-style "(Full Name)" behind or within. */
static void
push_bare(struct list_parser *lp, bool has_domain)
{
	const char *name = lp->comment.len > 0 ? keep(lp, &lp->comment) : NULL;

	if (!has_domain)
		buf_reset(&lp->domain);
	push(lp, MAIL_ADDRESS, name, NULL, keep(lp, &lp->words.local), keep(lp, &lp->domain));
	words_reset(&lp->words);
}

/* After '@': an addr-spec, unless a '<' follows and all of it was a display name with an '@' in it. */
static void
read_addr_spec(struct list_parser *lp)
{
	struct lexer *lx = &lp->lx;

	lx->p++;
	read_domain(lp);
	lexer_skip_cfws(lx, &lp->comment);
	if (lexer_at(lx, '<')) {
		buf_append_byte(&lp->words.phrase, '@');
		buf_append_view(&lp->words.phrase, buf_view(&lp->domain));
		lp->words.count++;
		read_angle(lp);
	} else {
		push_bare(lp, true);
	}
	skip_to_separator(lp);
}

static void
start_group(struct list_parser *lp)
{
	const char *name = keep(lp, &lp->words.phrase);

	lp->lx.p++;
	if (lp->count + 2 <= lp->max) {
		push(lp, MAIL_GROUP_START, name, NULL, NULL, NULL);
		lp->in_group = true;
	}
	words_reset(&lp->words);
}

static void
end_group(struct list_parser *lp)
{
	if (lp->in_group)
		push(lp, MAIL_GROUP_END, NULL, NULL, NULL, NULL);
	lp->in_group = false;
}

/* The words stop at this character: what were they? */
static void
read_special(struct list_parser *lp)
{
	struct lexer *lx = &lp->lx;

	switch (*lx->p) {
	case '<':
		read_angle(lp);
		skip_to_separator(lp);
		break;
	case '@':
		read_addr_spec(lp);
		break;
	case ':':
		if (lp->in_group)
			lx->p++; /* groups do not nest */
		else
			start_group(lp);
		break;
	case ',':
	case ';':
		if (lp->words.count > 0)
			push_bare(lp, false);
		if (*lx->p++ == ';')
			end_group(lp);
		break;
	default: /* ')' or '>' without its partner */
		lx->p++;
	}
}

static void
parse_list(struct list_parser *lp)
{
	struct lexer *lx = &lp->lx;

	while (lx->p < lx->end && !at_limit(lp)) {
		bool had_space;

		if (lp->words.count == 0)
			buf_reset(&lp->comment);
		had_space = lexer_skip_cfws(lx, &lp->comment);
		if (lp->words.count == 0)
			buf_reset(&lp->comment); /* RFC 822: the name stands behind its address */
		if (!read_word_token(lp, had_space) && lx->p < lx->end)
			read_special(lp);
	}
	if (lp->words.count > 0)
		push_bare(lp, false);
	end_group(lp);
}

struct mail_address *
address_list_parse(struct view value, struct arena *a, size_t max, size_t *count)
{
	struct list_parser lp = { .lx = { value.p, value.p + value.len }, .arena = a, .max = max };
	struct buf *scratch[] = { &lp.words.phrase, &lp.words.local, &lp.comment, &lp.domain,
		&lp.route };
	struct mail_address *list = NULL;

	/* nothing grows past its source, but for the blanks and commas put between tokens */
	for (size_t i = 0; i < sizeof scratch / sizeof scratch[0]; i++)
		buf_init(scratch[i], value.len * 2 + 16);
	buf_init(
	    &lp.entries, max < SIZE_MAX / 2 / sizeof *list ? max * sizeof *list : SIZE_MAX / 2);
	parse_list(&lp);
	*count = lp.count;
	if (!lp.is_full && (list = arena_alloc(a, lp.entries.len + sizeof *list)) != NULL &&
	    lp.entries.len > 0)
		memcpy(list, lp.entries.p, lp.entries.len);
	for (size_t i = 0; i < sizeof scratch / sizeof scratch[0]; i++)
		buf_clear(scratch[i]);
	buf_clear(&lp.entries);
	if (list == NULL)
		*count = 0;
	return list;
}
