#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "smtpd/command.h"
#include "smtpd/params.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <stdio.h>

/* RFC 1870 3: up to 20 digits, which may say more than 64 bits hold: that is too much for anybody. */
static bool
size_parse(struct view value, uint64_t *size)
{
	if (value.len == 0 || value.len > 20)
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (!ascii_is_digit(value.p[i]))
			return false;
	if (!view_u64(value, UINT64_MAX, size))
		*size = UINT64_MAX;
	return true;
}

static bool
param_size(struct smtpd_session *s, struct view value)
{
	uint64_t limit = s->server->conf->message_size_limit;

	if (!size_parse(value, &s->args->size)) {
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
	if (!s->server->conf->has_auth || smtpd_discards(s, EXT_AUTH))
		return smtpd_param_unsupported(s, VIEW_LIT("AUTH"));
	if (view_eq_str(value, "<>") || xtext_is_valid(value))
		return true;
	smtpd_reply(s, 501, "5.5.4", "Malformed AUTH parameter");
	return false;
}

/* RFC 6531 3.4 */
static bool
param_utf8(struct smtpd_session *s, struct view value)
{
	if (value.p != NULL) {
		smtpd_reply(s, 501, "5.5.4", "Syntax: SMTPUTF8 takes no value");
		return false;
	}
	s->args->flags |= ENVELOPE_SMTPUTF8;
	return true;
}

/* RFC 8689 2 */
static bool
param_requiretls(struct smtpd_session *s, struct view value)
{
	if (value.p != NULL) {
		smtpd_reply(s, 501, "5.5.4", "Syntax: REQUIRETLS takes no value");
		return false;
	}
	s->args->flags |= ENVELOPE_REQUIRETLS;
	return true;
}

/* RFC 3461 4.3 */
static bool
param_ret(struct smtpd_session *s, struct view value)
{
	uint32_t flag = dsn_ret_parse(value);

	s->args->flags |= flag;
	if (flag != 0)
		return true;
	smtpd_reply(s, 501, "5.5.4", "Bad RET parameter syntax");
	return false;
}

/* RFC 3461 4.4; it stays in xtext: so it goes on to the next server, and only a report decodes it. */
static bool
param_envid(struct smtpd_session *s, struct view value)
{
	if (!dsn_envid_is_valid(value)) {
		smtpd_reply(s, 501, "5.5.4", "Bad ENVID parameter syntax");
		return false;
	}
	s->args->envid = x_strndup(value.p, value.len);
	return true;
}

/* clang-format off */
static const struct esmtp_param params[] = {
	{ "SIZE",  EXT_SIZE,     param_size },
	{ "BODY",  EXT_8BITMIME, param_body },
	{ "AUTH",  EXT_COUNT,    param_auth },
	{ "SMTPUTF8", EXT_SMTPUTF8, param_utf8 },
	{ "REQUIRETLS", EXT_REQUIRETLS, param_requiretls },
	{ "RET",   EXT_DSN,      param_ret },
	{ "ENVID", EXT_DSN,      param_envid },
};
/* clang-format on */

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
	    address_parse(view_make(text, (size_t)len), ADDRESS_ALLOW_UTF8, a, &err) == 0)
		return true;
	smtpd_reply(s, 501, "5.1.7", "Bad sender address syntax");
	return false;
}

bool
smtpd_check_mail(struct smtpd_session *s, struct view args)
{
	unsigned options = ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_BARE;
	struct view rest;
	struct err err;

	if (!may_send(s))
		return false;
	if (s->server->conf->is_strict)
		options |= ADDRESS_STRICT;
	if (smtpd_offers(s, EXT_SMTPUTF8))
		options |= ADDRESS_ALLOW_UTF8;
	if (command_parse_path(args, "FROM:", options, &s->args->address, &rest, &err) < 0) {
		if (err.kind == ERR_SYNTAX)
			smtpd_reply(s, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
		else
			smtpd_reply(s, 501, "5.1.7", "Bad sender address syntax");
		return false;
	}
	return complete_sender(s) &&
	       smtpd_params_take(s, rest, params, sizeof params / sizeof params[0]) &&
	       smtpd_address_is_allowed(s, s->args->flags);
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
