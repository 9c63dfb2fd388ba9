#include "common/table/table_rules.h"
#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { IF_DEPTH_MAX = 100, LINE_BYTES_MAX = 1 << 20 };

struct rule {
	bool is_if, is_negated;
	void *pattern;     /* owned by the kind; NULL: an "if" that could not be read */
	struct view value; /* in the arena, as it is written */
	size_t next;       /* is_if: the rule behind its endif */
	int line;
};
struct rules {
	const struct rule_kind *kind;
	struct arena arena;
	struct rule *rules; /* owned */
	size_t count, cap;
};

/* --- values ----------------------------------------------------------------------------------- */

/* The number behind '$': N, {N} or (N).  -1: none. */
static int
group_number(struct view *rest)
{
	char open = rest->len > 0 ? rest->p[0] : '\0', close = open == '{' ? '}' : ')';
	bool is_bracketed = open == '{' || open == '(';
	struct view number = *rest;
	uint64_t n;

	if (is_bracketed) {
		if (!view_cut(view_make(rest->p + 1, rest->len - 1), close, &number, rest))
			return -1;
	} else {
		for (number.len = 0; number.len < rest->len && ascii_is_digit(rest->p[number.len]);)
			number.len++;
		*rest = view_make(rest->p + number.len, rest->len - number.len);
	}
	return view_u64(number, RULE_GROUPS_MAX - 1, &n) ? (int)n : -1;
}

/* m NULL: only tells the highest group in *ngroups.  -1: a '$' that means nothing. */
static int
value_expand(struct view value, const struct rule_match *m, struct buf *out, unsigned *ngroups)
{
	struct view head;

	while (view_cut(value, '$', &head, &value)) {
		int n = 0;

		buf_append_view(out, head);
		if (value.len > 0 && value.p[0] == '$') {
			buf_append_byte(out, '$');
			value = view_make(value.p + 1, value.len - 1);
			continue;
		}
		if ((n = group_number(&value)) <= 0)
			return -1;
		if ((unsigned)n > *ngroups)
			*ngroups = (unsigned)n;
		if (m != NULL && (size_t)n < m->count)
			buf_append_view(out, m->groups[n]);
	}
	buf_append_view(out, head);
	return 0;
}

static int
check_value(const struct rule_kind *kind, const struct rule *r, unsigned *ngroups, struct err *err)
{
	struct buf scratch;
	int code;

	*ngroups = 0;
	if (!kind->has_groups || r->is_if)
		return 0;
	buf_init(&scratch, r->value.len + 1);
	code = value_expand(r->value, NULL, &scratch, ngroups);
	buf_clear(&scratch);
	if (code < 0)
		return err_set(err, ERR_SYNTAX, "'$' without a number of 1 to %d: write $$ for '$'",
		    RULE_GROUPS_MAX - 1);
	if (r->is_negated && *ngroups > 0)
		return err_set(err, ERR_SYNTAX, "$number found in negative match replacement text");
	return 0;
}

/* --- parsing ---------------------------------------------------------------------------------- */

struct parser {
	struct rules *rules;
	const char *source;
	void (*warn)(void *arg, const char *text);
	void *arg;
	size_t open[IF_DEPTH_MAX]; /* "if"s without their "endif" yet */
	size_t depth;
};

static void
complain(struct parser *p, int line, const char *why, const char *so)
{
	char text[512];

	snprintf(text, sizeof text, "%s map %s, line %d: %s: %s", p->rules->kind->type, p->source,
	    line, why, so);
	if (p->warn != NULL)
		p->warn(p->arg, text);
}

static bool
is_word(struct view line, const char *word)
{
	size_t n = strlen(word);

	return view_case_starts(line, word) &&
	       (line.len == n || line.p[n] == ' ' || line.p[n] == '\t');
}

