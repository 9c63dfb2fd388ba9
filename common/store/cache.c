/* What was derived from content, by GUID and kind.  New entries wait in memory and go into the index many at a time: a
 * commit each would sync the disk each.  What a crash loses is made again. */
#include "common/store/store_internal.h"
#include "common/base/codec.h"
#include "common/base/mem.h"

#include <stdlib.h>

enum {
	CACHE_KEY = 17,
	PENDING_MAX_BYTES = 256 * 1024,
	PENDING_MAX_COUNT = 1000,
	CACHE_MAX_VALUE = 1 << 20
};

struct pending {
	size_t len;
	char bytes[]; /* crc, value */
};

static int
cache_key(struct mailbox *m, uint32_t uid, char key, unsigned char out[CACHE_KEY], struct err *err)
{
	struct message msg;

	if (message_find(m->folder, uid, &msg, err) < 0)
		return -1;
	memcpy(out, msg.r.guid, 16);
	out[16] = (unsigned char)key;
	return 0;
}

static uint32_t
cache_crc(const unsigned char key[CACHE_KEY], struct view value)
{
	return crc32c(crc32c(0, key, CACHE_KEY), value.p, value.len);
}

/* 0 appended, 1 damaged: as if it were not there, and made anew. */
static int
take_value(const unsigned char key[CACHE_KEY], struct view stored, struct buf *out, struct err *err)
{
	struct view value;
	uint32_t crc;

	if (stored.len < sizeof crc)
		return 1;
	memcpy(&crc, stored.p, sizeof crc);
	value = view_make(stored.p + sizeof crc, stored.len - sizeof crc);
	if (crc != cache_crc(key, value))
		return 1;
	return buf_append_view(out, value) < 0
		   ? err_set(err, ERR_LIMIT, "cached value is too large")
		   : 0;
}

int
mailbox_cache_get(struct mailbox *m, uint32_t uid, char key, struct buf *out, struct err *err)
{
	struct index *x = &m->folder->store->index;
	unsigned char k[CACHE_KEY];
	const struct pending *p;
	struct view stored;
	MDB_txn *txn;
	int r;

	if (cache_key(m, uid, key, k, err) < 0)
		return -1;
	p = map_get(&m->folder->store->cache, view_make(k, sizeof k));
	if (p != NULL)
		return take_value(k, view_make(p->bytes, p->len), out, err);
	if (index_read(x, &txn, err) < 0)
		return -1;
	r = index_get(x, txn, DB_CACHE, view_make(k, sizeof k), &stored, err);
	if (r == 0)
		r = take_value(k, stored, out, err);
	index_read_end(x);
	return r;
}

int
mailbox_cache_put(struct mailbox *m, uint32_t uid, char key, struct view value, struct err *err)
{
	struct store *s = m->folder->store;
	unsigned char k[CACHE_KEY];
	struct pending *p;
	uint32_t crc;

	if (value.len > CACHE_MAX_VALUE)
		return err_set(
		    err, ERR_LIMIT, "value of %zu bytes is too large to be cached", value.len);
	if (cache_key(m, uid, key, k, err) < 0)
		return -1;
	p = x_malloc(sizeof *p + sizeof crc + value.len);
	p->len = sizeof crc + value.len;
	crc = cache_crc(k, value);
	memcpy(p->bytes, &crc, sizeof crc);
	if (value.len > 0)
		memcpy(p->bytes + sizeof crc, value.p, value.len);
	free(map_put(&s->cache, view_make(k, sizeof k), p));
	s->cache_bytes += p->len;
	if (s->cache_bytes > PENDING_MAX_BYTES || s->cache.count > PENDING_MAX_COUNT)
		return cache_flush(s, err);
	return 0;
}

void
cache_forget(struct store *s)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&s->cache, &w)) != NULL)
		free(e->value);
	map_clear(&s->cache);
	map_init(&s->cache);
	s->cache_bytes = 0;
}

int
cache_flush(struct store *s, struct err *err)
{
	struct index *x = &s->index;
	struct map_walk w = { 0 };
	struct map_entry *e;
	MDB_txn *txn;
	int r = 0;

	if (s->cache.count == 0)
		return 0;
	if (index_write(x, s->cache_bytes * 2 + s->cache.count * 4096, &txn, err) < 0)
		return -1;
	while (r == 0 && (e = map_next(&s->cache, &w)) != NULL) {
		const struct pending *p = e->value;

		r = index_put(x, txn, DB_CACHE, view_make(e->key, e->key_len),
		    view_make(p->bytes, p->len), err);
	}
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	cache_forget(s); /* also when it failed: it would fail again, and memory is bounded */
	return r;
}

int
mailbox_cache_put_many(
    struct mailbox *m, const struct cache_value *values, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (mailbox_cache_put(m, values[i].uid, values[i].key, values[i].value, err) < 0 &&
		    err->kind != ERR_GONE)
			return -1;
	return 0;
}
