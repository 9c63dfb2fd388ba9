#include "common/store/store_internal.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <stdlib.h>

enum { CHUNK = 256 }; /* messages read in one transaction, before the caller's function sees them */

/* --- \Recent --------------------------------------------------------------------------------------------------- */

/* With the lock held: what has come since anybody claimed belongs to this session, and to no other. */
static int
claim_recent(struct mailbox *m, struct err *err)
{
	struct box_record *b = &m->folder->box.r;

	if (!m->claims || b->recent_uid >= b->uidnext)
		return 0;
	if (m->nrecent > 0 && m->recent[m->nrecent - 1].to + 1 == b->recent_uid) {
		m->recent[m->nrecent - 1].to = b->uidnext - 1;
	} else {
		m->recent = x_realloc(m->recent, m->nrecent + 1, sizeof *m->recent);
		m->recent[m->nrecent++] = (struct uid_range){ b->recent_uid, b->uidnext - 1 };
	}
	b->recent_uid = b->uidnext;
	return folder_save_box(m->folder, err);
}

bool
mailbox_is_recent(struct mailbox *m, uint32_t uid)
{
	size_t low = 0, high = m->nrecent;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->recent[mid].to < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->nrecent && m->recent[low].from <= uid;
}

/* --- opening and refreshing ---------------------------------------------------------------------------------------- */

static int
bring_up_to_date(struct mailbox *m, unsigned how, struct err *err)
{
	struct folder *f = m->folder;
	int stale, r;

	if (m->claims)
		how |= SYNC_CLAIM;
	stale = folder_is_stale(f, how, err);
	if (stale < 0)
		return -1;
	if (stale == 0 && !(m->claims && f->box.r.recent_uid < f->box.r.uidnext))
		return 0;
	if (folder_lock(f, err) < 0)
		return -1;
	r = folder_sync(f, how, err);
	if (r == 0)
		r = claim_recent(m, err);
	folder_unlock(f);
	return r;
}

static int
open_once(struct store *s, const char *name, bool claim, struct mailbox **out, struct err *err)
{
	struct mailbox *m = x_calloc(1, sizeof *m);

	m->claims = claim;
	if (folder_open(s, name, &m->folder, err) < 0) {
		free(m);
		return -1;
	}
	if (bring_up_to_date(m, SYNC_VERIFY, err) < 0) {
		mailbox_close(m);
		return -1;
	}
	m->uidvalidity = m->folder->box.r.uidvalidity;
	*out = m;
	return 0;
}

int
mailbox_open(struct store *s, const char *name, bool claim, struct mailbox **out, struct err *err)
{
	int r = open_once(s, name, claim, out, err);

	if (r < 0 && s->index.is_damaged) /* it is set aside and built anew at the next use: now */
		r = open_once(s, name, claim, out, err);
	return r;
}

void
mailbox_close(struct mailbox *m)
{
	struct err err;

	if (m == NULL)
		return;
	if (!m->folder->store->index.is_damaged && index_is_open(&m->folder->store->index) &&
	    cache_flush(m->folder->store, &err) < 0)
		log_warn("%s: %s", m->folder->disk, err.text);
	folder_close(m->folder);
	free(m->recent);
	free(m);
}

bool
mailbox_is_gone(struct mailbox *m)
{
	struct err err;

	return (folder_peek(m->folder, &err) < 0 && err.kind == ERR_GONE) ||
	       m->folder->box.r.uidvalidity != m->uidvalidity;
}

int
mailbox_refresh(struct mailbox *m, bool force, struct err *err)
{
	/* verified too: what another program did in the moment of a change of ours must not stay hidden from a session
	 * that never opens the mailbox again */
	return bring_up_to_date(m, SYNC_VERIFY | (force ? SYNC_NEW : SYNC_QUICK), err);
}

/* --- status ------------------------------------------------------------------------------------------------------------ */

