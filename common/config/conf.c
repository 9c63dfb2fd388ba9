#include "common/config/conf.h"
#include "common/config/nearest.h"
#include "common/config/postfix.h"
#include "common/config/restrictions.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/proto/idn.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	CONF_BYTES_MAX = 16 << 20, /* one file, and all values together */
	EXPAND_DEPTH = 20,
	VALUE_MAX = 1 << 20,
	FAULT_BYTES_MAX = 1 << 16,
	HOST_MAX = 255, /* RFC 1123 2.1 */
	LABEL_MAX = 63,
};

void
conf_init(struct conf *c)
{
	arena_init(&c->arena, CONF_BYTES_MAX);
	map_init(&c->raw);
	map_init(&c->cache);
	map_init(&c->names);
	map_init(&c->services);
	buf_init(&c->faults, FAULT_BYTES_MAX);
}

void
conf_clear(struct conf *c)
{
	map_clear(&c->raw);
	map_clear(&c->cache);
	map_clear(&c->names);
	map_clear(&c->services);
	buf_clear(&c->faults);
	arena_clear(&c->arena);
}

/* What was expanded with an old value is stale. */
static void
forget_expanded(struct conf *c)
{
	map_clear(&c->cache);
	map_init(&c->cache);
}

int
conf_set(struct conf *c, const char *name, const char *value, const char *file, int line,
    struct err *err)
{
	struct conf_setting *s = arena_alloc(&c->arena, sizeof *s);

	if (s == NULL || (s->value = arena_strdup(&c->arena, value)) == NULL ||
	    (s->file = arena_strdup(&c->arena, file)) == NULL)
		return err_set(err, ERR_LIMIT, "%s:%d: configuration too large", file, line);
	s->line = line;
	map_put(&c->raw, view_of(name), s);
	forget_expanded(c);
	return 0;
}

bool
conf_unset(struct conf *c, const char *name)
{
	forget_expanded(c);
	return map_remove(&c->raw, view_of(name)) != NULL;
}

static void
copy_names(struct map *to, const struct map *from)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(from, &w)) != NULL)
		map_put(to, view_make(e->key, e->key_len), to);
}

void
conf_copy(struct conf *to, const struct conf *from)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	conf_init(to);
	while ((e = map_next(&from->raw, &w)) != NULL) {
		const struct conf_setting *s = e->value;

		if (conf_set(to, e->key, s->value, s->file, s->line, NULL) < 0)
			bug("conf_copy: out of room");
	}
	copy_names(&to->names, &from->names);
	copy_names(&to->services, &from->services);
}

static int
compare_written(const void *a, const void *b)
{
	const struct conf_setting *x = ((const struct conf_written *)a)->setting;
	const struct conf_setting *y = ((const struct conf_written *)b)->setting;
	int r = strcmp(x->file, y->file);

	return r != 0 ? r : (x->line > y->line) - (x->line < y->line);
}

struct conf_written *
conf_written(const struct conf *c, size_t *count)
{
	struct conf_written *list = x_calloc(c->raw.count + 1, sizeof *list);
	struct map_walk w = { 0 };
	struct map_entry *e;

	*count = 0;
	while ((e = map_next(&c->raw, &w)) != NULL)
		/* at line 0 stands what the machine is called */
		if (((struct conf_setting *)e->value)->line > 0)
			list[(*count)++] = (struct conf_written){ e->key, e->value };
	qsort(list, *count, sizeof *list, compare_written);
	return list;
}

/* --- parsing ------------------------------------------------------------------------------------ */

static bool
is_name_byte(char c)
{
	return ascii_is_alnum(c) || c == '_';
}

static int
parse_setting(struct conf *c, struct view logical, const char *file, int line, struct err *err)
{
	struct view name, value;
	char *n, *v;

	if (!view_cut(logical, '=', &name, &value))
		return err_set(err, ERR_SYNTAX, "%s:%d: missing '=' after \"%.*s\"", file, line,
		    (int)(name.len > 60 ? 60 : name.len), name.p);
	name = view_trim(name);
	value = view_trim(value);
	if (name.len == 0)
		return err_set(err, ERR_SYNTAX, "%s:%d: missing parameter name", file, line);
	/* a transport's name may hold a hyphen: policyd-spf_time_limit */
	for (size_t i = 0; i < name.len; i++)
		if (!is_name_byte(name.p[i]) && (name.p[i] != '-' || i == 0))
			return err_set(err, ERR_SYNTAX, "%s:%d: bad parameter name \"%.*s\"", file, line,
			    (int)(name.len > 60 ? 60 : name.len), name.p);
	n = x_strndup(name.p, name.len);
	v = x_strndup(value.p, value.len);
	int r = conf_set(c, n, v, file, line, err);

	free(n);
	free(v);
	return r;
}

/* *first keeps the first of them.  Returns -1. */
static int
take_fault(struct conf *c, struct err *first, const struct err *err)
{
	if (first != NULL && c->faults.len == 0)
		*first = *err;
	buf_printf(&c->faults, "%s\n", err->text);
	return -1;
}

