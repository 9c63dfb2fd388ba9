#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/dnsbl.h"
#include "smtpd/policy_service.h"
#include "smtpd/restrict.h"
#include "smtpd/restrict_table.h"

#include <stdio.h>
#include <stdlib.h>

struct restrict_class {
	char *name;
	struct restrict_list list;
};

static int
set_unknown(const char *name, struct err *err)
{
	const char *near = restriction_nearest(name);

	return err_set(err, ERR_SYNTAX, "unknown restriction \"%s\"%s%s%s", name,
	    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* --- arguments ------------------------------------------------------------------------------------ */

static int
parse_site(struct restrict_item *it, struct view text, struct err *err)
{
	struct dnsbl_site site;

	if (dnsbl_site_parse(text, &site, err) < 0)
		return -1;
	it->site = x_calloc(1, sizeof *it->site);
	*it->site = site;
	return 0;
}

/* The same place is one service, however often it is named: its connections are shared. */
static int
parse_service(struct restrict_item *it, struct view text, struct restrict_env *env, struct err *err)
{
	struct policy_service *p;

	for (size_t i = 0; i < env->nservices; i++)
		if (view_eq_str(text, policy_service_text(env->services[i]))) {
			it->service = env->services[i];
			return 0;
		}
	p = policy_service_new(text, env->conf, err);
	if (p == NULL)
		return -1;
	env->services = x_realloc(env->services, env->nservices + 1, sizeof *env->services);
	env->services[env->nservices++] = p;
	it->service = p;
	return 0;
}

static int
parse_argument(struct restrict_item *it, struct view *rest, struct restrict_env *env, struct err *err)
{
	struct view word;
	uint64_t seconds;

	if (it->what->argument == ARGUMENT_NONE)
		return 0;
	if (!conf_next(rest, &word))
		return err_set(err, ERR_SYNTAX, "%s: nothing stands behind it", it->what->name);
	switch (it->what->argument) {
	case ARGUMENT_TABLE:
		return smtpd_tables_open(word, &it->tables, err);
	case ARGUMENT_SITE:
		return parse_site(it, word, err);
	case ARGUMENT_SERVICE:
		return parse_service(it, word, env, err);
	default:
		if (!view_u64(word, 3600, &seconds))
			return err_set(err, ERR_SYNTAX, "%s: \"%.*s\" is not a number of seconds",
			    it->what->name, VIEW_ARG(word));
		it->seconds = (unsigned)seconds;
		return 0;
	}
}

/* --- items ---------------------------------------------------------------------------------------- */

/* What "type:table" alone looks for, by the list it stands in (Postfix's oldest form). */
static const char *
bare_table_restriction(enum restrict_list_id id)
{
	switch (id) {
	case RESTRICT_CLIENT:
		return "check_client_access";
	case RESTRICT_HELO:
		return "check_helo_access";
	case RESTRICT_SENDER:
		return "check_sender_access";
	default:
		return "check_recipient_access";
	}
}

static const struct restrict_list *
find_class(const struct restrict_env *env, const char *name)
{
	for (size_t i = 0; i < env->nclasses; i++)
		if (strcmp(env->classes[i].name, name) == 0)
			return &env->classes[i].list;
	return NULL;
}

static int
take_ignored(const struct restrict_env *env, const char *name, const char *why, struct err *err)
{
	struct view rest = view_of(conf_str(env->conf, "allow_ignored_parameters")), word;
	bool is_allowed = !view_starts(view_of(name), "reject_");

	while (!is_allowed && conf_next(&rest, &word))
		is_allowed = view_eq_str(word, name);
	if (!is_allowed)
		return err_set(err, ERR_SYNTAX,
		    "%s: not honoured: %s; to run without it, name it in allow_ignored_parameters", name, why);
	log_warn("restriction %s has no effect: %s", name, why);
	return 1;
}

/* 0 and the item, 1: a name without effect. */
static int
parse_item(struct restrict_item *it, enum restrict_list_id id, struct view word, struct view *rest,
    struct restrict_env *env, struct err *err)
{
	char *name = x_strndup(word.p, word.len);
	const char *ignored = restriction_ignored(name);
	int r = 0;

	it->what = restriction_find(name);
	if (it->what != NULL) {
		r = parse_argument(it, rest, env, err);
	} else if ((it->class = find_class(env, name)) != NULL) {
		r = 0;
	} else if (strchr(name, ':') != NULL) {
		it->what = restriction_find(bare_table_restriction(id));
		r = smtpd_tables_open(word, &it->tables, err);
	} else if (ignored != NULL) {
		r = take_ignored(env, name, ignored, err);
	} else {
		r = set_unknown(name, err);
	}
	free(name);
	return r;
}

int
restrict_list_parse(struct restrict_list *l, enum restrict_list_id id, const char *names,
    struct restrict_env *env, struct err *err)
{
	struct view rest = view_of(names), word;
	bool warn_next = false;
	int r = 0;

	*l = (struct restrict_list){ 0 };
	while (r >= 0 && conf_next(&rest, &word)) {
		struct restrict_item it = { .warn = warn_next };

		if (view_case_eq_str(word, "warn_if_reject")) {
			warn_next = true;
			continue;
		}
		r = parse_item(&it, id, word, &rest, env, err);
		warn_next = false;
		if (r != 0)
			continue;
		l->items = x_realloc(l->items, l->count + 1, sizeof *l->items);
		l->items[l->count++] = it;
	}
	if (r >= 0)
		return 0;
	restrict_list_clear(l);
	return -1;
}

void
restrict_list_clear(struct restrict_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		smtpd_tables_close(l->items[i].tables);
		free(l->items[i].site);
	}
	x_free(&l->items);
	l->count = 0;
}

/* --- the environment ------------------------------------------------------------------------------ */

const char *
restrict_class_param(const struct restrict_env *e, const struct restrict_list *class)
{
	for (size_t i = 0; i < e->nclasses; i++)
		if (&e->classes[i].list == class)
			return e->classes[i].name;
	return "";
}

static void
read_unverified(struct restrict_unverified *u, const struct conf *conf, const char *whose)
{
	char name[80];

	snprintf(name, sizeof name, "%s_reject_code", whose);
	u->reject = (int)conf_int(conf, name);
	snprintf(name, sizeof name, "%s_defer_code", whose);
	u->defer = (int)conf_int(conf, name);
	snprintf(name, sizeof name, "%s_reject_reason", whose);
	u->reason = conf_str(conf, name);
	snprintf(name, sizeof name, "%s_tempfail_action", whose);
	u->defers = strcmp(conf_str(conf, name), "defer") == 0;
}

static void
read_codes(struct restrict_codes *c, const struct conf *conf)
{
	const struct {
		int *code;
		const char *name;
	} rows[] = {
		{ &c->access_reject, "access_map_reject_code" },
		{ &c->access_defer, "access_map_defer_code" },
		{ &c->reject, "reject_code" },
		{ &c->defer, "defer_code" },
		{ &c->invalid_hostname, "invalid_hostname_reject_code" },
		{ &c->non_fqdn, "non_fqdn_reject_code" },
		{ &c->rbl, "maps_rbl_reject_code" },
		{ &c->relay, "relay_domains_reject_code" },
		{ &c->unknown_address, "unknown_address_reject_code" },
		{ &c->unknown_client, "unknown_client_reject_code" },
		{ &c->unknown_hostname, "unknown_hostname_reject_code" },
		{ &c->unknown_user, "unknown_virtual_mailbox_reject_code" },
		{ &c->plaintext, "plaintext_reject_code" },
		{ &c->multi_bounce, "multi_recipient_bounce_reject_code" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		*rows[i].code = (int)conf_int(conf, rows[i].name);
	c->address_defers = strcmp(conf_str(conf, "unknown_address_tempfail_action"), "defer") == 0;
	c->helo_defers = strcmp(conf_str(conf, "unknown_helo_hostname_tempfail_action"), "defer") == 0;
	read_unverified(&c->unverified_recipient, conf, "unverified_recipient");
	read_unverified(&c->unverified_sender, conf, "unverified_sender");
}

/* All names first: a class may name another, itself too (the depth of a run ends that). */
static int
read_classes(struct restrict_env *e, struct err *err)
{
	struct view rest = view_of(conf_str(e->conf, "smtpd_restriction_classes")), word;

	while (conf_next(&rest, &word)) {
		e->classes = x_realloc(e->classes, e->nclasses + 1, sizeof *e->classes);
		e->classes[e->nclasses++] = (struct restrict_class){ .name = x_strndup(word.p, word.len) };
	}
	for (size_t i = 0; i < e->nclasses; i++) {
		struct restrict_class *c = &e->classes[i];
		const char *names = conf_own_str(e->conf, c->name, err);

		if (names == NULL)
			return err_prefix(err, "smtpd_restriction_classes");
		if (restrict_list_parse(&c->list, RESTRICT_RECIPIENT, names, e, err) < 0)
			return err_prefix(err, "%s", c->name);
	}
	return 0;
}

int
restrict_env_init(struct restrict_env *e, const struct conf *conf, struct err *err)
{
	struct view rest = view_of(conf_str(conf, "parent_domain_matches_subdomains")), word;

	*e = (struct restrict_env){ .conf = conf };
	read_codes(&e->codes, conf);
	e->delimiter = conf_str(conf, "recipient_delimiter");
	e->null_key = conf_str(conf, "smtpd_null_access_lookup_key");
	e->rbl_threshold = (int)conf_int(conf, "smtpd_rbl_threshold");
	e->rbl_reply = conf_str(conf, "default_rbl_reply");
	while (conf_next(&rest, &word))
		e->parents_without_dot |= view_eq_str(word, "smtpd_access_maps");
	if (smtpd_tables_open_of(conf, "rbl_reply_maps", &e->rbl_reply_maps, err) < 0 ||
	    smtpd_tables_open_of(conf, "smtpd_sender_login_maps", &e->login_maps, err) < 0 ||
	    smtpd_tables_open_of(conf, "relay_clientcerts", &e->clientcerts, err) < 0)
		return -1;
	return read_classes(e, err);
}

void
restrict_env_clear(struct restrict_env *e)
{
	for (size_t i = 0; i < e->nclasses; i++) {
		restrict_list_clear(&e->classes[i].list);
		free(e->classes[i].name);
	}
	for (size_t i = 0; i < e->nservices; i++)
		policy_service_free(e->services[i]);
	smtpd_tables_close(e->rbl_reply_maps);
	smtpd_tables_close(e->login_maps);
	smtpd_tables_close(e->clientcerts);
	x_free(&e->classes);
	x_free(&e->services);
	e->nclasses = e->nservices = 0;
	e->rbl_reply_maps = e->login_maps = e->clientcerts = NULL;
}
