/* STORE and EXPUNGE: files first, the index in one transaction behind them.
 *
 * Renames for flags are not synced: a power cut may take back a flag, as every Maildir server has it, and a sync
 * for each \Seen would cost more than it is worth. Removals are synced once a call. */
#include "common/store/store_internal.h"
#include "common/log/log.h"

#include <errno.h>
#include <unistd.h>

/* LMDB keeps a transaction's pages in a sorted array: what it costs grows with the square of their number, so a large
 * command is several transactions, each with a modseq of its own. */
enum { MAX_RESCANS = 3, MESSAGES_PER_COMMIT = 4096 };

struct store_work {
	struct folder *f;
	MDB_txn *txn;
	enum store_mode mode;
	uint16_t flags;
	struct keyword_set keywords;
	uint64_t unchanged_since, modseq;
	uint32_t *refused;
	size_t nrefused;
	struct buf extra; /* lines for estafeta-keywords */
	bool changed, renamed;
};

static void
wanted_state(const struct store_work *w, const struct message *m, uint16_t *flags,
    struct keyword_set *keywords)
{
	*flags = w->mode == STORE_REPLACE ? w->flags
		 : w->mode == STORE_ADD   ? m->r.flags | w->flags
					  : m->r.flags & (uint16_t)~w->flags;
	for (int i = 0; i < 2; i++)
		keywords->bits[i] = w->mode == STORE_REPLACE ? w->keywords.bits[i]
				    : w->mode == STORE_ADD
					? m->r.keywords.bits[i] | w->keywords.bits[i]
					: m->r.keywords.bits[i] & ~w->keywords.bits[i];
}

/* 0 done (or nothing to do), 1 the file is not where the index thinks, -1. */
static int
store_one(struct store_work *w, uint32_t uid, struct err *err)
{
	struct folder *f = w->f;
	struct index *x = &f->store->index;
	char from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8];
	struct keyword_set keywords, old_extra, new_extra;
	struct message old, m;
	uint16_t flags;
	int r = index_message_load(x, w->txn, f->box.id, uid, &old, err);

	if (r != 0)
		return r > 0 ? 0 : -1;
	if (w->unchanged_since != 0 && old.r.modseq > w->unchanged_since) {
		w->refused[w->nrefused++] = uid;
		return 0;
	}
	wanted_state(w, &old, &flags, &keywords);
	if (flags == old.r.flags && keywords.bits[0] == old.r.keywords.bits[0] &&
	    keywords.bits[1] == old.r.keywords.bits[1])
		return 0;
	if (message_rename_plan(&old, flags, &keywords, &m) < 0)
		return err_set(err, ERR_LIMIT, "file name of message %u would be too long", uid);
	message_path(&old, from);
	message_path(&m, to);
	if (strcmp(from, to) != 0) {
		if (rename_exclusive(f->dir_fd, from, f->dir_fd, to, err) < 0)
			return err->kind == ERR_TEMP ? -1 : 1;
		w->renamed = true;
	}
	m.r.modseq = w->modseq;
	old_extra = keyword_extras(&old.r.keywords);
	new_extra = keyword_extras(&m.r.keywords);
	if (memcmp(&old_extra, &new_extra, sizeof old_extra) != 0)
		keyword_extra_format(&w->extra, uid, &new_extra);
	w->changed = true;
	return index_message_update(x, w->txn, &f->box, &old, &m, err);
}

/* What was renamed so far becomes the index's truth even when a later message fails. */
static int
store_commit(struct store_work *w, struct err *err)
{
	struct folder *f = w->f;
	int r = 0;

	if (w->changed) {
		f->box.r.modseq = w->modseq;
		if (w->renamed)
			r = folder_own_change(f, err);
		if (r == 0 && w->extra.len > 0)
			r = keywords_append_extra(f, buf_view(&w->extra), err);
		if (r == 0)
			r = box_save(&f->store->index, w->txn, &f->box, err);
		if (r == 0)
			r = index_commit(&f->store->index, &w->txn, err);
	}
	index_abort(&w->txn);
	f->keywords_seen = f->box.r.keywords;
	f->extra_seen = f->box.r.extra;
	if (r < 0)
		f->must_scan = true;
	buf_reset(&w->extra);
	w->changed = w->renamed = false;
	return r;
}

