/* estafeta(8): starts, stops, watches and looks after the mail system. */
#include "tools/tool.h"
#include "common/base/mem.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* clang-format off */
static const struct tool_verb verbs[] = {
	{ "start",  "start                              start the mail system and wait until it serves", tool_cmd_start },
	{ "stop",   "stop                               end it", tool_cmd_stop },
	{ "reload", "reload                             take over a changed configuration", tool_cmd_reload },
	{ "status", "status [-j]                        services and their processes", tool_cmd_status },
	{ "check",  "check                              look for faults in the configuration", tool_cmd_check },
	{ "config", "config [-n | -d | -m | NAME... | -e NAME=VALUE]   show or edit parameters (-m: as a reference)", tool_cmd_config },
	{ "queue",  "queue list [-j] | show ID | hold ID | release ID | requeue ID | delete ID | flush [DOMAIN]", tool_cmd_queue },
	{ "map",    "map build TYPE:FILE | query KEY TYPE:FILE", tool_cmd_map },
	{ "user",   "user add ADDR | passwd ADDR | del ADDR | list | show ADDR", tool_cmd_user },
};
/* clang-format on */

static int
usage(void)
{
	fputs("usage: estafeta [-c CONFIG_DIRECTORY] VERB ...\n", stderr);
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		fprintf(stderr, "       %s\n", verbs[i].usage);
	return EX_USAGE;
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
	if (r < 0)
		tool_complain("%s", err.text);
	free(path);
	return r;
}

int
main(int argc, char **argv)
{
	static char directory[PATH_MAX] = "/etc/estafeta";
	struct tool t = { .config_directory = directory };
	int opt;

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
	for (size_t i = 0; argc > 0 && i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(argv[0], verbs[i].name) != 0)
			continue;
		if (load_conf(&t) < 0)
			return EX_CONFIG;
		t.libexec = find_libexec();
		optind = 1;
		return verbs[i].run(&t, argc, argv);
	}
	return usage();
}
