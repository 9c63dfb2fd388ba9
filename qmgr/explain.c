#include "qmgr/explain.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/qmgr.h"
#include "common/ipc/msg/relay.h"
#include "qmgr/limits.h"
#include "qmgr/tenant.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUTE_MS = 10000, RELAY_MS = 10000, ARENA_MAX = 1 << 20 };

struct explainer {
	struct loop *loop;
	const struct routes *routes;
	struct schedule *schedule;
	struct ipc_edge *authd;
	bool has_tenant_limits;
};

/* One request.  Its recipients are looked at one after the other: each asks authd for its route, a relay process for what it
 * would do there, authd for the admin's limits; at most one question is under way. */
struct explanation {
	struct explainer *e;
	struct arena arena; /* the request's strings */
	struct envelope env;
	uint32_t at; /* of the recipients */
	struct ipc_out answer;
	struct loop_timer turn;
	void (*done)(void *arg, struct ipc_out *answer);
	void *arg;
};

static void next(struct explanation *x);

static void __attribute__((format(printf, 4, 5)))
put(struct explanation *x, uint32_t about, const char *name, const char *fmt, ...)
{
	char value[ENVELOPE_MAX_STRING + 64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof value, fmt, ap);
	va_end(ap);
	ipc_put_u32(&x->answer, about);
	ipc_put_str(&x->answer, name);
	ipc_put_str(&x->answer, value);
}

static void
end(struct explanation *x)
{
	struct ipc_out answer = x->answer;
	void (*done)(void *, struct ipc_out *) = x->done;
	void *arg = x->arg;

	loop_timer_stop(&x->turn);
	arena_clear(&x->arena);
	free(x->env.rcpts);
	free(x);
	done(arg, &answer);
}

/* --- limits ----------------------------------------------------------------------------------------- */

static void
put_limits(struct explanation *x, uint32_t about, const char *group, const struct limits *l)
{
	char name[60];

	if (l == NULL) {
		snprintf(name, sizeof name, "%s.error", group);
		put(x, about, name, "no answer for now: mail waits");
		return;
	}
	snprintf(name, sizeof name, "%s.concurrency", group);
	if (l->concurrency > 0)
		put(x, about, name, "%u", l->concurrency);
	snprintf(name, sizeof name, "%s.recipients", group);
	if (l->recipients > 0)
		put(x, about, name, "%u", l->recipients);
	snprintf(name, sizeof name, "%s.rate", group);
	if (l->rate_count > 0)
		put(x, about, name, "%u/%llds", l->rate_count, (long long)l->rate_ms / 1000);
}

static void
on_destination_limits(void *arg, const struct limits *l)
{
	struct explanation *x = arg;

	put_limits(x, x->at++, "destination_limits", l);
	next(x);
}

static void
on_tenant_limits(void *arg, const struct limits *l)
{
	struct explanation *x = arg;

	put_limits(x, QMGR_EXPLAIN_MESSAGE, "tenant_limits", l);
	next(x);
}

/* True: the answer will come. */
static bool
ask_tenant_limits(struct explanation *x)
{
	char *name;

	if (!x->e->has_tenant_limits || x->env.sender[0] == '\0')
		return false;
	name = tenant_name(&x->env);
	put(x, QMGR_EXPLAIN_MESSAGE, "tenant_limits.tenant", "%s", name);
	limits_ask_tenant(x->e->authd, name, on_tenant_limits, x);
	free(name);
	return true;
}

/* The parameters, what the scheduler has learned, and the admin's table. */
static void
tell_destination(struct explanation *x)
{
	const struct recipient *to = &x->env.rcpts[x->at];
	struct schedule_view v;

	schedule_look(x->e->schedule, to, &v);
	if (to->transport != TRANSPORT_VIRTUAL)
		put(x, x->at, "destination", "%s", v.nexthop);
	put(x, x->at, "limits.concurrency", "%u", v.conf->concurrency_limit);
	put(x, x->at, "limits.initial_concurrency", "%u", v.conf->initial_concurrency);
	put(x, x->at, "limits.recipients", "%u", v.conf->recipient_limit);
	if (v.conf->rate_delay_ms > 0)
		put(x, x->at, "limits.rate_delay", "%llds",
		    (long long)v.conf->rate_delay_ms / 1000);
	if (v.is_known)
		put(x, x->at, "limits.window", "%u", v.window);
	if (v.why != NULL)
		put(x, x->at, "unavailable", "%s", v.why);
	if (v.has_limits && to->transport != TRANSPORT_VIRTUAL) {
		limits_ask_destination(x->e->authd, v.nexthop, on_destination_limits, x);
		return;
	}
	x->at++;
	next(x);
}

/* --- relay ------------------------------------------------------------------------------------------- */

static void
on_relay(void *arg, struct ipc_in *in)
{
	struct explanation *x = arg;

	if (in == NULL)
		put(x, x->at, "relay_error", "relay does not answer");
	while (in != NULL && ipc_in_more(in)) {
		const char *name = ipc_get_str(in);

		put(x, x->at, name, "%s", ipc_get_str(in));
	}
	tell_destination(x);
}

