#include "smtpd/bcc.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/explain.h"
#include "smtpd/lookup.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"
#include "smtpd/verdicts.h"

#include <stdlib.h>

struct smtpd_bcc {
	gate_then *then;
	size_t at; /* 0: the sender; then the recipients */
	struct smtpd_lookup *lookup; /* owned */
	struct smtpd_tables *tables; /* that are asked, and for whom; borrowed */
	const char *address;
};

int
bcc_config_read(struct bcc_config *c, const struct conf *conf, struct err *err)
{
	c->always = conf_str(conf, "always_bcc");
	c->delimiter = conf_str(conf, "recipient_delimiter");
	if (smtpd_tables_open_of(conf, "sender_bcc_maps", &c->senders, err) < 0)
		return -1;
	return smtpd_tables_open_of(conf, "recipient_bcc_maps", &c->recipients, err);
}

void
bcc_config_clear(struct bcc_config *c)
{
	smtpd_tables_close(c->senders);
	smtpd_tables_close(c->recipients);
	c->senders = c->recipients = NULL;
}

void
smtpd_bcc_free(struct smtpd_bcc *b)
{
	if (b == NULL)
		return;
	smtpd_lookup_cancel(b->lookup);
	free(b);
}

/* user+ext@domain, user@domain, @domain.  The texts live in `stripped` and in address. */
static size_t
make_keys(const struct bcc_config *c, const char *address, char stripped[ADDRESS_MAX + 1],
    struct lookup_key keys[3])
{
	const char *domain = address + address_local_length(address);
	size_t n = lookup_address_keys(address, c->delimiter, stripped, keys);

	if (domain[0] != '\0')
		keys[n++] = (struct lookup_key){ view_of(domain), true };
	return n;
}

static enum cmd_result
end(struct smtpd_session *s, bool ok)
{
	gate_then *then = s->tx->bcc->then;

	smtpd_bcc_free(s->tx->bcc);
	s->tx->bcc = NULL;
	if (!ok)
		smtpd_reply(s, 451, "4.3.0", "Temporary lookup failure");
	return then(s, ok);
}

static void
add(struct smtpd_session *s, const char *address)
{
	if (!smtpd_verdict_apply(s->tx, ACTION_BCC, address))
		log_warn("%s: a blind copy to \"%s\" is no address, or one too many", s->tx->queue_id, lqs(address));
}

static void
tell(struct smtpd_session *s, enum lookup_result r, size_t which, const char *value)
{
	const struct smtpd_bcc *b = s->tx->bcc;
	char stripped[ADDRESS_MAX + 1];
	struct lookup_key keys[3];

	make_keys(&s->server->conf->bcc, b->address, stripped, keys);
	smtpd_explain_lookup(s, b->tables, r, keys, which, value);
}

static enum cmd_result next(struct smtpd_session *s);

static void
on_found(void *arg, enum lookup_result r, size_t which, const char *value)
{
	struct smtpd_session *s = arg;

	s->tx->bcc->lookup = NULL;
	if (s->explain != NULL)
		tell(s, r, which, value);
	if (r == LOOKUP_FOUND)
		add(s, value);
	smtpd_gate_settled(s, r == LOOKUP_TEMP ? end(s, false) : next(s));
}

/* Whose copies are looked for next, and where.  NULL: nobody's. */
static const char *
next_address(struct smtpd_session *s, struct smtpd_tables **tables)
{
	const struct bcc_config *c = &s->server->conf->bcc;
	struct smtpd_transaction *tx = s->tx;
	size_t at = tx->bcc->at++;

	if (at == 0) {
		*tables = c->senders;
		return tx->sender.text;
	}
	*tables = c->recipients;
	return c->recipients != NULL && at <= tx->nrcpts ? tx->rcpts[at - 1].address : NULL;
}

static enum cmd_result
next(struct smtpd_session *s)
{
	char stripped[ADDRESS_MAX + 1];
	struct lookup_key keys[3];
	struct smtpd_bcc *b = s->tx->bcc;

	while ((b->address = next_address(s, &b->tables)) != NULL) {
		if (b->tables == NULL || b->address[0] == '\0')
			continue;
		b->lookup = smtpd_lookup_start(s->server, b->tables, keys,
		    make_keys(&s->server->conf->bcc, b->address, stripped, keys), on_found, s);
		return CMD_WAIT;
	}
	return end(s, true);
}

enum cmd_result
smtpd_bcc_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	const struct bcc_config *c = &s->server->conf->bcc;

	if (stage != STAGE_END_OF_DATA)
		return then(s, true);
	if (c->always[0] != '\0')
		add(s, c->always);
	if (c->senders == NULL && c->recipients == NULL)
		return then(s, true);
	s->tx->bcc = x_calloc(1, sizeof *s->tx->bcc);
	s->tx->bcc->then = then;
	return next(s);
}
