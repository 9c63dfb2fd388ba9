/* What a destination and a site have in common: a window, a rate, pauses, and the admin's limits. */
#include "common/base/clock.h"
#include "qmgr/schedule_private.h"

enum { ASK_AGAIN_MS = 10000 };

/* Its own jobs, or those of whoever waits for it, may be handed out now. */
static void
gate_wake(struct gate *g)
{
	if (g->is_site)
		site_wake(HEAP_ENTRY(g, struct site, gate));
	else
		schedule_dest_update(g->s, HEAP_ENTRY(g, struct dest, gate));
}

void
gate_init(struct gate *g, struct schedule *s, unsigned window, unsigned limit, unsigned recipients,
    bool is_site)
{
	*g = (struct gate){ .s = s,
		.window = { .size = window, .limit = limit },
		.recipients = recipients,
		.is_site = is_site };
}

bool
gate_is_open(const struct gate *g)
{
	return g->flying < g->window.size && g->paused.at == 0 && !g->is_unknown;
}

bool
gate_is_idle(const struct gate *g, int64_t now_ms)
{
	return g->flying == 0 && g->paused.at == 0 && g->query == NULL &&
	       rate_is_idle(&g->rate, now_ms);
}

void
gate_pause(struct gate *g, int64_t ms)
{
	struct schedule *s = g->s;

	heap_remove(&s->paused, &g->paused);
	heap_insert(&s->paused, &g->paused, clock_mono_ms() + ms);
	loop_timer_start(&s->pause_timer, heap_first(&s->paused)->key - clock_mono_ms());
}

void
gate_pauses_over(void *arg)
{
	struct schedule *s = arg;
	int64_t now = clock_mono_ms();
	struct heap_node *n;

	while ((n = heap_first(&s->paused)) != NULL && n->key <= now) {
		heap_remove(&s->paused, n);
		gate_wake(HEAP_ENTRY(n, struct gate, paused));
	}
	if (n != NULL)
		loop_timer_start(&s->pause_timer, n->key - now);
}

void
gate_took_off(struct gate *g)
{
	int64_t now = clock_mono_ms(), wait;

	g->flying++;
	rate_take(&g->rate, now);
	wait = rate_wait(&g->rate, now);
	if (wait > 0)
		gate_pause(g, wait);
}

void
gate_landed(struct gate *g)
{
	g->flying--;
}

static void
gate_limit(struct gate *g, const struct limits *l)
{
	if (l->concurrency > 0) {
		g->window.limit = l->concurrency;
		if (g->window.size > l->concurrency || g->is_site)
			g->window.size = l->concurrency;
	}
	if (l->recipients > 0)
		g->recipients = l->recipients;
	g->rate.count = l->rate_count;
	g->rate.span_ms = l->rate_ms;
}

static void
on_limits(void *arg, const struct limits *l)
{
	struct gate *g = arg;

	g->query = NULL;
	if (l == NULL) { /* to send more than the admin allows cannot be made good */
		loop_timer_start(&g->ask, ASK_AGAIN_MS);
		return;
	}
	g->is_unknown = false;
	gate_limit(g, l);
	gate_wake(g);
}

static void
on_ask(void *arg)
{
	struct gate *g = arg;
	const char *names = g->is_site ? HEAP_ENTRY(g, struct site, gate)->name
				       : HEAP_ENTRY(g, struct dest, gate)->nexthop;

	g->query = limits_ask_destination(g->s->authd, names, on_limits, g);
}

void
gate_ask(struct gate *g)
{
	loop_timer_init(&g->ask, g->s->loop, on_ask, g);
	g->is_unknown = g->s->conf.has_limits;
	if (g->is_unknown)
		on_ask(g);
}

void
gate_clear(struct gate *g)
{
	heap_remove(&g->s->paused, &g->paused);
	limits_cancel(g->query);
	loop_timer_stop(&g->ask);
	rate_clear(&g->rate);
}
