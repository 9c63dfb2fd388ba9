#include "qmgr/relay/relay.h"
#include "common/base/mem.h"
#include "common/ipc/msg/relay.h"
#include "common/log/log.h"
#include "qmgr/relay/explain.h"
#include "qmgr/relay/job.h"

#include <stdlib.h>
#include <sys/queue.h>

enum { BACKLOG_PER_CONNECTION = 2 }; /* jobs read ahead for each that runs */

struct entry {
	TAILQ_ENTRY(entry) link;
	struct relay *relay;
	struct relay_job *job; /* owned */
	bool is_running;
};
TAILQ_HEAD(entry_list, entry);

struct relay {
	struct relay_env env;
	struct ipc_conn *qmgr; /* NULL: nobody there */
	struct entry_list running, waiting;
	struct relay_explanation_list explained;
	size_t nrunning, nwaiting;
	bool is_draining;
	void (*idle)(void *arg);
	void *idle_arg;
	struct loop_timer turn; /* starts what waits; reports idleness */
};

static void
set_pause(struct relay *r)
{
	size_t most = r->env.conf->connection_limit * BACKLOG_PER_CONNECTION;

	if (r->qmgr != NULL)
		ipc_conn_pause(r->qmgr, r->is_draining || r->nwaiting >= most);
}

static void
entry_free(struct entry *e)
{
	struct relay *r = e->relay;

	if (e->is_running) {
		TAILQ_REMOVE(&r->running, e, link);
		r->nrunning--;
	} else {
		TAILQ_REMOVE(&r->waiting, e, link);
		r->nwaiting--;
	}
	relay_job_free(e->job);
	free(e);
	loop_timer_soon(&r->turn);
}

static void
on_outcome(void *arg, struct relay_job *job, const struct relay_outcome *oc)
{
	struct entry *e = arg;
	const struct relay_verdict *v = oc->verdict;
	struct ipc_out o;

	ipc_out_init(&o, RELAY_RESULT);
	ipc_put_u32(&o, relay_job_number(job));
	ipc_put_u32(&o, oc->recipient);
	ipc_put_u32(&o, v->status);
	ipc_put_str(&o, v->dsn);
	ipc_put_str(&o, v->text);
	ipc_put_str(&o, oc->relay);
	ipc_put_u32(&o, (uint32_t)v->code);
	ipc_put_u32(&o, oc->setup_ms);
	ipc_put_u32(&o, oc->transmit_ms);
	ipc_put_u32(&o, oc->uses);
	ipc_put_u32(
	    &o, (v->is_unreachable ? RELAY_UNREACHABLE : 0) | (v->took_dsn ? RELAY_TOOK_DSN : 0));
	ipc_put_str(&o, oc->site);
	/* if it cannot be sent, the connection ends and qmgr knows that it has no outcome */
	ipc_conn_send(e->relay->qmgr, &o);
}

static void
on_end(void *arg, struct relay_job *job)
{
	(void)job;
	entry_free(arg);
}

static const struct relay_job_ops job_ops = { on_outcome, on_end };

static void
on_turn(void *arg)
{
	struct relay *r = arg;
	struct entry *e;

	while (
	    r->nrunning < r->env.conf->connection_limit && (e = TAILQ_FIRST(&r->waiting)) != NULL) {
		TAILQ_REMOVE(&r->waiting, e, link);
		r->nwaiting--;
		TAILQ_INSERT_TAIL(&r->running, e, link);
		r->nrunning++;
		e->is_running = true;
		relay_job_start(e->job);
	}
	set_pause(r);
	if (r->is_draining && r->nrunning == 0 && r->nwaiting == 0)
		r->idle(r->idle_arg);
}

/* Back to one fault: the job, or what came with it, is not as it must be. */
static void
refuse(struct entry *e, const char *why)
{
	struct relay_verdict v;

	log_error("job from qmgr refused: %s", lqs(why));
	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.3.0", "mail system error: %s", why);
	relay_job_refuse(e->job, &v);
}

/* It waits for its turn, if it is what it must be. */
static void
take(struct entry *e, bool fits, uint32_t protocol)
{
	struct relay *r = e->relay;
	struct err err;

	if (!fits)
		refuse(e, "too many recipients");
	else if (protocol > RELAY_LMTP)
		refuse(e, "unknown protocol");
	else if (relay_job_check(e->job, &err) < 0)
		refuse(e, err.text);
	set_pause(r);
	loop_timer_soon(&r->turn);
}

static struct entry *
entry_new(struct relay *r)
{
	struct entry *e = x_calloc(1, sizeof *e);

	e->relay = r;
	TAILQ_INSERT_TAIL(&r->waiting, e, link);
	r->nwaiting++;
	return e;
}

