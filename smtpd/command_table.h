/* command_table.h - every command in one row; only the dispatcher in session.c reads states and flags. */
#ifndef SMTPD_COMMAND_TABLE_H
#define SMTPD_COMMAND_TABLE_H

#include "common/base/view.h"

struct smtpd_session;

enum smtpd_state {
	ST_START = 1,     /* greeted the client, no HELO yet */
	ST_HELO = 2,      /* EHLO or HELO was answered */
	ST_MAIL = 4,      /* a transaction without recipients */
	ST_RCPT = 8,      /* a transaction with recipients */
	ST_CONTENT = 16,  /* behind 354: input is the message */
	ST_SASL = 32,     /* behind 334: input is a response */
	ST_END = 64,      /* the last reply is queued */
	ST_CHUNK = 128,   /* behind BDAT: input is octets */
	ST_BETWEEN = 256, /* a transaction with the first chunks of its content */
	ST_IDLE = ST_START | ST_HELO,
	ST_TRANSACTION = ST_MAIL | ST_RCPT,
	ST_ANY = ST_IDLE | ST_TRANSACTION | ST_BETWEEN,
};

enum smtpd_command_flags {
	CMD_LAST = 1,     /* nothing may be pipelined behind it (RFC 2920 3.1, RFC 3207 4) */
	CMD_JUNK = 2,     /* does not further a delivery: counted by smtpd_junk_command_limit */
	CMD_PLAIN_OK = 4, /* allowed before STARTTLS where TLS is required (RFC 3207 4) */
	CMD_NAMED = 8,    /* waits, a little, for the client's name */
	CMD_NO_ARGS = 16,
	CMD_DRAIN_OK = 32, /* answered as usual while the process ends */
	CMD_WHOLE_LINE = 64, /* its argument is the line as it stands */
};

/* What became of a command. */
enum cmd_result {
	CMD_DONE, /* it has its reply */
	CMD_WAIT, /* smtpd_session_done or smtpd_session_continue will be called */
	CMD_MORE, /* it goes on with further input (334, 354) */
};

struct smtpd_command {
	const char *verb;
	unsigned states; /* mask of enum smtpd_state */
	unsigned flags;  /* enum smtpd_command_flags */
	/* Only validates; fills s->args.  false: it has replied. */
	bool (*check)(struct smtpd_session *s, struct view args);
	/* Only acts. */
	enum cmd_result (*cmd)(struct smtpd_session *s);
};

enum { SMTPD_COMMANDS = 23 };
/* The last row stands for every unknown command. */
extern const struct smtpd_command smtpd_commands[SMTPD_COMMANDS];
const struct smtpd_command *smtpd_command_find(struct view verb);

/* cmd_hello.c */
/* Postfix neuters the same bytes of a HELO name: what is left cannot mislead a reader of the log or of Received:. */
void smtpd_hello_clean(char *name);
bool smtpd_check_hello(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_helo(struct smtpd_session *s);
enum cmd_result smtpd_cmd_ehlo(struct smtpd_session *s);
/* cmd_starttls.c */
bool smtpd_check_starttls(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_starttls(struct smtpd_session *s);
/* cmd_auth.c */
bool smtpd_check_auth(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_auth(struct smtpd_session *s);
/* cmd_mail.c */
bool smtpd_check_mail(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_mail(struct smtpd_session *s);
/* cmd_rcpt.c */
bool smtpd_check_rcpt(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_rcpt(struct smtpd_session *s);
/* cmd_data.c */
bool smtpd_check_data(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_data(struct smtpd_session *s);
/* cmd_bdat.c */
bool smtpd_check_bdat(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_bdat(struct smtpd_session *s);
/* cmd_xclient.c */
bool smtpd_check_attributes(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_xclient(struct smtpd_session *s);
enum cmd_result smtpd_cmd_xforward(struct smtpd_session *s);
/* cmd_simple.c */
bool smtpd_check_none(struct smtpd_session *s, struct view args);
bool smtpd_check_unknown(struct smtpd_session *s, struct view args);
bool smtpd_check_vrfy(struct smtpd_session *s, struct view args);
enum cmd_result smtpd_cmd_rset(struct smtpd_session *s);
enum cmd_result smtpd_cmd_noop(struct smtpd_session *s);
enum cmd_result smtpd_cmd_vrfy(struct smtpd_session *s);
enum cmd_result smtpd_cmd_help(struct smtpd_session *s);
enum cmd_result smtpd_cmd_quit(struct smtpd_session *s);
enum cmd_result smtpd_cmd_unimplemented(struct smtpd_session *s);
enum cmd_result smtpd_cmd_unknown(struct smtpd_session *s);

#endif
