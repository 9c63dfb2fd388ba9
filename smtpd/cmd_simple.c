#include "common/base/buf.h"
#include "common/base/mem.h"
#include "smtpd/session.h"

/* RSET, NOOP, VRFY, EXPN, HELP, QUIT: one reply each. */

bool
smtpd_check_none(struct smtpd_session *s, struct view args)
{
	(void)s;
	(void)args;
	return true;
}

enum cmd_result
smtpd_cmd_rset(struct smtpd_session *s)
{
	smtpd_session_reset(s);
	smtpd_reply(s, 250, "2.0.0", "Ok");
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_noop(struct smtpd_session *s)
{
	smtpd_reply(s, 250, "2.0.0", "Ok");
	return CMD_DONE;
}

bool
smtpd_check_vrfy(struct smtpd_session *s, struct view args)
{
	if (!s->server->conf->has_vrfy) {
		smtpd_reply(s, 502, "5.5.1", "VRFY command is disabled");
		return false;
	}
	if (args.len == 0) {
		smtpd_reply(s, 501, "5.5.4", "Syntax: VRFY address");
		return false;
	}
	return true;
}

/* RFC 5321 3.5.3 and 7.3: no address is confirmed to strangers, known or not. */
enum cmd_result
smtpd_cmd_vrfy(struct smtpd_session *s)
{
	smtpd_reply(
	    s, 252, "2.5.2", "Cannot VRFY user, but will accept message and attempt delivery");
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_help(struct smtpd_session *s)
{
	struct buf verbs;

	buf_init(&verbs, 1024);
	for (size_t i = 0; i < SMTPD_COMMANDS - 1; i++)
		if (smtpd_commands[i].cmd != smtpd_cmd_unimplemented)
			buf_printf(&verbs, " %s", smtpd_commands[i].verb);
	smtpd_reply(s, 214, "2.0.0", "Commands:%s", buf_cstr(&verbs));
	buf_clear(&verbs);
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_quit(struct smtpd_session *s)
{
	smtpd_reply(s, 221, "2.0.0", "Bye");
	smtpd_session_end(s);
	return CMD_DONE;
}

/* RFC 5321 4.2.4: 502 for what is known and not done here, 500 for what is not known */
enum cmd_result
smtpd_cmd_unimplemented(struct smtpd_session *s)
{
	smtpd_reply(s, 502, "5.5.1", "Error: command not implemented");
	return CMD_DONE;
}

bool
smtpd_check_unknown(struct smtpd_session *s, struct view args)
{
	s->args->text = x_strndup(args.p, args.len);
	return true;
}

static enum cmd_result
unknown_permitted(struct smtpd_session *s, bool permitted)
{
	if (permitted)
		smtpd_reply(s, 500, "5.5.2", "Error: command not recognized");
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_unknown(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_UNKNOWN, unknown_permitted);
}
