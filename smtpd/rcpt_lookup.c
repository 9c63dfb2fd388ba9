#include "smtpd/rcpt_lookup.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "smtpd/policy.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

enum { RESOLVE_TIMEOUT_MS = 30000 };

static enum restrict_fact
fact_of_status(uint32_t status)
{
	switch (status) {
	case AUTHD_OK:
		return FACT_YES;
	case AUTHD_NO:
	case AUTHD_RELAY_DENIED:
		return FACT_NO;
	case AUTHD_FULL:
		return FACT_FULL;
	case AUTHD_REJECT:
		return FACT_REFUSED;
	case AUTHD_RETRY:
		return FACT_LATER;
	default:
		return FACT_TEMP;
	}
}

/* Copies one final recipient of the answer.  false: out of room, or an answer that makes no sense. */
static bool
take_recipient(struct smtpd_transaction *tx, struct ipc_in *in, struct recipient *r)
{
	const char *nexthop, *address, *sender;

	r->transport = ipc_get_u32(in);
	nexthop = ipc_get_str(in);
	address = ipc_get_str(in);
	r->uid = ipc_get_u32(in);
	r->gid = ipc_get_u32(in);
	sender = ipc_get_str(in);
	r->is_of_list = ipc_get_u32(in) == AUTHD_SENDER_LIST;
	r->sender = arena_strdup(&tx->arena, sender);
	r->nexthop = arena_strdup(&tx->arena, nexthop);
	r->address = arena_strdup(&tx->arena, address);
	return r->nexthop != NULL && r->address != NULL && r->sender != NULL &&
	       address[0] != '\0' && r->transport > 0 && r->transport < TRANSPORT_COUNT;
}

static size_t
count_recipients(struct ipc_in in)
{
	size_t n = 0;

	while (ipc_in_more(&in)) {
		ipc_get_u32(&in);
		ipc_get_str(&in);
		ipc_get_str(&in);
		ipc_get_u32(&in);
		ipc_get_u32(&in);
		ipc_get_str(&in);
		ipc_get_u32(&in);
		n++;
	}
	return n;
}

static bool
take_answer(struct smtpd_transaction *tx, struct ipc_in *in)
{
	struct smtpd_found *f = &tx->found;

	f->fact = fact_of_status(ipc_get_u32(in));
	f->destination = ipc_get_u32(in);
	f->why = arena_strdup(&tx->arena, ipc_get_str(in));
	if (f->fact != FACT_YES && f->fact != FACT_REFUSED && f->fact != FACT_LATER)
		return true;
	f->count = count_recipients(*in);
	f->rcpts = f->count > 0 ? arena_alloc(&tx->arena, f->count * sizeof *f->rcpts) : NULL;
	if (f->rcpts == NULL)
		return false;
	for (size_t i = 0; i < f->count; i++)
		if (!take_recipient(tx, in, &f->rcpts[i]))
			return false;
	return true;
}

static void
on_resolved(void *arg, struct ipc_in *in)
{
	struct smtpd_session *s = arg;
	struct smtpd_found *f = &s->tx->found;

	s->call = NULL;
	if (in == NULL)
		log_warn("no answer from authd for recipient <%s>", lqs(f->address));
	if (in == NULL || !take_answer(s->tx, in)) {
		f->count = 0;
		f->fact = FACT_TEMP;
	}
	f->done(s);
}

static void
resolve(struct smtpd_session *s, const char *address, const char *sender,
    void (*cb)(void *arg, struct ipc_in *in))
{
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_RESOLVE);
	ipc_put_str(&o, address);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, sender);
	s->call = ipc_edge_ask(s->server->authd, &o, AUTHD_RESOLVE_SIG, RESOLVE_TIMEOUT_MS, cb, s);
}

void
smtpd_address_lookup(
    struct smtpd_session *s, const char *address, void (*done)(struct smtpd_session *s))
{
	s->tx->found.address = address;
	s->tx->found.done = done;
	resolve(s, address, s->tx->sender.text, on_resolved);
}

void
smtpd_rcpt_lookup(struct smtpd_session *s, const char *address)
{
	smtpd_address_lookup(s, address, smtpd_policy_continue);
}

/* What is found of the sender is not the recipient's, and before MAIL is answered there is no transaction. */
static void
on_sender(void *arg, struct ipc_in *in)
{
	struct smtpd_session *s = arg;
	enum restrict_fact fact = FACT_TEMP;

	const char *why = "";

	s->call = NULL;
	if (in != NULL) {
		bool is_foreign;

		fact = fact_of_status(ipc_get_u32(in));
		is_foreign = ipc_get_u32(in) == AUTHD_FOREIGN;
		why = ipc_get_str(in);
		/* whose address it is elsewhere is not for us to say; and who gets nothing now may send */
		if (fact == FACT_FULL || fact == FACT_LATER || (fact == FACT_NO && is_foreign))
			fact = FACT_YES;
		if (fact == FACT_REFUSED)
			fact = FACT_NO;
	}
	smtpd_policy_sender_found(s, fact, why);
}

void
smtpd_sender_lookup(struct smtpd_session *s, const char *address)
{
	resolve(s, address, "", on_sender);
}
