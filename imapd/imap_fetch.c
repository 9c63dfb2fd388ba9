#include "imapd/imap_fetch.h"

/* clang-format off */
/* One row a word; a section's word is followed by "[" or stands for one by itself. */
static const struct fetch_word {
	const char *word;
	enum imap_fetch_kind kind;
	enum imap_section_kind section;
	bool has_label, is_peek;
} fetch_words[] = {
	{ "BODYSTRUCTURE", FETCH_BODYSTRUCTURE, SECTION_ALL,    false, true  },
	{ "ENVELOPE",      FETCH_ENVELOPE,      SECTION_ALL,    false, true  },
	{ "FLAGS",         FETCH_FLAGS,         SECTION_ALL,    false, true  },
	{ "INTERNALDATE",  FETCH_INTERNALDATE,  SECTION_ALL,    false, true  },
	{ "RFC822",        FETCH_SECTION,       SECTION_ALL,    true,  false },
	{ "RFC822.HEADER", FETCH_SECTION,       SECTION_HEADER, true,  true  },
	{ "RFC822.SIZE",   FETCH_SIZE,          SECTION_ALL,    false, true  },
	{ "RFC822.TEXT",   FETCH_SECTION,       SECTION_TEXT,   true,  false },
	{ "UID",           FETCH_UID,           SECTION_ALL,    false, true  },
};

static const struct {
	const char *word;
	enum imap_fetch_kind kinds[5];
	size_t count;
} macros[] = {
	{ "FAST", { FETCH_FLAGS, FETCH_INTERNALDATE, FETCH_SIZE }, 3 },
	{ "ALL",  { FETCH_FLAGS, FETCH_INTERNALDATE, FETCH_SIZE, FETCH_ENVELOPE }, 4 },
	{ "FULL", { FETCH_FLAGS, FETCH_INTERNALDATE, FETCH_SIZE, FETCH_ENVELOPE, FETCH_BODY }, 5 },
};
/* clang-format on */

static struct imap_fetch_item *
new_item(struct imap_args *p, struct imap_fetch *out, enum imap_fetch_kind kind)
{
	struct imap_fetch_item *item;

	if (out->items == NULL)
		out->items = arena_alloc(p->arena, IMAP_FETCH_ITEMS_MAX * sizeof out->items[0]);
	if (out->items == NULL || out->count == IMAP_FETCH_ITEMS_MAX) {
		imap_args_fail(p, "Too many data items");
		return NULL;
	}
	item = &out->items[out->count++];
	item->kind = kind;
	item->is_peek = true;
	out->has_uid |= kind == FETCH_UID;
	out->has_flags |= kind == FETCH_FLAGS;
	return item;
}

bool
imap_fetch_add(struct imap_args *p, struct imap_fetch *out, enum imap_fetch_kind kind)
{
	for (size_t i = 0; i < out->count; i++)
		if (out->items[i].kind == kind)
			return true;
	return new_item(p, out, kind) != NULL;
}

/* "<0.2048>" */
static bool
parse_partial(struct imap_args *p, struct imap_fetch_item *item)
{
	if (!imap_args_try(p, '<'))
		return true;
	item->is_partial = true;
	return imap_args_number(p, &item->partial_from) && imap_args_char(p, '.') &&
	       imap_args_nz_number(p, &item->partial_count) && imap_args_char(p, '>');
}

static bool
parse_body(struct imap_args *p, struct imap_fetch *out, bool is_peek)
{
	bool has_section = imap_args_try(p, '[');
	struct imap_fetch_item *item;

	if (!has_section && is_peek)
		return imap_args_fail(p, "Unknown parameter: BODY.PEEK");
	item = new_item(p, out, has_section ? FETCH_SECTION : FETCH_BODY);
	if (item == NULL || !has_section)
		return item != NULL;
	item->is_peek = is_peek;
	out->sets_seen |= !is_peek;
	return imap_section_parse(p, &item->section) && parse_partial(p, item);
}

static bool
parse_item(struct imap_args *p, struct imap_fetch *out)
{
	struct imap_fetch_item *item;
	struct view word;

	if (!imap_args_word(p, &word))
		return false;
	if (view_case_eq_str(word, "BODY"))
		return parse_body(p, out, false);
	if (view_case_eq_str(word, "BODY.PEEK"))
		return parse_body(p, out, true);
	for (size_t i = 0; i < sizeof fetch_words / sizeof fetch_words[0]; i++) {
		const struct fetch_word *row = &fetch_words[i];

		if (!view_case_eq_str(word, row->word))
			continue;
		if (row->kind == FETCH_UID && out->has_uid)
			return true;
		if ((item = new_item(p, out, row->kind)) == NULL)
			return false;
		item->section.kind = row->section;
		item->label = row->has_label ? row->word : NULL;
		item->is_peek = row->is_peek;
		out->sets_seen |= !row->is_peek;
		return true;
	}
	return imap_args_fail(p, "Unknown data item");
}

static bool
try_macro(struct imap_args *p, struct imap_fetch *out, bool *is_macro)
{
	struct imap_args ahead = *p;
	struct view word;

	*is_macro = false;
	if (!imap_args_word(&ahead, &word))
		return true;
	for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++) {
		if (!view_case_eq_str(word, macros[i].word))
			continue;
		*is_macro = true;
		p->rest = ahead.rest;
		for (size_t k = 0; k < macros[i].count; k++)
			if (!imap_fetch_add(p, out, macros[i].kinds[k]))
				return false;
	}
	return true;
}

bool
imap_fetch_parse(struct imap_args *p, struct imap_fetch *out)
{
	bool is_macro;

	if (!imap_args_next_is(p, '(')) {
		/* RFC 3501 6.4.5: a macro stands alone, not in a list */
		if (!try_macro(p, out, &is_macro))
			return false;
		return is_macro || parse_item(p, out);
	}
	if (!imap_args_open(p))
		return false;
	do {
		if (!parse_item(p, out))
			return false;
	} while (imap_args_try(p, ' '));
	return imap_args_close(p);
}