static int
count_range(
    struct folder *f, MDB_txn *txn, uint32_t from, uint32_t to, uint32_t *count, struct err *err)
{
	unsigned char prefix[BOX_KEY], start[MESSAGE_KEY];
	struct index_cursor c;
	struct view key, value;
	int r;

	key_u32(prefix, f->box.id);
	index_message_key(start, f->box.id, from);
	if (cursor_open(
		&f->store->index, txn, DB_MESSAGES, view_make(prefix, sizeof prefix), &c, err) < 0)
		return -1;
	for (r = cursor_seek(&c, view_make(start, sizeof start), &key, &value, err);
	     r == 0 && key.len == MESSAGE_KEY &&
	     key_get_u32((const unsigned char *)key.p + 4) <= to;
	     r = cursor_next(&c, &key, &value, err))
		++*count;
	cursor_close(&c);
	return r < 0 ? -1 : 0;
}

static void
fill_status(const struct folder *f, struct mailbox_status *out)
{
	const struct box_record *b = &f->box.r;

	*out = (struct mailbox_status){
		.messages = b->messages,
		.unseen = b->unseen,
		.deleted = b->deleted,
		.uidnext = b->uidnext,
		.uidvalidity = b->uidvalidity,
		.highest_modseq = b->modseq,
		.size = b->size,
		.unsized = b->unsized,
	};
	hex_encode(out->guid, b->guid, sizeof b->guid);
}

int
mailbox_get_status(struct mailbox *m, struct mailbox_status *out, struct err *err)
{
	struct folder *f = m->folder;
	MDB_txn *txn;
	int r = 0;

	if (folder_peek(f, err) < 0)
		return -1;
	fill_status(f, out);
	if (m->nrecent == 0)
		return 0;
	if (index_read(&f->store->index, &txn, err) < 0)
		return -1;
	for (size_t i = 0; i < m->nrecent && r == 0; i++)
		r = count_range(f, txn, m->recent[i].from, m->recent[i].to, &out->recent, err);
	index_read_end(&f->store->index);
	return r;
}

static int
status_once(struct store *s, const char *name, struct mailbox_status *out, struct err *err)
{
	struct mailbox m = { 0 };
	MDB_txn *txn;
	int r;

	if (folder_open(s, name, &m.folder, err) < 0)
		return -1;
	r = bring_up_to_date(&m, SYNC_QUICK, err);
	if (r == 0)
		r = folder_peek(m.folder, err);
	if (r == 0) {
		fill_status(m.folder, out);
		r = index_read(&s->index, &txn, err);
	}
	if (r == 0) {
		r = count_range(
		    m.folder, txn, m.folder->box.r.recent_uid, UINT32_MAX, &out->recent, err);
		index_read_end(&s->index);
	}
	folder_close(m.folder);
	return r;
}

int
store_status(struct store *s, const char *name, struct mailbox_status *out, struct err *err)
{
	int r = status_once(s, name, out, err);

	if (r < 0 && s->index.is_damaged)
		r = status_once(s, name, out, err);
	return r;
}

/* --- messages -------------------------------------------------------------------------------------------------------------- */

int
mailbox_uids(struct mailbox *m, struct arena *a, uint32_t **uids, size_t *count, struct err *err)
{
	struct folder *f = m->folder;
	unsigned char prefix[BOX_KEY];
	struct index_cursor c;
	struct view key, value;
	MDB_txn *txn;
	int r;

	*count = 0;
	if (folder_peek(f, err) < 0 || index_read(&f->store->index, &txn, err) < 0)
		return -1;
	*uids = arena_alloc(a, (size_t)f->box.r.messages * sizeof **uids);
	key_u32(prefix, f->box.id);
	r = *uids == NULL ? err_set(err, ERR_LIMIT, "too many messages in %s", f->disk)
			  : cursor_open(&f->store->index, txn, DB_MESSAGES,
				view_make(prefix, sizeof prefix), &c, err);
	if (r == 0) {
		for (r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &value, err);
		     r == 0 && key.len == MESSAGE_KEY && *count < f->box.r.messages;
		     r = cursor_next(&c, &key, &value, err))
			(*uids)[(*count)++] = key_get_u32((const unsigned char *)key.p + 4);
		cursor_close(&c);
	}
	index_read_end(&f->store->index);
	return r < 0 ? -1 : 0;
}

