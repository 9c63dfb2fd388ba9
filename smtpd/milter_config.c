#include "smtpd/milter_config.h"
#include "common/base/mem.h"

#include <stdlib.h>

/* clang-format off */
static const char *const list_names[MACROS_LISTS] = {
	[MACROS_CONNECT] = "milter_connect_macros",
	[MACROS_HELO]    = "milter_helo_macros",
	[MACROS_MAIL]    = "milter_mail_macros",
	[MACROS_RCPT]    = "milter_rcpt_macros",
	[MACROS_DATA]    = "milter_data_macros",
	[MACROS_EOM]     = "milter_end_of_data_macros",
	[MACROS_EOH]     = "milter_end_of_header_macros",
	[MACROS_HEADER]  = "milter_header_macros",
	[MACROS_UNKNOWN] = "milter_unknown_command_macros",
};
static const char *const default_names[MILTER_DEFAULTS] = {
	[MILTER_DEFAULT_TEMPFAIL]   = "tempfail",
	[MILTER_DEFAULT_ACCEPT]     = "accept",
	[MILTER_DEFAULT_REJECT]     = "reject",
	[MILTER_DEFAULT_QUARANTINE] = "quarantine",
	[MILTER_DEFAULT_SHUTDOWN]   = "shutdown",
};
/* clang-format on */

static int
parse_default(struct view v, enum milter_default *out)
{
	for (int i = 0; i < MILTER_DEFAULTS; i++)
		if (view_eq_str(v, default_names[i])) {
			*out = (enum milter_default)i;
			return 0;
		}
	return -1;
}

static int
parse_time(struct view v, int64_t *ms)
{
	int64_t seconds;

	if (!conf_time_parse(v, &seconds) || seconds == 0)
		return -1;
	*ms = seconds * 1000;
	return 0;
}

static int
parse_version(struct view v, unsigned *out)
{
	uint64_t n;

	if (!view_u64(v, MILTER_VERSION, &n) || n < MILTER_VERSION_MIN)
		return -1;
	*out = (unsigned)n;
	return 0;
}

static int
apply(struct milter_setting *m, struct view name, struct view value)
{
	if (view_eq_str(name, "connect_timeout"))
		return parse_time(value, &m->connect_ms);
	if (view_eq_str(name, "command_timeout"))
		return parse_time(value, &m->command_ms);
	if (view_eq_str(name, "content_timeout"))
		return parse_time(value, &m->content_ms);
	if (view_eq_str(name, "default_action"))
		return parse_default(value, &m->on_failure);
	if (view_eq_str(name, "protocol"))
		return parse_version(value, &m->version);
	return -1;
}

/* "ENDPOINT", or "ENDPOINT, name=value, ..." that stood in braces. */
static int
read_one(struct milter_config *c, const struct milter_setting *defaults, struct view item,
    struct err *err)
{
	struct milter_setting *m;
	struct view word, name, value;

	if (!conf_next(&item, &word))
		return err_set(err, ERR_SYNTAX, "an empty milter");
	c->items = x_realloc(c->items, c->count + 1, sizeof *c->items);
	m = &c->items[c->count++];
	*m = *defaults;
	m->endpoint = x_strndup(word.p, word.len);
	while (conf_next(&item, &word)) {
		view_cut(word, '=', &name, &value);
		if (apply(m, view_trim(name), view_trim(value)) < 0)
			return err_set(err, ERR_SYNTAX, "milter %s: bad setting \"%.*s\"",
			    m->endpoint, VIEW_ARG(word));
	}
	return 0;
}

int
milter_config_read(struct milter_config *c, const struct conf *conf, struct err *err)
{
	struct view rest = view_of(conf_str(conf, "smtpd_milters")), item;
	struct milter_setting defaults = {
		.connect_ms = conf_seconds(conf, "milter_connect_timeout") * 1000,
		.command_ms = conf_seconds(conf, "milter_command_timeout") * 1000,
		.content_ms = conf_seconds(conf, "milter_content_timeout") * 1000,
		.version = (unsigned)conf_int(conf, "milter_protocol"),
	};

	*c = (struct milter_config){ 0 };
	if (parse_default(view_of(conf_str(conf, "milter_default_action")), &defaults.on_failure) <
	    0)
		bug("milter_default_action");
	for (size_t i = 0; i < MACROS_LISTS; i++)
		c->macros[i] = conf_str(conf, list_names[i]);
	c->daemon_name = conf_str(conf, "milter_macro_daemon_name");
	c->v = conf_str(conf, "milter_macro_v");
	c->defaults = conf_str(conf, "milter_macro_defaults");
	while (conf_next(&rest, &item))
		if (read_one(c, &defaults, item, err) < 0)
			return err_prefix(err, "smtpd_milters");
	return 0;
}

void
milter_config_clear(struct milter_config *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->items[i].endpoint);
	x_free(&c->items);
	c->count = 0;
}
