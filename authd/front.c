/* front.c - SASL exchanges of smtpd and the login fronts, each pinned to one SASL worker.
 *
 * Whatever a client does in its exchange ends that exchange; only a front that breaks the
 * protocol of messages loses its connection (CVE-2025-59028 was one bad exchange that ended all
 * logins of its front). */
#include "authd/authd.h"
#include "authd/lookup.h"
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
	WORKER_MS = 40000, /* to be answered by a worker, its queue included; a front waits 60 s */
	CLIENT_MS = 15000, /* for the client's turn */
	LEVEL_TURNS = 16,  /* so many turns behind others, for each level of failure */
};

/* DELAYED by its origin's failures, then with a WORKER or in its queue, and with the CLIENT in
 * turns.  Who is DELAYED or with the CLIENT yields to newcomers when there is no room. */
enum stage { STAGE_DELAYED, STAGE_WORKER, STAGE_CLIENT };

struct exchange {
	struct peer *peer;
	uint32_t session; /* the front's number for it */
	uint64_t key;     /* ours, never used twice */
	struct origin *origin;
	enum stage stage;
	TAILQ_ENTRY(exchange) of_all, of_peer, of_origin; /* lists of those that yield */
	struct job job;    /* the step under way; its message waits here while DELAYED */
	uint32_t reply_id; /* 0 while it is with the CLIENT */
	unsigned flags;
	char service[TICKET_SERVICE_MAX], mech[32], client[64];
	struct loop_timer timer; /* of its stage */
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

static void
exchange_leave_stage(struct exchange *x)
{
	struct authd *a = x->peer->authd;

	if (x->stage == STAGE_WORKER) {
		if (job_cancel(a->workers, &x->job))
			x->origin->turn--; /* not used: whoever shares the address has it */
		return;
	}
	TAILQ_REMOVE(&a->yielding, x, of_all);
	TAILQ_REMOVE(&x->peer->yielding, x, of_peer);
	if (x->stage == STAGE_CLIENT)
		TAILQ_REMOVE(&x->origin->awaiting, x, of_origin);
}

static void
exchange_enter_stage(struct exchange *x, enum stage stage, int64_t timeout_ms)
{
	x->stage = stage;
	loop_timer_start(&x->timer, timeout_ms);
	if (stage == STAGE_WORKER)
		return;
	TAILQ_INSERT_TAIL(&x->peer->authd->yielding, x, of_all);
	TAILQ_INSERT_TAIL(&x->peer->yielding, x, of_peer);
	if (stage == STAGE_CLIENT)
		TAILQ_INSERT_TAIL(&x->origin->awaiting, x, of_origin);
}

/* The worker forgets it too, unless it has already said its last word. */
static void
exchange_free(struct exchange *x, bool tell_worker)
{
	struct authd *a = x->peer->authd;
	struct ipc_conn *worker = job_worker(&x->job);
	struct ipc_out o;

	exchange_leave_stage(x);
	if (x->stage == STAGE_DELAYED)
		ipc_out_clear(&x->job.message);
	if (tell_worker && worker != NULL) {
		ipc_out_init(&o, SASL_ABORT);
		ipc_put_u64(&o, x->key);
		ipc_conn_send(worker, &o);
	}
	loop_timer_stop(&x->timer);
	map_remove(&x->peer->exchanges, session_key(&x->session));
	origin_release(&a->origins, x->origin, clock_mono_ms());
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

	if (step == AUTHD_STEP_FAILED)
		origin_failed(x->origin, clock_mono_ms());
	if (x->reply_id != 0)
		send_refusal(x->peer->conn, x->reply_id, step, reason);
	exchange_free(x, tell_worker);
	authd_check_idle(a);
}

static void
exchange_ask(struct exchange *x, struct ipc_out *o)
{
	struct workers *ws = x->peer->authd->workers;
	struct origin *from = x->origin;

	exchange_enter_stage(x, STAGE_WORKER, WORKER_MS);
	from->turn = workers_turn(ws, from->turn);
	workers_ask(ws, &x->job, o, SASL_ANSWER_SIG,
	    from->turn + LEVEL_TURNS * origin_level(from, clock_mono_ms()));
}

static void
on_exchange_timer(void *arg)
{
	struct exchange *x = arg;

	switch (x->stage) {
	case STAGE_DELAYED:
		exchange_leave_stage(x);
		exchange_ask(x, &x->job.message);
		break;
	case STAGE_WORKER:
		exchange_end(x, AUTHD_STEP_TEMP, "the exchange took too long", true);
		break;
	case STAGE_CLIENT:
		exchange_end(x, AUTHD_STEP_FAILED, "the client took too long", true);
	}
}

/* --- answers of the worker -------------------------------------------------------------------- */

static void
exchange_done(struct exchange *x, const char *account)
{
	struct authd *a = x->peer->authd;
	const struct ticket *ticket = NULL;

	origin_succeeded(x->origin);
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
on_answer(struct job *j, struct ipc_in *in)
{
	struct exchange *x =
	    (struct exchange *)(void *)((char *)j - offsetof(struct exchange, job));
	struct view challenge;
	const char *account;
	unsigned step;

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
		exchange_enter_stage(x, STAGE_CLIENT, CLIENT_MS);
	} else if (step == AUTHD_STEP_DONE) {
		exchange_done(x, account);
	} else {
		exchange_failed(x,
		    step == AUTHD_STEP_TEMP || step == AUTHD_STEP_NO_MECH ? step
									  : AUTHD_STEP_FAILED,
		    account, ipc_get_str(in));
	}
}

/* --- messages of the front -------------------------------------------------------------------- */

static bool
list_yields(struct exchange_list *list)
{
	struct exchange *x = TAILQ_FIRST(list);

	if (x != NULL)
		exchange_end(x, AUTHD_STEP_TEMP, "another exchange needs its place", true);
	return x != NULL;
}

/* One more exchange is possible, maybe in the place of the oldest that yields.  From one origin
 * only clients yield: those behind one address do not end each other's penalty. */
static bool
make_room(struct peer *p, struct origin *from)
{
	struct authd *a = p->authd;

	return (from->count <= ORIGIN_EXCHANGES_MAX || list_yields(&from->awaiting)) &&
	       (p->exchanges.count < EXCHANGES_OF_PEER_MAX || list_yields(&p->yielding)) &&
	       (a->exchanges < EXCHANGES_MAX || list_yields(&a->yielding));
}

static struct exchange *
exchange_new(struct peer *p, uint32_t session, struct origin *from)
{
	struct exchange *x = x_calloc(1, sizeof *x);

	x->peer = p;
	x->session = session;
	x->key = ++p->authd->next_exchange;
	x->origin = from;
	x->job.done = on_answer;
	map_put(&p->exchanges, session_key(&session), x);
	p->authd->exchanges++;
	loop_timer_init(&x->timer, p->authd->loop, on_exchange_timer, x);
	return x;
}

static void
exchange_start(struct exchange *x, struct ipc_out *o)
{
	int64_t wait_ms = origin_wait_ms(x->origin, clock_mono_ms());

	if (wait_ms == 0) {
		exchange_ask(x, o);
		return;
	}
	x->job.message = *o;
	exchange_enter_stage(x, STAGE_DELAYED, wait_ms);
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
	struct authd *a = p->authd;
	uint32_t session = ipc_get_u32(in);
	const char *service = ipc_get_str(in), *mech = ipc_get_str(in);
	unsigned flags = ipc_get_u32(in);
	const char *client = ipc_get_str(in), *server = ipc_get_str(in), *name = ipc_get_str(in);
	struct view initial = ipc_get_bytes(in);
	struct origin *from;
	struct exchange *x;
	struct ipc_out o;

	/* a ticket is bound to the front's number, so no number counts twice */
	if (session <= p->last_session) {
		send_refusal(c, in->id, AUTHD_STEP_TEMP,
		    "the number of an exchange must be higher than all before it");
		return;
	}
	p->last_session = session;
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
	from = origin_take(&a->origins, client, clock_mono_ms());
	if (!make_room(p, from)) {
		origin_release(&a->origins, from, clock_mono_ms());
		send_refusal(c, in->id, AUTHD_STEP_TEMP, "too many exchanges at a time");
		return;
	}
	x = exchange_new(p, session, from);
	x->reply_id = in->id;
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
	exchange_start(x, &o);
}

static void
on_sasl_step(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	uint32_t session = ipc_get_u32(in);
	struct view response = ipc_get_bytes(in);
	struct exchange *x = map_get(&p->exchanges, session_key(&session));
	struct ipc_out o;

	if (x == NULL) { /* it has been ended from here, or never was */
		send_refusal(c, in->id,
		    session <= p->last_session ? AUTHD_STEP_TEMP : AUTHD_STEP_FAILED,
		    "no such exchange");
		return;
	}
	if (x->stage != STAGE_CLIENT) { /* two at once: the front has lost its way in this one */
		send_refusal(c, in->id, AUTHD_STEP_FAILED, "step out of turn");
		exchange_end(x, AUTHD_STEP_FAILED, "step out of turn", true);
		return;
	}
	x->reply_id = in->id;
	if (job_worker(&x->job) == NULL) {
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
	exchange_leave_stage(x);
	exchange_ask(x, &o);
}

/* Given up is as good as failed: it may have cost as much. */
static void
on_sasl_abort(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	uint32_t session = ipc_get_u32(in);
	struct exchange *x = map_get(&p->exchanges, session_key(&session));

	(void)c;
	if (x == NULL)
		return;
	x->reply_id = 0;
	exchange_end(x, AUTHD_STEP_FAILED, "", true);
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
	ipc_put_str(&o, ipc_get_str(in));
	authd_request_ask_db(r, &o, AUTHD_RESOLVE_SIG, on_resolved);
}

/* --- lookup tables ---------------------------------------------------------------------------- */

static void
on_found(void *arg, struct ipc_in *in)
{
	authd_request_relay(arg, in, AUTHD_LOOKUP_SIG);
}

/* o is begun; the keys follow as they came. */
static void
look_up(struct peer *p, struct ipc_out *o, struct ipc_in *in)
{
	struct request *r = authd_request_new(sizeof *r, p, in->id);

	if (buf_append(&o->body, in->p, in->len) < 0)
		o->failed = true;
	authd_request_ask_db(r, o, AUTHD_LOOKUP_SIG, on_found);
}

static void
look_up_own(struct peer *p, enum lookup_own which, struct ipc_in *in)
{
	struct ipc_out o;

	ipc_out_init(&o, DB_LOOKUP_OWN);
	ipc_put_u32(&o, which);
	look_up(p, &o, in);
}

static void
on_lookup(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_out o;

	(void)c;
	ipc_out_init(&o, DB_LOOKUP);
	look_up(arg, &o, in);
}

static void
on_password(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	look_up_own(arg, LOOKUP_PASSWORDS, in);
}

static void
on_tls_policy(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	look_up_own(arg, LOOKUP_TLS_POLICIES, in);
}

static void
on_limits(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	look_up_own(arg, LOOKUP_DESTINATION_LIMITS, in);
}

static void
on_tenant_limits(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	look_up_own(arg, LOOKUP_TENANT_LIMITS, in);
}

static void
on_bind_address(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	look_up_own(arg, LOOKUP_BIND_ADDRESSES, in);
}

/* --- routes ----------------------------------------------------------------------------------- */

static void
on_routed(void *arg, struct ipc_in *in)
{
	authd_request_relay(arg, in, AUTHD_ROUTE_SIG);
}

static void
on_route(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct request *r = authd_request_new(sizeof *r, arg, in->id);
	struct ipc_out o;

	(void)c;
	ipc_out_init(&o, DB_ROUTE);
	if (buf_append(&o.body, in->p, in->len) < 0)
		o.failed = true;
	authd_request_ask_db(r, &o, AUTHD_ROUTE_SIG, on_routed);
}

/* --- rewriting -------------------------------------------------------------------------------- */

static void
on_rewritten(void *arg, struct ipc_in *in)
{
	authd_request_relay(arg, in, AUTHD_REWRITE_SIG);
}

static void
on_rewrite(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct request *r = authd_request_new(sizeof *r, arg, in->id);
	struct ipc_out o;

	(void)c;
	ipc_out_init(&o, DB_REWRITE);
	if (buf_append(&o.body, in->p, in->len) < 0)
		o.failed = true;
	authd_request_ask_db(r, &o, AUTHD_REWRITE_SIG, on_rewritten);
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
	{ AUTHD_RESOLVE, "sus", IPC_STATE_ANY, on_resolve },
	{ AUTHD_LOOKUP, "s(us)", IPC_STATE_ANY, on_lookup },
	{ AUTHD_REWRITE, "(us)", IPC_STATE_ANY, on_rewrite },
	{ 0 },
};
const struct ipc_handler authd_from_login[] = {
	SASL_ROWS,
	{ 0 },
};
const struct ipc_handler authd_from_qmgr[] = {
	{ AUTHD_RESOLVE, "sus", IPC_STATE_ANY, on_resolve },
	{ AUTHD_ROUTE, "s(s)", IPC_STATE_ANY, on_route },
	{ AUTHD_REWRITE, "(us)", IPC_STATE_ANY, on_rewrite },
	{ AUTHD_LIMITS, "(us)", IPC_STATE_ANY, on_limits },
	{ AUTHD_TENANT_LIMITS, "(us)", IPC_STATE_ANY, on_tenant_limits },
	{ 0 },
};
const struct ipc_handler authd_from_relay[] = {
	{ AUTHD_PASSWORD, "(us)", IPC_STATE_ANY, on_password },
	{ AUTHD_TLS_POLICY, "(us)", IPC_STATE_ANY, on_tls_policy },
	{ AUTHD_REWRITE, "(us)", IPC_STATE_ANY, on_rewrite },
	{ AUTHD_BIND_ADDRESS, "(us)", IPC_STATE_ANY, on_bind_address },
	{ 0 },
};
/* clang-format on */
