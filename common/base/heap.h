/* heap.h - a binary min-heap of intrusive nodes ordered by an int64_t key; each operation O(log n). */
#ifndef COMMON_BASE_HEAP_H
#define COMMON_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap_node {
	int64_t key;
	size_t at; /* 1-based place in the heap, 0 = not in one */
};

struct heap {
	struct heap_node **nodes; /* owned array of borrowed nodes */
	size_t count, cap;
};

void heap_init(struct heap *h);
void heap_clear(struct heap *h);
void heap_insert(struct heap *h, struct heap_node *n, int64_t key);
void heap_remove(struct heap *h, struct heap_node *n); /* nothing to do if it is not in a heap */
struct heap_node *heap_first(const struct heap *h);    /* NULL when empty; stays in the heap */

/* The struct of the given type that holds this node as its member. */
#define HEAP_ENTRY(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

#endif
