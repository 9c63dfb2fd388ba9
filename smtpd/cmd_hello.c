#include "common/base/mem.h"
#include "smtpd/explain.h"
#include "smtpd/extensions.h"
#include "smtpd/session.h"

#include <stdlib.h>

enum { HELLO_MAX = 255 };

void
smtpd_hello_clean(char *name)
{
	for (char *p = name; *p != '\0'; p++)
		if (*p <= ' ' || *p >= 127 || strchr("<>()\\\";@", *p) != NULL)
			*p = '?';
}

/* RFC 5321 4.1.1.1, 4.1.4: the name must be there; whether it is true is for the restrictions to say. */
bool
smtpd_check_hello(struct smtpd_session *s, struct view args)
{
	/* RFC 2033 4.1: the one protocol's greeting is not taken for the other's */
	if ((s->row == smtpd_command_find(VIEW_LIT("LHLO"))) != s->server->conf->ext.is_lmtp) {
		smtpd_cmd_unknown(s);
		return false;
	}
	if (args.len == 0) {
		smtpd_reply(s, 501, "", "Syntax: %s hostname", s->row->verb);
		return false;
	}
	s->args->text = x_strndup(args.p, args.len < HELLO_MAX ? args.len : HELLO_MAX);
	smtpd_hello_clean(s->args->text);
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

static enum cmd_result
ehlo_permitted(struct smtpd_session *s, bool permitted)
{
	struct buf out;

	if (!permitted)
		return CMD_DONE;
	take_name(s, true);
	buf_init(&out, 8192);
	smtpd_extensions_put(s, &out);
	s->reply_code = 250;
	smtpd_explain_reply(s, 250, s->server->conf->myhostname);
	stream_write(s->stream, out.p, out.len);
	buf_clear(&out);
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_ehlo(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_HELO, ehlo_permitted);
}
