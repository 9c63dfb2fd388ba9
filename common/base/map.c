#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/random.h"

#include <stdlib.h>

static uint8_t map_secret[16];
static bool map_secret_set;

static uint64_t
rotl(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
	v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

static uint64_t
load64(const uint8_t *p, size_t len)
{
	uint64_t x = 0;

	for (size_t i = 0; i < len; i++)
		x |= (uint64_t)p[i] << (8 * i);
	return x;
}

/* Aumasson, Bernstein: SipHash, 2012 */
uint64_t
siphash24(const uint8_t key[16], const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t k0 = load64(key, 8), k1 = load64(key + 8, 8), m;
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
		k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };
	size_t left = len;

	for (; left >= 8; p += 8, left -= 8) {
		m = load64(p, 8);
		v[3] ^= m;
		sip_round(v), sip_round(v);
		v[0] ^= m;
	}
	m = load64(p, left) | (uint64_t)len << 56;
	v[3] ^= m;
	sip_round(v), sip_round(v);
	v[0] ^= m;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint64_t
map_hash(struct view key)
{
	return siphash24(map_secret, key.p, key.len);
}

void
map_init(struct map *m)
{
	if (!map_secret_set) {
		random_bytes(map_secret, sizeof map_secret);
		map_secret_set = true;
	}
	*m = (struct map){ 0 };
}

void
map_clear(struct map *m)
{
	for (size_t i = 0; i < m->nbuckets; i++) {
		while (m->buckets[i]) {
			struct map_entry *next = m->buckets[i]->next;

			free(m->buckets[i]);
			m->buckets[i] = next;
		}
	}
	free(m->buckets);
	*m = (struct map){ 0 };
}

static struct map_entry **
map_slot(const struct map *m, struct view key, uint64_t hash)
{
	struct map_entry **slot = &m->buckets[hash & (m->nbuckets - 1)];

	while (*slot &&
	    ((*slot)->hash != hash || !view_eq(view_make((*slot)->key, (*slot)->key_len), key)))
		slot = &(*slot)->next;
	return slot;
}

void *
map_get(const struct map *m, struct view key)
{
	struct map_entry *e = m->nbuckets ? *map_slot(m, key, map_hash(key)) : NULL;

	return e ? e->value : NULL;
}

static void
map_grow(struct map *m)
{
	size_t n = m->nbuckets ? m->nbuckets * 2 : 16;
	struct map_entry **buckets = x_calloc(n, sizeof *buckets);

	for (size_t i = 0; i < m->nbuckets; i++) {
		while (m->buckets[i]) {
			struct map_entry *e = m->buckets[i];

			m->buckets[i] = e->next;
			e->next = buckets[e->hash & (n - 1)];
			buckets[e->hash & (n - 1)] = e;
		}
	}
	free(m->buckets);
	m->buckets = buckets;
	m->nbuckets = n;
}

void *
map_put(struct map *m, struct view key, void *value)
{
	uint64_t hash = map_hash(key);
	struct map_entry **slot, *e;
	void *old;

	if (m->count >= m->nbuckets)
		map_grow(m);
	slot = map_slot(m, key, hash);
	if (*slot) {
		old = (*slot)->value;
		(*slot)->value = value;
		return old;
	}
	e = x_malloc(sizeof *e + key.len + 1);
	*e = (struct map_entry){ .hash = hash, .value = value, .key_len = key.len };
	if (key.len > 0)
		memcpy(e->key, key.p, key.len);
	e->key[key.len] = '\0';
	*slot = e;
	m->count++;
	return NULL;
}

void *
map_remove(struct map *m, struct view key)
{
	struct map_entry **slot, *e;
	void *value;

	if (m->nbuckets == 0)
		return NULL;
	slot = map_slot(m, key, map_hash(key));
	if ((e = *slot) == NULL)
		return NULL;
	*slot = e->next;
	value = e->value;
	free(e);
	m->count--;
	return value;
}

struct map_entry *
map_next(const struct map *m, struct map_walk *w)
{
	struct map_entry *e = w->next;

	while (e == NULL && w->bucket < m->nbuckets)
		e = m->buckets[w->bucket++];
	w->next = e ? e->next : NULL;
	return e;
}
