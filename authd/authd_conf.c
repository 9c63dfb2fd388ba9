#include "authd/authd_conf.h"

#include "common/base/mem.h"
#include "common/config/own_sender.h"
#include "common/ipc/rewriting.h"
#include "common/proto/idn.h"
#include "common/table/table_config.h"
#include "common/user/user_db.h"

#include <limits.h>
#include <pwd.h>

/* What crypt(5) would refuse, or silently take for its own bound. */
static int
check_cost(enum password_scheme scheme, int64_t cost, struct err *err)
{
	static const struct {
		const char *name;
		int64_t least, most;
	} rows[] = {
		[PASSWORD_YESCRYPT] = { "yescrypt", 1, 11 },
		[PASSWORD_BCRYPT] = { "bcrypt", 4, 31 },
		[PASSWORD_SHA512_CRYPT] = { "sha512-crypt", 1000, 999999999 },
	};

	if (cost == 0 || (cost >= rows[scheme].least && cost <= rows[scheme].most))
		return 0;
	return err_set(err, ERR_LIMIT,
	    "password_cost: %lld is not between %lld and %lld, as %s counts it (crypt(5))",
	    (long long)cost, (long long)rows[scheme].least, (long long)rows[scheme].most,
	    rows[scheme].name);
}

/* A main.cf of Postfix may have the uid of another owner there. */
static int
check_owner(const struct conf *conf, const char *owner, uid_t uid, struct err *err)
{
	static const char least[] = "virtual_minimum_uid", most[] = "virtual_maximum_uid";

	if (uid == 0)
		return err_set(err, ERR_PERM, "mailbox_owner: mail is never root's: %s", owner);
	if ((int64_t)uid < conf_int(conf, least) || (int64_t)uid > conf_int(conf, most))
		return err_set(err, ERR_PERM, "%s: %s: the uid of mailbox_owner, %s, is %u",
		    (int64_t)uid < conf_int(conf, least) ? least : most,
		    conf_str(conf, (int64_t)uid < conf_int(conf, least) ? least : most), owner,
		    (unsigned)uid);
	return 0;
}

/* --- routes ----------------------------------------------------------------------------------- */

static int
read_way(const struct conf *from, const char *param, struct way *out, struct err *err)
{
	return way_parse(conf_str(from, param), out, err) < 0 ? err_prefix(err, "%s", param) : 0;
}

/* Domains stay in the list, tables go to a list of their own, which lives as long as the process. */
static int
read_relay_domains(const struct conf *from, struct authd_conf *out, struct err *err)
{
	static const char param[] = "relay_domains";
	struct view rest, item;
	struct buf tables;

	out->relay_domains = conf_str(from, param);
	buf_init(&tables, 1 << 20);
	for (rest = view_of(out->relay_domains); table_spec_next(&rest, &item);) {
		char name[IDN_DOMAIN_MAX];

		if (memchr(item.p, ':', item.len) != NULL) {
			buf_printf(&tables, "%s%.*s", tables.len > 0 ? ", " : "", VIEW_ARG(item));
		} else if (!idn_to_ascii(
			       view_starts(item, ".") ? view_make(item.p + 1, item.len - 1) : item,
			       name) ||
			   name[0] == '!' || strchr(name, '/') != NULL) {
			buf_clear(&tables);
			return err_set(err, ERR_SYNTAX,
			    "%s: \"%.*s\" is neither a domain nor a table (type:name)", param,
			    VIEW_ARG(item));
		}
	}
	out->tables[RESOLVE_RELAY_DOMAINS] = x_strndup(tables.len > 0 ? tables.p : "", tables.len);
	buf_clear(&tables);
	return 0;
}

static int
read_routes(const struct conf *from, struct authd_conf *out, struct err *err)
{
	struct view rest = view_of(conf_str(from, "parent_domain_matches_subdomains")), word;

	for (int t = 0; t < RESOLVE_TABLES; t++)
		out->tables[t] = conf_str(from, resolve_table_params[t]);
	while (conf_next(&rest, &word)) {
		out->relay_parents |= view_eq_str(word, "relay_domains");
		out->transport_parents |= view_eq_str(word, "transport_maps");
	}
	out->null_relayhost_key = conf_str(from, "empty_address_relayhost_maps_lookup_key");
	out->null_transport_key = conf_str(from, "empty_address_default_transport_maps_lookup_key");
	if (read_way(from, "virtual_transport", &out->virtual_way, err) < 0 ||
	    read_way(from, "relay_transport", &out->relay_way, err) < 0 ||
	    read_way(from, "default_transport", &out->default_way, err) < 0)
		return -1;
	return read_relay_domains(from, out, err);
}

