#include "imapd/imap_search.h"

/* clang-format off */
enum argument { ARG_NONE, ARG_STRING, ARG_FIELD_STRING, ARG_DATE, ARG_NUMBER, ARG_KEYWORD, ARG_SET, ARG_NOT, ARG_OR };
static const struct search_word {
	const char *word;
	enum argument argument;
	enum imap_search_op op;
	bool is_negated;
	uint16_t flags;
	const char *field;
} search_words[] = { /* RFC 3501 6.4.4 */
	{ "ALL",        ARG_NONE,         SEARCH_ALL,        false, 0,             NULL },
	{ "ANSWERED",   ARG_NONE,         SEARCH_FLAG,       false, FLAG_ANSWERED, NULL },
	{ "BCC",        ARG_STRING,       SEARCH_HEADER,     false, 0,             "Bcc" },
	{ "BEFORE",     ARG_DATE,         SEARCH_BEFORE,     false, 0,             NULL },
	{ "BODY",       ARG_STRING,       SEARCH_BODY,       false, 0,             NULL },
	{ "CC",         ARG_STRING,       SEARCH_HEADER,     false, 0,             "Cc" },
	{ "DELETED",    ARG_NONE,         SEARCH_FLAG,       false, FLAG_DELETED,  NULL },
	{ "DRAFT",      ARG_NONE,         SEARCH_FLAG,       false, FLAG_DRAFT,    NULL },
	{ "FLAGGED",    ARG_NONE,         SEARCH_FLAG,       false, FLAG_FLAGGED,  NULL },
	{ "FROM",       ARG_STRING,       SEARCH_HEADER,     false, 0,             "From" },
	{ "HEADER",     ARG_FIELD_STRING, SEARCH_HEADER,     false, 0,             NULL },
	{ "KEYWORD",    ARG_KEYWORD,      SEARCH_KEYWORD,    false, 0,             NULL },
	{ "LARGER",     ARG_NUMBER,       SEARCH_LARGER,     false, 0,             NULL },
	{ "NEW",        ARG_NONE,         SEARCH_NEW,        false, 0,             NULL },
	{ "NOT",        ARG_NOT,          SEARCH_ALL,        true,  0,             NULL },
	{ "OLD",        ARG_NONE,         SEARCH_RECENT,     true,  0,             NULL },
	{ "ON",         ARG_DATE,         SEARCH_ON,         false, 0,             NULL },
	{ "OR",         ARG_OR,           SEARCH_OR,         false, 0,             NULL },
	{ "RECENT",     ARG_NONE,         SEARCH_RECENT,     false, 0,             NULL },
	{ "SEEN",       ARG_NONE,         SEARCH_FLAG,       false, FLAG_SEEN,     NULL },
	{ "SENTBEFORE", ARG_DATE,         SEARCH_SENTBEFORE, false, 0,             NULL },
	{ "SENTON",     ARG_DATE,         SEARCH_SENTON,     false, 0,             NULL },
	{ "SENTSINCE",  ARG_DATE,         SEARCH_SENTSINCE,  false, 0,             NULL },
	{ "SINCE",      ARG_DATE,         SEARCH_SINCE,      false, 0,             NULL },
	{ "SMALLER",    ARG_NUMBER,       SEARCH_SMALLER,    false, 0,             NULL },
	{ "SUBJECT",    ARG_STRING,       SEARCH_HEADER,     false, 0,             "Subject" },
	{ "TEXT",       ARG_STRING,       SEARCH_TEXT,       false, 0,             NULL },
	{ "TO",         ARG_STRING,       SEARCH_HEADER,     false, 0,             "To" },
	{ "UID",        ARG_SET,          SEARCH_UID,        false, 0,             NULL },
	{ "UNANSWERED", ARG_NONE,         SEARCH_FLAG,       true,  FLAG_ANSWERED, NULL },
	{ "UNDELETED",  ARG_NONE,         SEARCH_FLAG,       true,  FLAG_DELETED,  NULL },
	{ "UNDRAFT",    ARG_NONE,         SEARCH_FLAG,       true,  FLAG_DRAFT,    NULL },
	{ "UNFLAGGED",  ARG_NONE,         SEARCH_FLAG,       true,  FLAG_FLAGGED,  NULL },
	{ "UNKEYWORD",  ARG_KEYWORD,      SEARCH_KEYWORD,    true,  0,             NULL },
	{ "UNSEEN",     ARG_NONE,         SEARCH_FLAG,       true,  FLAG_SEEN,     NULL },
};
/* clang-format on */

