/* Connections to delivery processes and relay workers: jobs out, one answer a recipient back. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/ipc/msg/delivery.h"
#include "common/ipc/msg/relay.h"
#include "common/log/log.h"
#include "qmgr/schedule_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	DELIVERY_JOBS = 200, /* at a time with one process */
	BACKLOG_BYTES =
	    256 * 1024, /* a peer that reads slowly gets no more until it has read this */
	RETRY_MS = 1000,
	KEPT_MORE = 8,                /* jobs */
	FAILURES_MAX = 5,             /* in a row; then what waits for this process is deferred */
	JOB_MAX_MS = 2 * 3600 * 1000, /* longer than all time-outs of an SMTP dialogue together */
};

static void on_delivery_result(void *arg, struct ipc_conn *c, struct ipc_in *in);
static void on_relay_result(void *arg, struct ipc_conn *c, struct ipc_in *in);
static void on_relay_ready(void *arg, struct ipc_conn *c, struct ipc_in *in);
static void on_peer_close(void *arg, struct ipc_conn *c, const struct err *why);

/* clang-format off */
static const struct ipc_handler delivery_rows[] = {
	{ DELIVERY_RESULT, DELIVERY_RESULT_SIG, IPC_STATE_ANY, on_delivery_result },
	{ 0, NULL, 0, NULL },
};
static const struct ipc_handler relay_rows[] = {
	{ RELAY_RESULT, RELAY_RESULT_SIG, IPC_STATE_ANY, on_relay_result },
	{ RELAY_READY, RELAY_READY_SIG, IPC_STATE_ANY, on_relay_ready },
	{ 0, NULL, 0, NULL },
};
/* clang-format on */
static const struct ipc_conn_ops delivery_ops = { delivery_rows, on_peer_close };
const struct ipc_conn_ops schedule_relay_ops = { relay_rows, on_peer_close };

static struct view
number_key(const uint32_t *number)
{
	return view_make(number, sizeof *number);
}

/* --- life of a peer ------------------------------------------------------------------------------------- */
struct peer *
peer_new(struct schedule *s, struct dest *d)
{
	struct peer *p = x_calloc(1, sizeof *p);

	p->s = s;
	p->d = d;
	TAILQ_INIT(&p->jobs);
	return p;
}

void
peer_free(struct peer *p)
{
	if (p == NULL)
		return;
	if (p->edge == NULL)
		ipc_conn_close(p->conn);
	free(p);
}

struct peer *
schedule_relay_new(struct schedule *s)
{
	struct peer *p = peer_new(s, NULL);

	TAILQ_INSERT_TAIL(&s->relays, p, link);
	s->nrelays++;
	return p;
}

void
schedule_relay_attach(struct peer *p, struct ipc_edge *edge)
{
	p->edge = edge;
}

static void
job_land(struct peer *p, struct job *j)
{
	TAILQ_REMOVE(&p->jobs, j, of_holder);
	p->flying--;
	schedule_dest_landed(p->s, j->d);
	map_remove(&p->s->jobs, number_key(&j->number));
	queue_content_unuse(p->s->q, j->m);
	j->via = NULL;
}

/* What was in flight goes back; its mail may have been delivered all the same. */
static void
peer_lost(struct peer *p, const char *why)
{
	struct job *j;

	if (p->flying > 0)
		log_warn("%s connection lost with %zu deliveries under way: %s",
		    p->d != NULL ? "delivery" : "relay", p->flying, why);
	p->conn = NULL;
	p->state = PEER_NONE;
	p->failures = p->flying > 0 || !p->has_answered ? p->failures + 1 : 0;
	p->has_answered = false;
	/* an idle process may end; one that dies at work is not called again in the same moment */
	p->retry_ms = p->failures > 0 ? clock_mono_ms() + RETRY_MS : 0;
	while ((j = TAILQ_LAST(&p->jobs, job_list)) != NULL) {
		job_land(p, j);
		for (size_t i = 0; i < j->nrcpts; i++)
			if (j->m->active->rcpts[j->rcpts[i]].phase == PHASE_FLYING)
				queue_rcpt_returned(j->m, j->rcpts[i]);
		j->losses++;
		schedule_job_requeue(p->s, j);
	}
	schedule_run_soon(p->s, p->failures > 0 ? RETRY_MS : 0);
}

