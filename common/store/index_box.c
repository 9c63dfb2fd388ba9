/* Mailboxes and messages in the index.  Every function that changes messages also changes the counters of the
 * struct box it is given; the caller saves that once at the end of its transaction. */
#include "common/store/index.h"

static int
damaged(struct index *x)
{
	x->is_damaged = true;
	return -1;
}

int
box_find(struct index *x, MDB_txn *txn, const char *disk, uint32_t *id, struct err *err)
{
	struct view value;
	int r = index_get(x, txn, DB_NAMES, view_of(disk), &value, err);

	if (r != 0)
		return r;
	if (value.len != BOX_KEY) {
		err_set(err, ERR_TEMP, "index: damaged name record");
		return damaged(x);
	}
	*id = key_get_u32((const unsigned char *)value.p);
	return 0;
}

int
box_load(struct index *x, MDB_txn *txn, uint32_t id, struct box *out, struct err *err)
{
	unsigned char key[BOX_KEY];
	struct view value;
	int r;

	key_u32(key, id);
	r = index_get(x, txn, DB_BOXES, view_make(key, sizeof key), &value, err);
	if (r != 0)
		return r;
	return box_decode(id, value, out, err) < 0 ? damaged(x) : 0;
}

int
box_save(struct index *x, MDB_txn *txn, const struct box *b, struct err *err)
{
	unsigned char key[BOX_KEY], value[sizeof b->r + MAILDIR_NAME_MAX];
	size_t len = box_encode(b, value);

	key_u32(key, b->id);
	return index_put(x, txn, DB_BOXES, view_make(key, sizeof key), view_make(value, len), err);
}

static int
put_name(struct index *x, MDB_txn *txn, const char *disk, uint32_t id, struct err *err)
{
	unsigned char value[BOX_KEY];

	key_u32(value, id);
	return index_put(x, txn, DB_NAMES, view_of(disk), view_make(value, sizeof value), err);
}

int
box_add(struct index *x, MDB_txn *txn, struct box *b, struct err *err)
{
	unsigned char next[BOX_KEY];
	struct view value;
	int r = index_get(x, txn, DB_META, VIEW_LIT("next-id"), &value, err);

	if (r < 0)
		return -1;
	b->id = r == 0 && value.len == BOX_KEY ? key_get_u32((const unsigned char *)value.p) : 1;
	if (b->id == UINT32_MAX)
		return err_set(err, ERR_LIMIT, "index: mailbox numbers are used up");
	key_u32(next, b->id + 1);
	if (index_put(x, txn, DB_META, VIEW_LIT("next-id"), view_make(next, sizeof next), err) <
		0 ||
	    put_name(x, txn, b->disk, b->id, err) < 0)
		return -1;
	return box_save(x, txn, b, err);
}

int
box_rename(struct index *x, MDB_txn *txn, struct box *b, const char *disk, struct err *err)
{
	if (index_del(x, txn, DB_NAMES, view_make(b->disk, strlen(b->disk)), err) < 0)
		return -1;
	memcpy(b->disk, disk, strlen(disk) + 1);
	if (put_name(x, txn, disk, b->id, err) < 0)
		return -1;
	return box_save(x, txn, b, err);
}

static int
delete_prefix(struct index *x, MDB_txn *txn, enum index_db db, uint32_t id, struct err *err)
{
	unsigned char prefix[BOX_KEY];
	struct index_cursor c;
	struct view key, value;
	int r;

	key_u32(prefix, id);
	if (cursor_open(x, txn, db, view_make(prefix, sizeof prefix), &c, err) < 0)
		return -1;
	r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &value, err);
	while (r == 0) {
		if (cursor_delete(&c, err) < 0)
			r = -1;
		else
			r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &value, err);
	}
	cursor_close(&c);
	return r < 0 ? -1 : 0;
}