static void
fill_info(struct mailbox *m, const struct message *msg, struct message_info *out)
{
	out->uid = msg->uid;
	out->flags = msg->r.flags | (mailbox_is_recent(m, msg->uid) ? FLAG_RECENT : 0);
	out->keywords = msg->r.keywords;
	out->modseq = msg->r.modseq;
	out->is_measured = msg->r.size != SIZE_UNKNOWN;
	out->size = out->is_measured ? msg->r.size : msg->r.disk_size;
	out->internal_date = msg->r.internal_date;
	out->save_date = msg->r.save_date;
	hex_encode(out->guid, msg->r.guid, sizeof msg->r.guid);
}

/* Of what cannot be read (not ours, or gone in this moment) the file's size must do. */
static bool
measure_message(struct folder *f, struct message_info *info)
{
	struct message m;
	struct err err;
	uint64_t size;
	int fd = message_open(f, info->uid, &m, &err), r;

	r = fd < 0 ? -1 : measure_fd(fd, &size, &err);
	fd_close(&fd);
	if (r < 0)
		return false;
	info->size = size;
	info->is_measured = true;
	return true;
}

static int
note_sizes(struct folder *f, const struct message_info *infos, size_t count, struct err *err)
{
	struct index *x = &f->store->index;
	struct message old, msg;
	MDB_txn *txn;
	int r = index_write(x, count * MESSAGE_ROOM, &txn, err);

	for (size_t i = 0; i < count && r == 0; i++) {
		if (!infos[i].is_measured)
			continue;
		r = index_message_load(x, txn, f->box.id, infos[i].uid, &old, err);
		if (r == 0 && old.r.size == SIZE_UNKNOWN) {
			msg = old;
			msg.r.size = infos[i].size;
			r = index_message_update(x, txn, &f->box, &old, &msg, err);
		}
		r = r > 0 ? 0 : r;
	}
	if (r == 0)
		r = box_save(x, txn, &f->box, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

size_t
mailbox_measure(struct mailbox *m, struct message_info *infos, size_t count)
{
	enum { TURN_BYTES = 64 << 20 };
	uint64_t bytes = 0;
	bool any = false;
	struct err err;
	size_t n;

	for (n = 0; n < count && bytes < TURN_BYTES; n++)
		if (!infos[n].is_measured && measure_message(m->folder, &infos[n])) {
			bytes += infos[n].size;
			any = true;
		}
	if (any && folder_lock(m->folder, &err) == 0) {
		if (note_sizes(m->folder, infos, n, &err) < 0)
			log_warn("%s: sizes: %s", m->folder->disk, err.text);
		folder_unlock(m->folder);
	}
	return n;
}

int
mailbox_get(struct mailbox *m, uint32_t uid, struct message_info *out, struct err *err)
{
	struct folder *f = m->folder;
	struct message msg;
	MDB_txn *txn;
	int r;

	if (folder_ready(f, err) < 0 || index_read(&f->store->index, &txn, err) < 0)
		return -1;
	r = index_message_load(&f->store->index, txn, f->box.id, uid, &msg, err);
	index_read_end(&f->store->index);
	if (r > 0)
		return err_set(err, ERR_GONE, "no message %u", uid);
	if (r < 0)
		return -1;
	fill_info(m, &msg, out);
	return 0;
}

/* Up to CHUNK messages from *from on; *from becomes the UID to go on with, 0 at the end. */
static int
read_chunk(struct mailbox *m, uint32_t *from, uint32_t to, struct message_info *infos,
    size_t *count, struct err *err)
{
	struct folder *f = m->folder;
	struct index *x = &f->store->index;
	unsigned char prefix[BOX_KEY], start[MESSAGE_KEY];
	struct index_cursor c;
	struct message msg;
	struct view key, value;
	MDB_txn *txn;
	uint32_t uid;
	int r;

	*count = 0;
	if (index_read(x, &txn, err) < 0)
		return -1;
	key_u32(prefix, f->box.id);
	index_message_key(start, f->box.id, *from);
	*from = 0;
	r = cursor_open(x, txn, DB_MESSAGES, view_make(prefix, sizeof prefix), &c, err);
	if (r < 0) {
		index_read_end(x);
		return -1;
	}
	for (r = cursor_seek(&c, view_make(start, sizeof start), &key, &value, err); r == 0;
	     r = cursor_next(&c, &key, &value, err)) {
		uid = key.len == MESSAGE_KEY ? key_get_u32((const unsigned char *)key.p + 4) : 0;
		if (uid > to)
			break;
		if (*count == CHUNK) {
			*from = uid;
			break;
		}
		if (index_message_decode(f->box.id, uid, value, &msg, err) < 0) {
			x->is_damaged = true;
			r = -1;
			break;
		}
		fill_info(m, &msg, &infos[(*count)++]);
	}
	cursor_close(&c);
	index_read_end(x);
	return r < 0 ? -1 : 0;
}

int
mailbox_each(struct mailbox *m, uint32_t from, uint32_t to,
    bool (*fn)(void *arg, const struct message_info *info), void *arg, struct err *err)
{
	struct message_info *infos;
	bool more = true;
	size_t count;
	int r = 0;

	if (folder_ready(m->folder, err) < 0)
		return -1;
	infos = x_malloc(CHUNK * sizeof *infos);
	if (from == 0)
		from = 1;
	while (more && from != 0 && from <= to) {
		r = read_chunk(m, &from, to, infos, &count, err);
		if (r < 0)
			break;
		for (size_t i = 0; i < count && more; i++)
			more = fn(arg, &infos[i]);
	}
	free(infos);
	return r;
}

int
mailbox_measure_all(struct mailbox *m, struct err *err)
{
	struct message_info *infos;
	uint32_t from = 1;
	size_t count;
	int r = 0;

	if (folder_peek(m->folder, err) < 0)
		return -1;
	if (m->folder->box.r.unsized == 0)
		return 0;
	infos = x_malloc(CHUNK * sizeof *infos);
	while (from != 0 && (r = read_chunk(m, &from, UINT32_MAX, infos, &count, err)) == 0)
		for (size_t done = 0; done < count;)
			done += mailbox_measure(m, infos + done, count - done);
	free(infos);
	return r;
}

/* --- changes ---------------------------------------------------------------------------------------------------------------- */

struct change {
	uint64_t modseq;
	bool is_expunge;
	struct message_info info; /* of an expunge only the UID */
};
/* Where the walk over one of the two logs stands. */
struct log_walk {
	struct index_cursor c;
	enum index_db db;
	unsigned char next[CHANGE_KEY];
	uint64_t modseq;
	uint32_t uid;
	bool at_end;
};

static int
walk_note(struct log_walk *w, int r, struct view key, uint64_t last_modseq)
{
	w->at_end = r != 0 || key.len != CHANGE_KEY;
	if (w->at_end)
		return r < 0 ? -1 : 0;
	memcpy(w->next, key.p, CHANGE_KEY);
	w->modseq = key_get_u64((const unsigned char *)key.p + 4);
	w->uid = key_get_u32((const unsigned char *)key.p + 12);
	w->at_end = w->modseq > last_modseq;
	return 0;
}

static int
walk_start(
    struct folder *f, MDB_txn *txn, struct log_walk *w, uint64_t last_modseq, struct err *err)
{
	struct view key, value;
	unsigned char prefix[BOX_KEY];
	int r;

	key_u32(prefix, f->box.id);
	if (cursor_open(
		&f->store->index, txn, w->db, view_make(prefix, sizeof prefix), &w->c, err) < 0)
		return -1;
	r = cursor_seek(&w->c, view_make(w->next, sizeof w->next), &key, &value, err);
	return walk_note(w, r, key, last_modseq);
}

static int
take_change(struct mailbox *m, MDB_txn *txn, struct log_walk *w, uint64_t last_modseq,
    struct change *out, struct err *err)
{
	struct folder *f = m->folder;
	struct view key, value;
	struct message msg;
	int r;

	*out = (struct change){
		.modseq = w->modseq, .is_expunge = w->db == DB_VANISHED, .info = { .uid = w->uid }
	};
	if (!out->is_expunge) {
		r = index_message_load(&f->store->index, txn, f->box.id, w->uid, &msg, err);
		if (r > 0) {
			f->store->index.is_damaged = true;
			r = err_set(err, ERR_TEMP, "index: a change of no message in %s", f->disk);
		}
		if (r < 0)
			return -1;
		fill_info(m, &msg, &out->info);
	}
	r = cursor_next(&w->c, &key, &value, err);
	return walk_note(w, r, key, last_modseq);
}

/* Both logs are sorted by modseq: merge them. */
static int
change_chunk(struct mailbox *m, struct log_walk w[2], uint64_t last_modseq, struct change *changes,
    size_t *count, struct err *err)
{
	struct index *x = &m->folder->store->index;
	MDB_txn *txn;
	int r = 0;

	*count = 0;
	if (index_read(x, &txn, err) < 0)
		return -1;
	for (int i = 0; i < 2 && r == 0; i++)
		r = walk_start(m->folder, txn, &w[i], last_modseq, err);
	while (r == 0 && *count < CHUNK && !(w[0].at_end && w[1].at_end)) {
		bool second = w[0].at_end || (!w[1].at_end && w[1].modseq < w[0].modseq);

		r = take_change(m, txn, &w[second], last_modseq, &changes[*count], err);
		if (r == 0)
			++*count;
	}
	cursor_close(&w[0].c);
	cursor_close(&w[1].c);
	index_read_end(x);
	return r;
}

int
mailbox_changes(struct mailbox *m, uint64_t since_modseq,
    bool (*fn)(void *arg, uint32_t uid, const struct message_info *info), void *arg,
    struct err *err)
{
	struct folder *f = m->folder;
	struct log_walk w[2] = { { .db = DB_CHANGES }, { .db = DB_VANISHED } };
	struct change *changes;
	uint64_t last_modseq;
	bool more = true;
	size_t count = 1;
	int r = 0;

	if (folder_peek(f, err) < 0)
		return -1;
	if (since_modseq < f->box.r.floor)
		return 1;
	last_modseq = f->box.r.modseq; /* what fn itself changes is not for this walk */
	if (since_modseq >= last_modseq)
		return 0;
	for (int i = 0; i < 2; i++)
		change_key(w[i].next, f->box.id, since_modseq + 1, 0);
	changes = x_malloc(CHUNK * sizeof *changes);
	while (
	    more && count > 0 && (r = change_chunk(m, w, last_modseq, changes, &count, err)) == 0) {
		for (size_t i = 0; i < count && more; i++) {
			struct change *c = &changes[i];

			more = fn(arg, c->info.uid, c->is_expunge ? NULL : &c->info);
		}
		if (w[0].at_end && w[1].at_end)
			break;
	}
	free(changes);
	return r;
}

/* --- keywords ------------------------------------------------------------------------------------------------------------- */

const char *
mailbox_keyword(struct mailbox *m, unsigned number)
{
	return number < m->folder->nkeywords ? m->folder->keywords[number] : NULL;
}

int
mailbox_keyword_number(struct mailbox *m, const char *name, bool create, struct err *err)
{
	int n = keywords_number(m->folder, name, false, err);

	if (n >= 0 || !create)
		return n;
	if (folder_lock(m->folder, err) < 0)
		return -1;
	n = keywords_number(m->folder, name, true, err);
	folder_unlock(m->folder);
	return n;
}
