/* command.h - POP3 commands of the TRANSACTION state: one row says all. */
#ifndef POP3D_COMMAND_H
#define POP3D_COMMAND_H

#include "pop3d/session.h"

enum { POP3D_ARGS_MAX = 2 };
struct pop3d_command {
	const char *name;
	unsigned min_args, max_args;
	/* The first argument is a message number: it is checked before run, and given as index from 0. */
	bool takes_message;
	void (*run)(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
};
extern const struct pop3d_command pop3d_commands[]; /* ends with a row whose run is NULL */

enum pop3d_command_result { POP3D_COMMAND_DONE, POP3D_COMMAND_UNKNOWN, POP3D_COMMAND_ARGUMENTS };
enum pop3d_command_result pop3d_command_run(struct pop3d_session *s, struct view line);
/* Word and arguments of a line (RFC 1939 3), one or more spaces between them.  false: too many arguments.  Pure. */
bool pop3d_command_split(
    struct view line, struct view *word, struct view args[POP3D_ARGS_MAX], unsigned *nargs);

void pop3d_cmd_capa(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_dele(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_list(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_noop(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_quit(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_retr(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_rset(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_stat(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_top(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);
void pop3d_cmd_uidl(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs);

#endif
