#include "pop3d/command.h"

/* clang-format off */
const struct pop3d_command pop3d_commands[] = {
	/* name  args  message  run */
	{ "CAPA", 0, 0, false, pop3d_cmd_capa }, /* RFC 2449 5 */
	{ "DELE", 1, 1, true,  pop3d_cmd_dele }, /* RFC 1939 5 */
	{ "LIST", 0, 1, true,  pop3d_cmd_list },
	{ "NOOP", 0, 0, false, pop3d_cmd_noop },
	{ "QUIT", 0, 0, false, pop3d_cmd_quit }, /* RFC 1939 6 */
	{ "RETR", 1, 1, true,  pop3d_cmd_retr },
	{ "RSET", 0, 0, false, pop3d_cmd_rset },
	{ "STAT", 0, 0, false, pop3d_cmd_stat },
	{ "TOP",  2, 2, true,  pop3d_cmd_top },  /* RFC 1939 7 */
	{ "UIDL", 0, 1, true,  pop3d_cmd_uidl },
	{ 0 },
};
/* clang-format on */