static void
ask_relay(struct explanation *x)
{
	const struct recipient *to = &x->env.rcpts[x->at];
	struct ipc_edge *relay = schedule_any_relay(x->e->schedule);
	struct schedule_view v;
	struct ipc_out o;

	if (relay == NULL) {
		put(x, x->at, "relay_error", "there is no relay process");
		tell_destination(x);
		return;
	}
	schedule_look(x->e->schedule, to, &v);
	ipc_out_init(&o, RELAY_EXPLAIN);
	ipc_put_u32(&o, to->transport == TRANSPORT_LMTP ? RELAY_LMTP : RELAY_SMTP);
	ipc_put_str(&o, v.nexthop);
	ipc_put_u32(&o, x->env.flags);
	ipc_put_str(&o, to->sender[0] != '\0' ? to->sender : x->env.sender);
	ipc_put_str(&o, x->env.sasl_username);
	ipc_edge_call(relay, &o, RELAY_EXPLAIN_SIG, RELAY_MS, on_relay, x);
}

/* --- routes ------------------------------------------------------------------------------------------ */

static void
tell_route(struct explanation *x, const struct route *r)
{
	static const char *const words[] = { [DELIVERY_SENT] = "sent",
		[DELIVERY_DEFERRED] = "deferred",
		[DELIVERY_BOUNCED] = "bounced" };
	struct recipient *to = &x->env.rcpts[x->at];

	if (r->is_answered) {
		if (r->transport != 0)
			put(x, x->at, "transport", "%s", transport_name(r->transport));
		put(x, x->at, "status", "%s", words[r->status]);
		put(x, x->at, "dsn", "%s", r->dsn);
		put(x, x->at, "text", "%s", r->text);
		x->at++;
		next(x);
		return;
	}
	to->transport = r->transport;
	to->uid = r->uid;
	to->gid = r->gid;
	to->nexthop = arena_strdup(&x->arena, r->nexthop);
	if (to->nexthop == NULL)
		to->nexthop = "";
	put(x, x->at, "transport", "%s", transport_name(to->transport));
	put(x, x->at, "nexthop", "%s", to->nexthop);
	if (to->transport == TRANSPORT_VIRTUAL)
		tell_destination(x);
	else
		ask_relay(x);
}

static void
on_route(void *arg, struct ipc_in *in)
{
	struct explanation *x = arg;
	struct route route;

	if (in != NULL && ipc_get_u32(in) == AUTHD_OK && ipc_in_more(in)) {
		route_take(in, x->env.rcpts[x->at].address, &route);
		tell_route(x, &route);
		return;
	}
	put(x, x->at++, "route_error", "authd does not answer");
	next(x);
}

static void
next(struct explanation *x)
{
	struct recipient *to = &x->env.rcpts[x->at];
	struct route route;
	struct ipc_out o;

	if (x->at == x->env.nrcpts) {
		end(x);
		return;
	}
	if (route_now(x->e->routes, x->env.filter, to, &route)) {
		tell_route(x, &route);
		return;
	}
	ipc_out_init(&o, AUTHD_ROUTE);
	ipc_put_str(&o, to->sender[0] != '\0' ? to->sender : x->env.sender);
	ipc_put_str(&o, to->address);
	ipc_edge_ask(x->e->authd, &o, AUTHD_ROUTE_SIG, ROUTE_MS, on_route, x);
}

/* --- the request ---------------------------------------------------------------------------------------- */

static const char *
keep(struct explanation *x, const char *text)
{
	const char *copy = arena_strdup(&x->arena, text);

	return copy != NULL ? copy : "";
}

static void
on_turn(void *arg)
{
	struct explanation *x = arg;

	if (!ask_tenant_limits(x))
		next(x);
}

void
explain_start(struct explainer *e, struct ipc_in *in,
    void (*done)(void *arg, struct ipc_out *answer), void *arg)
{
	struct explanation *x = x_calloc(1, sizeof *x);
	struct envelope *env = &x->env;

	x->e = e;
	x->done = done;
	x->arg = arg;
	arena_init(&x->arena, ARENA_MAX);
	env->sender = keep(x, ipc_get_str(in));
	env->sasl_username = keep(x, ipc_get_str(in));
	env->filter = keep(x, ipc_get_str(in));
	env->flags = ipc_get_u32(in);
	env->rcpts = x_calloc(QMGR_EXPLAIN_RCPTS, sizeof *env->rcpts);
	while (ipc_in_more(in) && env->nrcpts < QMGR_EXPLAIN_RCPTS) {
		struct recipient *r = &env->rcpts[env->nrcpts++];

		r->address = keep(x, ipc_get_str(in));
		r->sender = keep(x, ipc_get_str(in));
		r->transport = ipc_get_u32(in) != 0 ? TRANSPORT_VIRTUAL : TRANSPORT_SMTP;
		r->nexthop = "";
	}
	ipc_reply_init(&x->answer);
	ipc_put_u32(&x->answer, QMGR_OK);
	ipc_put_str(&x->answer, "");
	loop_timer_init(&x->turn, e->loop, on_turn, x);
	loop_timer_soon(&x->turn);
}

struct explainer *
explainer_new(struct loop *l, const struct routes *r, struct schedule *s, struct ipc_edge *authd,
    bool has_tenant_limits)
{
	struct explainer *e = x_calloc(1, sizeof *e);

	*e = (struct explainer){ l, r, s, authd, has_tenant_limits };
	return e;
}