/* A comment or an empty line may stand between a line and its continuation (postconf(5)). */
static bool
next_logical(struct view *text, int *line, int *start, struct buf *logical)
{
	bool is_first = true;

	buf_reset(logical);
	while (text->len > 0) {
		struct view l, trimmed, rest;

		view_cut(*text, '\n', &l, &rest);
		if (l.len > 0 && l.p[l.len - 1] == '\r')
			l.len--;
		trimmed = view_trim(l);
		if (trimmed.len > 0 && trimmed.p[0] != '#') {
			if (is_first)
				*start = *line + 1;
			else if (!ascii_is_space(l.p[0]))
				return true;
			else
				buf_append_byte(logical, ' ');
			/* white space in front of the first one tells that it continues nothing */
			buf_append_view(logical, is_first ? l : trimmed);
			is_first = false;
		}
		++*line;
		*text = rest;
	}
	return !is_first;
}

int
conf_parse(struct conf *c, struct view text, const char *file, struct err *err)
{
	struct buf logical;
	struct err one;
	int line = 0, start = 0, r = 0;

	buf_reset(&c->faults);
	if (text.len > 0 && memchr(text.p, '\0', text.len) != NULL) {
		err_set(&one, ERR_SYNTAX, "%s: contains a NUL byte", file);
		return take_fault(c, err, &one);
	}
	buf_init(&logical, VALUE_MAX);
	while (next_logical(&text, &line, &start, &logical)) {
		int this = 0;

		if (logical.failed)
			this = err_set(&one, ERR_LIMIT, "%s:%d: value too long", file, start);
		else if (ascii_is_space(logical.p[0]))
			this = err_set(&one, ERR_SYNTAX, "%s:%d: continuation of nothing", file, start);
		else
			this = parse_setting(c, buf_view(&logical), file, start, &one);
		if (this < 0)
			r = take_fault(c, err, &one);
	}
	buf_clear(&logical);
	return r;
}

static void
learn_names(struct conf *c, struct view line)
{
	while (view_cut(line, '$', NULL, &line)) {
		size_t n = 0;

		if (line.len > 0 && (line.p[0] == '{' || line.p[0] == '('))
			line = view_make(line.p + 1, line.len - 1);
		while (n < line.len && is_name_byte(line.p[n]))
			n++;
		if (n > 0)
			map_put(&c->names, view_make(line.p, n), c);
	}
}

void
conf_learn(struct conf *c, struct view text)
{
	struct view line, name;

	while (text.len > 0) {
		view_cut(text, '\n', &line, &text);
		if (line.len == 0 || view_trim(line).len == 0 || view_trim(line).p[0] == '#')
			continue;
		learn_names(c, line);
		if (!ascii_is_space(line.p[0]) && view_token(&line, " \t", &name))
			map_put(&c->services, name, c);
	}
}

bool
conf_has_service(const struct conf *c, struct view name)
{
	return map_get(&c->services, name) != NULL;
}

static void
learn_beside(struct conf *c, const char *main_cf)
{
	const char *slash = strrchr(main_cf, '/');
	char *path = x_asprintf("%.*smaster.cf", slash ? (int)(slash + 1 - main_cf) : 0, main_cf);
	struct buf text;
	struct err err;

	buf_init(&text, CONF_BYTES_MAX);
	if (file_read(path, &text, &err) == 0)
		conf_learn(c, buf_view(&text));
	buf_clear(&text);
	free(path);
}

/* The classes of main.cf stay names of the admin's where a service has a list of its own (-o smtpd_restriction_classes=). */
static void
learn_classes(struct conf *c)
{
	const struct conf_setting *s = map_get(&c->raw, view_of("smtpd_restriction_classes"));
	struct view rest = view_of(s != NULL ? s->value : ""), word;

	while (conf_next(&rest, &word))
		map_put(&c->names, word, c);
}

/* Debian: a file name stands for the first line of that file. */
static int
read_myorigin(struct conf *c, struct err *err)
{
	const struct conf_setting *s = map_get(&c->raw, view_of("myorigin"));
	struct buf text;
	struct view line;
	int r;

	if (s == NULL || s->value[0] != '/')
		return 0;
	buf_init(&text, CONF_BYTES_MAX);
	r = file_read(s->value, &text, err);
	if (r < 0)
		err_prefix(err, "%s:%d: myorigin", s->file, s->line);
	else {
		view_cut(buf_view(&text), '\n', &line, NULL);
		char *name = x_strndup(view_trim(line).p, view_trim(line).len);

		r = conf_set(c, "myorigin", name, s->file, s->line, err);
		free(name);
	}
	buf_clear(&text);
	return r;
}