int
box_clear(struct index *x, MDB_txn *txn, struct box *b, struct err *err)
{
	static const enum index_db all[] = { DB_MESSAGES, DB_BASES, DB_CHANGES, DB_VANISHED,
		DB_EXTRAS };

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (delete_prefix(x, txn, all[i], b->id, err) < 0)
			return -1;
	b->r.messages = b->r.unseen = b->r.deleted = b->r.in_new = b->r.unsized = b->r.vanished = 0;
	b->r.size = b->r.disk_size = 0;
	return 0;
}

int
box_remove(struct index *x, MDB_txn *txn, uint32_t id, const char *disk, struct err *err)
{
	struct box b = { .id = id };
	unsigned char key[BOX_KEY];

	key_u32(key, id);
	if (box_clear(x, txn, &b, err) < 0 || delete_prefix(x, txn, DB_KEYWORDS, id, err) < 0 ||
	    index_del(x, txn, DB_NAMES, view_of(disk), err) < 0)
		return -1;
	return index_del(x, txn, DB_BOXES, view_make(key, sizeof key), err);
}

int
box_trim_vanished(struct index *x, MDB_txn *txn, struct box *b, uint32_t keep, struct err *err)
{
	unsigned char prefix[BOX_KEY];
	struct index_cursor c;
	struct view key, value;
	int r = 0;

	if (b->r.vanished <= keep)
		return 0;
	key_u32(prefix, b->id);
	if (cursor_open(x, txn, DB_VANISHED, view_make(prefix, sizeof prefix), &c, err) < 0)
		return -1;
	while (b->r.vanished > keep) {
		r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &value, err);
		if (r != 0 || key.len != CHANGE_KEY)
			break;
		b->r.floor = key_get_u64((const unsigned char *)key.p + 4);
		if (cursor_delete(&c, err) < 0) {
			r = -1;
			break;
		}
		b->r.vanished--;
	}
	cursor_close(&c);
	if (r > 0) { /* fewer entries than counted */
		err_set(err, ERR_TEMP, "index: expunge history of mailbox %u is damaged", b->id);
		return damaged(x);
	}
	return r;
}

/* --- messages ------------------------------------------------------------------------------------------------ */

int
index_message_load(
    struct index *x, MDB_txn *txn, uint32_t box, uint32_t uid, struct message *out, struct err *err)
{
	unsigned char key[MESSAGE_KEY];
	struct view value;
	int r;

	index_message_key(key, box, uid);
	r = index_get(x, txn, DB_MESSAGES, view_make(key, sizeof key), &value, err);
	if (r != 0)
		return r;
	return index_message_decode(box, uid, value, out, err) < 0 ? damaged(x) : 0;
}

static size_t
base_key(unsigned char key[BOX_KEY + MAILDIR_NAME_MAX], uint32_t box, struct view base)
{
	key_u32(key, box);
	memcpy(key + BOX_KEY, base.p, base.len);
	return BOX_KEY + base.len;
}

int
index_message_by_base(
    struct index *x, MDB_txn *txn, uint32_t box, struct view base, uint32_t *uid, struct err *err)
{
	unsigned char key[BOX_KEY + MAILDIR_NAME_MAX];
	struct view value;
	int r;

	if (base.len == 0 || base.len > MAILDIR_NAME_MAX)
		return 1;
	r = index_get(x, txn, DB_BASES, view_make(key, base_key(key, box, base)), &value, err);
	if (r != 0)
		return r;
	if (value.len != 4) {
		err_set(err, ERR_TEMP, "index: damaged base record");
		return damaged(x);
	}
	*uid = key_get_u32((const unsigned char *)value.p);
	return 0;
}