/* What stands before the value. */
static int
parse_rule(struct rules *rs, struct view line, struct rule *r, struct err *err)
{
	struct view pattern, value;
	unsigned ngroups;

	for (; line.len > 0 && (line.p[0] == '!' || ascii_is_space(line.p[0]));
	     line.p++, line.len--)
		r->is_negated ^= line.p[0] == '!';
	if (rs->kind->cut(&line, &pattern, err) < 0)
		return -1;
	value = table_text_trim(line);
	if (r->is_if && value.len > 0)
		return err_set(err, ERR_SYNTAX, "text behind the pattern of if");
	if (!r->is_if && value.len == 0)
		return err_set(err, ERR_SYNTAX, "no replacement text");
	r->value = view_make(arena_strndup(&rs->arena, value.p, value.len), value.len);
	if (r->value.p == NULL)
		return err_set(err, ERR_LIMIT, "map too large");
	if (check_value(rs->kind, r, &ngroups, err) < 0)
		return -1;
	r->pattern = rs->kind->compile(pattern, ngroups, err);
	return r->pattern == NULL ? -1 : 0;
}

static void
rules_add(struct rules *rs, const struct rule *r)
{
	if (rs->count == rs->cap) {
		rs->cap = rs->cap == 0 ? 16 : 2 * rs->cap;
		rs->rules = x_realloc(rs->rules, rs->cap, sizeof *rs->rules);
	}
	rs->rules[rs->count++] = *r;
}

static void
parse_line(struct parser *p, struct view line, int number)
{
	struct rules *rs = p->rules;
	struct rule r = { .line = number, .is_if = is_word(line, "if") };
	struct err e;

	if (is_word(line, "endif")) {
		if (p->depth == 0)
			complain(p, number, "ENDIF without matching IF", "skipping this rule");
		else
			rs->rules[p->open[--p->depth]].next = rs->count;
		return;
	}
	if (parse_rule(rs, r.is_if ? view_make(line.p + 2, line.len - 2) : line, &r, &e) < 0) {
		complain(p, number, e.text, r.is_if ? "skipping this block" : "skipping this rule");
		if (!r.is_if)
			return;
	}
	if (r.is_if && p->depth < IF_DEPTH_MAX)
		p->open[p->depth++] = rs->count;
	else if (r.is_if)
		complain(p, number, "IF nested too deep", "skipping the rest");
	r.next = SIZE_MAX;
	rules_add(rs, &r);
}

struct rules *
rules_parse(const struct rule_kind *kind, struct view text, const char *source,
    void (*warn)(void *arg, const char *text), void *arg)
{
	struct rules *rs = x_calloc(1, sizeof *rs);
	struct parser p = { .rules = rs, .source = source, .warn = warn, .arg = arg };
	struct buf line;
	int number = 0, first = 0;

	rs->kind = kind;
	arena_init(&rs->arena, TABLE_TEXT_MAX);
	buf_init(&line, LINE_BYTES_MAX);
	for (; table_text_line(&text, &number, &first, &line) == 0; buf_reset(&line)) {
		if (line.failed)
			complain(&p, first, "line too long", "skipping this rule");
		else if (memchr(line.p, '\0', line.len) != NULL)
			complain(&p, first, "NUL byte", "skipping this rule");
		else
			parse_line(&p, table_text_trim(buf_view(&line)), first);
	}
	buf_clear(&line);
	while (p.depth > 0)
		complain(&p, rs->rules[p.open[--p.depth]].line, "IF has no matching ENDIF",
		    "it ends with the file");
	return rs;
}

/* --- asking ----------------------------------------------------------------------------------- */

static int
answer(const struct rules *rs, const struct rule *r, const struct rule_match *m, struct buf *value,
    struct err *err)
{
	unsigned ngroups = 0;

	if (!rs->kind->has_groups)
		buf_append_view(value, r->value);
	else
		value_expand(r->value, m, value, &ngroups);
	return value->failed ? err_set(err, ERR_LIMIT, "line %d: value too long", r->line) : 0;
}

