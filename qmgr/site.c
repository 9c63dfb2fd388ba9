/* Sites: many domains have the same mail exchangers, and their provider sees one client of his in all of us. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/schedule_private.h"

#include <stdlib.h>

enum {
	DELAY_MIN_MS = 1000,
	DELAY_MAX_MS = 5 * 60 * 1000,
	LEARNED_MS = 3600 * 1000, /* kept without any mail for it */
};

static struct site *
site_get(struct schedule *s, const char *name)
{
	struct site *st = map_get(&s->sites, view_of(name));
	size_t len = strlen(name) + 1;
	unsigned limit = s->conf.mx_concurrency_limit;

	if (st != NULL)
		return st;
	st = x_calloc(1, sizeof *st + len);
	memcpy(st->name, name, len);
	TAILQ_INIT(&st->blocked);
	gate_init(&st->gate, s, limit > 0 ? limit : UINT32_MAX, limit, 0, true);
	gate_ask(&st->gate);
	map_put(&s->sites, view_of(name), st);
	return st;
}

void
site_leave(struct dest *d)
{
	struct site *st = d->site;

	if (st == NULL)
		return;
	if (d->is_blocked)
		TAILQ_REMOVE(&st->blocked, d, link);
	d->is_blocked = false;
	d->site = NULL;
	st->ndests--;
	st->gate.flying -= d->gate.flying;
	site_wake(st);
}

void
site_join(struct schedule *s, struct dest *d, const char *name)
{
	if (d->site != NULL && strcmp(d->site->name, name) == 0)
		return;
	site_leave(d);
	d->site = site_get(s, name);
	d->site->ndests++;
	d->site->gate.flying += d->gate.flying;
	schedule_dest_update(s, d);
}

void
site_wake(struct site *st)
{
	const struct gate *g = &st->gate;
	size_t room = gate_is_open(g) ? g->window.size - g->flying : 0;
	struct dest *d;

	while (room-- > 0 && (d = TAILQ_FIRST(&st->blocked)) != NULL)
		schedule_dest_update(g->s, d);
}

/* Half as many at a time; when there is but one, twice as long between two. */
static void
slow_down(struct site *st, const char *why)
{
	struct window *w = &st->gate.window;

	if (w->size == UINT32_MAX) /* it had no limit: what was too much is known */
		w->size = st->gate.flying + 1 < INT32_MAX ? (unsigned)st->gate.flying + 1 : 1;
	if (w->size > 1)
		w->size /= 2;
	else
		st->delay_ms = st->delay_ms == 0                 ? DELAY_MIN_MS
			       : st->delay_ms < DELAY_MAX_MS / 2 ? st->delay_ms * 2
								 : DELAY_MAX_MS;
	st->learned_ms = clock_mono_ms();
	log_info("%s: told to slow down: %u at a time, %lld ms between two: %s", lqs(st->name),
	    w->size, (long long)st->delay_ms, why != NULL ? why : "");
}

static void
speed_up(struct site *st)
{
	static const struct feedback by = { 1, FEEDBACK_WINDOW };

	if (st->delay_ms >= DELAY_MIN_MS)
		st->delay_ms -= st->delay_ms / 8;
	else if (st->delay_ms > 0)
		st->delay_ms = 0;
	else if (st->gate.window.size < UINT32_MAX)
		window_grow(&st->gate.window, &by, st->gate.flying, 1);
}

/* One refusal is nothing yet, it may be one recipient's: a window full of them is. */
void
site_learn(struct site *st, bool was_throttled, const char *why)
{
	if (was_throttled) {
		size_t size =
		    st->gate.window.size < UINT32_MAX ? st->gate.window.size : st->gate.flying + 1;

		st->refused += 1.0 / (double)size;
		if (st->refused >= 1) {
			st->refused = 0;
			slow_down(st, why);
		}
	} else {
		st->refused = 0;
		speed_up(st);
	}
	if (st->delay_ms > 0)
		gate_pause(&st->gate, st->delay_ms);
}

static void
site_free(struct site *st)
{
	gate_clear(&st->gate);
	free(st);
}

static bool
is_forgotten(const struct site *st, int64_t now_ms)
{
	bool is_old = st->learned_ms == 0 || now_ms - st->learned_ms > LEARNED_MS;

	return is_old && st->ndests == 0 && gate_is_idle(&st->gate, now_ms);
}

void
sites_sweep(struct schedule *s, int64_t now_ms)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&s->sites, &w)) != NULL) {
		struct site *st = e->value;

		if (!is_forgotten(st, now_ms))
			continue;
		map_remove(&s->sites, view_of(st->name));
		site_free(st);
	}
}

void
sites_clear(struct schedule *s)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&s->sites, &w)) != NULL)
		site_free(e->value);
	map_clear(&s->sites);
}
