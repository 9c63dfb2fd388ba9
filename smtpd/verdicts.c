#include "smtpd/verdicts.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/mime/message.h"
#include "common/proto/address.h"
#include "smtpd/header_list.h"
#include "smtpd/rcpt_lookup.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <stdlib.h>

enum { VERDICT_LIST_MAX = 100 }; /* PREPEND and BCC of one message */

/* --- taking them down ----------------------------------------------------------------------------------- */

static bool
add_text(struct smtpd_transaction *tx, const char ***list, size_t *count, const char *text)
{
	const char *copy = *count < VERDICT_LIST_MAX ? arena_strdup(&tx->arena, text) : NULL;

	if (copy == NULL)
		return false;
	*list = x_realloc(*list, *count + 1, sizeof **list);
	(*list)[(*count)++] = copy;
	return true;
}

/* "Name: value" of one line (RFC 5322 2.2). */
static bool
is_header_field(const char *text)
{
	size_t n = header_name_length(view_of(text));

	return n > 0 && !ascii_is_space(text[n - 1]) && strpbrk(text, "\r\n") == NULL;
}

static bool
is_mail_address(const char *text)
{
	struct address a;
	struct err err;

	return address_parse(view_of(text), ADDRESS_ALLOW_UTF8, &a, &err) == 0;
}

static bool
set_text(struct smtpd_transaction *tx, const char **out, const char *text)
{
	const char *copy = arena_strdup(&tx->arena, text);

	if (copy == NULL)
		return false;
	*out = copy;
	return true;
}

bool
smtpd_verdict_apply(struct smtpd_transaction *tx, enum action_kind kind, const char *argument)
{
	struct smtpd_verdicts *v = &tx->verdicts;

	switch (kind) {
	case ACTION_HOLD:
		v->hold = true;
		return true;
	case ACTION_DISCARD:
		v->discard = true;
		return true;
	case ACTION_REDIRECT:
		return is_mail_address(argument) && set_text(tx, &v->redirect, argument);
	case ACTION_FILTER:
		return strchr(argument, ':') != NULL && set_text(tx, &v->filter, argument);
	case ACTION_PREPEND:
		return is_header_field(argument) && add_text(tx, &v->prepend, &v->nprepend, argument);
	case ACTION_BCC:
		return is_mail_address(argument) && add_text(tx, &v->bcc, &v->nbcc, argument);
	default:
		return false;
	}
}

void
smtpd_verdicts_clear(struct smtpd_transaction *tx)
{
	x_free(&tx->verdicts.prepend);
	x_free(&tx->verdicts.bcc);
	tx->verdicts.nprepend = tx->verdicts.nbcc = 0;
}

/* --- the recipients that they bring ---------------------------------------------------------------------- */

static enum cmd_result next_address(struct smtpd_session *s);

/* 0: the one of a redirection, or the first of BCC ... ; NULL: no more. */
static const char *
address_at(const struct smtpd_verdicts *v, size_t i)
{
	if (v->redirect != NULL)
		return i == 0 ? v->redirect : NULL;
	return i < v->nbcc ? v->bcc[i] : NULL;
}

static enum cmd_result
failed(struct smtpd_session *s, const char *address)
{
	log_warn("%s: recipient <%s> of a REDIRECT or BCC action cannot be resolved", s->tx->queue_id,
	    lqs(address));
	smtpd_reply(s, 451, "4.3.0", "Error: queue file write error");
	return s->tx->verdict_then(s, false);
}

static void
on_resolved(struct smtpd_session *s)
{
	struct smtpd_transaction *tx = s->tx;
	const char *address = address_at(&tx->verdicts, tx->verdict_at);
	/* nobody is told what became of a blind copy */
	uint32_t notify = tx->verdicts.redirect != NULL ? 0 : NOTIFY_NEVER;
	struct err err;
	enum cmd_result r;

	/* an address that does not exist bounces, as it would if the sender had named it */
	if (tx->found.fact == FACT_NO) {
		log_warn("%s: <%s> of a REDIRECT or BCC action does not exist", tx->queue_id, lqs(address));
		smtpd_transaction_take_unknown(tx, address);
	}
	if (tx->found.fact == FACT_TEMP || tx->found.fact == FACT_FULL ||
	    smtpd_transaction_add(tx, address, NULL, notify, &err) < 0) {
		r = failed(s, address);
	} else {
		tx->verdict_at++;
		r = next_address(s);
	}
	smtpd_gate_settled(s, r);
}

static enum cmd_result
next_address(struct smtpd_session *s)
{
	struct smtpd_transaction *tx = s->tx;
	const char *address = address_at(&tx->verdicts, tx->verdict_at);

	if (address == NULL)
		return tx->verdict_then(s, true);
	tx->found = (struct smtpd_found){ .fact = FACT_UNKNOWN };
	smtpd_address_lookup(s, address, on_resolved);
	return CMD_WAIT;
}

enum cmd_result
smtpd_verdicts_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	struct smtpd_transaction *tx = s->tx;

	if (stage != STAGE_END_OF_DATA || tx->verdicts.discard ||
	    address_at(&tx->verdicts, 0) == NULL)
		return then(s, true);
	tx->verdict_then = then;
	tx->verdict_at = 0;
	if (tx->verdicts.redirect != NULL)
		smtpd_transaction_forget_rcpts(tx);
	return next_address(s);
}
