#include "common/base/mem.h"
#include "smtpd/command.h"
#include "smtpd/params.h"
#include "smtpd/rcpt_lookup.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

/* RFC 5321 4.5.3.1.10.  Senders who ask for more are told 452 and come again with the rest; those who do not
 * listen begin to collect errors. */
static bool
has_room(struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;

	if (s->tx->naccepted < conf->recipient_limit)
		return true;
	smtpd_reply(s, 452, "4.5.3", "Error: too many recipients");
	s->is_excused = s->tx->overshoot++ < conf->recipient_overshoot_limit;
	return false;
}

static bool
param_notify(struct smtpd_session *s, struct view value)
{
	s->args->notify = dsn_notify_parse(value);
	if (s->args->notify != 0)
		return true;
	smtpd_reply(s, 501, "5.5.4", "Bad NOTIFY parameter syntax");
	return false;
}

static bool
param_orcpt(struct smtpd_session *s, struct view value)
{
	s->args->orcpt = dsn_orcpt_take(value, (s->tx->flags & ENVELOPE_SMTPUTF8) != 0);
	if (s->args->orcpt != NULL)
		return true;
	smtpd_reply(s, 501, "5.5.4", "Bad ORCPT parameter syntax");
	return false;
}

static const struct esmtp_param params[] = {
	{ "NOTIFY", EXT_DSN, param_notify }, /* RFC 3461 4.1 */
	{ "ORCPT", EXT_DSN, param_orcpt },   /* RFC 3461 4.2 */
};

bool
smtpd_check_rcpt(struct smtpd_session *s, struct view args)
{
	unsigned options = ADDRESS_ALLOW_BARE | (s->server->conf->is_strict ? ADDRESS_STRICT : 0) |
			   (smtpd_offers(s, EXT_SMTPUTF8) ? ADDRESS_ALLOW_UTF8 : 0);
	struct view rest;
	struct err err;

	s->tx->ntried++;
	if (!has_room(s))
		return false;
	if (command_parse_path(args, "TO:", options, &s->args->address, &rest, &err) < 0) {
		if (err.kind == ERR_SYNTAX)
			smtpd_reply(s, 501, "5.5.4", "Syntax: RCPT TO:<address>");
		else
			smtpd_reply(s, 501, "5.1.3", "Bad recipient address syntax");
		return false;
	}
	return smtpd_params_take(s, rest, params, sizeof params / sizeof params[0]) &&
	       smtpd_address_is_allowed(s, s->tx->flags);
}

static enum cmd_result
rcpt_found(struct smtpd_session *s)
{
	struct smtpd_transaction *tx = s->tx;
	const struct smtpd_args *a = s->args;
	struct err err;

	if (tx->found.fact == FACT_TEMP || tx->found.fact == FACT_FULL) {
		smtpd_reply(s, 451, "4.3.0", "<%s>: Temporary lookup failure", a->address.text);
		return CMD_DONE;
	}
	/* smtpd_reject_unlisted_recipient = no: taken, and returned by qmgr */
	if (tx->found.fact == FACT_NO)
		smtpd_transaction_take_unknown(tx, a->address.text);
	if (smtpd_transaction_add(tx, a->address.text, a->orcpt, a->notify, &err) < 0) {
		smtpd_reply(s, 452, "4.5.3", "Error: %s", err.text);
		return CMD_DONE;
	}
	s->tx->naccepted++;
	smtpd_session_set_state(s, ST_RCPT);
	smtpd_transaction_begin(s);
	smtpd_reply(s, 250, "2.1.5", "Ok");
	return CMD_DONE;
}

static void
on_found(struct smtpd_session *s)
{
	smtpd_gate_settled(s, rcpt_found(s));
}

/* Who takes the mail must be known, whether a restriction has asked for it or not. */
static enum cmd_result
rcpt_permitted(struct smtpd_session *s, bool permitted)
{
	if (!permitted)
		return CMD_DONE;
	if (s->tx->found.fact != FACT_UNKNOWN)
		return rcpt_found(s);
	smtpd_address_lookup(s, s->args->address.text, on_found);
	return CMD_WAIT;
}

enum cmd_result
smtpd_cmd_rcpt(struct smtpd_session *s)
{
	s->tx->found = (struct smtpd_found){ .fact = FACT_UNKNOWN };
	return smtpd_gates_start(s, STAGE_RCPT, rcpt_permitted);
}