static int
store_begin(struct store_work *w, size_t count, struct err *err)
{
	if (count > MESSAGES_PER_COMMIT)
		count = MESSAGES_PER_COMMIT;
	w->modseq = w->f->box.r.modseq + 1;
	return index_write(&w->f->store->index, (uint64_t)count * MESSAGE_ROOM, &w->txn, err);
}

static int
store_all(struct store_work *w, const uint32_t *uids, size_t count, struct err *err)
{
	struct err ignored;
	int rescans = 0;

	if (store_begin(w, count, err) < 0)
		return -1;
	for (size_t i = 0; i < count;) {
		int r = store_one(w, uids[i], err);

		if (r == 0) {
			if (++i % MESSAGES_PER_COMMIT == 0 &&
			    (store_commit(w, err) < 0 || store_begin(w, count - i, err) < 0))
				return -1;
			continue;
		}
		if (store_commit(w, r > 0 ? err : &ignored) < 0 || r < 0)
			return -1;
		if (++rescans > MAX_RESCANS) /* renamed by others faster than we look */
			return err_set(
			    err, ERR_TEMP, "message %u: its file keeps changing its name", uids[i]);
		if (folder_sync(w->f, SYNC_FORCE, err) < 0 || store_begin(w, count - i, err) < 0)
			return -1;
	}
	return store_commit(w, err);
}

int
mailbox_store_flags(struct mailbox *m, const uint32_t *uids, size_t count, enum store_mode mode,
    uint16_t flags, const struct keyword_set *keywords, uint64_t unchanged_since, struct arena *a,
    uint32_t **refused, size_t *nrefused, struct err *err)
{
	struct store_work w = { .f = m->folder,
		.mode = mode,
		.flags = flags & (uint16_t)~FLAG_RECENT,
		.unchanged_since = unchanged_since };
	int r;

	if (keywords != NULL)
		w.keywords = *keywords;
	w.refused = arena_alloc(a, (count + 1) * sizeof *w.refused);
	if (w.refused == NULL)
		return err_set(err, ERR_LIMIT, "too many messages at once");
	if (folder_begin(m->folder, err) < 0)
		return -1;
	buf_init(&w.extra, TEXT_MAX);
	r = store_all(&w, uids, count, err);
	buf_clear(&w.extra);
	folder_unlock(m->folder);
	*refused = w.refused;
	*nrefused = w.nrefused;
	return r;
}

/* --- EXPUNGE ------------------------------------------------------------------------------------------------------- */

struct expunge_work {
	struct folder *f;
	MDB_txn *txn;
	bool only_deleted;
	uint64_t modseq;
	uint32_t *gone;
	size_t ngone;
	int64_t bytes;
};

static int
forget_cache(struct expunge_work *w, const struct message *m, struct err *err)
{
	struct index *x = &w->f->store->index;
	struct index_cursor c;
	struct view key, value, prefix = view_make(m->r.guid, sizeof m->r.guid);
	int r;

	if (cursor_open(x, w->txn, DB_CACHE, prefix, &c, err) < 0)
		return -1;
	while ((r = cursor_seek(&c, prefix, &key, &value, err)) == 0)
		if ((r = cursor_delete(&c, err)) < 0)
			break;
	cursor_close(&c);
	return r < 0 ? -1 : 0;
}

