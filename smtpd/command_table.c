#include "smtpd/command_table.h"

/* The order is that of Postfix's "disconnect from" line. */
/* clang-format off */
const struct smtpd_command smtpd_commands[SMTPD_COMMANDS] = {
	{ "HELO",     ST_ANY,            CMD_LAST | CMD_JUNK,                smtpd_check_hello,    smtpd_cmd_helo },          /* RFC 5321 4.1.1.1 */
	{ "EHLO",     ST_ANY,            CMD_LAST | CMD_JUNK | CMD_PLAIN_OK, smtpd_check_hello,    smtpd_cmd_ehlo },          /* RFC 5321 4.1.1.1 */
	{ "LHLO",     ST_ANY,            CMD_LAST | CMD_JUNK | CMD_PLAIN_OK, smtpd_check_hello,    smtpd_cmd_ehlo },          /* RFC 2033 4.1 */
	{ "STARTTLS", ST_IDLE,           CMD_LAST | CMD_PLAIN_OK | CMD_NO_ARGS, smtpd_check_starttls, smtpd_cmd_starttls },   /* RFC 3207 4 */
	{ "AUTH",     ST_HELO,           CMD_LAST | CMD_NAMED,               smtpd_check_auth,     smtpd_cmd_auth },          /* RFC 4954 4 */
	{ "MAIL",     ST_IDLE,           CMD_NAMED,                          smtpd_check_mail,     smtpd_cmd_mail },          /* RFC 5321 4.1.1.2 */
	{ "RCPT",     ST_TRANSACTION,    0,                                  smtpd_check_rcpt,     smtpd_cmd_rcpt },          /* RFC 5321 4.1.1.3 */
	{ "DATA",     ST_TRANSACTION,    CMD_LAST | CMD_NO_ARGS,             smtpd_check_data,     smtpd_cmd_data },          /* RFC 5321 4.1.1.4 */
	{ "RSET",     ST_ANY,            CMD_JUNK | CMD_NO_ARGS,             smtpd_check_none,     smtpd_cmd_rset },          /* RFC 5321 4.1.1.5 */
	{ "NOOP",     ST_ANY,            CMD_JUNK | CMD_PLAIN_OK,            smtpd_check_none,     smtpd_cmd_noop },          /* RFC 5321 4.1.1.9 */
	{ "VRFY",     ST_ANY,            CMD_JUNK,                           smtpd_check_vrfy,     smtpd_cmd_vrfy },          /* RFC 5321 4.1.1.6 */
	{ "EXPN",     ST_ANY,            CMD_JUNK,                           smtpd_check_none,     smtpd_cmd_unimplemented }, /* RFC 5321 4.1.1.7 */
	{ "HELP",     ST_ANY,            CMD_JUNK | CMD_PLAIN_OK,            smtpd_check_none,     smtpd_cmd_help },          /* RFC 5321 4.1.1.8 */
	{ "ETRN",     ST_ANY,            CMD_JUNK,                           smtpd_check_none,     smtpd_cmd_unimplemented }, /* RFC 1985 */
	{ "TURN",     ST_ANY,            CMD_JUNK,                           smtpd_check_none,     smtpd_cmd_unimplemented }, /* RFC 5321 F.1 */
	{ "SEND",     ST_ANY,            CMD_JUNK,                           smtpd_check_none,     smtpd_cmd_unimplemented }, /* RFC 5321 F.6 */
	{ "SOML",     ST_ANY,            CMD_JUNK,                           smtpd_check_none,     smtpd_cmd_unimplemented },
	{ "SAML",     ST_ANY,            CMD_JUNK,                           smtpd_check_none,     smtpd_cmd_unimplemented },
	{ "BDAT",     ST_ANY,            CMD_PLAIN_OK,                       smtpd_check_bdat,     smtpd_cmd_bdat },          /* RFC 3030 2: looks at its states itself */
	{ "XCLIENT",  ST_IDLE,           0,                                  smtpd_check_attributes, smtpd_cmd_xclient },
	{ "XFORWARD", ST_IDLE,           0,                                  smtpd_check_attributes, smtpd_cmd_xforward },
	{ "QUIT",     ST_ANY,            CMD_LAST | CMD_PLAIN_OK | CMD_NO_ARGS | CMD_DRAIN_OK, smtpd_check_none, smtpd_cmd_quit }, /* RFC 5321 4.1.1.10 */
	{ "unknown",  ST_ANY,            CMD_WHOLE_LINE,                     smtpd_check_unknown,  smtpd_cmd_unknown },
};
/* clang-format on */

const struct smtpd_command *
smtpd_command_find(struct view verb)
{
	size_t i = 0;

	while (i < SMTPD_COMMANDS - 1 && !view_case_eq_str(verb, smtpd_commands[i].verb))
		i++;
	return &smtpd_commands[i];
}
