#include "authd/origins.h"

#include "common/base/mem.h"
#include "common/net/addr.h"

#include <stdlib.h>

static const int delay_ms[ORIGIN_LEVELS + 1] = { 0, 2000, 4000, 8000, 15000 };

void
origins_init(struct origins *o)
{
	map_init(&o->by_key);
	TAILQ_INIT(&o->unused);
	o->unused_count = 0;
}

static void
origin_forget(struct origins *o, struct origin *from)
{
	map_remove(&o->by_key, view_make(from->key, from->key_len));
	free(from);
}

static void
unused_remove(struct origins *o, struct origin *from)
{
	TAILQ_REMOVE(&o->unused, from, link);
	o->unused_count--;
}

/* Who owns one IPv6 address owns the network of 64 bits around it. */
static struct view
origin_key(const char *client, struct sockaddr_storage *a)
{
	if (!addr_parse(view_of(client), a))
		return VIEW_LIT("");
	return a->ss_family == AF_INET ? view_make(&((struct sockaddr_in *)a)->sin_addr, 4)
				       : view_make(&((struct sockaddr_in6 *)a)->sin6_addr, 8);
}

struct origin *
origin_take(struct origins *o, const char *client, int64_t now_ms)
{
	struct sockaddr_storage a;
	struct view key = origin_key(client, &a);
	struct origin *from = map_get(&o->by_key, key);

	if (from == NULL) {
		from = x_calloc(1, sizeof *from);
		memcpy(from->key, key.p, key.len);
		from->key_len = key.len;
		TAILQ_INIT(&from->awaiting);
		map_put(&o->by_key, key, from);
	} else if (from->count == 0) {
		unused_remove(o, from);
	}
	from->level = origin_level(from, now_ms);
	from->count++;
	return from;
}

void
origin_release(struct origins *o, struct origin *from, int64_t now_ms)
{
	struct origin *oldest;

	if (--from->count > 0)
		return;
	if (origin_level(from, now_ms) == 0) {
		origin_forget(o, from);
		return;
	}
	TAILQ_INSERT_TAIL(&o->unused, from, link);
	o->unused_count++;
	while ((oldest = TAILQ_FIRST(&o->unused)) != NULL &&
	       (o->unused_count > ORIGINS_MAX || origin_level(oldest, now_ms) == 0)) {
		unused_remove(o, oldest);
		origin_forget(o, oldest);
	}
}

void
origins_clear(struct origins *o)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&o->by_key, &w)) != NULL)
		free(e->value);
	map_clear(&o->by_key);
	origins_init(o);
}

void
origin_failed(struct origin *from, int64_t now_ms)
{
	if (now_ms < from->until)
		return;
	from->level = origin_level(from, now_ms);
	if (from->level < ORIGIN_LEVELS)
		from->level++;
	from->until = now_ms + delay_ms[from->level];
}

void
origin_succeeded(struct origin *from)
{
	if (from->level > 0 && --from->level == 0)
		from->until = 0;
}

unsigned
origin_level(const struct origin *from, int64_t now_ms)
{
	return now_ms - from->until < ORIGIN_FORGET_MS ? from->level : 0;
}

int64_t
origin_wait_ms(const struct origin *from, int64_t now_ms)
{
	return from->level > 0 && from->until > now_ms ? from->until - now_ms : 0;
}
