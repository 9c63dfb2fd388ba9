#include "imapd/login_imap.h"
#include "imapd/login_imap_parse.h"
#include "common/log/log.h"

#include <stdio.h>

enum { ID_LOG_MAX = 500 };

struct imap_state {
	char tag[IMAP_LOGIN_TAG + 1]; /* of the command that is being answered */
	unsigned literals_asked;      /* "+" sent for the command that is arriving */
	bool has_id;                  /* its ID has been logged: once is enough */
};

struct imap_login_row {
	const char *name;
	unsigned min_args, max_args;
	void (*run)(struct login_client *c, struct imap_login_command *cmd);
};

static const char *
tag_of(struct login_client *c)
{
	return ((struct imap_state *)login_state(c))->tag;
}

static void
put_capability(struct login_client *c, struct buf *out)
{
	struct buf mechs;
	const char *text;

	buf_init(&mechs, 1024);
	text = login_mechanisms(c, "AUTH=", &mechs);
	(void)buf_printf(out, "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE%s%s%s%s",
	    login_can_start_tls(c) ? " STARTTLS" : "", login_can_login(c) ? "" : " LOGINDISABLED",
	    text != NULL && *text != '\0' ? " " : "", text != NULL ? text : "");
	buf_clear(&mechs);
}

static void
imap_greet(struct login_client *c)
{
	struct buf capability;

	buf_init(&capability, 2048);
	put_capability(c, &capability);
	login_reply(c, "* OK [CAPABILITY %s] %s\r\n", buf_cstr(&capability),
	    conf_str(login_conf(c), "login_greeting"));
	buf_clear(&capability);
}

/* ---- commands (RFC 9051 6.1, 6.2) ---- */

static void
login_cmd_capability(struct login_client *c, struct imap_login_command *cmd)
{
	struct buf capability;

	(void)cmd;
	buf_init(&capability, 2048);
	put_capability(c, &capability);
	login_reply(c,
	    "* CAPABILITY %s\r\n%s OK Pre-login capabilities listed, post-login capabilities have more.\r\n",
	    buf_cstr(&capability), tag_of(c));
	buf_clear(&capability);
}

static void
login_cmd_noop(struct login_client *c, struct imap_login_command *cmd)
{
	(void)cmd;
	login_reply(c, "%s OK NOOP completed.\r\n", tag_of(c));
}

static void
login_cmd_logout(struct login_client *c, struct imap_login_command *cmd)
{
	(void)cmd;
	login_reply(c, "* BYE Logging out\r\n%s OK Logout completed.\r\n", tag_of(c));
	login_quit(c);
}

/* RFC 2971 3.1: NIL, or a list of pairs of strings. */
static bool
id_is_well_formed(const struct imap_login_command *cmd)
{
	if (cmd->nargs == 1)
		return cmd->args[0].kind == IMAP_ARG_ATOM &&
		       view_case_eq_str(cmd->args[0].text, "NIL");
	if (cmd->nargs % 2 != 0 || cmd->args[0].kind != IMAP_ARG_OPEN ||
	    cmd->args[cmd->nargs - 1].kind != IMAP_ARG_CLOSE)
		return false;
	for (unsigned i = 1; i < cmd->nargs - 1; i++)
		if (cmd->args[i].kind != IMAP_ARG_STRING && cmd->args[i].kind != IMAP_ARG_ATOM)
			return false;
	return true;
}

static void
log_id(struct login_client *c, const struct imap_login_command *cmd)
{
	struct imap_state *s = login_state(c);
	struct buf text;

	if (s->has_id || cmd->nargs < 4)
		return;
	s->has_id = true;
	buf_init(&text, ID_LOG_MAX);
	for (unsigned i = 1; i + 1 < cmd->nargs - 1; i += 2) {
		char name[64], value[128];

		log_quote(name, sizeof name, cmd->args[i].text);
		log_quote(value, sizeof value, cmd->args[i + 1].text);
		if (buf_printf(&text, "%s%s=%s", text.len > 0 ? ", " : "", name, value) < 0)
			break;
	}
	text.failed = false; /* the rest did not fit: what is there is logged */
	login_log_id(c, buf_cstr(&text));
	buf_clear(&text);
}

static void
login_cmd_id(struct login_client *c, struct imap_login_command *cmd)
{
	if (!id_is_well_formed(cmd)) {
		login_reply(c, "%s BAD Invalid arguments to ID.\r\n", tag_of(c));
		return;
	}
	log_id(c, cmd);
	login_reply(c, "* ID (\"name\" \"Estafeta\")\r\n%s OK ID completed.\r\n", tag_of(c));
}

static void
login_cmd_starttls(struct login_client *c, struct imap_login_command *cmd)
{
	(void)cmd;
	if (login_has_tls(c)) {
		login_reply(c, "%s BAD TLS is already active.\r\n", tag_of(c));
	} else if (!login_can_start_tls(c)) {
		login_reply(c, "%s BAD TLS support isn't enabled.\r\n", tag_of(c));
	} else {
		login_reply(c, "%s OK Begin TLS negotiation now.\r\n", tag_of(c));
		login_start_tls(c);
	}
}

static bool
arg_is_text(const struct imap_arg *arg)
{
	return arg->kind == IMAP_ARG_ATOM || arg->kind == IMAP_ARG_STRING;
}

