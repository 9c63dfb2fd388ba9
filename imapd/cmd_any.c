/* CAPABILITY, NOOP, LOGOUT (RFC 3501 6.1), CHECK (6.4.1), NAMESPACE (RFC 2342), ID (RFC 2971), ENABLE (RFC 5161). */
#include "common/log/log.h"
#include "imapd/command.h"

enum { ID_FIELDS_MAX = 30, ID_LOG_MAX = 1000 };

enum imapd_result
imapd_cmd_capability(struct imapd_command *c)
{
	imapd_send(c->session, "* CAPABILITY %s\r\n", imapd_capabilities);
	return IMAPD_DONE;
}

/* CHECK too: every command leaves the disk as durable as it promises (6.4.1: it may be just a NOOP). */
enum imapd_result
imapd_cmd_noop(struct imapd_command *c)
{
	(void)c;
	return IMAPD_DONE;
}

enum imapd_result
imapd_cmd_logout(struct imapd_command *c)
{
	imapd_send(c->session, "* BYE Logging out\r\n");
	imapd_session_set_state(c->session, IMAPD_LOGOUT);
	return imapd_ok(c, NULL, "Logout completed.");
}

enum imapd_result
imapd_cmd_namespace(struct imapd_command *c)
{
	imapd_send(c->session, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	return IMAPD_DONE;
}

/* --- ID --------------------------------------------------------------------------------------------------- */
static bool
parse_id_pair(struct imapd_command *c, struct buf *line)
{
	struct view name, value;
	bool is_nil;

	if (!imap_args_string(&c->args, &name) || !imap_args_space(&c->args) ||
	    !imap_args_nstring(&c->args, &value, &is_nil))
		return false;
	buf_printf(
	    line, "%s%s=", line->len ? ", " : "", lqs(arena_strndup(&c->arena, name.p, name.len)));
	buf_append_str(line, is_nil ? "NIL" : lq(value));
	return true;
}

bool
imapd_parse_id(struct imapd_command *c)
{
	struct view word;
	struct buf line;
	bool ok = true, is_nil;
	int n = 0;

	if (!imap_args_space(&c->args))
		return false;
	if (!imap_args_next_is(&c->args, '('))
		return imap_args_nstring(&c->args, &word, &is_nil) &&
		       (is_nil || imap_args_fail(&c->args, "NIL or a list expected")) &&
		       imap_args_end(&c->args);
	buf_init(&line, ID_LOG_MAX); /* what does not fit is not logged */
	if ((ok = imap_args_open(&c->args)) && !imap_args_next_is(&c->args, ')')) {
		do
			ok = ++n <= ID_FIELDS_MAX && parse_id_pair(c, &line);
		while (ok && imap_args_try(&c->args, ' '));
	}
	ok = ok && imap_args_close(&c->args) && imap_args_end(&c->args);
	if (ok && line.len > 0)
		c->data = arena_strndup(&c->arena, line.p, line.len);
	buf_clear(&line);
	return ok;
}

enum imapd_result
imapd_cmd_id(struct imapd_command *c)
{
	if (c->data != NULL)
		log_as(c->session->login.log_tag, LOG_LEVEL_INFO, "ID sent: %s",
		    (const char *)c->data);
	imapd_send(c->session, "* ID (\"name\" \"Estafeta\")\r\n");
	return IMAPD_DONE;
}

/* --- ENABLE ------------------------------------------------------------------------------------------------ */
bool
imapd_parse_enable(struct imapd_command *c)
{
	struct view word;

	do {
		if (!imap_args_space(&c->args) || !imap_args_atom(&c->args, &word))
			return false;
	} while (c->args.rest.len > 0);
	return true;
}

/* RFC 5161 3.1: what we do not know is ignored; none of what we announce needs enabling. */
enum imapd_result
imapd_cmd_enable(struct imapd_command *c)
{
	imapd_send(c->session, "* ENABLED\r\n");
	return IMAPD_DONE;
}
