#include "common/ipc/envelope.h"
#include "smtpd/command.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <stdio.h>

static bool
param_size(struct smtpd_session *s, struct view value)
{
	uint64_t limit = s->server->conf->message_size_limit;

	/* RFC 1870 3: up to 20 digits */
	if (value.p == NULL || value.len > 20 || !view_u64(value, UINT64_MAX, &s->args->size)) {
		smtpd_reply(s, 501, "5.5.4", "Bad message size syntax");
		return false;
	}
	if (limit > 0 && s->args->size > limit) {
		smtpd_reply(s, 552, "5.3.4", "Message size exceeds fixed limit");
		return false;
	}
	return true;
}

static bool
param_body(struct smtpd_session *s, struct view value)
{
	if (view_case_eq_str(value, "8BITMIME")) {
		s->args->flags |= ENVELOPE_8BIT;
		return true;
	}
	if (view_case_eq_str(value, "7BIT"))
		return true;
	smtpd_reply(s, 501, "5.5.4", "Syntax: BODY=7BIT or BODY=8BITMIME");
	return false;
}

/* RFC 4954 5: must be understood where AUTH is offered, and may be disbelieved: it is, always. */
static bool
param_auth(struct smtpd_session *s, struct view value)
{
	if (view_eq_str(value, "<>") || xtext_is_valid(value))
		return true;
	smtpd_reply(s, 501, "5.5.4", "Malformed AUTH parameter");
	return false;
}

static bool
take_param(struct smtpd_session *s, struct view keyword, struct view value)
{
	if (view_case_eq_str(keyword, "SIZE"))
		return param_size(s, value);
	if (view_case_eq_str(keyword, "BODY"))
		return param_body(s, value);
	if (view_case_eq_str(keyword, "AUTH") && s->server->conf->has_auth)
		return param_auth(s, value);
	smtpd_reply(s, 555, "5.5.4", "Unsupported option: %.*s",
	    keyword.len < 64 ? (int)keyword.len : 64, keyword.p);
	return false;
}

static bool
take_params(struct smtpd_session *s, struct view rest)
{
	struct view keyword, value;
	struct err err;
	int r;

	while ((r = esmtp_param_next(&rest, &keyword, &value, &err)) == 0)
		if (!take_param(s, keyword, value))
			return false;
	if (r < 0)
		smtpd_reply(s, 501, "5.5.4", "Error: %s", err.text);
	return r == 1;
}

/* RFC 6409 4.3: our users' port takes nothing from strangers; and it says what is missing. */
static bool
may_send(struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;

	if (conf->requires_helo && s->state == ST_START) {
		smtpd_reply(s, 503, "5.5.1", "Error: send HELO/EHLO first");
		return false;
	}
	if (!conf->is_submission || s->login != NULL)
		return true;
	if (conf->tls_auth_only && !smtpd_session_has_tls(s) && s->server->tls != NULL)
		smtpd_reply(s, 530, "5.7.0", "Must issue a STARTTLS command first");
	else
		smtpd_reply(s, 530, "5.7.0", "Authentication required");
	return false;
}

/* A sender without a domain gets ours, as Postfix does: a bounce to it must find its way. */
static bool
complete_sender(struct smtpd_session *s)
{
	struct address *a = &s->args->address;
	char text[2 * ADDRESS_MAX];
	struct err err;
	int len;

	if (a->text[0] == '\0' || a->domain[0] != '\0')
		return true;
	len = snprintf(text, sizeof text, "%s@%s", a->text, s->server->conf->myorigin);
	if (len > 0 && (size_t)len < sizeof text &&
	    address_parse(view_make(text, (size_t)len), 0, a, &err) == 0)
		return true;
	smtpd_reply(s, 501, "5.1.7", "Bad sender address syntax");
	return false;
}

bool
smtpd_check_mail(struct smtpd_session *s, struct view args)
{
	unsigned options = ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_BARE;
	struct view params;
	struct err err;

	if (!may_send(s))
		return false;
	if (s->server->conf->is_strict)
		options |= ADDRESS_STRICT;
	if (command_parse_path(args, "FROM:", options, &s->args->address, &params, &err) < 0) {
		if (err.kind == ERR_SYNTAX)
			smtpd_reply(s, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
		else
			smtpd_reply(s, 501, "5.1.7", "Bad sender address syntax");
		return false;
	}
	return complete_sender(s) && take_params(s, params);
}

static enum cmd_result
mail_permitted(struct smtpd_session *s, bool permitted)
{
	if (!permitted)
		return CMD_DONE;
	if (smtpd_session_has_tls(s))
		s->args->flags |= ENVELOPE_TLS;
	smtpd_transaction_new(s, s->args);
	smtpd_session_set_state(s, ST_MAIL);
	smtpd_reply(s, 250, "2.1.0", "Ok");
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_mail(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_MAIL, mail_permitted);
}