static void
count(struct box *b, const struct message *m, uint32_t one)
{
	struct box_record *r = &b->r;
	uint64_t sign = one == 1 ? 1 : UINT64_MAX; /* modulo 2^64: + or - */

	r->messages += one;
	if (!(m->r.flags & FLAG_SEEN))
		r->unseen += one;
	if (m->r.flags & FLAG_DELETED)
		r->deleted += one;
	if (m->r.place == PLACE_NEW)
		r->in_new += one;
	if (m->r.size == SIZE_UNKNOWN)
		r->unsized += one;
	else
		r->size += sign * m->r.size;
	r->disk_size += sign * m->r.disk_size;
}

static int
put_message(
    struct index *x, MDB_txn *txn, const struct box *b, const struct message *m, struct err *err)
{
	unsigned char key[MESSAGE_KEY], value[MESSAGE_VALUE_MAX];
	size_t len = index_message_encode(b->id, m, value);

	index_message_key(key, b->id, m->uid);
	return index_put(
	    x, txn, DB_MESSAGES, view_make(key, sizeof key), view_make(value, len), err);
}

static int
put_change(struct index *x, MDB_txn *txn, enum index_db db, const struct box *b, uint64_t modseq,
    uint32_t uid, struct err *err)
{
	unsigned char key[CHANGE_KEY];

	change_key(key, b->id, modseq, uid);
	return index_put(x, txn, db, view_make(key, sizeof key), view_make("", 0), err);
}

static int
del_change(struct index *x, MDB_txn *txn, const struct box *b, uint64_t modseq, uint32_t uid,
    struct err *err)
{
	unsigned char key[CHANGE_KEY];

	change_key(key, b->id, modseq, uid);
	return index_del(x, txn, DB_CHANGES, view_make(key, sizeof key), err);
}

int
index_message_add(struct index *x, MDB_txn *txn, struct box *b, const struct message *m,
    struct view extras, struct err *err)
{
	unsigned char key[BOX_KEY + MAILDIR_NAME_MAX], uid[4];

	key_u32(uid, m->uid);
	if (put_message(x, txn, b, m, err) < 0 ||
	    put_change(x, txn, DB_CHANGES, b, m->r.modseq, m->uid, err) < 0 ||
	    index_put(x, txn, DB_BASES, view_make(key, base_key(key, b->id, message_base(m))),
		view_make(uid, 4), err) < 0)
		return -1;
	if (extras.len > 0) {
		index_message_key(key, b->id, m->uid);
		if (index_put(x, txn, DB_EXTRAS, view_make(key, MESSAGE_KEY), extras, err) < 0)
			return -1;
	}
	count(b, m, 1);
	return 0;
}

int
index_message_update(struct index *x, MDB_txn *txn, struct box *b, const struct message *old,
    const struct message *m, struct err *err)
{
	if (put_message(x, txn, b, m, err) < 0)
		return -1;
	if (old->r.modseq != m->r.modseq &&
	    (del_change(x, txn, b, old->r.modseq, m->uid, err) < 0 ||
		put_change(x, txn, DB_CHANGES, b, m->r.modseq, m->uid, err) < 0))
		return -1;
	count(b, old, UINT32_MAX);
	count(b, m, 1);
	return 0;
}

int
index_message_remove(struct index *x, MDB_txn *txn, struct box *b, const struct message *m,
    uint64_t modseq, struct err *err)
{
	unsigned char key[BOX_KEY + MAILDIR_NAME_MAX];
	size_t len = base_key(key, b->id, message_base(m));

	if (index_del(x, txn, DB_BASES, view_make(key, len), err) < 0 ||
	    del_change(x, txn, b, m->r.modseq, m->uid, err) < 0 ||
	    put_change(x, txn, DB_VANISHED, b, modseq, m->uid, err) < 0)
		return -1;
	index_message_key(key, b->id, m->uid);
	if (index_del(x, txn, DB_MESSAGES, view_make(key, MESSAGE_KEY), err) < 0 ||
	    index_del(x, txn, DB_EXTRAS, view_make(key, MESSAGE_KEY), err) < 0)
		return -1;
	b->r.vanished++;
	count(b, m, UINT32_MAX);
	return 0;
}
