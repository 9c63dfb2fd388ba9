#include "authd/authd_conf.h"

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
		.alias_maps = conf_str(from, "virtual_alias_maps"),
		.lookup_tables = conf_str(from, TABLE_CONFIG_PARAM),
		.mailbox_domains = conf_str(from, "virtual_mailbox_domains"),
		.destination = conf_str(from, "mydestination"),
		.origin = conf_str(from, "myorigin"),
		.relayhost = conf_str(from, "relayhost"),
		.delimiter = conf_str(from, "recipient_delimiter"),
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
	return 0;
}
