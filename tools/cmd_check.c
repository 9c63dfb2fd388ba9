#include "tools/tool.h"
#include "common/base/mem.h"
#include "common/config/master_cf.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

static void
report(void *arg, const char *text)
{
	(void)arg;
	tool_complain("%s", text);
}

static unsigned
check_services(struct tool *t)
{
	char *path = x_asprintf("%s/master.cf", t->config_directory);
	struct master_cf table;
	unsigned faults = 0;
	struct err err;

	if (master_cf_load(&table, path, &err) < 0) {
		tool_complain("%s", err.text);
		faults++;
	}
	for (size_t i = 0; faults == 0 && i < table.count; i++) {
		struct conf c;

		if (service_conf(&table.services[i], &t->conf, &c, &err) < 0) {
			tool_complain("%s", err.text);
			faults++;
		} else
			faults += conf_check(&c, report, NULL);
		conf_clear(&c);
	}
	master_cf_clear(&table);
	free(path);
	return faults;
}

static unsigned
check_users(struct tool *t)
{
	unsigned faults = 0;

	for (int r = ROLE_LOG; r < ROLE_COUNT; r++) {
		const char *user = role_row((enum role)r)->user;

		if (user != NULL && getpwnam(user) == NULL) {
			tool_complain("system user \"%s\" does not exist (run conf/users.sh)", user);
			faults++;
		}
	}
	if (getpwnam(conf_str(&t->conf, "mail_owner")) == NULL) {
		tool_complain("mail_owner: system user \"%s\" does not exist", conf_str(&t->conf, "mail_owner"));
		faults++;
	}
	return faults;
}

/* A key file that others can read is a fault however well the daemons keep it. */
static unsigned
check_files(struct tool *t)
{
	static const char *const files[] = { "tls_cert_file", "tls_key_file" };
	unsigned faults = 0;

	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		const char *path = conf_str(&t->conf, files[i]);

		if (path[0] != '\0' && access(path, R_OK) < 0) {
			tool_complain("%s: cannot read %s", files[i], path);
			faults++;
		}
	}
	return faults;
}

int
tool_cmd_check(struct tool *t, int argc, char **argv)
{
	unsigned faults = conf_check(&t->conf, report, NULL);

	(void)argv;
	if (argc != 1)
		return EX_USAGE;
	if (faults == 0)
		faults = check_services(t) + check_users(t) + check_files(t);
	return faults == 0 ? EX_OK : EX_CONFIG;
}
