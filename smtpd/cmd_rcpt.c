#include "smtpd/command.h"
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

bool
smtpd_check_rcpt(struct smtpd_session *s, struct view args)
{
	unsigned options = ADDRESS_ALLOW_BARE | (s->server->conf->is_strict ? ADDRESS_STRICT : 0);
	struct view params, keyword, value;
	struct err err;
	int r;

	s->tx->ntried++;
	if (!has_room(s))
		return false;
	if (command_parse_path(args, "TO:", options, &s->args->address, &params, &err) < 0) {
		if (err.kind == ERR_SYNTAX)
			smtpd_reply(s, 501, "5.5.4", "Syntax: RCPT TO:<address>");
		else
			smtpd_reply(s, 501, "5.1.3", "Bad recipient address syntax");
		return false;
	}
	r = esmtp_param_next(&params, &keyword, &value, &err);
	if (r == 1)
		return true;
	if (r < 0)
		smtpd_reply(s, 501, "5.5.4", "Error: %s", err.text);
	else
		smtpd_reply(s, 555, "5.5.4", "Unsupported option: %.*s",
		    keyword.len < 64 ? (int)keyword.len : 64, keyword.p);
	return false;
}

static enum cmd_result
rcpt_permitted(struct smtpd_session *s, bool permitted)
{
	struct err err;

	if (!permitted)
		return CMD_DONE;
	if (smtpd_transaction_add(s->tx, s->args->address.text, &err) < 0) {
		smtpd_reply(s, 452, "4.5.3", "Error: %s", err.text);
		return CMD_DONE;
	}
	smtpd_session_set_state(s, ST_RCPT);
	smtpd_transaction_begin(s);
	smtpd_reply(s, 250, "2.1.5", "Ok");
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_rcpt(struct smtpd_session *s)
{
	s->tx->found = (struct smtpd_found){ .fact = FACT_UNKNOWN };
	return smtpd_gates_start(s, STAGE_RCPT, rcpt_permitted);
}
