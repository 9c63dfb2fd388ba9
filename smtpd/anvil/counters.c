#include "smtpd/anvil/counters.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct counter {
	TAILQ_ENTRY(counter) link; /* in the list of the idle, while open is 0 */
	int64_t unit_start_ms, unit_ms, last_ms;
	uint32_t count, open;
	char key[];
};

void
counters_init(struct counters *c, size_t max_keys)
{
	memset(c, 0, sizeof *c);
	for (size_t i = 0; i < COUNTERS_TABLES; i++) {
		map_init(&c->tables[i].keys);
		TAILQ_INIT(&c->tables[i].idle);
		c->tables[i].max_keys = max_keys;
	}
}

static void
counter_drop(struct counter_table *t, struct counter *one)
{
	TAILQ_REMOVE(&t->idle, one, link);
	map_remove(&t->keys, view_of(one->key));
	free(one);
}

void
counters_clear(struct counters *c)
{
	for (size_t i = 0; i < COUNTERS_TABLES; i++) {
		struct map_walk walk = { 0 };
		struct map_entry *e;

		while ((e = map_next(&c->tables[i].keys, &walk)) != NULL)
			free(e->value);
		map_clear(&c->tables[i].keys);
	}
}

static void
note_peak(struct counter_peak *p, uint32_t value, const char *key)
{
	if (value <= p->value)
		return;
	p->value = value;
	p->at_ms = clock_wall_ms();
	snprintf(p->key, sizeof p->key, "%s", key);
}

/* NULL: no room. */
static struct counter *
counter_get(struct counters *c, struct counter_table *t, const char *key)
{
	size_t len = strnlen(key, COUNTERS_KEY_BYTES);
	struct counter *one = map_get(&t->keys, view_make(key, len));

	if (one != NULL)
		return one;
	if (t->keys.count >= t->max_keys) {
		if (TAILQ_EMPTY(&t->idle))
			return NULL;
		counter_drop(t, TAILQ_FIRST(&t->idle));
	}
	one = x_calloc(1, sizeof *one + len + 1);
	memcpy(one->key, key, len);
	map_put(&t->keys, view_of(one->key), one);
	TAILQ_INSERT_TAIL(&t->idle, one, link);
	note_peak(&c->size, (uint32_t)t->keys.count, "");
	return one;
}

/* The least idle is last. */
static void
counter_touch(struct counter_table *t, struct counter *one, int64_t now_ms)
{
	one->last_ms = now_ms;
	if (one->open > 0)
		return;
	TAILQ_REMOVE(&t->idle, one, link);
	TAILQ_INSERT_TAIL(&t->idle, one, link);
}

static uint32_t
counter_add(
    struct counter_table *t, struct counter *one, int64_t unit_ms, uint32_t n, int64_t now_ms)
{
	if (one->count == 0 || now_ms - one->unit_start_ms >= unit_ms) {
		one->unit_start_ms = now_ms;
		one->count = 0;
	}
	one->unit_ms = unit_ms;
	one->count = n > UINT32_MAX - one->count ? UINT32_MAX : one->count + n;
	counter_touch(t, one, now_ms);
	note_peak(&t->rate, one->count, one->key);
	return one->count;
}

uint32_t
counters_add(struct counters *c, unsigned table, const char *key, int64_t unit_ms, uint32_t n,
    int64_t now_ms)
{
	struct counter_table *t = &c->tables[table];
	struct counter *one = counter_get(c, t, key);

	return one != NULL ? counter_add(t, one, unit_ms, n, now_ms) : n;
}

struct counter *
counters_connect(struct counters *c, const char *key, int64_t unit_ms, int64_t now_ms,
    uint32_t *open, uint32_t *rate)
{
	struct counter_table *t = &c->tables[COUNTERS_CONNECT];
	struct counter *one = counter_get(c, t, key);

	*open = *rate = 1;
	if (one == NULL)
		return NULL;
	*rate = counter_add(t, one, unit_ms, 1, now_ms);
	if (one->open++ == 0)
		TAILQ_REMOVE(&t->idle, one, link);
	*open = one->open;
	note_peak(&c->connections, one->open, one->key);
	return one;
}

void
counters_disconnect(struct counters *c, struct counter *one)
{
	if (--one->open == 0)
		TAILQ_INSERT_TAIL(&c->tables[COUNTERS_CONNECT].idle, one, link);
}

size_t
counters_expire(struct counters *c, int64_t now_ms)
{
	size_t left = 0;

	for (size_t i = 0; i < COUNTERS_TABLES; i++) {
		struct counter_table *t = &c->tables[i];
		struct counter *one;

		while (
		    (one = TAILQ_FIRST(&t->idle)) != NULL && now_ms - one->last_ms >= one->unit_ms)
			counter_drop(t, one);
		left += t->keys.count;
	}
	return left;
}

static void
save_table(const struct counter_table *t, unsigned number, int64_t now_ms, int64_t wall_ms, struct buf *out)
{
	const struct counter *one;

	TAILQ_FOREACH (one, &t->idle, link) {
		int64_t age = now_ms - one->unit_start_ms;

		if (one->count > 0 && age < one->unit_ms && strchr(one->key, '\n') == NULL)
			buf_printf(out, "%u %u %lld %lld %s\n", number, one->count,
			    (long long)(wall_ms - age), (long long)one->unit_ms, one->key);
	}
}

void
counters_save(const struct counters *c, unsigned first, int64_t now_ms, int64_t wall_ms, struct buf *out)
{
	for (unsigned i = first; i < ANVIL_EVENTS; i++)
		save_table(&c->tables[i], i, now_ms, wall_ms, out);
}

static bool
take_number(struct view *line, uint64_t max, uint64_t *out)
{
	struct view word;

	return view_cut(*line, ' ', &word, line) && view_u64(word, max, out);
}

static void
load_line(struct counters *c, struct view line, int64_t now_ms, int64_t wall_ms)
{
	uint64_t table, count, start, unit;
	struct counter *one;
	char *key;
	int64_t age;

	if (!take_number(&line, ANVIL_EVENTS - 1, &table) || !take_number(&line, UINT32_MAX, &count) ||
	    !take_number(&line, INT64_MAX / 2, &start) || !take_number(&line, INT64_MAX / 2, &unit) ||
	    line.len == 0)
		return;
	age = wall_ms - (int64_t)start;
	if (age < 0) /* the clock was put back */
		age = 0;
	if (age >= (int64_t)unit)
		return;
	key = x_strndup(line.p, line.len);
	one = counter_get(c, &c->tables[table], key);
	free(key);
	if (one == NULL)
		return;
	one->count = (uint32_t)count;
	one->unit_start_ms = one->last_ms = now_ms - age;
	one->unit_ms = (int64_t)unit;
}

void
counters_load(struct counters *c, struct view text, int64_t now_ms, int64_t wall_ms)
{
	struct view line;

	while (text.len > 0) {
		view_cut(text, '\n', &line, &text);
		load_line(c, line, now_ms, wall_ms);
	}
}