/* Parameters whose default is a fact about this machine. */
static int
set_system_defaults(struct conf *c, const char *path, struct err *err)
{
	char host[256] = "localhost", real[PATH_MAX];
	char *slash;
	const char *dot;

	if (realpath(path, real) == NULL)
		return err_sys(err, ERR_TEMP, "%s", path);
	slash = strrchr(real, '/');
	*slash = '\0';
	if (conf_set(c, "config_directory", real[0] ? real : "/", path, 0, err) < 0)
		return -1;
	if (!conf_is_set(c, "myhostname")) {
		if (gethostname(host, sizeof host) < 0)
			return err_sys(err, ERR_TEMP, "gethostname");
		host[sizeof host - 1] = '\0';
		if (conf_set(c, "myhostname", strchr(host, '.') ? host : "localhost.localdomain", path,
			0, err) < 0)
			return -1;
	}
	if (!conf_is_set(c, "mydomain")) {
		dot = strchr(conf_str(c, "myhostname"), '.');
		if (conf_set(c, "mydomain", dot ? dot + 1 : "localdomain", path, 0, err) < 0)
			return -1;
	}
	return 0;
}

int
conf_load(struct conf *c, const char *path, struct err *err)
{
	struct buf text;
	struct err one;
	int r;

	buf_init(&text, CONF_BYTES_MAX);
	if (file_read(path, &text, &one) < 0)
		r = take_fault(c, err, &one);
	else
		r = conf_parse(c, buf_view(&text), path, err);
	buf_clear(&text);
	if (r < 0 && c->raw.count == 0)
		return -1;
	if (read_myorigin(c, &one) < 0) {
		r = take_fault(c, err, &one);
		conf_unset(c, "myorigin");
	}
	if (set_system_defaults(c, path, &one) < 0)
		return take_fault(c, err, &one);
	learn_beside(c, path);
	learn_classes(c);
	return r;
}

bool
conf_is_set(const struct conf *c, const char *name)
{
	return map_get(&c->raw, view_of(name)) != NULL;
}

/* --- $name expansion ---------------------------------------------------------------------------- */

static int expand(const struct conf *c, struct view in, struct buf *out, int depth, struct err *err);

static const char *
raw_value(const struct conf *c, const char *name)
{
	const struct conf_setting *s = map_get(&c->raw, view_of(name));
	const struct conf_param *p;

	if (s != NULL)
		return s->value;
	p = conf_param_find(name);
	return p ? p->default_value : postfix_default(name);
}

/* Length of the text from an opening bracket to behind its partner; 0 without one. */
static size_t
bracket_span(struct view v)
{
	char open = v.p[0], close = open == '{' ? '}' : ')';
	int depth = 0;

	for (size_t i = 0; i < v.len; i++) {
		depth += v.p[i] == open;
		depth -= v.p[i] == close;
		if (depth == 0)
			return i + 1;
	}
	return 0;
}

/* "?text", ":text", "?{a}:{b}" behind the name: which text stands for the value? */
static int
choose(struct view rest, bool is_set, struct view *chosen, struct err *err)
{
	char op = rest.p[0];
	struct view text = view_make(rest.p + 1, rest.len - 1);
	struct view trimmed = view_trim(text);
	struct view yes = text, no = view_make("", 0);

	if (trimmed.len > 0 && trimmed.p[0] == '{') {
		size_t span = bracket_span(trimmed);
		struct view after;

		if (span == 0)
			return err_set(err, ERR_SYNTAX, "missing '}'");
		yes = view_make(trimmed.p + 1, span - 2);
		after = view_trim(view_make(trimmed.p + span, trimmed.len - span));
		if (after.len > 0) {
			if (op != '?' || after.p[0] != ':')
				return err_set(err, ERR_SYNTAX, "\"%.*s\" behind ${name?{...}",
				    (int)(after.len > 40 ? 40 : after.len), after.p);
			no = view_trim(view_make(after.p + 1, after.len - 1));
			if (no.len < 2 || no.p[0] != '{' || bracket_span(no) != no.len)
				return err_set(err, ERR_SYNTAX, "expected {text} behind ':'");
			no = view_make(no.p + 1, no.len - 2);
		}
	}
	*chosen = (op == '?') == is_set ? yes : no;
	return 0;
}

/* Of ${name?text}: is there anything in the name's value? */
static bool
has_value(const struct conf *c, const char *value, int depth)
{
	struct buf b;
	bool has;

	if (value == NULL || strchr(value, '$') == NULL)
		return value != NULL && value[0] != '\0';
	buf_init(&b, VALUE_MAX);
	has = expand(c, view_of(value), &b, depth + 1, NULL) < 0 || b.len > 0;
	buf_clear(&b);
	return has;
}