static void
handle_job(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct relay *r = arg;
	struct entry *e = entry_new(r);
	struct relay_content content;
	struct relay_job_spec spec = { 0 };
	bool fits = true;
	uint32_t protocol;

	(void)c;
	relay_content_init(&content);
	spec.number = ipc_get_u32(in);
	protocol = ipc_get_u32(in);
	spec.is_lmtp = protocol == RELAY_LMTP;
	spec.queue_id = ipc_get_str(in);
	spec.nexthop = ipc_get_str(in);
	spec.sender = ipc_get_str(in);
	spec.flags = ipc_get_u32(in);
	spec.envid = ipc_get_str(in);
	content.body_size = ipc_get_u64(in);
	content.body_offset = ipc_get_u64(in);
	(void)ipc_get_u64(in); /* arrival: qmgr logs the delays */
	content.header_fd = ipc_get_fd(in);
	content.body_fd = ipc_get_fd(in);
	spec.login = ipc_get_str(in);
	spec.client = (struct relay_client){ .name = ipc_get_str(in) };
	spec.client.address = ipc_get_str(in);
	spec.client.port = ipc_get_str(in);
	spec.client.helo = ipc_get_str(in);
	spec.client.protocol = ipc_get_str(in);
	e->job = relay_job_new(&r->env, &spec, &content, &job_ops, e);
	while (ipc_in_more(in)) {
		struct relay_job_rcpt_spec rcpt;

		rcpt.number = ipc_get_u32(in);
		rcpt.address = ipc_get_str(in);
		rcpt.notify = ipc_get_u32(in);
		rcpt.orcpt = ipc_get_str(in);
		fits = relay_job_add(e->job, &rcpt) == 0 && fits;
	}
	take(e, fits, protocol);
}

static void
handle_probe(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct relay *r = arg;
	struct entry *e = entry_new(r);
	struct relay_job_spec spec = {
		.is_probe = true, .envid = "", .login = "", .client = { "", "", "", "", "" }
	};
	struct relay_job_rcpt_spec rcpt = { .orcpt = "" };
	struct relay_content none;
	uint32_t protocol;

	(void)c;
	relay_content_init(&none);
	spec.number = ipc_get_u32(in);
	protocol = ipc_get_u32(in);
	spec.is_lmtp = protocol == RELAY_LMTP;
	spec.queue_id = ipc_get_str(in);
	spec.nexthop = ipc_get_str(in);
	spec.sender = ipc_get_str(in);
	rcpt.address = ipc_get_str(in);
	e->job = relay_job_new(&r->env, &spec, &none, &job_ops, e);
	take(e, relay_job_add(e->job, &rcpt) == 0, protocol);
}

static void
drop_all(struct relay *r)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&r->running)) != NULL || (e = TAILQ_FIRST(&r->waiting)) != NULL)
		entry_free(e);
}

static void
on_qmgr_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct relay *r = arg;

	(void)c;
	if (r->nrunning + r->nwaiting > 0)
		log_warn("connection to qmgr lost, %zu deliveries dropped: %s",
		    r->nrunning + r->nwaiting, lqs(why->text));
	r->qmgr = NULL;
	relay_explain_drop(&r->explained);
	drop_all(r);
}

static void
handle_explain(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct relay *r = arg;

	relay_explain(&r->env, c, in, &r->explained);
}

/* clang-format off */
static const struct ipc_handler qmgr_handlers[] = {
	{ RELAY_EXPLAIN, "ususs", IPC_STATE_ANY, handle_explain },
	{ RELAY_JOB, RELAY_JOB_SIG, IPC_STATE_ANY, handle_job },
	{ RELAY_PROBE, RELAY_PROBE_SIG, IPC_STATE_ANY, handle_probe },
	{ 0, NULL, 0, NULL },
};
/* clang-format on */
const struct ipc_conn_ops relay_qmgr_ops = { qmgr_handlers, on_qmgr_close };

void
relay_qmgr_open(void *arg, struct ipc_conn *c)
{
	struct relay *r = arg;
	struct ipc_out o;

	r->qmgr = c;
	ipc_conn_set_arg(c, r);
	set_pause(r);
	ipc_out_init(&o, RELAY_READY);
	ipc_conn_send(c, &o);
}

struct relay *
relay_new(struct loop *l, const struct relay_conf *conf, struct ipc_edge *dnsd,
    struct ipc_edge *authd, struct ipc_edge *fetchd)
{
	struct relay *r = x_calloc(1, sizeof *r);

	r->env = (struct relay_env){ .loop = l,
		.conf = conf,
		.dnsd = dnsd,
		.authd = authd,
		.fetchd = fetchd,
		.pool = relay_pool_new(l, conf) };
	TAILQ_INIT(&r->running);
	TAILQ_INIT(&r->waiting);
	LIST_INIT(&r->explained);
	loop_timer_init(&r->turn, l, on_turn, r);
	return r;
}

void
relay_free(struct relay *r)
{
	if (r == NULL)
		return;
	ipc_conn_close(r->qmgr);
	relay_explain_drop(&r->explained);
	drop_all(r);
	relay_pool_free(r->env.pool);
	loop_timer_stop(&r->turn);
	free(r);
}

void
relay_drain(struct relay *r, void (*idle)(void *arg), void *arg)
{
	r->is_draining = true;
	r->idle = idle;
	r->idle_arg = arg;
	loop_timer_soon(&r->turn);
}
