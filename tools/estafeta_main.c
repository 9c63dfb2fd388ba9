/* estafeta(8): starts, stops, watches and looks after the mail system. */
#include "tools/tool.h"
#include "common/base/mem.h"
#include "common/config/nearest.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* clang-format off */
static const struct tool_verb verbs[] = {
	{ "start",  "", "start the mail system and wait until it serves", tool_cmd_start },
	{ "stop",   "", "end it", tool_cmd_stop },
	{ "reload", "", "take over a changed configuration, new certificates, a rotated log", tool_cmd_reload },
	{ "rotate", "", "open the log file anew, nothing else", tool_cmd_rotate },
	{ "status", "[-j]", "services and their processes", tool_cmd_status },
	{ "counters", "[-j]", "messages received, delivered, deferred ... since the start", tool_cmd_counters },
	{ "check",  "", "look for faults in the configuration", tool_cmd_check },
	{ "config", "[-n | -d | -m | NAME... | -e NAME=VALUE...]", "show (all, set, defaults, reference, some) or edit parameters", tool_cmd_config },
	{ "queue",  "list [-j] | histogram [--sender] | show ID | hold|release|requeue|expire|delete ID... | flush [DOMAIN]", "", tool_cmd_queue },
	{ "contain", "list [-j] | show LOGIN | hold LOGIN [REASON] | release [-k] LOGIN", "logins whose mail is on hold", tool_cmd_contain },
	{ "audit",  "[--since TIME] [-j] [-v]", "each recipient acknowledged against its one outcome", tool_cmd_audit },
	{ "trace",  "[-j] QUEUE-ID|MESSAGE-ID|ADDRESS", "all that the log says of a message", tool_cmd_trace },
	{ "explain", "[-j] [-s SERVICE] [--client IP[:PORT]] [--name HOST] [--helo NAME] [--sasl LOGIN] [--tls] [--policy] [--size N] [--message FILE] [-f SENDER] -t RECIPIENT...", "what would become of a message: a dry run", tool_cmd_explain },
	{ "map",    "build TYPE:FILE | query KEY TYPE:FILE", "", tool_cmd_map },
	{ "user",   "add [-u UID] [-g GID] [-d HOME] ADDR | passwd ADDR | del ADDR | list | show ADDR", "", tool_cmd_user },
};
/* clang-format on */

static void
print_usage(FILE *to)
{
	fputs("usage: estafeta [-c CONFIG_DIRECTORY] VERB ...\n", to);
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		fprintf(to, "  %-8s %s%s%s\n", verbs[i].name, verbs[i].usage,
		    verbs[i].usage[0] != '\0' && verbs[i].help[0] != '\0' ? ": " : "",
		    verbs[i].help);
}

static int
usage(void)
{
	print_usage(stderr);
	return EX_USAGE;
}

static int
unknown_verb(const char *word)
{
	struct nearest n = { .word = word };

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		nearest_offer(&n, verbs[i].name);
	tool_complain("unknown verb \"%s\"%s%s%s", word, n.found ? "; did you mean \"" : "",
	    n.found ? n.found : "", n.found ? "\"?" : "");
	return usage();
}

static int
help(void)
{
	print_usage(stdout);
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

/* The daemons stand beside the command in the build tree, in ../libexec/estafeta when installed. */
static char *
find_libexec(void)
{
	char path[PATH_MAX], *dir, *found;
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	path[n > 0 ? n : 0] = '\0';
	dir = dirname(path);
	found = x_asprintf("%s/libexec", dir);
	if (access(found, X_OK) < 0) {
		free(found);
		found = x_asprintf("%s/../libexec/estafeta", dir);
	}
	return found;
}

static int
load_conf(struct tool *t)
{
	char *path = x_asprintf("%s/main.cf", t->config_directory);
	struct err err;
	int r;

	conf_init(&t->conf);
	r = conf_load(&t->conf, path, &err);
	free(path);
	/* check goes on with what could be read */
	if (r == 0 || (t->verb->run == tool_cmd_check && conf_is_set(&t->conf, "config_directory")))
		return 0;
	for (struct view rest = buf_view(&t->conf.faults), line; rest.len > 0;) {
		view_cut(rest, '\n', &line, &rest);
		tool_complain("error: %.*s", VIEW_ARG(line));
	}
	return r;
}

int
main(int argc, char **argv)
{
	static char directory[PATH_MAX] = "/etc/estafeta";
	struct tool t = { .config_directory = directory };
	int opt;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return help();
	while ((opt = getopt(argc, argv, "+c:")) != -1) {
		if (opt != 'c')
			return usage();
		if (realpath(optarg, directory) == NULL) {
			tool_complain("%s: no such directory", optarg);
			return EX_NOINPUT;
		}
	}
	argc -= optind;
	argv += optind;
	if (argc == 1 && strcmp(argv[0], "help") == 0)
		return help();
	for (size_t i = 0; argc > 0 && i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(argv[0], verbs[i].name) != 0)
			continue;
		t.verb = &verbs[i];
		if (load_conf(&t) < 0)
			return EX_CONFIG;
		t.libexec = find_libexec();
		optind = 1;
		return verbs[i].run(&t, argc, argv);
	}
	return argc > 0 ? unknown_verb(argv[0]) : usage();
}
