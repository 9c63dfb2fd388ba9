#include "qmgr/tenant.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/proto/address.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASK_AGAIN_MS = 10000 };

static struct view
key_view(const uint64_t *key)
{
	return view_make(key, sizeof *key);
}

static bool
has_login(const struct envelope *e)
{
	return e->sasl_username != NULL && e->sasl_username[0] != '\0';
}

static const char *
sender_domain(const struct envelope *e)
{
	const char *at = strrchr(e->sender, '@');

	return at != NULL ? at + 1 : e->sender;
}

/* The key of the hash is no secret, for it outlives us: who finds two names of one hash shares his own turns. */
uint64_t
tenant_key(const struct envelope *e)
{
	static const uint8_t public[16] = "estafeta tenant";
	char name[ENVELOPE_MAX_STRING + 8];
	uint64_t key;

	if (e->sender[0] == '\0' || (e->flags & ENVELOPE_BOUNCE) != 0)
		return TENANT_NOTICES;
	snprintf(name, sizeof name, "%c:%s", has_login(e) ? 'l' : 'd',
	    has_login(e) ? e->sasl_username : sender_domain(e));
	ascii_lower_str(name);
	key = siphash24(public, name, strlen(name));
	return key > TENANT_PROBES ? key : TENANT_PROBES + 1;
}

void
tenants_init(
    struct tenants *ts, struct loop *loop, bool has_limits, void (*on_room)(void *arg), void *arg)
{
	*ts = (struct tenants){
		.loop = loop, .has_limits = has_limits, .on_room = on_room, .arg = arg
	};
	map_init(&ts->by_key);
	for (int line = 0; line < LINES; line++) {
		TAILQ_INIT(&ts->turns[line]);
		TAILQ_INIT(&ts->aside[line]);
	}
}

static void
tenant_free(struct tenant *t)
{
	limits_cancel(t->query);
	loop_timer_stop(&t->wake);
	rate_clear(&t->rate);
	free(t->name);
	free(t);
}

static void
tenant_forget(struct tenant *t)
{
	map_remove(&t->all->by_key, key_view(&t->key));
	tenant_free(t);
}

void
tenants_clear(struct tenants *ts)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&ts->by_key, &w)) != NULL)
		tenant_free(e->value);
	map_clear(&ts->by_key);
}

/* --- the admin's limits ------------------------------------------------------------------------------------- */
static void look_again(struct tenants *ts, struct tenant *t, enum tenant_line line);

static void
look_again_at(struct tenant *t)
{
	for (enum tenant_line line = 0; line < LINES; line++)
		look_again(t->all, t, line);
	t->all->on_room(t->all->arg);
}

static void
on_limits(void *arg, const struct limits *l)
{
	struct tenant *t = arg;

	t->query = NULL;
	if (l == NULL) {
		loop_timer_start(&t->wake, ASK_AGAIN_MS);
		return;
	}
	t->is_known = true;
	t->concurrency = l->concurrency;
	t->rate.count = l->rate_count;
	t->rate.span_ms = l->rate_ms;
	look_again_at(t);
}

static void
ask_limits(struct tenant *t)
{
	t->query = limits_ask_tenant(t->all->authd, t->name, on_limits, t);
}

static void
on_wake(void *arg)
{
	struct tenant *t = arg;
	int64_t wait = rate_wait(&t->rate, clock_mono_ms());

	if (!t->is_known)
		ask_limits(t);
	else if (wait > 0)
		loop_timer_start(&t->wake, wait); /* it came a moment early */
	else if (t->messages == 0)
		tenant_forget(t);
	else
		look_again_at(t);
}

void
tenants_limit(struct tenants *ts, struct ipc_edge *authd)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	ts->authd = authd;
	while ((e = map_next(&ts->by_key, &w)) != NULL)
		if (((struct tenant *)e->value)->name != NULL)
			ask_limits(e->value);
}

char *
tenant_name(const struct envelope *e)
{
	char *name =
	    has_login(e) ? x_strdup(e->sasl_username) : x_asprintf("@%s", sender_domain(e));

	ascii_lower_str(name);
	return name;
}

void
tenant_meet(struct tenant *t, const struct envelope *e)
{
	if (!t->all->has_limits || t->name != NULL || t->key == TENANT_NOTICES)
		return;
	t->name = tenant_name(e);
	if (t->all->authd != NULL)
		ask_limits(t);
}