static int
expand_name(const struct conf *c, struct view inner, struct buf *out, int depth, struct err *err)
{
	size_t n = 0;
	char name[128];
	const char *value;
	struct view chosen;

	while (n < inner.len && is_name_byte(inner.p[n]))
		n++;
	if (n == 0 || n >= sizeof name)
		return err_set(err, ERR_SYNTAX, "bad name behind '$'");
	memcpy(name, inner.p, n);
	name[n] = '\0';
	value = raw_value(c, name);
	if (n == inner.len) {
		if (value == NULL)
			return err_set(err, ERR_SYNTAX, "unknown parameter $%s", name);
		return expand(c, view_of(value), out, depth + 1, err);
	}
	if (inner.p[n] != '?' && inner.p[n] != ':')
		return err_set(err, ERR_SYNTAX, "bad character '%c' behind $%s", inner.p[n], name);
	if (choose(view_make(inner.p + n, inner.len - n), has_value(c, value, depth), &chosen,
		err) < 0)
		return -1;
	return expand(c, chosen, out, depth + 1, err);
}

static int
expand(const struct conf *c, struct view in, struct buf *out, int depth, struct err *err)
{
	if (depth > EXPAND_DEPTH)
		return err_set(err, ERR_LIMIT, "expansion nested deeper than %d: a loop?", EXPAND_DEPTH);
	while (in.len > 0) {
		struct view head, inner;
		size_t span;

		if (!view_cut(in, '$', &head, &in)) {
			buf_append_view(out, head);
			break;
		}
		buf_append_view(out, head);
		if (in.len > 0 && in.p[0] == '$') {
			buf_append_byte(out, '$');
			in = view_make(in.p + 1, in.len - 1);
			continue;
		}
		if (in.len > 0 && (in.p[0] == '{' || in.p[0] == '(')) {
			if ((span = bracket_span(in)) == 0)
				return err_set(err, ERR_SYNTAX, "missing '%c'", in.p[0] == '{' ? '}' : ')');
			inner = view_trim(view_make(in.p + 1, span - 2));
		} else {
			for (span = 0; span < in.len && is_name_byte(in.p[span]);)
				span++;
			inner = view_make(in.p, span);
		}
		if (expand_name(c, inner, out, depth, err) < 0)
			return -1;
		in = view_make(in.p + span, in.len - span);
	}
	return out->failed ? err_set(err, ERR_LIMIT, "value too long") : 0;
}

int
conf_expand(const struct conf *c, const char *text, struct buf *out, struct err *err)
{
	return expand(c, view_of(text), out, 0, err);
}

static bool
is_raw(const char *name)
{
	const struct conf_param *p = conf_param_find(name);

	return p != NULL && p->type == CONF_RAW;
}

static int
expand_value(const struct conf *c, const char *name, struct buf *out, struct err *err)
{
	const char *raw = raw_value(c, name);

	if (raw == NULL)
		bug("parameter \"%s\" is not in the table", name);
	if (is_raw(name))
		return buf_append_str(out, raw);
	return expand(c, view_of(raw), out, 0, err);
}

/* --- values ------------------------------------------------------------------------------------- */

const char *
conf_own_str(const struct conf *c, const char *name, struct err *err)
{
	/* the cache is invisible: the value is the same whether it was there or not */
	struct conf *mut = (struct conf *)(uintptr_t)c;
	char *value = map_get(&c->cache, view_of(name));
	struct buf b;
	int r;

	if (value != NULL)
		return value;
	if (raw_value(c, name) == NULL) {
		err_set(err, ERR_SYNTAX, "unknown parameter \"%s\"", name);
		return NULL;
	}
	buf_init(&b, VALUE_MAX);
	r = expand_value(c, name, &b, err);
	if (r == 0 && (value = arena_strndup(&mut->arena, b.p ? b.p : "", b.len)) == NULL)
		bug("configuration too large");
	buf_clear(&b);
	if (r == 0)
		map_put(&mut->cache, view_of(name), value);
	return value;
}

const char *
conf_str(const struct conf *c, const char *name)
{
	struct err e;
	const char *value = conf_own_str(c, name, &e);

	if (value == NULL)
		bug("parameter %s read before it was checked: %s", name, e.text);
	return value;
}

static bool
parse_bool(struct view v, bool *out)
{
	*out = view_case_eq_str(v, "yes");
	return *out || view_case_eq_str(v, "no");
}

/* A number with an optional unit letter out of units ("smhdw", "kmg"), times its factor. */
static bool
parse_scaled(struct view v, const char *units, const int64_t *factors, int64_t factor, int64_t *out)
{
	uint64_t n;
	const char *u;

	if (v.len > 1 && (u = strchr(units, ascii_lower(v.p[v.len - 1]))) != NULL && *u) {
		factor = factors[u - units];
		v.len--;
	}
	return view_u64(v, INT64_MAX, &n) && !__builtin_mul_overflow((int64_t)n, factor, out);
}

static const char time_units[] = "smhdw";
static const int64_t time_factors[] = { 1, 60, 3600, 86400, 604800 };

bool
conf_time_parse(struct view v, int64_t *seconds)
{
	return parse_scaled(v, time_units, time_factors, 1, seconds) &&
	       *seconds <= 365 * time_factors[3];
}

