#include "common/store/store_internal.h"

#include <stdio.h>
#include <stdlib.h>

struct ordered {
	uint32_t uid, order;
};

static int
compare_order(const void *pa, const void *pb)
{
	const struct ordered *a = pa, *b = pb;

	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return a->uid < b->uid ? -1 : a->uid > b->uid;
}

static int
compare_uid(const void *pa, const void *pb)
{
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;

	return a < b ? -1 : a > b;
}

/* Order numbers stand among the extra fields, which few mailboxes have: only those are walked. */
static int
load_orders(struct folder *f, struct ordered *list, size_t max, size_t *count, struct err *err)
{
	struct index *x = &f->store->index;
	unsigned char prefix[BOX_KEY];
	struct index_cursor c;
	struct view key, fields, value;
	MDB_txn *txn;
	uint64_t n;
	int r;

	*count = 0;
	if (index_read(x, &txn, err) < 0)
		return -1;
	key_u32(prefix, f->box.id);
	r = cursor_open(x, txn, DB_EXTRAS, view_make(prefix, sizeof prefix), &c, err);
	if (r == 0) {
		for (r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &fields, err);
		     r == 0 && *count < max; r = cursor_next(&c, &key, &fields, err))
			if (key.len == MESSAGE_KEY && uidlist_field(fields, 'O', &value) &&
			    view_u64(value, UINT32_MAX, &n))
				list[(*count)++] =
				    (struct ordered){ key_get_u32((const unsigned char *)key.p + 4),
					    (uint32_t)n };
		cursor_close(&c);
	}
	index_read_end(x);
	return r < 0 ? -1 : 0;
}

int
mailbox_pop3_uids(
    struct mailbox *m, struct arena *a, uint32_t **uids, size_t *count, struct err *err)
{
	struct ordered *orders;
	uint32_t *first, *rest, *sorted;
	size_t norders, nfirst = 0, nrest = 0;

	if (mailbox_uids(m, a, &rest, count, err) < 0)
		return -1;
	*uids = rest;
	orders = arena_alloc(a, (*count + 1) * sizeof *orders);
	first = arena_alloc(a, (*count + 1) * sizeof *first);
	if (orders == NULL || first == NULL)
		return err_set(err, ERR_LIMIT, "too many messages");
	if (load_orders(m->folder, orders, *count, &norders, err) < 0)
		return -1;
	if (norders == 0)
		return 0;
	qsort(orders, norders, sizeof *orders, compare_order);
	for (size_t i = 0; i < norders; i++) {
		uint32_t *at = bsearch(&orders[i].uid, rest, *count, sizeof *rest, compare_uid);

		if (at != NULL)
			first[nfirst++] = orders[i].uid;
	}
	/* rest without those: a second, sorted copy of first tells which */
	sorted = arena_alloc(a, (nfirst + 1) * sizeof *sorted);
	if (sorted == NULL)
		return err_set(err, ERR_LIMIT, "too many messages");
	memcpy(sorted, first, nfirst * sizeof *first);
	qsort(sorted, nfirst, sizeof *sorted, compare_uid);
	for (size_t i = 0; i < *count; i++)
		if (bsearch(&rest[i], sorted, nfirst, sizeof *sorted, compare_uid) == NULL)
			first[nfirst + nrest++] = rest[i];
	*uids = first;
	return 0;
}

/* What the user's client has seen before must come again: a value that another server noted (P), else what
 * Dovecot makes of UID and UIDVALIDITY ("%08Xu%08Xv", in lower case). */
int
mailbox_uidl(struct mailbox *m, uint32_t uid, char out[71], struct err *err)
{
	struct folder *f = m->folder;
	struct index *x = &f->store->index;
	unsigned char key[MESSAGE_KEY];
	struct message msg;
	struct view fields, value;
	MDB_txn *txn;
	int r;

	if (folder_ready(f, err) < 0 || index_read(x, &txn, err) < 0)
		return -1;
	r = index_message_load(x, txn, f->box.id, uid, &msg, err);
	if (r > 0)
		r = err_set(err, ERR_GONE, "no message %u", uid);
	if (r == 0) {
		index_message_key(key, f->box.id, uid);
		r = index_get(x, txn, DB_EXTRAS, view_make(key, sizeof key), &fields, err);
		if (r == 0 && uidlist_field(fields, 'P', &value)) {
			if (value.len == 0) /* P alone: the base name */
				value = message_base(&msg);
			snprintf(out, 71, "%.*s", VIEW_ARG(value));
		} else if (r >= 0) {
			snprintf(out, 71, "%08x%08x", uid, f->box.r.uidvalidity);
			r = 0;
		}
	}
	index_read_end(x);
	return r;
}