/* The file goes first: a message that the index has forgotten but whose file is there would come back as new. */
static int
expunge_one(struct expunge_work *w, uint32_t uid, struct err *err)
{
	struct folder *f = w->f;
	struct index *x = &f->store->index;
	char path[MAILDIR_NAME_MAX + 8];
	struct message m;
	int r = index_message_load(x, w->txn, f->box.id, uid, &m, err);

	if (r != 0)
		return r > 0 ? 0 : -1;
	if (w->only_deleted && !(m.r.flags & FLAG_DELETED))
		return 0;
	message_path(&m, path);
	if (unlinkat(f->dir_fd, path, 0) < 0)
		return errno == ENOENT ? 1 : err_sys(err, ERR_TEMP, "unlink %s", path);
	if (forget_cache(w, &m, err) < 0 ||
	    index_message_remove(x, w->txn, &f->box, &m, w->modseq, err) < 0)
		return -1;
	w->bytes += (int64_t)m.r.disk_size;
	w->gone[w->ngone++] = uid;
	return 0;
}

static int
expunge_begin(struct expunge_work *w, size_t count, struct err *err)
{
	if (count > MESSAGES_PER_COMMIT)
		count = MESSAGES_PER_COMMIT;
	w->modseq = w->f->box.r.modseq + 1;
	return index_write(&w->f->store->index, (uint64_t)count * MESSAGE_ROOM, &w->txn, err);
}

static int
expunge_commit(struct expunge_work *w, size_t first, struct err *err)
{
	struct folder *f = w->f;
	int r = 0;

	if (w->ngone > first) {
		f->box.r.modseq = w->modseq;
		if (folder_fsync(f, "cur", err) < 0 || folder_own_change(f, err) < 0 ||
		    box_trim_vanished(
			&f->store->index, w->txn, &f->box, f->store->changes_kept, err) < 0 ||
		    box_save(&f->store->index, w->txn, &f->box, err) < 0)
			r = -1;
		else
			r = index_commit(&f->store->index, &w->txn, err);
	}
	index_abort(&w->txn);
	if (r < 0)
		f->must_scan = true;
	return r;
}

static int
expunge_all(struct expunge_work *w, const uint32_t *uids, size_t count, struct err *err)
{
	struct err ignored;
	size_t first = 0;
	int rescans = 0;

	if (expunge_begin(w, count, err) < 0)
		return -1;
	for (size_t i = 0; i < count;) {
		int r = expunge_one(w, uids[i], err);

		if (r == 0) {
			if (++i % MESSAGES_PER_COMMIT == 0) {
				if (expunge_commit(w, first, err) < 0 ||
				    expunge_begin(w, count - i, err) < 0)
					return -1;
				first = w->ngone;
			}
			continue;
		}
		if (expunge_commit(w, first, r > 0 ? err : &ignored) < 0 || r < 0)
			return -1;
		first = w->ngone;
		if (++rescans > MAX_RESCANS)
			return err_set(
			    err, ERR_TEMP, "message %u: its file keeps changing its name", uids[i]);
		if (folder_sync(w->f, SYNC_FORCE, err) < 0 || expunge_begin(w, count - i, err) < 0)
			return -1;
	}
	return expunge_commit(w, first, err);
}

int
mailbox_expunge(struct mailbox *m, const uint32_t *uids, size_t count, bool only_deleted,
    struct arena *a, uint32_t **gone, size_t *ngone, struct err *err)
{
	struct expunge_work w = { .f = m->folder, .only_deleted = only_deleted };
	int r;

	w.gone = arena_alloc(a, (count + 1) * sizeof *w.gone);
	if (w.gone == NULL)
		return err_set(err, ERR_LIMIT, "too many messages at once");
	/* what is still to be cached must not outlive its message */
	if (cache_flush(m->folder->store, err) < 0 || folder_begin(m->folder, err) < 0)
		return -1;
	r = expunge_all(&w, uids, count, err);
	if (w.ngone > 0)
		quota_add(m->folder->store, -w.bytes, -(int64_t)w.ngone);
	if (r == 0)
		r = uidlist_tidy(m->folder, err);
	folder_unlock(m->folder);
	*gone = w.gone;
	*ngone = w.ngone;
	return r;
}