static unsigned
own_cost(enum imap_search_op op)
{
	return op >= SEARCH_BODY ? 1000 : op >= SEARCH_SENTBEFORE ? 100 : 1;
}

static struct imap_search_key *
new_key(struct imap_args *p, struct imap_search *out, enum imap_search_op op)
{
	struct imap_search_key *key;

	if (++out->nkeys > IMAP_SEARCH_KEYS_MAX ||
	    (key = arena_alloc(p->arena, sizeof *key)) == NULL) {
		imap_args_fail(p, "Too many search keys");
		return NULL;
	}
	key->op = op;
	key->keyword = -1;
	key->cost = own_cost(op);
	out->needs_sizes |= op == SEARCH_LARGER || op == SEARCH_SMALLER;
	return key;
}

/* Into the parent's list behind all that are not dearer: the order is stable. */
static void
add_child(struct imap_search_key *parent, struct imap_search_key *child)
{
	struct imap_search_key **at = &parent->children;

	while (*at != NULL && (*at)->cost <= child->cost)
		at = &(*at)->next;
	child->next = *at;
	*at = child;
	if (child->cost > parent->cost)
		parent->cost = child->cost;
}

static bool
parse_needle(struct imap_args *p, struct imap_search_key *key)
{
	struct view text;
	struct buf folded;
	bool ok;

	if (!imap_args_astring(p, &text))
		return false;
	buf_init(
	    &folded, 4 * text.len + 16); /* a lower-case letter may be longer than its capital */
	ok = imap_search_fold(text, &folded) == 0;
	if (ok) {
		char *copy = arena_strndup(p->arena, folded.len ? folded.p : "", folded.len);

		key->needle = view_make(copy, folded.len);
		ok = copy != NULL;
	}
	buf_clear(&folded);
	return ok || imap_args_fail(p, "Command too large");
}

static struct imap_search_key *parse_key(struct imap_args *p, struct imap_search *out);

static bool
parse_or(struct imap_args *p, struct imap_search *out, struct imap_search_key *key)
{
	for (int i = 0; i < 2; i++) {
		struct imap_search_key *child;

		if (!imap_args_space(p) || (child = parse_key(p, out)) == NULL)
			return false;
		add_child(key, child);
	}
	return true;
}

static bool
parse_argument(struct imap_args *p, struct imap_search *out, enum argument argument,
    struct imap_search_key *key)
{
	struct view text;
	uint32_t number;

	if (argument == ARG_NONE)
		return true;
	if (argument == ARG_OR)
		return parse_or(p, out, key);
	if (!imap_args_space(p))
		return false;
	switch (argument) {
	case ARG_FIELD_STRING:
		if (!imap_args_astring(p, &text) || !imap_args_space(p))
			return false;
		key->word = arena_strndup(p->arena, text.p, text.len);
		return key->word != NULL && parse_needle(p, key);
	case ARG_STRING:
		return parse_needle(p, key);
	case ARG_DATE:
		return imap_args_date(p, &key->number);
	case ARG_NUMBER:
		if (!imap_args_number(p, &number))
			return false;
		key->number = number;
		return true;
	case ARG_KEYWORD:
		if (!imap_args_atom(p, &text))
			return false;
		key->word = arena_strndup(p->arena, text.p, text.len);
		return key->word != NULL;
	case ARG_SET:
		return imap_args_seqset(p, &key->set);
	default:
		return false;
	}
}