/* "maximal_queue_lifetime = 5" are days, since its default is in days (postconf(5)). */
static int64_t
default_unit(const struct conf_param *p)
{
	size_t len = strlen(p->default_value);
	const char *u = len > 1 ? strchr(time_units, p->default_value[len - 1]) : NULL;
	char before = len > 1 ? p->default_value[len - 2] : '\0';

	return u != NULL && (ascii_is_digit(before) || before == '}') ? time_factors[u - time_units]
								      : 1;
}

static bool
parse_number(const struct conf_param *p, struct view v, int64_t *out)
{
	static const int64_t size_factors[] = { 1 << 10, 1 << 20, 1 << 30 };
	bool is_negative;

	switch (p->type) {
	case CONF_TIME:
		return parse_scaled(v, time_units, time_factors, default_unit(p), out);
	case CONF_SIZE:
		return parse_scaled(v, "kmg", size_factors, 1, out);
	default:
		is_negative = v.len > 1 && v.p[0] == '-';
		if (!parse_scaled(
			view_make(v.p + is_negative, v.len - is_negative), "", NULL, 1, out))
			return false;
		*out = is_negative ? -*out : *out;
		return true;
	}
}

static const struct conf_param *
param_of_type(const char *name, enum conf_type type)
{
	const struct conf_param *p = conf_param_find(name);

	if (p == NULL || p->type != type)
		bug("parameter \"%s\" is not of type %d", name, (int)type);
	return p;
}

bool
conf_bool(const struct conf *c, const char *name)
{
	bool b;

	param_of_type(name, CONF_BOOL);
	if (!parse_bool(view_of(conf_str(c, name)), &b))
		bug("parameter %s read before it was checked", name);
	return b;
}

static int64_t
conf_number(const struct conf *c, const char *name, enum conf_type type)
{
	const struct conf_param *p = param_of_type(name, type);
	int64_t n;

	if (!parse_number(p, view_of(conf_str(c, name)), &n))
		bug("parameter %s read before it was checked", name);
	return n;
}

int64_t
conf_int(const struct conf *c, const char *name)
{
	return conf_number(c, name, CONF_INT);
}

int64_t
conf_seconds(const struct conf *c, const char *name)
{
	return conf_number(c, name, CONF_TIME);
}

int64_t
conf_size(const struct conf *c, const char *name)
{
	return conf_number(c, name, CONF_SIZE);
}

bool
conf_next(struct view *rest, struct view *item)
{
	size_t i = 0, span;

	while (i < rest->len && (ascii_is_space(rest->p[i]) || rest->p[i] == ',' || rest->p[i] == '\n'))
		i++;
	*rest = view_make(rest->p + i, rest->len - i);
	if (rest->len == 0)
		return false;
	if (rest->p[0] == '{' && (span = bracket_span(*rest)) > 0) {
		*item = view_trim(view_make(rest->p + 1, span - 2));
		*rest = view_make(rest->p + span, rest->len - span);
		return true;
	}
	/* a brace inside an element ("inline:{ a=b }") keeps the element together */
	for (i = 0; i < rest->len && !ascii_is_space(rest->p[i]) && rest->p[i] != ',' && rest->p[i] != '\n';) {
		span = rest->p[i] == '{' ? bracket_span(view_make(rest->p + i, rest->len - i)) : 0;
		i += span > 0 ? span : 1;
	}
	*item = view_make(rest->p, i);
	*rest = view_make(rest->p + i, rest->len - i);
	return true;
}

/* --- checking ----------------------------------------------------------------------------------- */

static int
check_word(const struct conf_param *p, struct view v, struct err *err)
{
	struct view rest = view_of(p->words), word;

	while (view_token(&rest, "|", &word))
		if (view_eq(word, v))
			return 0;
	return err_set(err, ERR_SYNTAX, "%s: \"%.*s\" is not one of %s", p->name, VIEW_ARG(v), p->words);
}

static int
check_words(const struct conf_param *p, struct view v, struct err *err)
{
	struct view item;
	bool is_empty = true;

	for (; conf_next(&v, &item); is_empty = false)
		if (check_word(p, item, err) < 0)
			return -1;
	return is_empty && p->default_value[0] != '\0' ? check_word(p, view_make("", 0), err) : 0;
}

static int
check_tables(const struct conf_param *p, struct view v, struct err *err)
{
	struct view item;

	while (conf_next(&v, &item))
		if (memchr(item.p, ':', item.len) == NULL)
			return err_set(err, ERR_SYNTAX, "%s: \"%.*s\" is not of the form type:name", p->name,
			    VIEW_ARG(item));
	return 0;
}

static bool
is_label(struct view v)
{
	if (v.len == 0 || v.len > LABEL_MAX || v.p[0] == '-' || v.p[v.len - 1] == '-')
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (!ascii_is_alnum(v.p[i]) && v.p[i] != '-')
			return false;
	return true;
}

/* RFC 1123 2.1: labels of letters, digits and hyphens; a last one of digits only would be an address.
 * what: "host", "domain" */