static int
read_rewriting(const struct conf *from, struct authd_conf *out, struct err *err)
{
	static const char exceptions[] = "masquerade_exceptions";
	struct rewrite_conf *w = &out->rewrite;
	struct view rest = view_of(conf_str(from, "propagate_unmatched_extensions")), word;

	while (conf_next(&rest, &word)) {
		out->keeps_extension |= view_eq_str(word, "virtual");
		out->keeps_alias_extension |= view_eq_str(word, "alias");
		out->keeps_include_extension |= view_eq_str(word, "include");
		w->keeps_extension |= view_eq_str(word, "canonical");
		w->keeps_generic_extension |= view_eq_str(word, "generic");
	}
	w->canonical = rewriting_mask(from, "canonical_classes");
	w->sender_canonical = rewriting_mask(from, "sender_canonical_classes");
	w->recipient_canonical = rewriting_mask(from, "recipient_canonical_classes");
	w->masquerade = rewriting_mask(from, "masquerade_classes");
	w->masquerade_domains = conf_str(from, "masquerade_domains");
	w->exceptions = conf_str(from, exceptions);
	for (rest = view_of(w->exceptions); conf_next(&rest, &word);)
		if (memchr(word.p, ':', word.len) != NULL || memchr(word.p, '/', word.len) != NULL)
			return err_set(err, ERR_SYNTAX,
			    "%s: \"%.*s\": user names only, no tables or files", exceptions,
			    VIEW_ARG(word));
	return 0;
}

static int
read_srs(const struct conf *from, struct authd_conf *out, struct err *err)
{
	out->srs_domain = conf_str(from, "srs_domain");
	out->srs_secret_file = conf_str(from, "srs_secret_file");
	out->srs_days = conf_seconds(from, "srs_max_age") / 86400;
	if (out->srs_days < 1 || out->srs_days >= SRS_DAYS_MAX)
		return err_set(err, ERR_LIMIT, "srs_max_age: not between one day and %d days",
		    SRS_DAYS_MAX - 1);
	if (out->srs_domain[0] != '\0' && out->srs_secret_file[0] == '\0')
		return err_set(
		    err, ERR_SYNTAX, "srs_domain: without srs_secret_file nothing can be signed");
	return 0;
}

int
authd_conf_read(const struct conf *from, struct authd_conf *out, struct err *err)
{
	const char *owner = conf_str(from, "mailbox_owner");
	const struct passwd *pw = getpwnam(owner);
	char file[PATH_MAX], env[PATH_MAX];
	int scheme = password_scheme_by_name(conf_str(from, "password_scheme"));

	if (pw == NULL)
		return err_set(
		    err, ERR_PERM, "mailbox_owner: system user \"%s\" does not exist", owner);
	if (check_owner(from, owner, pw->pw_uid, err) < 0)
		return -1;
	if (user_db_paths(conf_str(from, "user_database"), file, env, sizeof file, err) < 0 ||
	    check_cost((enum password_scheme)scheme, conf_int(from, "password_cost"), err) < 0)
		return -1;
	*out = (struct authd_conf){
		.user_database = conf_str(from, "user_database"),
		.lookup_tables = conf_str(from, TABLE_CONFIG_PARAM),
		.mailbox_domains = conf_str(from, "virtual_mailbox_domains"),
		.destination = conf_str(from, "mydestination"),
		.origin = conf_str(from, "myorigin"),
		/* for the life of the process */
		.sinks = { own_sender(from, "double_bounce_sender"),
		    own_sender(from, "address_verify_sender") },
		.relayhost = conf_str(from, "relayhost"),
		.delimiter = conf_str(from, "recipient_delimiter"),
		.directory = conf_str(from, "config_directory"),
		.expand_owner = conf_bool(from, "expand_owner_alias"),
		.owner_is_special = conf_bool(from, "owner_request_special"),
		.reset_owner = conf_bool(from, "reset_owner_alias"),
		.mail_base = conf_str(from, "virtual_mailbox_base"),
		.owner_uid = pw->pw_uid,
		.owner_gid = pw->pw_gid,
		.min_uid = (uint32_t)conf_int(from, "virtual_minimum_uid"),
		.max_uid = (uint32_t)conf_int(from, "virtual_maximum_uid"),
		.workers = (unsigned)conf_int(from, "auth_workers"),
		.plain_needs_tls = conf_bool(from, "disable_plaintext_auth"),
		.policy = {
			.scheme = (enum password_scheme)scheme,
			.cost = (unsigned long)conf_int(from, "password_cost"),
			.scram_iterations = (unsigned)conf_int(from, "scram_iterations"),
		},
	};
	for (int i = 0; i < LOOKUP_OWN; i++)
		out->own_maps[i] = conf_str(from, lookup_own_params[i]);
	return read_rewriting(from, out, err) < 0 || read_srs(from, out, err) < 0
		   ? -1
		   : read_routes(from, out, err);
}
