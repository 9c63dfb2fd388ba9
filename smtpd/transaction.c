#include "smtpd/transaction.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/daemon/counters.h"
#include "common/ipc/msg/qmgr.h"
#include "common/log/log.h"
#include "smtpd/bcc.h"
#include "smtpd/checks.h"
#include "smtpd/cmd_data.h"
#include "smtpd/header_rewrite.h"
#include "smtpd/milter.h"
#include "smtpd/verdicts.h"
#include "smtpd/xclient.h"

#include <stdlib.h>

enum {
	ARENA_MAX = 16 << 20, /* aliases may expand to many; a session may not take all memory */
	BEGIN_TIMEOUT_MS = 45000, /* qmgr may be restarting and replaying its journal */
};

void
smtpd_transaction_new(struct smtpd_session *s, const struct smtpd_args *args)
{
	struct smtpd_transaction *tx = x_calloc(1, sizeof *tx);

	arena_init(&tx->arena, ARENA_MAX);
	map_init(&tx->seen);
	tx->sender = args->address;
	tx->sender.domain = tx->sender.text + (args->address.domain - args->address.text);
	tx->flags = args->flags;
	tx->envid = args->envid != NULL ? arena_strdup(&tx->arena, args->envid) : NULL;
	tx->announced_size = args->size;
	tx->arrival_ms = clock_wall_ms();
	s->tx = tx;
}

static void
abort_id(struct smtpd_session *s, const char *id)
{
	struct ipc_out o;

	ipc_out_init(&o, QMGR_ABORT);
	ipc_put_str(&o, id);
	ipc_edge_send(s->server->qmgr, &o);
}

static void
tell_refused(const struct smtpd_session *s)
{
	struct ipc_out o;

	if (s->tx->unknown_rcpts == 0 || s->login == NULL || s->explain != NULL)
		return;
	ipc_out_init(&o, QMGR_REFUSED);
	ipc_put_str(&o, s->login);
	ipc_put_u32(&o, s->tx->unknown_rcpts);
	(void)ipc_edge_send(s->server->qmgr, &o); /* a few less counted are no harm */
}

void
smtpd_transaction_free(struct smtpd_session *s)
{
	struct smtpd_transaction *tx = s->tx;

	if (tx == NULL)
		return;
	tell_refused(s);
	s->tx = NULL;
	s->is_served = s->server->is_draining;
	ipc_call_cancel(tx->begin);
	smtpd_milter_abort(s);
	if (tx->queue_id != NULL && !tx->is_committed)
		abort_id(s, tx->queue_id);
	smtpd_content_free(tx->content);
	smtpd_bcc_free(tx->bcc);
	smtpd_checks_free(tx->checks);
	smtpd_rewrite_free(tx->rewrite);
	smtpd_verdicts_clear(tx);
	map_clear(&tx->seen);
	arena_clear(&tx->arena);
	free(tx->queue_id);
	free(tx->rcpts);
	free(tx);
}

static int
add_one(struct smtpd_transaction *tx, const struct recipient *r, const struct recipient *given,
    struct err *err)
{
	struct recipient *mine;

	if (map_get(&tx->seen, view_of(r->address)) != NULL)
		return 0; /* several addresses of one mailbox, or the same one again */
	if (tx->nrcpts >= ENVELOPE_MAX_RCPTS)
		return err_set(err, ERR_LIMIT, "too many recipients");
	if (tx->nrcpts == tx->cap) {
		tx->cap = tx->cap == 0 ? 4 : tx->cap * 2;
		tx->rcpts = x_realloc(tx->rcpts, tx->cap, sizeof *tx->rcpts);
	}
	mine = &tx->rcpts[tx->nrcpts++];
	*mine = *r;
	mine->orig = strcmp(given->orig, r->address) == 0 ? "" : given->orig;
	mine->orcpt = r->is_of_list ? "" : given->orcpt;
	mine->notify = r->is_of_list ? 0 : given->notify;
	map_put(&tx->seen, view_of(r->address), tx);
	return 0;
}

/* What does not fit a message of its own kind may come in the next one: 452 makes the client try again. */
static int
check_senders(struct smtpd_transaction *tx, size_t before, struct err *err)
{
	const struct envelope e = {
		.sender = tx->sender.text, .rcpts = tx->rcpts, .nrcpts = tx->nrcpts
	};

	for (size_t i = before; i < tx->nrcpts; i++)
		tx->has_senders |= tx->rcpts[i].sender != NULL && tx->rcpts[i].sender[0] != '\0';
	if (!tx->has_senders || envelope_count_senders(&e) <= ENVELOPE_MAX_SENDERS)
		return 0;
	while (tx->nrcpts > before)
		map_remove(&tx->seen, view_of(tx->rcpts[--tx->nrcpts].address));
	return err_set(err, ERR_LIMIT, "too many mailing lists");
}

/* RFC 3461 5.2.7: what an alias stands for inherits ORCPT and NOTIFY from the alias; of several addresses only the
 * first carries SUCCESS, so that the sender hears of one success, as 5.2.7.3 (b) has it, and of every failure. */