static int
check_name(const struct conf_param *p, const char *what, struct view v, struct err *err)
{
	struct view rest = v, label;
	uint64_t n;
	bool more, ok;

	if (v.len == 0)
		return err_set(err, ERR_SYNTAX, "%s: must not be empty", p->name);
	if (v.len > HOST_MAX)
		return err_set(err, ERR_LIMIT, "%s: longer than %d bytes (RFC 1123 2.1)", p->name, HOST_MAX);
	do {
		more = view_cut(rest, '.', &label, &rest);
		ok = is_label(label);
	} while (more && ok);
	if (!ok || view_u64(label, UINT64_MAX, &n))
		return err_set(err, ERR_SYNTAX, "%s: \"%.*s\" is not a %s name (RFC 1123 2.1)",
		    p->name, VIEW_ARG(v), what);
	return 0;
}

static int
check_domains(const struct conf_param *p, struct view v, struct err *err)
{
	char ascii[IDN_DOMAIN_MAX];
	struct view item;

	while (conf_next(&v, &item)) {
		if (memchr(item.p, ':', item.len) != NULL || memchr(item.p, '/', item.len) != NULL)
			return err_set(err, ERR_SYNTAX,
			    "%s: \"%.*s\": lookup tables are not supported here yet; list the domains",
			    p->name, VIEW_ARG(item));
		/* RFC 5890 2.3.2.1: U-labels are as good as the A-labels they stand for */
		if (!bytes_are_ascii(item) && idn_to_ascii(item, ascii))
			item = view_of(ascii);
		if (check_name(p, "domain", item, err) < 0)
			return -1;
	}
	return 0;
}

static int
check_value(const struct conf_param *p, struct view v, struct err *err)
{
	int64_t n;
	bool b;

	switch (p->type) {
	case CONF_BOOL:
		if (!parse_bool(v, &b))
			return err_set(err, ERR_SYNTAX, "%s: \"%.*s\" is neither yes nor no", p->name,
			    VIEW_ARG(v));
		return 0;
	case CONF_INT:
	case CONF_TIME:
	case CONF_SIZE:
		if (!parse_number(p, v, &n))
			return err_set(err, ERR_SYNTAX, "%s: \"%.*s\" is not a %s", p->name, VIEW_ARG(v),
			    p->type == CONF_TIME ? "time (number with s, m, h, d or w)" :
				p->type == CONF_SIZE ? "size (number with k, m or g)" : "number");
		if (n < p->min || n > p->max)
			return err_set(err, ERR_LIMIT, "%s: %.*s is not between %lld and %lld", p->name,
			    VIEW_ARG(v), (long long)p->min, (long long)p->max);
		return 0;
	case CONF_PATH:
		if (v.len > 0 && v.p[0] != '/')
			return err_set(err, ERR_SYNTAX, "%s: \"%.*s\" is not an absolute path", p->name,
			    VIEW_ARG(v));
		if (v.len == 0 && p->default_value[0] == '/')
			return err_set(err, ERR_SYNTAX, "%s: must not be empty", p->name);
		return 0;
	case CONF_ENUM:
		return v.len == 0 && p->default_value[0] == '\0' ? 0 : check_word(p, v, err);
	case CONF_WORDS:
		return check_words(p, v, err);
	case CONF_DOMAINS:
		return check_domains(p, v, err);
	case CONF_TABLES:
		return check_tables(p, v, err);
	case CONF_HOST:
		return check_name(p, "host", v, err);
	case CONF_STR:
	case CONF_RAW:
	case CONF_LIST:
		return 0;
	}
	bug("parameter type %d", (int)p->type);
}

/* Restriction classes are parameters that the admin names. */
static bool
is_class(const struct conf *c, struct view name)
{
	const struct conf_setting *s = map_get(&c->raw, view_of("smtpd_restriction_classes"));
	struct view rest = view_of(s != NULL ? s->value : ""), word;

	while (conf_next(&rest, &word))
		if (view_eq(word, name))
			return true;
	return false;
}

/* A name that some other value mentions as $name is the admin's own (postconf(5)). */
static bool
is_mentioned(const struct conf *c, struct view name)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	if (map_get(&c->names, name) != NULL)
		return true;
	while ((e = map_next(&c->raw, &w)) != NULL) {
		struct view v = view_of(((struct conf_setting *)e->value)->value);

		while (view_cut(v, '$', NULL, &v)) {
			struct view n = v;

			if (n.len > 0 && (n.p[0] == '{' || n.p[0] == '('))
				n = view_make(n.p + 1, n.len - 1);
			if (n.len >= name.len && view_eq(view_make(n.p, name.len), name) &&
			    (n.len == name.len || !is_name_byte(n.p[name.len])))
				return true;
		}
	}
	return false;
}

