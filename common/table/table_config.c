#include "common/table/table_config.h"
#include "common/base/mem.h"
#include "common/config/restrictions.h"
#include "common/table/table.h"

#include <stdlib.h>

struct each {
	void (*fn)(void *arg, const char *param, struct view specs);
	void *arg;
};

static void
on_word(void *arg, const char *param, struct view before, struct view word)
{
	struct each *e = arg;

	(void)before;
	if (table_spec_is_known(word))
		e->fn(e->arg, param, word);
}

void
table_config_each(
    const struct conf *conf, void (*fn)(void *arg, const char *param, struct view specs), void *arg)
{
	struct each e = { fn, arg };
	struct view rest, word;
	size_t count;
	const struct conf_param *p = conf_params(&count);

	for (size_t i = 0; i < count; i++)
		if (p[i].type == CONF_TABLES && conf_is_read_by(&p[i], "smtpd") &&
		    conf_str(conf, p[i].name)[0] != '\0')
			fn(arg, p[i].name, view_of(conf_str(conf, p[i].name)));
	restrictions_each(conf, on_word, &e);
	for (rest = view_of(conf_str(conf, "local_header_rewrite_clients")); conf_next(&rest, &word);)
		on_word(&e, "local_header_rewrite_clients", VIEW_LIT(""), word);
}

/* --- collecting ------------------------------------------------------------------------------- */

struct collection {
	struct map seen; /* tables, as they are written */
	struct buf specs;
	struct err *err;
	int r;
};

static void
collect_one(struct collection *c, struct view spec)
{
	if (map_put(&c->seen, spec, c) != NULL)
		return;
	if (c->seen.count > TABLE_CONFIG_MAX)
		c->r = err_set(c->err, ERR_LIMIT, "more than %d lookup tables", TABLE_CONFIG_MAX);
	buf_append_str(&c->specs, c->specs.len > 0 ? ", " : "");
	for (size_t i = 0; i < spec.len; i++)
		buf_printf(&c->specs, spec.p[i] == '$' ? "$%c" : "%c", spec.p[i]);
}

static void
on_specs(void *arg, const char *param, struct view specs)
{
	struct collection *c = arg;
	char *text = x_strndup(specs.p, specs.len);
	struct table_list *l = NULL;
	struct view spec;
	bool is_resident;

	if (c->r == 0 && table_list_new(text, &l, c->err) < 0)
		c->r = err_prefix(c->err, "%s", param);
	free(text);
	if (c->r < 0 || l == NULL)
		return;
	is_resident = table_list_is_resident(l);
	table_list_close(l);
	while (!is_resident && c->r == 0 && table_spec_next(&specs, &spec))
		collect_one(c, spec);
}

static int
on_conf(void *arg, const struct conf *conf, struct err *err)
{
	struct collection *c = arg;

	c->err = err;
	table_config_each(conf, on_specs, c);
	return c->r;
}

int
table_config_collect(
    const struct master_cf *m, const struct conf *base, struct conf *to, struct err *err)
{
	struct collection c = { 0 };
	int r;

	map_init(&c.seen);
	buf_init(&c.specs, 1 << 20);
	r = master_cf_each_conf(m, ROLE_SMTPD, base, on_conf, &c, err);
	if (r == 0 && c.specs.failed)
		r = err_set(err, ERR_LIMIT, "too many lookup tables");
	if (r == 0)
		r = conf_set(to, TABLE_CONFIG_PARAM, buf_cstr(&c.specs), "tables of smtpd", 0, err);
	map_clear(&c.seen);
	buf_clear(&c.specs);
	return r;
}
