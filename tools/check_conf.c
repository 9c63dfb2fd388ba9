/* What a configuration says in vain, or twice. */
#include "common/base/mem.h"
#include "tools/check.h"

#include <stdlib.h>
#include <string.h>

/* --- domains in two lists ---------------------------------------------------------------------------------- */

/* One of Postfix's that this suite does not have counts too: it is meant for something else. */
static const char *
list_of(const struct conf *conf, const char *name)
{
	const char *value =
	    conf_param_find(name) != NULL ? conf_str(conf, name) : conf_own_str(conf, name, NULL);

	return value != NULL ? value : "";
}

static void
say_both(struct check *c, const char *domain, const char *first, const char *second)
{
	struct err err;

	err_set(
	    &err, ERR_SYNTAX, "do not list domain %.100s in BOTH %s and %s", domain, first, second);
	conf_err_prefix(&err, &c->base, second);
	check_add(c, CHECK_WARNING, err.text);
}

/* In lower case and owned; NULL: the end.  Not tables. */
static char *
next_domain(struct view *rest)
{
	struct view item;
	char *name;

	while (conf_next(rest, &item)) {
		if (memchr(item.p, ':', item.len) != NULL || memchr(item.p, '/', item.len) != NULL)
			continue;
		name = x_strndup(item.p, item.len);
		for (char *p = name; *p != '\0'; p++)
			*p = (char)ascii_lower((unsigned char)*p);
		return name;
	}
	return NULL;
}

static void
check_pair_of_lists(struct check *c, const char *first, const char *second)
{
	struct view rest = view_of(list_of(&c->base, first));
	struct map seen;
	char *name;

	map_init(&seen);
	for (; (name = next_domain(&rest)) != NULL; free(name))
		map_put(&seen, view_of(name), c);
	rest = view_of(list_of(&c->base, second));
	for (; (name = next_domain(&rest)) != NULL; free(name))
		if (map_get(&seen, view_of(name)) != NULL)
			say_both(c, name, first, second);
	map_clear(&seen);
}

/* Those that Postfix warns of. */
void
check_domains(struct check *c)
{
	static const char *const pairs[][2] = {
		{ "mydestination", "virtual_mailbox_domains" },
		{ "mydestination", "virtual_alias_domains" },
		{ "virtual_mailbox_domains", "virtual_alias_domains" },
		{ "virtual_mailbox_domains", "relay_domains" },
		{ "virtual_alias_domains", "relay_domains" },
	};

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
		check_pair_of_lists(c, pairs[i][0], pairs[i][1]);
}

/* --- options that nobody reads ----------------------------------------------------------------------------- */

/* master binds the listeners */
static bool
is_read(const struct conf_param *p, const struct service *s)
{
	return conf_is_read_by(p, role_row(s->role)->name) ||
	       (s->is_inet && conf_is_read_by(p, role_row(ROLE_MASTER)->name));
}

/* Would another value of name give the service another value of something that it reads? */
static bool
is_mentioned(const struct service *s, const struct conf *conf, const char *name, const char *value)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);
	bool is_other = false;
	struct conf other;

	conf_copy(&other, conf);
	conf_set(&other, name, value, s->file, s->line, NULL);
	for (size_t i = 0; i < count && !is_other; i++)
		is_other = is_read(&p[i], s) &&
			   strcmp(conf_str(conf, p[i].name), conf_str(&other, p[i].name)) != 0;
	conf_clear(&other);
	return is_other;
}

void
check_options(struct check *c, const struct service *s, const struct conf *conf)
{
	for (size_t i = 0; i < s->noptions; i++) {
		const char *name = s->options[i].name;
		const struct conf_param *p = conf_param_find(name);
		char *text;

		if (p == NULL || is_read(p, s) || is_mentioned(s, conf, name, "another value") ||
		    is_mentioned(s, conf, name, ""))
			continue;
		text = x_asprintf("%s:%d: %s: -o has no effect: %s does not read it, but %s",
		    s->file, s->line, name, role_row(s->role)->name, p->readers);
		check_add(c, CHECK_WARNING, text);
		free(text);
	}
}