static int
check_param(struct conf *c, const struct conf_param *p, struct err *err)
{
	struct buf b;
	int r;

	buf_init(&b, VALUE_MAX);
	r = expand_value(c, p->name, &b, err);
	if (r < 0)
		err_prefix(err, "%s", p->name);
	else
		r = check_value(p, view_make(b.p ? b.p : "", b.len), err);
	buf_clear(&b);
	return r;
}

/* NULL: nobody wrote it; at line 0 stands what the machine is called. */
static const struct conf_setting *
setting_of(const struct conf *c, const char *name)
{
	const struct conf_setting *s = map_get(&c->raw, view_of(name));

	return s != NULL && s->line > 0 ? s : NULL;
}

const struct conf_setting *
conf_place(const struct conf *c, const char *name)
{
	return setting_of(c, conf_origin(c, name));
}

int
conf_err_prefix(struct err *err, const struct conf *c, const char *name)
{
	const struct conf_setting *s = conf_place(c, name);

	name = conf_origin(c, name);
	return s == NULL ? err_prefix(err, "%s (default)", name)
			 : err_prefix(err, "%s:%d: %s", s->file, s->line, name);
}

int
conf_check_one(struct conf *c, const char *name, struct err *err)
{
	return check_param(c, conf_param_find(name), err);
}

/* Settings of which neither is wrong alone. */
static int
check_order(struct conf *c, struct err *err)
{
	const char *least = "minimal_backoff_time", *most = "maximal_backoff_time";

	if (conf_seconds(c, least) <= conf_seconds(c, most))
		return 0;
	if (conf_place(c, least) == NULL)
		return err_set(err, ERR_LIMIT, "%s: %s is less than %s, which is %s", most,
		    conf_str(c, most), least, conf_str(c, least));
	return err_set(err, ERR_LIMIT, "%s: %s is more than %s, which is %s", least,
	    conf_str(c, least), most, conf_str(c, most));
}

struct report {
	conf_fault_fn *fn;
	void *arg;
	unsigned faults;
};

/* text begins with the parameter's name */
static void
report_fault(struct report *r, const struct conf_setting *s, const char *name, const char *text)
{
	char *whole = s == NULL ? x_asprintf("%s (default)%s", name, text + strlen(name))
				: x_asprintf("%s:%d: %s", s->file, s->line, text);

	r->fn(r->arg, name, whole);
	r->faults++;
	free(whole);
}

static char *
unknown_parameter(const char *name)
{
	const char *near = conf_nearest(name);

	return x_asprintf("unknown parameter \"%s\"%s%s%s", name, near ? "; did you mean \"" : "",
	    near ? near : "", near ? "\"?" : "");
}

static void
check_unknown(struct conf *c, struct report *r)
{
	size_t count;
	struct conf_written *list = conf_written(c, &count);

	for (size_t i = 0; i < count; i++) {
		const char *name = list[i].name;
		char *text;

		if (conf_param_find(name) != NULL || postfix_knows(c, name) ||
		    is_mentioned(c, view_of(name)) || is_class(c, view_of(name)))
			continue;
		text = unknown_parameter(name);
		report_fault(r, list[i].setting, name, text);
		free(text);
	}
	free(list);
}

/* A restriction that Postfix has and we do not, and that is missed. */
static bool
is_ignored_restriction(const char *name)
{
#define ROW(restriction, why) #restriction,
	static const char *const names[] = { RESTRICTIONS_IGNORED(ROW) };
#undef ROW

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* A misspelt name there would leave the fault that it was to end. */
static void
check_allowed(struct conf *c, struct report *r)
{
	static const char param[] = "allow_ignored_parameters";
	struct view rest = view_of(conf_str(c, param)), word;

	while (conf_next(&rest, &word)) {
		char *name = x_strndup(word.p, word.len);
		char *text = x_asprintf("%s: \"%s\" is no parameter", param, name);

		if (conf_param_find(name) == NULL && !postfix_knows(c, name) && !is_ignored_restriction(name))
			report_fault(r, setting_of(c, param), param, text);
		free(text);
		free(name);
	}
}

/* What was set, or what was not. */
static void
check_params(struct conf *c, bool is_set, struct report *r)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);
	struct err err;

	for (size_t i = 0; i < count; i++) {
		const struct conf_setting *s = setting_of(c, p[i].name);

		if ((s != NULL) == is_set && check_param(c, &p[i], &err) < 0)
			report_fault(r, s, p[i].name, err.text);
	}
}

/* The other values that $stress can give. */
static void
check_stressed(const struct conf *c, struct report *r)
{
	struct conf stressed;

	conf_copy(&stressed, c);
	conf_set(&stressed, "stress", "yes", "", 0, NULL);
	check_params(&stressed, true, r);
	conf_clear(&stressed);
}

