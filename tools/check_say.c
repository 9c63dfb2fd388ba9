/* What check has to say: collected, then printed by file and line. */
#include "common/base/mem.h"
#include "common/table/table.h"
#include "common/table/table_config.h"
#include "tools/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 2000, COMPLAINTS_MAX = 2000 };

/* --- keeping it ----------------------------------------------------------------------------------------- */

/* Cuts "FILE:LINE: " or "FILE: " off the text. */
static struct view
cut_place(struct view *text, int *line)
{
	static const char end[] = ": ";
	const char *colon = view_find(*text, VIEW_LIT(end));
	struct view file = view_make(text->p, colon != NULL ? (size_t)(colon - text->p) : 0);
	size_t digits = 0;
	uint64_t number = 0;

	*line = 0;
	if (text->len == 0 || colon == NULL || text->p[0] != '/')
		return VIEW_LIT("");
	*text = view_make(colon + 2, text->len - file.len - 2);
	while (digits < file.len && ascii_is_digit(file.p[file.len - 1 - digits]))
		digits++;
	if (digits == file.len || file.p[file.len - 1 - digits] != ':' ||
	    !view_u64(view_make(file.p + file.len - digits, digits), 1 << 30, &number))
		return file;
	*line = (int)number;
	return view_make(file.p, file.len - digits - 1);
}

static bool
has_place(const char *text)
{
	struct view v = view_of(text);
	int line;

	cut_place(&v, &line);
	return line > 0;
}

bool
check_is_consequence(const struct check *c, const char *text)
{
	struct view rest = view_of(text), word;
	int line;

	cut_place(&rest, &line);
	view_cut(rest, ':', NULL, &rest); /* its own name */
	while (view_token(&rest, " \"$,;:.()", &word))
		if (map_get(&c->taken_out, word) != NULL)
			return true;
	return false;
}

static struct complaint *
find(struct check *c, enum check_level level, struct view file, struct view text)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->complaints[i].level == level && view_eq_str(file, c->complaints[i].file) &&
		    view_eq_str(text, c->complaints[i].text))
			return &c->complaints[i];
	return NULL;
}

static void
add_line(struct complaint *m, int line)
{
	for (size_t i = 0; i < m->nalso; i++)
		if (m->also[i] == line)
			return;
	if (m->line == line)
		return;
	m->also = x_realloc(m->also, m->nalso + 1, sizeof *m->also);
	m->also[m->nalso++] = line;
}

/* Tables are not always root's own work: what they hold must not speak to root's terminal. */
static char *
printable(struct view v)
{
	char *text = x_strndup(v.p, v.len);

	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = '?';
	return text;
}

void
check_add(struct check *c, enum check_level level, const char *given)
{
	char *text = printable(view_of(given));
	struct view what = view_of(text), file;
	struct complaint *m;
	int line;

	file = cut_place(&what, &line);
	c->errors += level == CHECK_ERROR;
	if ((m = find(c, level, file, what)) != NULL) {
		add_line(m, line);
	} else if (c->count < COMPLAINTS_MAX) {
		c->complaints = x_realloc(c->complaints, c->count + 1, sizeof *c->complaints);
		c->complaints[c->count++] = (struct complaint){
			.level = level,
			.file = x_strndup(file.p, file.len),
			.line = line,
			.text = x_strndup(what.p, what.len),
		};
	}
	free(text);
}

/* --- whose fault it is ----------------------------------------------------------------------------------- */

/* The parameter that text begins with, NULL if it does not. */
static const struct conf_param *
param_of(const char *text)
{
	char *name = x_strndup(text, strcspn(text, ": "));
	const struct conf_param *p = conf_param_find(name);

	free(name);
	return p;
}

/* "... run: estafeta map build hash:/x": the parameter that has hash:/x, NULL if none has. */
static const struct conf_param *
param_of_table(const struct conf *conf, const char *text)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);
	const char *table = strrchr(text, ' ');

	for (size_t i = 0; i < count && table != NULL; i++) {
		struct view rest = view_of(conf_str(conf, p[i].name)), item;

		while (p[i].type == CONF_TABLES && conf_next(&rest, &item))
			if (view_eq_str(item, table + 1))
				return &p[i];
	}
	return NULL;
}

/* Where a table that smtpd asks authd for is written. */
struct table_origin {
	struct view text; /* begins with the table */
	char *place;      /* "main.cf:12: smtpd_client_restrictions", owned; NULL: not found yet */
	const struct conf *conf;
};

static void
on_table_specs(void *arg, const char *param, struct view specs)
{
	struct table_origin *o = arg;
	const struct conf_setting *s = conf_place(o->conf, param);
	struct view spec;

	while (o->place == NULL && table_spec_next(&specs, &spec))
		if (o->text.len > spec.len && o->text.p[spec.len] == ':' &&
		    memcmp(o->text.p, spec.p, spec.len) == 0)
			o->place = s != NULL ? x_asprintf("%s:%d: %s", s->file, s->line, param)
					     : x_asprintf("%s", param);
}