static struct imap_search_key *
parse_word_key(struct imap_args *p, struct imap_search *out)
{
	struct imap_search_key *key;
	struct view word;

	if (!imap_args_word(p, &word))
		return NULL;
	for (size_t i = 0; i < sizeof search_words / sizeof search_words[0]; i++) {
		const struct search_word *row = &search_words[i];

		if (!view_case_eq_str(word, row->word))
			continue;
		if (row->argument == ARG_NOT) {
			if (!imap_args_space(p) || (key = parse_key(p, out)) == NULL)
				return NULL;
			key->is_negated = !key->is_negated;
			return key;
		}
		if ((key = new_key(p, out, row->op)) == NULL)
			return NULL;
		key->is_negated = row->is_negated;
		key->flags = row->flags;
		key->word = row->field;
		return parse_argument(p, out, row->argument, key) ? key : NULL;
	}
	imap_args_fail(p, "Unknown search key");
	return NULL;
}

/* One or more keys, joined by AND. */
static struct imap_search_key *
parse_keys(struct imap_args *p, struct imap_search *out)
{
	struct imap_search_key *all = new_key(p, out, SEARCH_AND), *key;

	if (all == NULL)
		return NULL;
	do {
		if ((key = parse_key(p, out)) == NULL)
			return NULL;
		add_child(all, key);
	} while (imap_args_try(p, ' '));
	return all;
}

static struct imap_search_key *
parse_key(struct imap_args *p, struct imap_search *out)
{
	struct imap_search_key *key;

	if (imap_args_next_is(p, '(')) {
		if (!imap_args_open(p) || (key = parse_keys(p, out)) == NULL || !imap_args_close(p))
			return NULL;
		return key;
	}
	if (p->rest.len > 0 &&
	    (ascii_is_digit((unsigned char)p->rest.p[0]) || p->rest.p[0] == '*')) {
		key = new_key(p, out, SEARCH_SEQ);
		return key != NULL && imap_args_seqset(p, &key->set) ? key : NULL;
	}
	/* NOT NOT NOT ..., OR OR OR ... nest as parentheses do */
	if (++p->depth > IMAP_DEPTH_MAX) {
		imap_args_fail(p, "Search keys nested too deeply");
		return NULL;
	}
	key = parse_word_key(p, out);
	p->depth--;
	return key;
}

/* RFC 3501 6.4.4: US-ASCII must be known; UTF-8 contains it, so that both are read as UTF-8. */
static bool
parse_charset(struct imap_args *p, struct imap_search *out)
{
	struct imap_args ahead = *p;
	struct view word;

	if (!imap_args_word(&ahead, &word) || !view_case_eq_str(word, "CHARSET"))
		return true;
	p->rest = ahead.rest;
	if (!imap_args_space(p) || !imap_args_astring(p, &word) || !imap_args_space(p))
		return false;
	if (view_case_eq_str(word, "UTF-8") || view_case_eq_str(word, "US-ASCII"))
		return true;
	out->has_bad_charset = true;
	return imap_args_fail(p, "Unknown charset");
}

bool
imap_search_parse(struct imap_args *p, struct imap_search *out)
{
	*out = (struct imap_search){ 0 };
	if (!parse_charset(p, out))
		return false;
	out->root = parse_keys(p, out);
	return out->root != NULL || imap_args_fail(p, "Command too large");
}

void
imap_search_resolve(
    struct imap_search_key *key, uint32_t last_seq, uint32_t last_uid, struct mailbox *box)
{
	if (key->op == SEARCH_SEQ)
		imap_seqset_resolve(&key->set, last_seq);
	if (key->op == SEARCH_UID)
		imap_seqset_resolve(&key->set, last_uid);
	if (key->op == SEARCH_KEYWORD) {
		struct err err;

		key->keyword = mailbox_keyword_number(box, key->word, false, &err);
		if (view_case_eq_str(view_of(key->word), "$Forwarded"))
			key->flags = FLAG_PASSED;
	}
	for (struct imap_search_key *c = key->children; c != NULL; c = c->next)
		imap_search_resolve(c, last_seq, last_uid, box);
}