static int
look_up(const struct rules *rs, const struct rule_subject *s, struct buf *value, struct err *err)
{
	struct rule_match m;
	size_t i = 0;

	while (i < rs->count) {
		const struct rule *r = &rs->rules[i];
		int code = 1;

		m.count = 0;
		if (r->pattern != NULL && (code = rs->kind->match(r->pattern, s, &m, err)) < 0)
			return err_prefix(err, "line %d", r->line);
		if (r->pattern == NULL || (code == 0) == r->is_negated)
			i = r->is_if ? r->next : i + 1;
		else if (r->is_if)
			i++;
		else
			return answer(rs, r, &m, value, err);
	}
	return 1;
}

int
rules_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	const struct rules *rs = state;
	char *copy = rs->kind->wants_nul ? x_strndup(key.p, key.len) : NULL;
	struct rule_subject s = { .text = copy != NULL ? view_make(copy, key.len) : key };
	int r = 1;

	if (rs->kind->prepare == NULL || rs->kind->prepare(&s))
		r = look_up(rs, &s, value, err);
	free(copy);
	return r;
}

void
rules_each(void *state, void (*fn)(void *arg, int line, struct view value), void *arg)
{
	const struct rules *rs = state;

	for (size_t i = 0; i < rs->count; i++)
		if (!rs->rules[i].is_if)
			fn(arg, rs->rules[i].line, rs->rules[i].value);
}

void
rules_free(void *state)
{
	struct rules *rs = state;

	for (size_t i = 0; i < rs->count; i++)
		if (rs->rules[i].pattern != NULL)
			rs->kind->free(rs->rules[i].pattern);
	free(rs->rules);
	arena_clear(&rs->arena);
	free(rs);
}

static void
on_warn(void *arg, const char *text)
{
	(void)arg;
	log_warn("%s", lqs(text));
}

/* { {rule}, {rule} } as lines. */
static int
text_of_braces(const struct rule_kind *kind, const char *name, struct buf *text, struct err *err)
{
	struct view items, item;
	int r = -1;

	for (bool ok = table_items_of(name, &items);
	     ok && (r = table_item_next(&items, &item)) == 0 && item.len > 0;) {
		buf_append_view(text, item);
		buf_append_byte(text, '\n');
	}
	if (r != 1 || text->failed)
		return err_set(
		    err, ERR_SYNTAX, "%s:%s: expected { {rule}, {rule} }", kind->type, name);
	return 0;
}

int
rules_open(const struct rule_kind *kind, const char *name, const struct table_file *file,
    void **state, struct err *err)
{
	struct buf text;
	int r;

	buf_init(&text, TABLE_TEXT_MAX);
	r = file->name == NULL ? text_of_braces(kind, name, &text, err)
			       : table_read_file(file, &text, NULL, err);
	if (r == 0)
		*state = rules_parse(kind, buf_view(&text),
		    file->name == NULL ? "in braces" : file->path, on_warn, NULL);
	buf_clear(&text);
	return r;
}

/* --- patterns between delimiters -------------------------------------------------------------- */

int
rule_cut_delimited(struct view *rest, struct view *pattern, struct err *err)
{
	char delimiter = rest->len > 0 ? rest->p[0] : ' ';
	size_t i = 1;

	if (delimiter == ' ' || delimiter == '\\' || ascii_is_alnum(delimiter))
		return err_set(err, ERR_SYNTAX, "expected /pattern/flags text");
	while (i < rest->len && rest->p[i] != delimiter)
		i += rest->p[i] == '\\' ? 2 : 1;
	if (i >= rest->len)
		return err_set(err, ERR_SYNTAX, "no closing regexp delimiter \"%c\"", delimiter);
	for (i++; i < rest->len && ascii_is_alnum(rest->p[i]);)
		i++;
	if (i < rest->len && !ascii_is_space(rest->p[i]))
		return err_set(err, ERR_SYNTAX, "unknown flag \"%c\"", rest->p[i]);
	*pattern = view_make(rest->p, i);
	*rest = view_make(rest->p + i, rest->len - i);
	return 0;
}

void
rule_split(struct view pattern, struct view *inner, struct view *flags)
{
	size_t end = pattern.len - 1;

	while (pattern.p[end] != pattern.p[0])
		end--;
	*inner = view_make(pattern.p + 1, end - 1);
	*flags = view_make(pattern.p + end + 1, pattern.len - end - 1);
}
