#include "common/config/postfix.h"
#include "common/base/mem.h"

#include <stdlib.h>

enum { EXPANDED_MAX = 1 << 20 };

struct param {
	const struct postfix_group *group;
	struct view values;  /* "a | b" */
	char *default_value; /* owned: the first of them */
};

/* --- the table ---------------------------------------------------------------------------------- */

/* The next of "a | b | c"; *rest is NULL behind the last. */
static struct view
next_value(struct view *rest)
{
	static const char bar[] = " |";
	const char *end = view_find(*rest, view_of(bar));
	struct view value = view_make(rest->p, end != NULL ? (size_t)(end - rest->p) : rest->len);

	if (end == NULL)
		*rest = (struct view){ NULL, 0 };
	else
		*rest = view_make(end + 2, rest->len - value.len - 2);
	return view_trim(value);
}

void
postfix_each(const struct postfix_group *g,
    void (*fn)(void *arg, struct view name, struct view values), void *arg)
{
	struct view text = view_of(g->params), line, name, values;

	while (text.len > 0) {
		view_cut(text, '\n', &line, &text);
		if (view_cut(line, '=', &name, &values)) {
			fn(arg, view_trim(name), values);
			continue;
		}
		while (view_token(&line, " ", &name))
			fn(arg, name, view_make("", 0));
	}
}

struct index {
	struct map map;
	const struct postfix_group *group;
};

static void
add_param(void *arg, struct view name, struct view values)
{
	struct index *x = arg;
	struct param *p = x_calloc(1, sizeof *p);
	struct view rest = values, first = next_value(&rest);

	*p = (struct param){ x->group, values, x_strndup(first.p, first.len) };
	if (map_put(&x->map, name, p) != NULL)
		bug("Postfix's parameter %.*s stands twice in the table", VIEW_ARG(name));
}

static const struct param *
find(struct index *x, const struct postfix_group *(*groups)(size_t *count), struct view name)
{
	size_t count;
	const struct postfix_group *g = groups(&count);

	if (x->map.count == 0) {
		map_init(&x->map);
		for (size_t i = 0; i < count; i++) {
			x->group = &g[i];
			postfix_each(x->group, add_param, x);
		}
	}
	return map_get(&x->map, name);
}

static const struct param *
find_param(const char *name)
{
	static struct index x;

	return find(&x, postfix_groups, view_of(name));
}

/* Transports that Postfix always has; others are those of master.cf. */
static bool
is_transport(const struct conf *c, struct view name)
{
	struct view rest = view_of("smtp relay lmtp local virtual error retry discard"), word;

	while (view_token(&rest, " ", &word))
		if (view_eq(word, name))
			return true;
	return c != NULL && conf_has_service(c, name);
}

/* "smtp_destination_rate_delay" */
static const struct param *
find_in_family(const struct conf *c, const char *name)
{
	static struct index x;
	const struct param *p;

	for (const char *tail = strchr(name, '_'); tail != NULL; tail = strchr(tail + 1, '_'))
		if ((p = find(&x, postfix_families, view_of(tail))) != NULL &&
		    is_transport(c, view_make(name, (size_t)(tail - name))))
			return p;
	return NULL;
}

const char *
postfix_default(const char *name)
{
	const struct param *p = find_param(name);

	return p != NULL ? p->default_value : NULL;
}

bool
postfix_knows(const struct conf *c, const char *name)
{
	return find_param(name) != NULL || find_in_family(c, name) != NULL;
}

/* --- what becomes of a setting ------------------------------------------------------------------ */

/* As lists: commas and blanks are the same. */
static bool
is_same_list(struct view a, struct view b)
{
	struct view x, y;
	bool more;

	while ((more = conf_next(&a, &x)) == conf_next(&b, &y))
		if (!more || !view_eq(x, y))
			return !more;
	return false;
}

static bool
is_one_of(struct view values, struct view value)
{
	while (values.p != NULL)
		if (is_same_list(next_value(&values), value))
			return true;
	return false;
}

/* As written, or as it reads with its $names filled in. */
static bool
is_same(const struct conf *c, const struct param *p, const char *value)
{
	struct buf expanded;
	bool same = is_one_of(p->values, view_of(value));

	if (same || strchr(value, '$') == NULL)
		return same;
	buf_init(&expanded, EXPANDED_MAX);
	same = conf_expand(c, value, &expanded, NULL) == 0 &&
	       is_one_of(p->values, buf_view(&expanded));
	buf_clear(&expanded);
	return same;
}

static bool
is_allowed(const struct conf *c, const char *name)
{
	struct view rest, word;
	struct buf list;
	bool found = false;

	buf_init(&list, EXPANDED_MAX);
	if (conf_expand(c, "$allow_ignored_parameters", &list, NULL) == 0)
		for (rest = buf_view(&list); !found && conf_next(&rest, &word);)
			found = view_eq_str(word, name);
	buf_clear(&list);
	return found;
}

bool
postfix_judge(const struct conf *c, const char *name, const char *value, struct postfix_verdict *v)
{
	const struct param *p = find_param(name);

	if (p == NULL && (p = find_in_family(c, name)) == NULL)
		return false;
	*v = (struct postfix_verdict){ .fate = p->group->fate, .why = p->group->why };
	if (v->fate != POSTFIX_MOOT && is_same(c, p, value))
		v->fate = POSTFIX_SAME;
	if (v->fate == POSTFIX_NEEDED && is_allowed(c, name))
		v->fate = POSTFIX_IGNORED;
	return true;
}

void
postfix_each_unmet(const struct conf *c,
    void (*fn)(void *arg, const struct conf_setting *s, enum postfix_fate fate, const char *text),
    void *arg)
{
	size_t count;
	struct conf_written *list = conf_written(c, &count);
	struct postfix_verdict v;

	for (size_t i = 0; i < count; i++) {
		const struct conf_setting *s = list[i].setting;
		char *text;

		if (conf_param_find(list[i].name) != NULL ||
		    !postfix_judge(c, list[i].name, s->value, &v) || v.fate == POSTFIX_SAME ||
		    (v.fate == POSTFIX_MOOT && map_get(&c->names, view_of(list[i].name)) != NULL))
			continue;
		text = x_asprintf("%s:%d: %s: %s: %s%s", s->file, s->line, list[i].name,
		    v.fate == POSTFIX_MOOT ? "means nothing here" : "not honoured", v.why,
		    v.fate == POSTFIX_NEEDED
			? "; take it out, or list its name in allow_ignored_parameters"
			: "");
		fn(arg, s, v.fate, text);
		free(text);
	}
	free(list);
}
