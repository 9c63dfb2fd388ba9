/* front.c - SASL exchanges of smtpd and the login fronts, each pinned to one SASL worker.
 *
 * Whatever a client does in its exchange ends that exchange; only a front that breaks the
 * protocol of messages loses its connection (CVE-2025-59028 was one bad exchange that ended all
 * logins of its front). */
#include "authd/authd.h"
#include "authd/sasl_exchange.h"
#include "authd/worker_msg.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	EXCHANGES_OF_PEER_MAX = 4096,
	EXCHANGES_MAX = 16384,
	EXCHANGE_MS = 60000, /* from START to the end */
};

struct exchange {
	struct peer *peer;
	uint32_t session; /* the front's number for it */
	uint64_t key;     /* ours, never used twice */
	struct worker *worker;
	unsigned generation;   /* of the worker that has the exchange */
	struct ipc_call *call; /* step under way; NULL: it is the client's turn */
	uint32_t reply_id;
	unsigned flags;
	char service[TICKET_SERVICE_MAX], mech[32], client[64];
	struct loop_timer timer;
};

static struct view
session_key(const uint32_t *session)
{
	return view_make(session, sizeof *session);
}

static void
send_step(struct ipc_conn *c, uint32_t id, enum authd_step step, struct view challenge,
    const char *account, const struct ticket *ticket, const char *reason)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, step);
	ipc_put_bytes(&o, challenge.p, challenge.len);
	ipc_put_str(&o, account);
	ipc_put_bytes(&o, ticket == NULL ? NULL : ticket->bytes, ticket == NULL ? 0 : TICKET_BYTES);
	ipc_put_str(&o, reason);
	ipc_conn_reply(c, id, &o);
}

static void
send_refusal(struct ipc_conn *c, uint32_t id, enum authd_step step, const char *reason)
{
	send_step(c, id, step, VIEW_LIT(""), "", NULL, reason);
}

/* The worker forgets it too, unless it has already said its last word. */
static void
exchange_free(struct exchange *x, bool tell_worker)
{
	struct authd *a = x->peer->authd;
	struct ipc_out o;

	if (x->call != NULL) {
		ipc_call_cancel(x->call);
		x->worker->waiting--;
	}
	if (tell_worker && x->worker->conn != NULL && x->worker->generation == x->generation) {
		ipc_out_init(&o, SASL_ABORT);
		ipc_put_u64(&o, x->key);
		ipc_conn_send(x->worker->conn, &o);
	}
	loop_timer_stop(&x->timer);
	map_remove(&x->peer->exchanges, session_key(&x->session));
	free(x);
	a->exchanges--;
}

void
front_drop_exchanges(struct peer *p)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&p->exchanges, &w)) != NULL)
		exchange_free(e->value, true);
	authd_check_idle(p->authd);
}

static void
exchange_end(struct exchange *x, enum authd_step step, const char *reason, bool tell_worker)
{
	struct authd *a = x->peer->authd;

	if (x->reply_id != 0)
		send_refusal(x->peer->conn, x->reply_id, step, reason);
	exchange_free(x, tell_worker);
	authd_check_idle(a);
}

static void
on_exchange_timeout(void *arg)
{
	exchange_end(arg, AUTHD_STEP_TEMP, "the exchange took too long", true);
}

/* --- answers of the worker -------------------------------------------------------------------- */

static void
exchange_done(struct exchange *x, const char *account)
{
	struct authd *a = x->peer->authd;
	const struct ticket *ticket = NULL;

	if (x->flags & AUTHD_WANT_TICKET) {
		ticket = ticket_issue(
		    &a->tickets, clock_mono_ms(), account, x->service, x->peer->pid, x->session);
		if (ticket == NULL) {
			log_warn("too many tickets are waiting to be used");
			exchange_end(x, AUTHD_STEP_TEMP, "too many logins at a time", false);
			return;
		}
	}
	send_step(x->peer->conn, x->reply_id, AUTHD_STEP_DONE, VIEW_LIT(""), account, ticket, "");
	exchange_free(x, false);
	authd_check_idle(a);
}

