#include "qmgr/tenant.h"
#include "common/base/mem.h"
#include "common/proto/address.h"

#include <stdio.h>
#include <stdlib.h>

static struct view
key_view(const uint64_t *key)
{
	return view_make(key, sizeof *key);
}

/* The key of the hash is no secret, for it outlives us: who finds two names of one hash shares his own turns. */
uint64_t
tenant_key(const struct envelope *e)
{
	static const uint8_t public[16] = "estafeta tenant";
	bool has_login = e->sasl_username != NULL && e->sasl_username[0] != '\0';
	const char *at = strrchr(e->sender, '@');
	char name[ENVELOPE_MAX_STRING + 8];
	uint64_t key;

	if (e->sender[0] == '\0' || (e->flags & ENVELOPE_BOUNCE) != 0)
		return TENANT_NOTICES;
	snprintf(name, sizeof name, "%c:%s", has_login ? 'l' : 'd',
	    has_login    ? e->sasl_username
	    : at != NULL ? at + 1
			 : e->sender);
	ascii_lower_str(name);
	key = siphash24(public, name, strlen(name));
	return key > TENANT_NOTICES ? key : TENANT_NOTICES + 1;
}

void
tenants_init(struct tenants *ts)
{
	map_init(&ts->by_key);
	for (int line = 0; line < LINES; line++) {
		TAILQ_INIT(&ts->turns[line]);
		TAILQ_INIT(&ts->aside[line]);
	}
}

void
tenants_clear(struct tenants *ts)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&ts->by_key, &w)) != NULL)
		free(e->value);
	map_clear(&ts->by_key);
}

struct tenant *
tenant_ref(struct tenants *ts, uint64_t key)
{
	struct tenant *t = map_get(&ts->by_key, key_view(&key));

	if (t == NULL) {
		t = x_calloc(1, sizeof *t);
		t->key = key;
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
	if (--t->messages > 0)
		return;
	map_remove(&ts->by_key, key_view(&t->key));
	free(t);
}

bool
tenant_may_enter(const struct tenant *t, size_t room)
{
	return room > 0 && t->active <= TENANT_SHARE * room;
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
		bool may_enter = tenant_may_enter(t, room);
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
tenant_enter(struct tenant *t)
{
	t->active++;
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