static bool
is_plaintext_refused(struct login_client *c, struct view mech)
{
	if (login_can_plaintext(c) ||
	    (!view_case_eq_str(mech, "PLAIN") && !view_case_eq_str(mech, "LOGIN")))
		return false;
	/* RFC 5530 3, RFC 9051 6.2.3 */
	login_refused_plaintext(c);
	login_reply(c,
	    "%s NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n",
	    tag_of(c));
	return true;
}

static void
login_cmd_authenticate(struct login_client *c, struct imap_login_command *cmd)
{
	struct view mech = cmd->args[0].text, initial = { NULL, 0 };

	if (cmd->args[0].kind != IMAP_ARG_ATOM ||
	    (cmd->nargs == 2 && cmd->args[1].kind != IMAP_ARG_ATOM)) {
		login_reply(c, "%s BAD Invalid arguments to AUTHENTICATE.\r\n", tag_of(c));
		return;
	}
	if (is_plaintext_refused(c, mech))
		return;
	if (cmd->nargs == 2)
		initial = cmd->args[1].text;
	login_auth_start_base64(c, mech, cmd->nargs == 2, initial);
}

static void
login_cmd_login(struct login_client *c, struct imap_login_command *cmd)
{
	if (!arg_is_text(&cmd->args[0]) || !arg_is_text(&cmd->args[1]))
		login_reply(c, "%s BAD Invalid arguments to LOGIN.\r\n", tag_of(c));
	else if (!is_plaintext_refused(c, VIEW_LIT("PLAIN")))
		login_auth_plain(c, cmd->args[0].text, cmd->args[1].text);
}

/* clang-format off */
static const struct imap_login_row rows[] = {
	{ "AUTHENTICATE", 1, 2,               login_cmd_authenticate },
	{ "CAPABILITY",   0, 0,               login_cmd_capability },
	{ "ID",           1, IMAP_LOGIN_ARGS, login_cmd_id },
	{ "LOGIN",        2, 2,               login_cmd_login },
	{ "LOGOUT",       0, 0,               login_cmd_logout },
	{ "NOOP",         0, 0,               login_cmd_noop },
	{ "STARTTLS",     0, 0,               login_cmd_starttls },
};
/* clang-format on */

static void
imap_run(struct login_client *c, struct imap_login_command *cmd)
{
	const struct imap_login_row *row = rows, *end = rows + sizeof rows / sizeof rows[0];

	while (row < end && !view_case_eq_str(cmd->name, row->name))
		row++;
	if (row == end) {
		/* known or not, what else there is has to wait for the login */
		login_reply(
		    c, "%s BAD Unknown command, or not allowed before login.\r\n", tag_of(c));
		(void)login_bad_command(c);
	} else if (cmd->nargs < row->min_args || cmd->nargs > row->max_args) {
		login_reply(c, "%s BAD Invalid arguments to %s.\r\n", tag_of(c), row->name);
		(void)login_bad_command(c);
	} else {
		row->run(c, cmd);
	}
}

static void
ask_for_literals(struct login_client *c, unsigned literals)
{
	struct imap_state *s = login_state(c);

	for (; s->literals_asked < literals; s->literals_asked++)
		login_reply(c, "+ OK\r\n");
}

static int
imap_input(struct login_client *c, struct view in, size_t *used, struct err *err)
{
	struct imap_state *s = login_state(c);
	struct imap_login_command cmd;
	int r;

	imap_login_command_init(&cmd);
	r = imap_login_parse(&cmd, in, used, err);
	if (r == 1) {
		ask_for_literals(c, cmd.literals);
	} else if (r == 0 || *used > 0) {
		s->literals_asked = 0;
		snprintf(s->tag, sizeof s->tag, "%.*s", VIEW_ARG(cmd.tag));
		if (cmd.tag.len == 0)
			snprintf(s->tag, sizeof s->tag, "*");
		if (r == 0) {
			imap_run(c, &cmd);
		} else {
			login_reply(c, "%s BAD %s\r\n", s->tag, err->text);
			(void)login_bad_command(c);
		}
		r = 0;
	}
	imap_login_command_clear(&cmd);
	return r;
}

/* ---- what the front says ---- */

static void
imap_challenge(struct login_client *c, const char *base64)
{
	login_reply(c, "+ %s\r\n", base64);
}

static void
imap_failed(struct login_client *c, enum login_failure why)
{
	static const char *const texts[] = {
		[LOGIN_WRONG] = "NO [AUTHENTICATIONFAILED] Authentication failed.",
		[LOGIN_UNAVAILABLE] = "NO [UNAVAILABLE] Temporary authentication failure.",
		[LOGIN_NO_MECH] = "NO [CANNOT] Unsupported authentication mechanism.",
		[LOGIN_CANCELLED] = "BAD Authentication aborted by client.",
		[LOGIN_MALFORMED] = "BAD Invalid base64 data in response.",
	};

	login_reply(c, "%s %s\r\n", tag_of(c), texts[why]);
}

static void
imap_bye(struct login_client *c, const char *text)
{
	login_reply(c, "* BYE %s\r\n", text);
}

const struct login_protocol login_imap_protocol = {
	.service = "imap",
	.role = ROLE_IMAPD_LOGIN,
	.state_size = sizeof(struct imap_state),
	.input_max = IMAP_LOGIN_COMMAND + 2,
	.greet = imap_greet,
	.input = imap_input,
	.challenge = imap_challenge,
	.failed = imap_failed,
	.bye = imap_bye,
	.too_many = "* BYE [LIMIT] Too many connections from your address.\r\n",
	.tag = tag_of,
};