static void
exchange_failed(struct exchange *x, enum authd_step step, const char *name, const char *reason)
{
	log_line(step == AUTHD_STEP_TEMP ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
	    "%s: %s, client=%s, service=%s, sasl_method=%s", name[0] == '\0' ? "-" : lqs(name),
	    lqs(reason), lqs(x->client), lqs(x->service), lqs(x->mech));
	/* which of the two it was is for our log only: the front's answer is the same */
	exchange_end(x, step, reason, false);
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct exchange *x = arg;
	struct view challenge;
	const char *account;
	unsigned step;

	x->call = NULL;
	x->worker->waiting--;
	if (in == NULL) {
		exchange_failed(x, AUTHD_STEP_TEMP, "", "the worker did not answer");
		return;
	}
	step = ipc_get_u32(in);
	challenge = ipc_get_bytes(in);
	account = ipc_get_str(in);
	if (step == AUTHD_STEP_MORE) {
		send_step(x->peer->conn, x->reply_id, AUTHD_STEP_MORE, challenge, "", NULL, "");
		x->reply_id = 0;
	} else if (step == AUTHD_STEP_DONE) {
		exchange_done(x, account);
	} else {
		exchange_failed(x,
		    step == AUTHD_STEP_TEMP || step == AUTHD_STEP_NO_MECH ? step
									  : AUTHD_STEP_FAILED,
		    account, ipc_get_str(in));
	}
}

static void
exchange_ask(struct exchange *x, struct ipc_out *o, uint32_t reply_id)
{
	x->reply_id = reply_id;
	x->worker->waiting++;
	x->call = ipc_conn_call(x->worker->conn, o, SASL_ANSWER_SIG, WORKER_CALL_MS, on_answer, x);
}

/* --- messages of the front -------------------------------------------------------------------- */

/* Why a new exchange cannot be, or NULL.  A ticket is bound to the front's number, so no number counts twice. */
static const char *
start_obstacle(struct peer *p, uint32_t session)
{
	if (session <= p->last_session)
		return "the number of an exchange must be higher than all before it";
	if (p->exchanges.count >= EXCHANGES_OF_PEER_MAX || p->authd->exchanges >= EXCHANGES_MAX)
		return "too many exchanges at a time";
	return NULL;
}

static struct exchange *
exchange_new(struct peer *p, uint32_t session, struct worker *w)
{
	struct exchange *x = x_calloc(1, sizeof *x);

	x->peer = p;
	x->session = session;
	p->last_session = session;
	x->key = ++p->authd->next_exchange;
	x->worker = w;
	x->generation = w->generation;
	map_put(&p->exchanges, session_key(&session), x);
	p->authd->exchanges++;
	loop_timer_init(&x->timer, p->authd->loop, on_exchange_timeout, x);
	loop_timer_start(&x->timer, EXCHANGE_MS);
	return x;
}

/* A ticket opens a mailbox: only a login front gets one, and for its own service. */
static bool
may_want_ticket(const struct peer *p, const char *service)
{
	return (p->role == ROLE_IMAPD_LOGIN && strcmp(service, "imap") == 0) ||
	       (p->role == ROLE_POP3D_LOGIN && strcmp(service, "pop3") == 0);
}