/* --- whose messages are in the queue -------------------------------------------------------------------------- */

struct tenant *
tenant_ref(struct tenants *ts, uint64_t key)
{
	struct tenant *t = map_get(&ts->by_key, key_view(&key));

	if (t == NULL) {
		t = x_calloc(1, sizeof *t);
		t->all = ts;
		t->key = key;
		t->is_known = !ts->has_limits || key == TENANT_NOTICES;
		loop_timer_init(&t->wake, ts->loop, on_wake, t);
		TAILQ_INIT(&t->ready[LINE_NEW]);
		TAILQ_INIT(&t->ready[LINE_OLD]);
		map_put(&ts->by_key, key_view(&key), t);
	}
	t->messages++;
	return t;
}

void
tenant_unref(struct tenants *ts, struct tenant *t)
{
	int64_t now = clock_mono_ms();

	(void)ts;
	if (--t->messages > 0)
		return;
	if (rate_is_idle(&t->rate, now))
		tenant_forget(t);
	else
		loop_timer_start(&t->wake, t->rate.span_ms);
}

/* Whom we know by his hash only is not held up: his messages have been tried. */
static bool
has_leave(const struct tenant *t, enum tenant_line line)
{
	if (t->concurrency > 0 && t->active >= t->concurrency)
		return false;
	return line == LINE_OLD || (t->is_known && rate_wait(&t->rate, clock_mono_ms()) == 0);
}

bool
tenant_may_enter(const struct tenant *t, enum tenant_line line, size_t room)
{
	return room > 0 && t->active <= TENANT_SHARE * room && has_leave(t, line);
}

void
tenant_ready(struct tenants *ts, struct message *m, enum tenant_line line)
{
	struct tenant *t = m->tenant;

	if (TAILQ_EMPTY(&t->ready[line])) {
		t->is_aside[line] = false;
		TAILQ_INSERT_TAIL(&ts->turns[line], t, link[line]);
	}
	TAILQ_INSERT_TAIL(&t->ready[line], m, ready);
}

void
tenant_unready(struct tenants *ts, struct message *m, enum tenant_line line)
{
	struct tenant *t = m->tenant;

	TAILQ_REMOVE(&t->ready[line], m, ready);
	if (TAILQ_EMPTY(&t->ready[line]))
		TAILQ_REMOVE(
		    t->is_aside[line] ? &ts->aside[line] : &ts->turns[line], t, link[line]);
}

struct message *
tenant_next(struct tenants *ts, enum tenant_line line, size_t room)
{
	struct tenant *t;

	while ((t = TAILQ_FIRST(&ts->turns[line])) != NULL) {
		bool may_enter = tenant_may_enter(t, line, room);
		struct message *m = TAILQ_FIRST(&t->ready[line]);

		TAILQ_REMOVE(&ts->turns[line], t, link[line]);
		t->is_aside[line] = !may_enter;
		TAILQ_INSERT_TAIL(may_enter ? &ts->turns[line] : &ts->aside[line], t, link[line]);
		if (!may_enter)
			continue;
		tenant_unready(ts, m, line);
		return m;
	}
	return NULL;
}

static void
look_again(struct tenants *ts, struct tenant *t, enum tenant_line line)
{
	if (t == NULL || TAILQ_EMPTY(&t->ready[line]) || !t->is_aside[line])
		return;
	TAILQ_REMOVE(&ts->aside[line], t, link[line]);
	t->is_aside[line] = false;
	TAILQ_INSERT_TAIL(&ts->turns[line], t, link[line]);
}

void
tenant_enter(struct tenant *t, enum tenant_line line)
{
	int64_t now = clock_mono_ms(), wait;

	t->active++;
	if (line != LINE_NEW)
		return;
	rate_take(&t->rate, now);
	wait = rate_wait(&t->rate, now);
	if (wait > 0)
		loop_timer_start(&t->wake, wait);
}

void
tenant_leave(struct tenants *ts, struct tenant *t)
{
	t->active--;
	for (enum tenant_line line = 0; line < LINES; line++) {
		look_again(ts, t, line);
		look_again(ts, TAILQ_FIRST(&ts->aside[line]), line);
	}
}
