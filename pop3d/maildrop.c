#include "pop3d/maildrop.h"
#include "common/base/mem.h"

#include <stdlib.h>

#define ARENA_MAX ((size_t)1 << 30)

struct fill {
	struct pop3d_maildrop *d;
	size_t max;
};

static bool
take_message(void *arg, const struct message_info *info)
{
	struct fill *f = arg;
	struct pop3d_maildrop *d = f->d;

	if (d->count == f->max)
		return false;
	d->messages[d->count++] = (struct pop3d_message){ .uid = info->uid, .size = info->size };
	d->size += info->size;
	return true;
}

static int
compare_uid(const void *a, const void *b)
{
	uint32_t x = ((const struct pop3d_message *)a)->uid,
		 y = ((const struct pop3d_message *)b)->uid;

	return x < y ? -1 : x > y;
}

/* From the order of UIDs to the order in which this account's clients know the messages. */
static void
put_in_order(struct pop3d_maildrop *d, const uint32_t *uids, size_t count)
{
	struct pop3d_message *sorted = x_calloc(d->count, sizeof *sorted), *found, key = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		key.uid = uids[i];
		found = bsearch(&key, d->messages, d->count, sizeof *found, compare_uid);
		if (found != NULL && n < d->count)
			sorted[n++] = *found;
	}
	free(d->messages);
	d->messages = sorted;
	d->count = n;
}

static int
load(struct pop3d_maildrop *d, struct err *err)
{
	struct fill f = { .d = d };
	struct arena a;
	uint32_t *uids;
	size_t count;
	int r;

	arena_init(&a, ARENA_MAX);
	r = mailbox_measure_all(d->box, err);
	if (r == 0)
		r = mailbox_pop3_uids(d->box, &a, &uids, &count, err);
	if (r == 0) {
		d->messages = x_calloc(count, sizeof *d->messages);
		f.max = count;
		r = mailbox_each(d->box, 1, UINT32_MAX, take_message, &f, err);
	}
	if (r == 0)
		put_in_order(d, uids, count);
	arena_clear(&a);
	return r;
}

int
pop3d_maildrop_open(struct store *s, struct pop3d_maildrop **out, struct err *err)
{
	struct pop3d_maildrop *d;
	int r = store_pop3_lock(s, err);

	if (r != 0)
		return r;
	d = x_calloc(1, sizeof *d);
	d->store = s;
	/* \Recent is left for the next IMAP session: POP3 does not know it */
	if (mailbox_open(s, "INBOX", false, &d->box, err) < 0 || load(d, err) < 0) {
		pop3d_maildrop_close(&d);
		return -1;
	}
	*out = d;
	return 0;
}

void
pop3d_maildrop_close(struct pop3d_maildrop **d)
{
	if (*d == NULL)
		return;
	mailbox_close((*d)->box);
	store_pop3_unlock((*d)->store);
	free((*d)->messages);
	x_free(d);
}

void
pop3d_maildrop_delete(struct pop3d_maildrop *d, size_t index)
{
	d->messages[index].is_deleted = true;
	d->ndeleted++;
	d->deleted_size += d->messages[index].size;
}

void
pop3d_maildrop_reset(struct pop3d_maildrop *d)
{
	for (size_t i = 0; i < d->count; i++)
		d->messages[i].is_deleted = false;
	d->ndeleted = 0;
	d->deleted_size = 0;
}

int
pop3d_maildrop_update(struct pop3d_maildrop *d, size_t *removed, struct err *err)
{
	struct arena a;
	uint32_t *uids, *gone;
	size_t n = 0;
	int r;

	*removed = 0;
	if (d->ndeleted == 0)
		return 0;
	arena_init(&a, ARENA_MAX);
	uids = arena_alloc(&a, d->ndeleted * sizeof *uids);
	for (size_t i = 0; i < d->count && uids != NULL; i++)
		if (d->messages[i].is_deleted)
			uids[n++] = d->messages[i].uid;
	r = uids == NULL ? err_set(err, ERR_LIMIT, "too many messages")
			 : mailbox_expunge(d->box, uids, n, false, &a, &gone, removed, err);
	arena_clear(&a);
	return r;
}

int
pop3d_maildrop_mark_seen(struct pop3d_maildrop *d, struct err *err)
{
	struct arena a;
	uint32_t *uids, *refused;
	size_t n = 0, nrefused;
	int r = 0;

	arena_init(&a, ARENA_MAX);
	uids = arena_alloc(&a, (d->count + 1) * sizeof *uids);
	for (size_t i = 0; i < d->count && uids != NULL; i++)
		if (d->messages[i].is_read)
			uids[n++] = d->messages[i].uid;
	if (n > 0)
		r = mailbox_store_flags(
		    d->box, uids, n, STORE_ADD, FLAG_SEEN, NULL, 0, &a, &refused, &nrefused, err);
	arena_clear(&a);
	return r;
}