int
smtpd_transaction_add(struct smtpd_transaction *tx, const char *orig, const char *orcpt,
    uint32_t notify, struct err *err)
{
	struct recipient given = { .orig = arena_strdup(&tx->arena, orig),
		.orcpt = orcpt != NULL ? arena_strdup(&tx->arena, orcpt) : "",
		.notify = notify };
	size_t before = tx->nrcpts;

	if (given.orig == NULL || given.orcpt == NULL)
		return err_set(err, ERR_LIMIT, "too many recipients");
	for (size_t i = 0; i < tx->found.count; i++) {
		if (i == 1 && (given.notify & NOTIFY_SUCCESS)) {
			given.notify &= ~(uint32_t)NOTIFY_SUCCESS;
			given.notify = given.notify != 0 ? given.notify : NOTIFY_NEVER;
		}
		if (add_one(tx, &tx->found.rcpts[i], &given, err) < 0)
			return -1;
	}
	if (tx->found.count == 0)
		return err_set(err, ERR_LIMIT, "nobody takes mail for this address");
	if (check_senders(tx, before, err) < 0)
		return -1;
	tx->only_rcpt = before == 0 ? given.orig : NULL;
	return 0;
}

void
smtpd_transaction_take_unknown(struct smtpd_transaction *tx, const char *address)
{
	struct recipient *r = arena_alloc(&tx->arena, sizeof *r);

	tx->found.rcpts = r;
	tx->found.count = r != NULL ? 1 : 0;
	if (r == NULL)
		return;
	r->address = arena_strdup(&tx->arena, address);
	r->nexthop = "";
	r->transport = TRANSPORT_SMTP;
	tx->found.count = r->address != NULL ? 1 : 0;
}

void
smtpd_transaction_forget_rcpts(struct smtpd_transaction *tx)
{
	map_clear(&tx->seen);
	map_init(&tx->seen);
	tx->nrcpts = 0;
	tx->has_senders = false;
	tx->only_rcpt = NULL;
}

/* Postfix logs this line when the queue file is opened. */
static void
log_client(struct smtpd_session *s)
{
	struct buf line;

	buf_init(&line, 4000);
	buf_printf(&line, "client=%s", smtpd_client_label(s));
	counter_add(COUNTER_RECEIVED, 1);
	if (s->login != NULL)
		buf_printf(
		    &line, ", sasl_method=%s, sasl_username=%s", s->mechanism, lqs(s->login));
	smtpd_xforward_log(s, &line);
	log_info("%s: %s", s->tx->queue_id, line.failed ? "" : buf_cstr(&line));
	buf_clear(&line);
}

static bool
queue_id_is_sane(const char *id)
{
	size_t len = strlen(id);

	for (size_t i = 0; i < len; i++)
		if (!ascii_is_alnum((unsigned char)id[i]))
			return false;
	return len > 0 && len <= 64;
}

static void on_begun(void *arg, struct ipc_in *in);

static void
ask_for_id(struct smtpd_session *s)
{
	struct ipc_out o;

	ipc_out_init(&o, QMGR_BEGIN);
	ipc_put_u64(&o, s->tx->announced_size);
	ipc_put_str(&o, s->login != NULL ? s->login : "");
	s->tx->begin = ipc_edge_call(s->server->qmgr, &o, "uss", BEGIN_TIMEOUT_MS, on_begun, s);
}

static void
take_id(struct smtpd_session *s, struct ipc_in *in)
{
	struct smtpd_transaction *tx = s->tx;
	const char *id, *why;

	tx->begin_status = ipc_get_u32(in);
	id = ipc_get_str(in);
	why = ipc_get_str(in);
	if (tx->begin_status == QMGR_OK && !queue_id_is_sane(id))
		tx->begin_status = QMGR_BAD;
	if (tx->begin_status == QMGR_OK) {
		tx->queue_id = x_strdup(id);
		log_client(s);
	} else if (tx->begin_status != QMGR_LOCKED) {
		log_warn("queue manager takes no mail: %s", lqs(why));
	}
}

static void
on_begun(void *arg, struct ipc_in *in)
{
	struct smtpd_session *s = arg;
	struct smtpd_transaction *tx = s->tx;

	tx->begin = NULL;
	tx->begin_status = QMGR_TEMP;
	if (in == NULL && !tx->is_begun_again) {
		/* asking twice does no harm, and a qmgr that was restarted answers the second time */
		tx->is_begun_again = true;
		ask_for_id(s);
		return;
	}
	if (in != NULL)
		take_id(s, in);
	else
		log_warn("no answer from the queue manager");
	if (tx->is_awaited)
		smtpd_data_begun(s);
}

void
smtpd_transaction_begin(struct smtpd_session *s)
{
	if (s->tx->is_begun)
		return;
	s->tx->is_begun = true;
	if (s->explain == NULL) {
		ask_for_id(s);
		return;
	}
	s->tx->queue_id = x_strdup("NOQUEUE");
	s->tx->is_committed = true; /* there is nothing for qmgr to forget */
}

bool
smtpd_transaction_await(struct smtpd_session *s)
{
	s->tx->is_awaited = s->tx->begin != NULL;
	return s->tx->is_awaited;
}