static void
on_peer_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)c;
	peer_lost(arg, why->text);
}

/* It said what it must not say: its word counts no more. */
static void
peer_broken(struct peer *p, struct ipc_conn *c, const char *why)
{
	log_error("%s: %s: connection closed", p->d != NULL ? "delivery" : "relay", why);
	ipc_conn_close(c);
	peer_lost(p, why);
}

void
peer_watch(struct peer *p, int64_t now_ms)
{
	struct job *oldest = TAILQ_FIRST(&p->jobs);

	if (oldest != NULL && now_ms - oldest->sent_ms > JOB_MAX_MS)
		peer_broken(p, p->conn, "a delivery was never answered");
}

void
schedule_delivery(struct schedule *s, uint32_t uid, int fd)
{
	struct view key;
	char text[32];
	struct dest *d;
	struct peer *p;

	snprintf(text, sizeof text, "v:%u", uid);
	key = view_of(text);
	d = map_get(&s->dests, key);
	if (d == NULL || d->peer->state != PEER_ASKED) {
		if (fd >= 0)
			close(fd);
		return;
	}
	p = d->peer;
	p->retry_ms = 0;
	if (fd >= 0) {
		p->state = PEER_OPEN;
		p->conn = ipc_conn_new(s->loop, fd, &delivery_ops, p);
	} else {
		p->state = PEER_NONE;
		p->retry_ms = clock_mono_ms() + RETRY_MS;
		if (++p->failures >= FAILURES_MAX) {
			p->failures = 0;
			schedule_dest_defer_all(
			    s, d, "mail system: no delivery process can be started");
		}
	}
	schedule_run_soon(s, fd >= 0 ? 0 : RETRY_MS);
}

/* --- choosing ---------------------------------------------------------------------------------------------- */
static bool
peer_has_room(const struct peer *p)
{
	/* a connection may sit unaccepted in a listener's backlog: until it has spoken, one job is enough */
	size_t limit = p->d != NULL ? DELIVERY_JOBS : p->has_answered ? p->s->conf.relay_jobs : 1;

	return p->flying < limit && ipc_conn_backlog(p->conn) < BACKLOG_BYTES;
}

static struct peer *
delivery_peer(struct schedule *s, struct dest *d)
{
	struct peer *p = d->peer;
	int64_t now = clock_mono_ms();

	if (p->state == PEER_ASKED)
		return NULL;
	if (p->retry_ms > now) {
		schedule_run_soon(s, p->retry_ms - now);
		return NULL;
	}
	if (p->state == PEER_OPEN)
		return peer_has_room(p) ? p : NULL;
	p->state = PEER_ASKED;
	s->want_delivery(s->arg, d->uid, d->gid);
	return NULL;
}

static bool
relay_is_open(struct peer *p, int64_t now)
{
	struct err err;

	if (p->edge == NULL || p->retry_ms > now)
		return false;
	if (ipc_edge_conn(p->edge) == NULL && ipc_edge_connect(p->edge, &err) < 0) {
		if (p->failures++ == 0)
			log_warn("relay: %s", err.text);
		p->retry_ms = now + RETRY_MS;
		schedule_run_soon(p->s, RETRY_MS);
		return false;
	}
	p->conn = ipc_edge_conn(p->edge);
	p->state = PEER_OPEN;
	return true;
}

/* The least loaded; one that has proved to be served before one that has not; but the one that this destination's last job
 * went to while it has little more to do: it may have kept a connection. */
static struct peer *
relay_peer(struct schedule *s, const struct dest *d)
{
	struct peer *p, *best = NULL;
	int64_t now = clock_mono_ms();

	TAILQ_FOREACH (p, &s->relays, link) {
		if (!relay_is_open(p, now) || !peer_has_room(p))
			continue;
		if (best == NULL || (p->has_answered && !best->has_answered) ||
		    (p->has_answered == best->has_answered && p->flying < best->flying))
			best = p;
	}
	p = d->last_relay;
	if (best != NULL && p != NULL && p->state == PEER_OPEN && p->has_answered &&
	    peer_has_room(p) && p->flying <= best->flying + KEPT_MORE)
		return p;
	return best;
}

struct peer *
peer_for(struct schedule *s, struct dest *d)
{
	return d->is_local ? delivery_peer(s, d) : relay_peer(s, d);
}

