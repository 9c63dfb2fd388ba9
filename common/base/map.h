/* map.h - a hash table from bytes to pointers; keyed SipHash, so that a peer who chooses the keys
 * cannot choose collisions.  Keys are copied, values are borrowed. */
#ifndef COMMON_BASE_MAP_H
#define COMMON_BASE_MAP_H

#include "common/base/view.h"

struct map_entry {
	struct map_entry *next;
	uint64_t hash;
	void *value;
	size_t key_len;
	char key[]; /* NUL behind it */
};

struct map {
	struct map_entry **buckets; /* owned */
	size_t nbuckets, count;
};

void map_init(struct map *m);
void map_clear(struct map *m); /* values stay: the caller frees them first */
void *map_get(const struct map *m, struct view key);              /* NULL: not there */
void *map_put(struct map *m, struct view key, void *value);       /* returns the value replaced */
void *map_remove(struct map *m, struct view key);                 /* returns the value removed */
/* Walks all entries; start with a zeroed struct map_walk.  No put or remove while walking, but for removing the entry
 * just returned. */
struct map_walk {
	size_t bucket;
	struct map_entry *next;
};
struct map_entry *map_next(const struct map *m, struct map_walk *w);

uint64_t siphash24(const uint8_t key[16], const void *p, size_t len);

#endif