static void
on_sasl_start(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	uint32_t session = ipc_get_u32(in);
	const char *service = ipc_get_str(in), *mech = ipc_get_str(in);
	unsigned flags = ipc_get_u32(in);
	const char *client = ipc_get_str(in), *server = ipc_get_str(in), *name = ipc_get_str(in);
	struct view initial = ipc_get_bytes(in);
	const char *obstacle = start_obstacle(p, session);
	struct worker *w = workers_pick(p->authd->workers);
	struct exchange *x;
	struct ipc_out o;

	if (obstacle != NULL || w == NULL) {
		send_refusal(c, in->id, AUTHD_STEP_TEMP, obstacle == NULL ? "no worker" : obstacle);
		return;
	}
	if (initial.len > SASL_RESPONSE_MAX || strlen(service) >= sizeof x->service) {
		send_refusal(c, in->id, AUTHD_STEP_FAILED, "response too long");
		return;
	}
	if ((flags & AUTHD_WANT_TICKET) && !may_want_ticket(p, service)) {
		log_warn("%s[%d]: a ticket for service %s is not for this front",
		    role_row(p->role)->name, (int)p->pid, lqs(service));
		send_refusal(c, in->id, AUTHD_STEP_FAILED, "no ticket for this service");
		return;
	}
	x = exchange_new(p, session, w);
	x->flags = flags;
	snprintf(x->service, sizeof x->service, "%s", service);
	snprintf(x->mech, sizeof x->mech, "%s", mech);
	snprintf(x->client, sizeof x->client, "%s", client);
	ipc_out_init(&o, SASL_START);
	ipc_put_u64(&o, x->key);
	ipc_put_str(&o, service);
	ipc_put_str(&o, mech);
	ipc_put_u32(&o, flags);
	ipc_put_str(&o, client);
	ipc_put_str(&o, server);
	ipc_put_str(&o, name);
	ipc_put_bytes(&o, initial.p, initial.len);
	exchange_ask(x, &o, in->id);
}

static void
on_sasl_step(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	uint32_t session = ipc_get_u32(in);
	struct view response = ipc_get_bytes(in);
	struct exchange *x = map_get(&p->exchanges, session_key(&session));
	struct ipc_out o;

	if (x == NULL) {
		send_refusal(c, in->id, AUTHD_STEP_FAILED, "no such exchange");
		return;
	}
	if (x->call != NULL) { /* two at once: the front has lost its way in this exchange */
		send_refusal(c, in->id, AUTHD_STEP_FAILED, "step out of turn");
		exchange_end(x, AUTHD_STEP_FAILED, "step out of turn", true);
		return;
	}
	x->reply_id = in->id;
	if (x->worker->conn == NULL || x->worker->generation != x->generation) {
		exchange_end(x, AUTHD_STEP_TEMP, "the worker died", false);
		return;
	}
	if (response.len > SASL_RESPONSE_MAX) {
		exchange_end(x, AUTHD_STEP_FAILED, "response too long", true);
		return;
	}
	ipc_out_init(&o, SASL_STEP);
	ipc_put_u64(&o, x->key);
	ipc_put_bytes(&o, response.p, response.len);
	exchange_ask(x, &o, in->id);
}

static void
on_sasl_abort(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	uint32_t session = ipc_get_u32(in);
	struct exchange *x = map_get(&p->exchanges, session_key(&session));

	(void)c;
	if (x != NULL)
		exchange_free(x, true);
	authd_check_idle(p->authd);
}

/* --- recipients ------------------------------------------------------------------------------- */

static void
on_resolved(void *arg, struct ipc_in *in)
{
	authd_request_relay(arg, in, AUTHD_RESOLVE_SIG);
}

static void
on_resolve(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct request *r = authd_request_new(sizeof *r, arg, in->id);
	struct ipc_out o;

	(void)c;
	ipc_out_init(&o, DB_RESOLVE);
	ipc_put_str(&o, ipc_get_str(in));
	ipc_put_u32(&o, ipc_get_u32(in));
	authd_request_ask_db(r, &o, AUTHD_RESOLVE_SIG, on_resolved);
}

#define SASL_ROWS                                                                                  \
	{ AUTHD_SASL_START, "ussusssb", IPC_STATE_ANY, on_sasl_start },                            \
	    { AUTHD_SASL_STEP, "ub", IPC_STATE_ANY, on_sasl_step },                                \
	{                                                                                          \
		AUTHD_SASL_ABORT, "u", IPC_STATE_ANY, on_sasl_abort                                \
	}

/* clang-format off */
const struct ipc_handler authd_from_smtpd[] = {
	SASL_ROWS,
	{ AUTHD_RESOLVE, "su", IPC_STATE_ANY, on_resolve },
	{ 0 },
};
const struct ipc_handler authd_from_login[] = {
	SASL_ROWS,
	{ 0 },
};
const struct ipc_handler authd_from_qmgr[] = {
	{ AUTHD_RESOLVE, "su", IPC_STATE_ANY, on_resolve },
	{ 0 },
};
/* clang-format on */