/* --- sending ------------------------------------------------------------------------------------------------ */
static void
put_content(struct ipc_out *o, const struct content *c)
{
	ipc_put_u64(o, c->body_len);
	ipc_put_u64(o, c->body_off);
}

static void
fill_delivery_job(struct ipc_out *o, const struct job *j, const char *id)
{
	const struct active *a = j->m->active;

	ipc_out_init(o, DELIVERY_JOB);
	ipc_put_u32(o, j->number);
	ipc_put_str(o, id);
	ipc_put_str(o, a->env.sender);
	ipc_put_u64(o, (uint64_t)j->m->arrival_ms);
	put_content(o, &a->content);
	ipc_put_fd(o, a->content.headers_fd);
	ipc_put_fd(o, a->content.body_fd);
	for (size_t i = 0; i < j->nrcpts; i++) {
		const struct recipient *r = &a->env.rcpts[j->rcpts[i]];

		ipc_put_u32(o, j->rcpts[i]);
		ipc_put_str(o, r->address);
		ipc_put_str(o, r->orig[0] != '\0' ? r->orig : r->address);
		ipc_put_u32(o, a->rcpts[j->rcpts[i]].maybe_done ? DELIVERY_MAYBE_DONE : 0);
	}
}

/* For XFORWARD. */
static void
put_client(struct ipc_out *o, const struct envelope *e, bool is_wanted)
{
	const char *const fields[] = { e->client_name, e->client_address, e->client_port, e->helo,
		e->protocol };

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		ipc_put_str(o, is_wanted ? fields[i] : "");
}

static void
fill_relay_job(struct ipc_out *o, const struct job *j, const char *id)
{
	const struct active *a = j->m->active;

	ipc_out_init(o, RELAY_JOB);
	ipc_put_u32(o, j->number);
	ipc_put_u32(o, j->d->key[0] == 'l' ? RELAY_LMTP : RELAY_SMTP);
	ipc_put_str(o, id);
	ipc_put_str(o, j->d->nexthop);
	ipc_put_str(o, a->env.sender);
	ipc_put_u32(o, a->env.flags);
	ipc_put_str(o, a->env.envid);
	put_content(o, &a->content);
	ipc_put_u64(o, (uint64_t)j->m->arrival_ms);
	ipc_put_fd(o, a->content.headers_fd);
	ipc_put_fd(o, a->content.body_fd);
	ipc_put_str(o, a->env.sasl_username);
	put_client(o, &a->env, j->d->conf->wants_client);
	for (size_t i = 0; i < j->nrcpts; i++) {
		const struct recipient *r = &a->env.rcpts[j->rcpts[i]];

		ipc_put_u32(o, j->rcpts[i]);
		ipc_put_str(o, r->address);
		ipc_put_u32(o, r->notify);
		ipc_put_str(o, r->orcpt);
	}
}

static void
fill_probe(struct ipc_out *o, const struct job *j, const char *id)
{
	const struct active *a = j->m->active;

	ipc_out_init(o, RELAY_PROBE);
	ipc_put_u32(o, j->number);
	ipc_put_u32(o, j->d->key[0] == 'l' ? RELAY_LMTP : RELAY_SMTP);
	ipc_put_str(o, id);
	ipc_put_str(o, j->d->nexthop);
	ipc_put_str(o, a->env.sender);
	ipc_put_str(o, a->env.rcpts[0].address);
}

static uint32_t
next_number(struct schedule *s)
{
	do
		s->last_number++;
	while (s->last_number == 0 || map_get(&s->jobs, number_key(&s->last_number)) != NULL);
	return s->last_number;
}

