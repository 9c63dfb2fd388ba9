/* estafeta audit [--since T] [-j] [-v] - every recipient acknowledged with 250 against its one outcome.
 *
 * The program that reads the queue directory is qmgr's (qmgr/audit.h); here is what an admin says. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/config/conf.h"
#include "tools/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* "2h" ago; "2026-11-23", "2026-11-23 14:00", "2026-11-23T14:00:00", local time; "@1795478400". */
static bool
parse_since(const char *text, int64_t *us)
{
	static const char *const forms[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S",
		"%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d" };
	static const struct {
		char letter;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 7 * 86400 } };
	const char *digits = text[0] == '@' ? text + 1 : text;
	unsigned long long n;
	char *end;

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		struct tm tm = { .tm_isdst = -1 };
		const char *rest = strptime(text, forms[i], &tm);

		if (rest == NULL || *rest != '\0')
			continue;
		*us = (int64_t)mktime(&tm) * 1000000;
		return *us >= 0;
	}
	if (digits[0] < '0' || digits[0] > '9')
		return false;
	errno = 0;
	n = strtoull(digits, &end, 10);
	if (errno != 0 || n > INT64_MAX / 1000000 / (digits != text ? 1 : 7 * 86400))
		return false;
	if (digits != text) {
		*us = (int64_t)n * 1000000;
		return *end == '\0';
	}
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (*end == units[i].letter && end[1] == '\0') {
			*us = clock_wall_us() - (int64_t)n * units[i].seconds * 1000000;
			*us = *us < 0 ? 0 : *us;
			return true;
		}
	return false;
}

int
tool_cmd_audit(struct tool *t, int argc, char **argv)
{
	char *program = x_asprintf("%s/audit", t->libexec), since[32] = "0";
	char *args[8] = { program, (char *)conf_str(&t->conf, "queue_directory"), since };
	int nargs = 3;
	int64_t us;

	for (int i = 1; i < argc; i++) {
		const char *value = NULL;

		if (strncmp(argv[i], "--since=", 8) == 0)
			value = argv[i] + 8;
		else if (strcmp(argv[i], "--since") == 0 && i + 1 < argc)
			value = argv[++i];
		else if ((strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "-v") == 0) && nargs < 7)
			args[nargs++] = argv[i];
		else
			return tool_usage(t);
		if (value == NULL)
			continue;
		if (!parse_since(value, &us)) {
			tool_complain(
			    "--since %s: neither a time (2026-11-23, 2026-11-23T14:00) nor how long "
			    "ago (90m, 2d)",
			    value);
			return EX_USAGE;
		}
		snprintf(since, sizeof since, "%lld", (long long)us);
	}
	if (geteuid() != 0) {
		tool_complain("audit: only root may read the queue");
		return EX_NOPERM;
	}
	execv(program, args);
	tool_complain("%s: %s", program, strerrordesc_np(errno));
	return EX_UNAVAILABLE;
}
