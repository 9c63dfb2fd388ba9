#include "pop3d/login_pop3.h"
#include "common/net/stream.h"

#include <stdio.h>

enum {
	COMMAND_MAX = 512, /* RFC 2449 4 asks for 255; only AUTH may be longer (RFC 5034 4) */
	USER_MAX = 255,
};

struct pop3_state {
	char user[USER_MAX + 1];
	bool has_user;
};

struct pop3_login_row {
	const char *name;
	bool needs_arg;
	void (*run)(struct login_client *c, struct view arg);
};

static void
pop3_greet(struct login_client *c)
{
	login_reply(c, "+OK %s\r\n", conf_str(login_conf(c), "login_greeting"));
}

static void
login_cmd_capa(struct login_client *c, struct view arg)
{
	struct buf mechs;
	const char *text;

	(void)arg;
	buf_init(&mechs, 1024);
	text = login_mechanisms(c, "", &mechs);
	login_reply(c,
	    "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\n%s%s%s%s%s.\r\n",
	    login_can_start_tls(c) ? "STLS\r\n" : "", login_can_login(c) ? "USER\r\n" : "",
	    text != NULL && *text != '\0' ? "SASL " : "", text != NULL ? text : "",
	    text != NULL && *text != '\0' ? "\r\n" : "");
	buf_clear(&mechs);
}

static void
login_cmd_quit(struct login_client *c, struct view arg)
{
	(void)arg;
	login_reply(c, "+OK Logging out\r\n");
	login_quit(c);
}

static void
login_cmd_stls(struct login_client *c, struct view arg)
{
	(void)arg;
	if (login_has_tls(c)) {
		login_reply(c, "-ERR TLS is already active.\r\n");
	} else if (!login_can_start_tls(c)) {
		login_reply(c, "-ERR TLS support isn't enabled.\r\n");
	} else {
		login_reply(c, "+OK Begin TLS negotiation now.\r\n");
		login_start_tls(c);
	}
}

static bool
is_plaintext_refused(struct login_client *c)
{
	if (login_can_plaintext(c))
		return false;
	login_refused_plaintext(c);
	login_reply(c,
	    "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n");
	return true;
}

static void
login_cmd_user(struct login_client *c, struct view arg)
{
	struct pop3_state *s = login_state(c);

	if (is_plaintext_refused(c))
		return;
	if (arg.len > USER_MAX) {
		login_reply(c, "-ERR User name too long.\r\n");
		return;
	}
	memcpy(s->user, arg.p, arg.len);
	s->user[arg.len] = '\0';
	s->has_user = true;
	login_reply(c, "+OK\r\n");
}

static void
login_cmd_pass(struct login_client *c, struct view arg)
{
	struct pop3_state *s = login_state(c);

	if (is_plaintext_refused(c))
		return;
	if (!s->has_user) {
		login_reply(c, "-ERR No username given.\r\n");
		return;
	}
	s->has_user = false;
	login_auth_plain(c, view_of(s->user), arg);
}

/* AUTH alone is older than RFC 5034, and still asked. */
static void
list_mechanisms(struct login_client *c)
{
	struct view rest, mech;
	struct buf mechs;

	buf_init(&mechs, 1024);
	rest = view_of(login_mechanisms(c, "", &mechs));
	login_reply(c, "+OK\r\n");
	while (view_token(&rest, " ", &mech))
		login_reply(c, "%.*s\r\n", VIEW_ARG(mech));
	login_reply(c, ".\r\n");
	buf_clear(&mechs);
}

static void
login_cmd_auth(struct login_client *c, struct view arg)
{
	struct view mech, initial;
	bool has_initial;

	if (arg.len == 0) {
		list_mechanisms(c);
		return;
	}
	has_initial = view_cut(arg, ' ', &mech, &initial);
	if ((view_case_eq_str(mech, "PLAIN") || view_case_eq_str(mech, "LOGIN")) &&
	    is_plaintext_refused(c))
		return;
	login_auth_start_base64(c, mech, has_initial, initial);
}

/* clang-format off */
static const struct pop3_login_row rows[] = {
	{ "AUTH", false, login_cmd_auth },
	{ "CAPA", false, login_cmd_capa },
	{ "PASS", true,  login_cmd_pass },
	{ "QUIT", false, login_cmd_quit },
	{ "STLS", false, login_cmd_stls },
	{ "USER", true,  login_cmd_user },
};
/* clang-format on */

static void
pop3_run(struct login_client *c, struct view line)
{
	const struct pop3_login_row *row = rows, *end = rows + sizeof rows / sizeof rows[0];
	struct view name, arg;
	bool has_arg = view_cut(line, ' ', &name, &arg);

	while (row < end && !view_case_eq_str(name, row->name))
		row++;
	if (row == end) {
		login_reply(c, "-ERR Unknown command, or not allowed before login.\r\n");
		(void)login_bad_command(c);
	} else if (line.len > COMMAND_MAX && row->run != login_cmd_auth) {
		login_reply(c, "-ERR Command line too long.\r\n");
		(void)login_bad_command(c);
	} else if (row->needs_arg && !has_arg) {
		login_reply(c, "-ERR Missing argument.\r\n");
		(void)login_bad_command(c);
	} else {
		row->run(c, arg);
	}
}

static int
pop3_input(struct login_client *c, struct view in, size_t *used, struct err *err)
{
	struct view line;
	int r = line_cut(in, LOGIN_LINE_MAX, &line, used, err);

	if (r == 0)
		pop3_run(c, line);
	return r;
}

/* ---- what the front says ---- */

static void
pop3_challenge(struct login_client *c, const char *base64)
{
	login_reply(c, "+ %s\r\n", base64);
}

/* RFC 3206: AUTH is the client's fault, SYS/TEMP ours. */
static void
pop3_failed(struct login_client *c, enum login_failure why)
{
	static const char *const texts[] = {
		[LOGIN_WRONG] = "[AUTH] Authentication failed.",
		[LOGIN_UNAVAILABLE] = "[SYS/TEMP] Temporary authentication failure.",
		[LOGIN_NO_MECH] = "Unsupported authentication mechanism.",
		[LOGIN_CANCELLED] = "Authentication aborted by client.",
		[LOGIN_MALFORMED] = "Invalid base64 data in response.",
	};

	login_reply(c, "-ERR %s\r\n", texts[why]);
}

static void
pop3_bye(struct login_client *c, const char *text)
{
	login_reply(c, "-ERR %s\r\n", text);
}

static const char *
pop3_tag(struct login_client *c)
{
	(void)c;
	return "";
}

const struct login_protocol login_pop3_protocol = {
	.service = "pop3",
	.role = ROLE_POP3D_LOGIN,
	.state_size = sizeof(struct pop3_state),
	.input_max = 2 * LOGIN_LINE_MAX,
	.greet = pop3_greet,
	.input = pop3_input,
	.challenge = pop3_challenge,
	.failed = pop3_failed,
	.bye = pop3_bye,
	.too_many = "-ERR [IN-USE] Too many connections from your address.\r\n",
	.tag = pop3_tag,
};
