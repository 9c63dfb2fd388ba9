#include "delivery/box_cache.h"
#include "common/base/fd.h"
#include "common/base/map.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <sys/queue.h>

struct held_box {
	TAILQ_ENTRY(held_box) link;
	char *home; /* owned */
	struct box box;
};
TAILQ_HEAD(held_boxes, held_box);

struct box_cache {
	int base_fd;
	size_t max;
	struct map by_home;
	struct held_boxes by_use; /* least recently used first */
};

struct box_cache *
box_cache_new(int base_fd, size_t max)
{
	struct box_cache *c = x_calloc(1, sizeof *c);

	c->base_fd = base_fd;
	c->max = max;
	map_init(&c->by_home);
	TAILQ_INIT(&c->by_use);
	return c;
}

static void
let_go(struct box_cache *c, struct held_box *h)
{
	map_remove(&c->by_home, view_of(h->home));
	TAILQ_REMOVE(&c->by_use, h, link);
	box_close(&h->box);
	free(h->home);
	free(h);
}

struct box *
box_cache_get(struct box_cache *c, const char *home, struct outcome *why)
{
	struct held_box *h = map_get(&c->by_home, view_of(home));

	if (h != NULL && !box_is_current(&h->box, c->base_fd, home)) {
		let_go(c, h);
		h = NULL;
	}
	if (h == NULL) {
		struct box opened;

		if (box_open(c->base_fd, home, &opened, why) < 0)
			return NULL;
		h = x_calloc(1, sizeof *h);
		h->box = opened;
		h->home = x_strdup(home);
		map_put(&c->by_home, view_of(home), h);
	} else {
		TAILQ_REMOVE(&c->by_use, h, link);
		fd_close(&h->box.cur_fd); /* not looked at by box_is_current, and seldom needed */
	}
	TAILQ_INSERT_TAIL(&c->by_use, h, link);
	maildirsize_load(h->box.maildir.fd, &h->box.quota);
	return &h->box;
}

void
box_cache_trim(struct box_cache *c)
{
	while (c->by_home.count > c->max)
		let_go(c, TAILQ_FIRST(&c->by_use));
}

void
box_cache_clear(struct box_cache *c)
{
	struct held_box *h;

	while ((h = TAILQ_FIRST(&c->by_use)) != NULL)
		let_go(c, h);
}

void
box_cache_free(struct box_cache *c)
{
	if (c == NULL)
		return;
	box_cache_clear(c);
	map_clear(&c->by_home);
	free(c);
}