int
peer_send(struct peer *p, struct job *j)
{
	struct schedule *s = p->s;
	char id[QUEUE_ID_TEXT];
	struct ipc_out o;

	j->number = next_number(s);
	queue_id_format(j->m->id, id);
	if (j->m->active->probe != NULL)
		fill_probe(&o, j, id);
	else if (j->d->is_local)
		fill_delivery_job(&o, j, id);
	else
		fill_relay_job(&o, j, id);
	if (ipc_conn_send(p->conn, &o) < 0) {
		p->retry_ms = clock_mono_ms() + RETRY_MS;
		return -1;
	}
	j->state = JOB_FLYING;
	j->via = p;
	j->sent_ms = clock_mono_ms();
	j->answered = 0;
	j->saw_dead_destination = j->saw_throttling = false;
	map_put(&s->jobs, number_key(&j->number), j);
	TAILQ_INSERT_TAIL(&p->jobs, j, of_holder);
	p->flying++;
	if (p->d == NULL)
		j->d->last_relay = p;
	schedule_dest_took_off(s, j->d);
	queue_content_use(j->m);
	for (size_t i = 0; i < j->nrcpts; i++)
		queue_rcpt_flying(j->m, j->rcpts[i]);
	return 0;
}

/* --- answers -------------------------------------------------------------------------------------------------- */
/* The job of an answer, if it is this peer's, has this recipient, and he has no answer yet. */
static struct job *
find_open(struct peer *p, uint32_t number, uint32_t rcpt)
{
	struct job *j = map_get(&p->s->jobs, number_key(&number));

	if (j == NULL || j->via != p)
		return NULL;
	for (size_t i = 0; i < j->nrcpts; i++)
		if (j->rcpts[i] == rcpt)
			return j->m->active->rcpts[rcpt].phase == PHASE_FLYING ? j : NULL;
	return NULL;
}

static void
peer_answered(struct peer *p, struct job *j, uint32_t rcpt, const struct attempt *a)
{
	p->has_answered = true;
	p->failures = 0;
	queue_rcpt_answered(p->s->q, j->m, rcpt, a);
	if (++j->answered < j->nrcpts)
		return;
	job_land(p, j);
	schedule_job_done(p->s, j);
}

static void
on_delivery_result(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	uint32_t number = ipc_get_u32(in), rcpt = ipc_get_u32(in), status = ipc_get_u32(in);
	struct job *j = find_open(p, number, rcpt);
	struct attempt a = { .relay = "virtual" };

	if (j == NULL || status > DELIVERY_BOUNCED) {
		peer_broken(p, c, "an answer nobody asked for");
		return;
	}
	a.status = (enum delivery_status)status;
	a.dsn = ipc_get_str(in);
	a.text = ipc_get_str(in);
	a.sent_ms = j->sent_ms;
	peer_answered(p, j, rcpt, &a);
}

/* What providers say to whom they want to hear less of: 421 (RFC 5321 3.8), or a reason of policy (RFC 3463 3.8). */
static bool
is_throttling(const struct attempt *a)
{
	return a->status == DELIVERY_DEFERRED && a->code >= 400 && a->code < 500 &&
	       (a->code == 421 || view_starts(view_of(a->dsn), "4.7."));
}

static void
on_relay_result(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	uint32_t number = ipc_get_u32(in), rcpt = ipc_get_u32(in), status = ipc_get_u32(in);
	struct job *j = find_open(p, number, rcpt);
	struct attempt a = { .is_relayed = true };
	const char *site;
	char quoted[400];
	uint32_t flags;

	if (j == NULL || status > DELIVERY_BOUNCED) {
		peer_broken(p, c, "an answer nobody asked for");
		return;
	}
	a.status = (enum delivery_status)status;
	a.dsn = ipc_get_str(in);
	a.text = ipc_get_str(in);
	a.relay = ipc_get_str(in);
	a.code = ipc_get_u32(in);
	a.setup_ms = ipc_get_u32(in);
	a.transfer_ms = ipc_get_u32(in);
	a.uses = ipc_get_u32(in);
	a.sent_ms = j->sent_ms;
	flags = ipc_get_u32(in);
	site = ipc_get_str(in);
	a.took_dsn = (flags & RELAY_TOOK_DSN) != 0;
	j->saw_dead_destination |= (flags & RELAY_UNREACHABLE) != 0;
	j->saw_throttling |= is_throttling(&a);
	if ((flags & RELAY_UNREACHABLE) || is_throttling(&a)) {
		free(j->d->why);
		j->d->why = x_strdup(log_quote(quoted, sizeof quoted, view_of(a.text)));
	}
	if (site[0] != '\0')
		site_join(p->s, j->d, site);
	peer_answered(p, j, rcpt, &a);
}

static void
on_relay_ready(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;

	(void)c;
	(void)in;
	p->has_answered = true;
	schedule_run_soon(p->s, 0);
}
