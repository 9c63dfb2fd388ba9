#include "common/base/heap.h"
#include "common/base/mem.h"

#include <stdlib.h>

void
heap_init(struct heap *h)
{
	*h = (struct heap){ 0 };
}

void
heap_clear(struct heap *h)
{
	for (size_t i = 0; i < h->count; i++)
		h->nodes[i]->at = 0;
	free(h->nodes);
	*h = (struct heap){ 0 };
}

static void
place(struct heap *h, size_t at, struct heap_node *n)
{
	h->nodes[at - 1] = n;
	n->at = at;
}

static void
sift_up(struct heap *h, size_t at, struct heap_node *n)
{
	for (; at > 1 && h->nodes[at / 2 - 1]->key > n->key; at /= 2)
		place(h, at, h->nodes[at / 2 - 1]);
	place(h, at, n);
}

static void
sift_down(struct heap *h, size_t at, struct heap_node *n)
{
	size_t child;

	for (; (child = at * 2) <= h->count; at = child) {
		if (child < h->count && h->nodes[child]->key < h->nodes[child - 1]->key)
			child++;
		if (h->nodes[child - 1]->key >= n->key)
			break;
		place(h, at, h->nodes[child - 1]);
	}
	place(h, at, n);
}

void
heap_insert(struct heap *h, struct heap_node *n, int64_t key)
{
	if (h->count == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 16;
		h->nodes = x_realloc(h->nodes, h->cap, sizeof(struct heap_node *));
	}
	n->key = key;
	sift_up(h, ++h->count, n);
}

void
heap_remove(struct heap *h, struct heap_node *n)
{
	struct heap_node *last;
	size_t at = n->at;

	if (at == 0)
		return;
	n->at = 0;
	last = h->nodes[--h->count];
	if (last == n)
		return;
	if (at > 1 && h->nodes[at / 2 - 1]->key > last->key)
		sift_up(h, at, last);
	else
		sift_down(h, at, last);
}

struct heap_node *
heap_first(const struct heap *h)
{
	return h->count ? h->nodes[0] : NULL;
}
