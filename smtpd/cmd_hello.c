#include "common/base/mem.h"
#include "smtpd/session.h"

#include <stdlib.h>

enum { HELLO_MAX = 255 };

/* Postfix neuters the same bytes: what is left cannot mislead a reader of the log or of Received:. */
static char *
clean_name(struct view name)
{
	char *text = x_strndup(name.p, name.len < HELLO_MAX ? name.len : HELLO_MAX);

	for (char *p = text; *p != '\0'; p++)
		if (*p <= ' ' || *p >= 127 || strchr("<>()\\\";@", *p) != NULL)
			*p = '?';
	return text;
}

/* RFC 5321 4.1.1.1, 4.1.4: the name must be there; whether it is true is for the restrictions to say. */
bool
smtpd_check_hello(struct smtpd_session *s, struct view args)
{
	if (args.len == 0) {
		smtpd_reply(s, 501, "", "Syntax: %s hostname", s->row->verb);
		return false;
	}
	s->args->text = clean_name(args);
	return true;
}

/* Both reset the session as RSET does (RFC 5321 4.1.4); a login stays. */
static void
take_name(struct smtpd_session *s, bool is_esmtp)
{
	smtpd_session_reset(s);
	free(s->helo);
	s->helo = s->args->text;
	s->args->text = NULL;
	s->helo_fact = FACT_UNKNOWN;
	s->is_esmtp = is_esmtp;
	smtpd_session_set_state(s, ST_HELO);
}

static enum cmd_result
helo_permitted(struct smtpd_session *s, bool permitted)
{
	if (!permitted)
		return CMD_DONE;
	take_name(s, false);
	smtpd_reply(s, 250, NULL, "%s", s->server->conf->myhostname);
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_helo(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_HELO, helo_permitted);
}

/* AUTH where it would work right now. */
static bool
offers_auth(const struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;

	return conf->has_auth && s->login == NULL &&
	       (smtpd_session_has_tls(s) || !conf->tls_auth_only);
}

/* PLAIN and LOGIN show the password: never without TLS, whatever smtpd_tls_auth_only says. */
static void
put_mechanisms(const struct smtpd_session *s, struct buf *out)
{
	struct view rest = view_of(s->server->conf->mechanisms), word;

	buf_append_str(out, "250-AUTH");
	while (conf_next(&rest, &word))
		if (smtpd_session_has_tls(s) ||
		    (!view_case_eq_str(word, "PLAIN") && !view_case_eq_str(word, "LOGIN")))
			buf_printf(out, " %.*s", VIEW_ARG(word));
	buf_append_str(out, "\r\n");
}

static enum cmd_result
ehlo_permitted(struct smtpd_session *s, bool permitted)
{
	const struct smtpd_config *conf = s->server->conf;
	struct buf out;

	if (!permitted)
		return CMD_DONE;
	take_name(s, true);
	buf_init(&out, 8192);
	buf_printf(&out, "250-%s\r\n250-PIPELINING\r\n", conf->myhostname); /* RFC 2920 */
	if (conf->message_size_limit > 0)
		buf_printf(&out, "250-SIZE %llu\r\n", (unsigned long long)conf->message_size_limit);
	else
		buf_append_str(&out, "250-SIZE\r\n"); /* RFC 1870 3: no fixed limit */
	if (s->server->tls != NULL && conf->tls_level != SMTPD_TLS_NONE &&
	    !smtpd_session_has_tls(s))
		buf_append_str(&out, "250-STARTTLS\r\n");
	if (offers_auth(s))
		put_mechanisms(s, &out);
	buf_append_str(
	    &out, "250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n"); /* RFC 2034, RFC 6152 */
	s->reply_code = 250;
	stream_write(s->stream, out.p, out.len);
	buf_clear(&out);
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_ehlo(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_HELO, ehlo_permitted);
}
