/* tool.h - what every verb of estafeta(8) shares.
 * A verb returns the exit status: 0 done, 1 the thing asked about failed, 64-78 as sysexits.h. */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include "common/config/conf.h"
#include "common/ipc/conn.h"
#include "common/ipc/edges.h"
#include "common/table/table.h"

struct tool_verb;
struct tool {
	const struct tool_verb *verb; /* that runs */
	const char *config_directory;
	struct conf conf;    /* loaded main.cf */
	const char *libexec; /* directory of the daemons, found relative to the command itself */
};

struct tool_verb {
	const char *name;
	const char *usage;                                 /* "list [-j] | show ID | ..." */
	const char *help;                                  /* "" where the usage says it */
	int (*run)(struct tool *t, int argc, char **argv); /* argv[0] is the verb */
};

/* One file a verb: cmd_<name>.c. */
int tool_cmd_start(struct tool *t, int argc, char **argv);
int tool_cmd_stop(struct tool *t, int argc, char **argv);
int tool_cmd_reload(struct tool *t, int argc, char **argv);
int tool_cmd_rotate(struct tool *t, int argc, char **argv);
int tool_cmd_status(struct tool *t, int argc, char **argv);
int tool_cmd_counters(struct tool *t, int argc, char **argv);
int tool_cmd_contain(struct tool *t, int argc, char **argv);
int tool_cmd_check(struct tool *t, int argc, char **argv);
int tool_cmd_config(struct tool *t, int argc, char **argv);
int tool_cmd_queue(struct tool *t, int argc, char **argv);
int tool_cmd_audit(struct tool *t, int argc, char **argv);
int tool_cmd_explain(struct tool *t, int argc, char **argv);
int tool_cmd_trace(struct tool *t, int argc, char **argv);
int tool_cmd_map(struct tool *t, int argc, char **argv);
int tool_cmd_user(struct tool *t, int argc, char **argv);

/* Blocking connection to the control edge of a server (authd, qmgr, master): the socket
 * $data_directory/control/<server>.  Descriptor, or -1: ERR_GONE when the suite is not running. */
int tool_connect(const struct tool *t, enum role server, struct err *err);
/* How the text of this table is written: those of alias_maps and alias_database as aliases(5) has it. */
enum table_form tool_table_form(const struct conf *c, const char *spec);
/* Prints how the running verb is used on standard error; EX_USAGE. */
int tool_usage(const struct tool *t);
/* Prints "estafeta: TEXT" on standard error. */
void tool_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Login name of whoever calls, "unknown" without one. */
const char *tool_user_name(void);
/* Reads a password: prompted twice without echo on a terminal, one line from standard input otherwise. */
int tool_read_password(char *out, size_t size, struct err *err);

#endif