unsigned
conf_check(struct conf *c, conf_fault_fn *report, void *arg)
{
	struct report r = { report, arg, 0 };
	unsigned unknown;
	struct err err;

	check_unknown(c, &r);
	unknown = r.faults;
	check_params(c, true, &r);
	if (r.faults == unknown)
		check_allowed(c, &r);
	/* a default can only be wrong through what it mentions: that has been named */
	if (r.faults == unknown)
		check_params(c, false, &r);
	if (r.faults == unknown && check_order(c, &err) < 0) {
		char *name = x_strndup(err.text, strcspn(err.text, ":"));

		report_fault(&r, conf_place(c, name), name, err.text);
		free(name);
	}
	if (r.faults == unknown)
		check_stressed(c, &r);
	return r.faults;
}

struct settling {
	conf_fault_fn *fn;
	void *arg;
	struct map faulty; /* names */
};

static void
on_faulty(void *arg, const char *name, const char *text)
{
	struct settling *s = arg;

	map_put(&s->faulty, view_of(name), s);
	if (s->fn != NULL)
		s->fn(s->arg, name, text);
}

/* Was anything taken out?  A name that is not known stays: nothing depends on it, and it may mention others. */
static bool
take_out(struct conf *c, const struct map *faulty)
{
	struct map_walk w = { 0 };
	struct map_entry *e;
	bool has_changed = false;

	while ((e = map_next(faulty, &w)) != NULL)
		if (conf_param_find(e->key) == NULL)
			has_changed |= map_put(&c->names, view_of(e->key), c) == NULL;
		else
			has_changed |= conf_unset(c, e->key);
	return has_changed;
}

bool
conf_settle(struct conf *c, conf_fault_fn *report, void *arg)
{
	struct settling s = { .fn = report, .arg = arg };
	bool has_changed, is_faulty;

	do {
		map_init(&s.faulty);
		is_faulty = conf_check(c, on_faulty, &s) > 0;
		has_changed = take_out(c, &s.faulty);
		map_clear(&s.faulty);
	} while (has_changed);
	return !is_faulty;
}

static void
dump_value(const char *name, const char *value, struct buf *out)
{
	for (; *value != '\0'; value++) {
		if (*value == '$' && !is_raw(name))
			buf_append_byte(out, '$');
		buf_append_byte(out, *value);
	}
}

/* What depends on $stress is not settled before a worker is under it. */
static void
dump_one(const struct conf *c, const struct conf *stressed, const char *name, struct buf *out)
{
	const char *value = conf_str(c, name), *other = conf_str(stressed, name);
	bool is_both = strcmp(value, other) != 0 && strcmp(name, "stress") != 0;

	buf_printf(out, "%s = ", name);
	if (is_both) {
		buf_append_str(out, "${stress?{");
		dump_value(name, other, out);
		buf_append_str(out, "}:{");
	}
	dump_value(name, value, out);
	buf_append_str(out, is_both ? "}}\n" : "\n");
}

int
conf_dump(const struct conf *c, struct buf *out)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);
	struct view classes = view_of(conf_str(c, "smtpd_restriction_classes")), word;
	struct conf stressed;

	conf_copy(&stressed, c);
	conf_set(&stressed, "stress", "yes", "", 0, NULL);
	for (size_t i = 0; i < count; i++)
		dump_one(c, &stressed, p[i].name, out);
	while (conf_next(&classes, &word)) {
		char *name = x_strndup(word.p, word.len);

		if (conf_param_find(name) == NULL && conf_own_str(c, name, NULL) != NULL)
			dump_one(c, &stressed, name, out);
		free(name);
	}
	conf_clear(&stressed);
	return out->failed ? -1 : 0;
}

/* --- names -------------------------------------------------------------------------------------- */

const struct conf_param *
conf_param_find(const char *name)
{
	static struct map index;
	size_t count;
	const struct conf_param *p = conf_params(&count);

	if (index.count == 0) {
		map_init(&index);
		for (size_t i = 0; i < count; i++)
			if (map_put(&index, view_of(p[i].name), (void *)(uintptr_t)&p[i]) != NULL)
				bug("parameter %s stands twice in the table", p[i].name);
	}
	return map_get(&index, view_of(name));
}

bool
conf_is_read_by(const struct conf_param *p, const char *role)
{
	struct view rest = view_of(p->readers), word;

	while (view_token(&rest, " ", &word))
		if (view_eq_str(word, role) || view_eq_str(word, "all"))
			return true;
	return false;
}

const char *
conf_nearest(const char *name)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);
	struct nearest n = { .word = name };

	for (size_t i = 0; i < count; i++)
		nearest_offer(&n, p[i].name);
	return n.found;
}

/* The other parameter whose value this default is: "$tls_cert_file"; NULL: none. */
static const char *
default_of(const struct conf_param *p)
{
	const char *name = p->default_value + 1;

	return p->default_value[0] == '$' && conf_param_find(name) != NULL ? name : NULL;
}

const char *
conf_origin(const struct conf *c, const char *name)
{
	const struct conf_param *p;
	const char *next;

	while (!conf_is_set(c, name) && (p = conf_param_find(name)) != NULL && (next = default_of(p)) != NULL)
		name = next;
	return name;
}