static int
on_smtpd_conf(void *arg, const struct conf *conf, struct err *err)
{
	struct table_origin *o = arg;

	(void)err;
	o->conf = conf;
	table_config_each(conf, on_table_specs, o);
	return 0;
}

/* What authd says of one of smtpd_lookup_tables; false: text is of something else. */
static bool
say_of_table(struct check *c, enum check_level level, const char *text)
{
	static const char prefix[] = TABLE_CONFIG_PARAM ": ";
	struct table_origin o = { .text = view_of(text + sizeof prefix - 1) };
	char *whole;

	if (strncmp(text, prefix, sizeof prefix - 1) != 0)
		return false;
	master_cf_each_conf(c->services, ROLE_SMTPD, &c->base, on_smtpd_conf, &o, NULL);
	if (o.place == NULL)
		return false;
	whole = x_asprintf("%s: %.*s", o.place, VIEW_ARG(o.text));
	check_add(c, level, whole);
	free(o.place);
	free(whole);
	return true;
}

/* text begins with the name of p; the one to change may be another. */
static char *
text_of_origin(const struct conf *conf, const struct conf_param *p, const char *text)
{
	const struct conf_setting *s = conf_place(conf, p->name);

	return x_asprintf(
	    "%s:%d: %s%s", s->file, s->line, conf_origin(conf, p->name), text + strlen(p->name));
}

static bool
is_taken_out(const struct check *c, const struct conf_param *p)
{
	return p != NULL && map_get(&c->taken_out, view_of(p->name)) != NULL;
}

const char *
check_say(struct check *c, const struct service *s, const struct conf *conf, enum check_level level,
    const char *fmt, ...)
{
	const struct conf_param *p, *other = NULL;
	char text[LINE_MAX_BYTES], *whole;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (say_of_table(c, level, text))
		return TABLE_CONFIG_PARAM;
	if ((p = param_of(text)) == NULL)
		other = param_of_table(conf, text);
	if (p != NULL && conf_place(conf, p->name) != NULL) {
		whole = text_of_origin(conf, p, text);
	} else if (other != NULL && conf_place(conf, other->name) != NULL) {
		const struct conf_setting *place = conf_place(conf, other->name);

		whole = x_asprintf("%s:%d: %s: %s", place->file, place->line, other->name, text);
	} else if (has_place(text)) { /* the daemon knows it */
		whole = x_strdup(text);
	} else if (s->line > 0) {
		whole =
		    x_asprintf("%s:%d: %s: %s", s->file, s->line, role_row(s->role)->name, text);
	} else { /* implied */
		whole = x_asprintf("%s: %s: %s", s->file, role_row(s->role)->name, text);
	}
	p = p != NULL ? p : other;
	if (level == CHECK_ERROR ? !check_is_consequence(c, text) : !is_taken_out(c, p))
		check_add(c, level, whole);
	free(whole);
	return p != NULL ? conf_origin(conf, p->name) : NULL;
}

/* --- printing it ------------------------------------------------------------------------------------------- */

static int
compare_lines(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int
compare_places(const void *a, const void *b)
{
	const struct complaint *x = a, *y = b;
	int r = strcmp(x->file, y->file);

	if (r == 0)
		r = compare_lines(&x->line, &y->line);
	if (r == 0)
		r = (x->level > y->level) - (x->level < y->level);
	return r != 0 ? r : strcmp(x->text, y->text);
}

/* The first line of all is the one it is sorted by. */
static void
order_lines(struct complaint *m)
{
	int first = m->line;

	if (m->nalso == 0)
		return;
	qsort(m->also, m->nalso, sizeof *m->also, compare_lines);
	if (m->also[0] < first) {
		m->line = m->also[0];
		m->also[0] = first;
		qsort(m->also, m->nalso, sizeof *m->also, compare_lines);
	}
}

static void
print_one(const struct complaint *m)
{
	static const char *const levels[] = {
		[CHECK_ERROR] = "error",
		[CHECK_WARNING] = "warning",
		[CHECK_NOTE] = "note",
	};

	fprintf(stderr, "estafeta: %s: %s", levels[m->level], m->file);
	if (m->line > 0)
		fprintf(stderr, ":%d", m->line);
	fprintf(stderr, "%s%s", m->file[0] != '\0' ? ": " : "", m->text);
	for (size_t i = 0; i < m->nalso; i++)
		fprintf(stderr, "%s%d", i == 0 ? " (also line " : ", ", m->also[i]);
	fputs(m->nalso > 0 ? ")\n" : "\n", stderr);
}

void
check_print(struct check *c)
{
	for (size_t i = 0; i < c->count; i++)
		order_lines(&c->complaints[i]);
	if (c->count > 0)
		qsort(c->complaints, c->count, sizeof *c->complaints, compare_places);
	for (size_t i = 0; i < c->count; i++)
		print_one(&c->complaints[i]);
}

void
check_clear(struct check *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->complaints[i].file);
		free(c->complaints[i].text);
		free(c->complaints[i].also);
	}
	x_free(&c->complaints);
	c->count = 0;
	map_clear(&c->taken_out);
	conf_clear(&c->base);
}
