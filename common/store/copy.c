/* COPY and MOVE between two folders of the account: hard links and renames, the index in one transaction for both.
 *
 * A copy keeps its base name, and so its GUID, where the target has none of that name.  COPY is all or nothing;
 * of a MOVE each message is in exactly one place at any time (RFC 6851 3.3), and a failure moves back what was
 * moved. */
#include "common/store/store_internal.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_RESCANS = 3 };

struct item {
	uint32_t uid, new_uid;
	uint8_t place;   /* of the source */
	char *from, *to; /* arena: file names */
	uint64_t disk_size;
	bool keeps_base;
};
struct copy_work {
	struct folder *src, *dst;
	struct arena *a;
	bool move;
	struct item *items;
	size_t count, done; /* done: linked or renamed */
	int keyword_map[STORE_MAX_KEYWORDS];
	uint64_t bytes;
	bool has_undo;
};

/* --- locks: by name, so that two processes cannot wait for each other ---------------------------------------- */

static int
lock_both(struct copy_work *w, struct err *err)
{
	struct folder *first = strcmp(w->src->disk, w->dst->disk) <= 0 ? w->src : w->dst;
	struct folder *second = first == w->src ? w->dst : w->src;

	if (folder_lock(first, err) < 0)
		return -1;
	if (folder_lock(second, err) < 0) { /* the same folder counts twice */
		folder_unlock(first);
		return -1;
	}
	if (folder_sync(first, SYNC_QUICK, err) == 0 && folder_sync(second, SYNC_QUICK, err) == 0)
		return 0;
	folder_unlock(second);
	folder_unlock(first);
	return -1;
}

static void
unlock_both(struct copy_work *w)
{
	folder_unlock(w->src);
	folder_unlock(w->dst);
}

/* --- planning ------------------------------------------------------------------------------------------------------- */

static int
map_keywords(
    struct copy_work *w, const struct keyword_set *from, struct keyword_set *to, struct err *err)
{
	*to = (struct keyword_set){ 0 };
	for (unsigned i = 0; i < w->src->nkeywords; i++) {
		if (!keyword_has(from, i))
			continue;
		if (w->keyword_map[i] < 0)
			w->keyword_map[i] = keywords_number(w->dst, w->src->keywords[i], true, err);
		if (w->keyword_map[i] == -1)
			return -1;
		if (w->keyword_map[i] >=
		    0) /* -2: the target's table is full; the message comes without it */
			keyword_add(to, (unsigned)w->keyword_map[i]);
	}
	return 0;
}

static int
target_message(struct copy_work *w, const struct message *old, const struct item *it,
    struct message *out, struct err *err)
{
	struct keyword_set keywords;

	if (map_keywords(w, &old->r.keywords, &keywords, err) < 0)
		return -1;
	*out = *old;
	out->uid = it->new_uid;
	out->r.keywords = keywords;
	out->r.place = PLACE_CUR;
	if (it->to != NULL) {
		out->name_len = (uint8_t)strlen(it->to);
		memcpy(out->name, it->to, (size_t)out->name_len + 1);
		out->r.base_len = (uint8_t)(strchr(it->to, ':') - it->to);
	}
	return 0;
}

/* The target's file name: the old base, or one of its own with the same sizes. */
static int
plan_name(
    struct copy_work *w, struct item *it, const struct message *old, bool taken, struct err *err)
{
	char base[MAILDIR_NAME_MAX + 1], unique[200];
	struct message draft = *old, named;
	struct maildir_name n;
	struct keyword_set keywords;
	const char *comma;

	if (map_keywords(w, &old->r.keywords, &keywords, err) < 0)
		return -1;
	it->keeps_base = !taken;
	if (taken) {
		maildir_name_parse(view_make(old->name, old->name_len), &n);
		comma = memchr(n.base.p, ',', n.base.len);
		store_unique_name(w->src->store, unique, sizeof unique);
		snprintf(base, sizeof base, "%s%.*s", unique,
		    comma == NULL ? 0 : (int)(n.base.p + n.base.len - comma),
		    comma == NULL ? "" : comma);
		draft.name_len = draft.r.base_len = (uint8_t)strlen(base);
		memcpy(draft.name, base, (size_t)draft.name_len + 1);
	}
	if (message_rename_plan(&draft, old->r.flags, &keywords, &named) < 0)
		return err_set(
		    err, ERR_LIMIT, "file name of message %u would be too long", old->uid);
	it->to = arena_strdup(w->a, named.name);
	return it->to == NULL ? err_set(err, ERR_LIMIT, "too many messages at once") : 0;
}

static int
load_item(struct copy_work *w, uint32_t uid, struct message *m, bool *taken, struct err *err)
{
	struct index *x = &w->src->store->index;
	MDB_txn *txn;
	uint32_t other;
	int r, same;

	if (index_read(x, &txn, err) < 0)
		return -1;
	r = index_message_load(x, txn, w->src->box.id, uid, m, err);
	if (r == 0) {
		same = index_message_by_base(x, txn, w->dst->box.id, message_base(m), &other, err);
		*taken = same == 0;
		r = same < 0 ? -1 : 0;
	}
	index_read_end(x);
	return r;
}

static int
plan(struct copy_work *w, const uint32_t *uids, size_t count, struct err *err)
{
	struct message m;
	bool taken;

	w->items = arena_alloc(w->a, (count + 1) * sizeof *w->items);
	if (w->items == NULL)
		return err_set(err, ERR_LIMIT, "too many messages at once");
	for (size_t i = 0; i < count; i++) {
		struct item *it = &w->items[w->count];
		int r = load_item(w, uids[i], &m, &taken, err);

		if (r < 0)
			return -1;
		if (r > 0)
			continue;
		*it = (struct item){ .uid = m.uid, .place = m.r.place, .disk_size = m.r.disk_size };
		it->from = arena_strndup(w->a, m.name, m.name_len);
		if (it->from == NULL)
			return err_set(err, ERR_LIMIT, "too many messages at once");
		if (plan_name(w, it, &m, taken, err) < 0)
			return -1;
		w->bytes += m.r.disk_size;
		w->count++;
	}
	return 0;
}

/* --- the texts ----------------------------------------------------------------------------------------------------------- */

/* A copy under another base name carries its GUID in the record, and whatever else another server noted. */
static int
record_fields(struct copy_work *w, const struct item *it, struct buf *fields, struct err *err)
{
	struct index *x = &w->src->store->index;
	unsigned char key[MESSAGE_KEY];
	struct view value, guid;
	struct message m;
	MDB_txn *txn;
	char hex[33];
	int r;

	buf_reset(fields);
	if (index_read(x, &txn, err) < 0)
		return -1;
	index_message_key(key, w->src->box.id, it->uid);
	r = index_get(x, txn, DB_EXTRAS, view_make(key, sizeof key), &value, err);
	if (r == 0)
		buf_append_view(fields, value);
	if (r >= 0)
		r = index_message_load(x, txn, w->src->box.id, it->uid, &m, err);
	index_read_end(x);
	if (r != 0)
		return r < 0 ? -1 : err_set(err, ERR_TEMP, "message %u vanished", it->uid);
	if (!it->keeps_base && !uidlist_field(buf_view(fields), 'G', &guid)) {
		hex_encode(hex, m.r.guid, sizeof m.r.guid);
		buf_printf(fields, "%sG%s", fields->len > 0 ? " " : "", hex);
	}
	return fields->failed ? err_set(err, ERR_LIMIT, "uidlist record is too long") : 0;
}

static int
append_texts(struct copy_work *w, struct err *err)
{
	struct buf records, names, fields;
	int r = 0;

	buf_init(&records, TEXT_MAX);
	buf_init(&names, TEXT_MAX);
	buf_init(&fields, 65536);
	for (size_t i = 0; i < w->count && r == 0; i++) {
		const struct item *it = &w->items[i];

		r = record_fields(w, it, &fields, err);
		uidlist_format_record(&records, it->new_uid, buf_view(&fields),
		    view_make(it->to, (size_t)(strchr(it->to, ':') - it->to)));
		buf_append(&names, it->to, strlen(it->to) + 1);
	}
	if (r == 0 && (records.failed || names.failed))
		r = err_set(err, ERR_LIMIT, "too many messages at once");
	if (r == 0)
		r = uidlist_append(w->dst, buf_view(&records), (uint32_t)w->count, err);
	if (r == 0 && w->count > 1 && !w->move) {
		r = undo_write(w->dst, buf_view(&names), err);
		w->has_undo = r == 0;
	}
	buf_clear(&records);
	buf_clear(&names);
	buf_clear(&fields);
	return r;
}

/* --- the files ------------------------------------------------------------------------------------------------------------- */

static void
item_paths(const struct item *it, char from[MAILDIR_NAME_MAX + 8], char to[MAILDIR_NAME_MAX + 8])
{
	snprintf(
	    from, MAILDIR_NAME_MAX + 8, "%s/%s", it->place == PLACE_NEW ? "new" : "cur", it->from);
	snprintf(to, MAILDIR_NAME_MAX + 8, "cur/%s", it->to);
}

static int
copy_bytes(int in, int out, struct err *err)
{
	char *piece = x_malloc(65536);
	off_t at = 0;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = pread(in, piece, 65536, at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? err_sys(err, ERR_TEMP, "read message")
			  : fd_write_all(out, piece, (size_t)n, err);
		at += n;
	}
	free(piece);
	return r;
}

/* Where links are not possible (another file system mounted below, too many links): a real copy. */
static int
copy_file(struct copy_work *w, const char *from, const char *to, struct err *err)
{
	char unique[200], tmp[MAILDIR_NAME_MAX + 8];
	struct timespec times[2];
	struct stat st;
	int in, out = -1, r = -1;

	store_unique_name(w->src->store, unique, sizeof unique);
	snprintf(tmp, sizeof tmp, "tmp/%s", unique);
	in = open_beneath(w->src->dir_fd, from, O_RDONLY | O_NONBLOCK, 0);
	if (in < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s", from);
	out = open_beneath(w->dst->dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (out < 0 || fstat(in, &st) < 0) {
		err_sys(err, ERR_TEMP, "create %s", tmp);
		goto out;
	}
	times[0] = times[1] = st.st_mtim;
	if (copy_bytes(in, out, err) < 0)
		goto out;
	if (futimens(out, times) < 0 || fsync(out) < 0) {
		err_sys(err, ERR_TEMP, "fsync %s", tmp);
		goto out;
	}
	r = rename_exclusive(w->dst->dir_fd, tmp, w->dst->dir_fd, to, err);
out:
	if (r < 0)
		unlinkat(w->dst->dir_fd, tmp, 0);
	fd_close(&in);
	fd_close(&out);
	return r;
}

static int
place_file(struct copy_work *w, const struct item *it, struct err *err)
{
	char from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8];
	struct stat st;

	item_paths(it, from, to);
	if (w->move)
		return rename_exclusive(w->src->dir_fd, from, w->dst->dir_fd, to, err);
	/* A link to a link, a FIFO or a device would be no message. */
	if (fstatat(w->src->dir_fd, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "stat %s", from);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_GONE, "%s is not a file", from);
	if (linkat(w->src->dir_fd, from, w->dst->dir_fd, to, 0) == 0)
		return 0;
	if (errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EACCES)
		return copy_file(w, from, to, err);
	return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "link %s", from);
}

static void
take_back(struct copy_work *w)
{
	char from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8];
	struct err ignored;

	while (w->done > 0) {
		item_paths(&w->items[--w->done], from, to);
		if (w->move)
			rename_exclusive(w->dst->dir_fd, to, w->src->dir_fd, from, &ignored);
		else
			unlinkat(w->dst->dir_fd, to, 0);
	}
	w->src->must_scan = w->dst->must_scan = true;
}

/* A link changes the inode's time only, a rename both directories: synced before anything says it is done. */
static int
place_files(struct copy_work *w, struct err *err)
{
	for (; w->done < w->count; w->done++)
		if (place_file(w, &w->items[w->done], err) < 0)
			return -1;
	if (folder_fsync(w->dst, "cur", err) < 0)
		return -1;
	return w->move && w->src != w->dst ? folder_fsync(w->src, "cur", err) : 0;
}

/* --- the index ----------------------------------------------------------------------------------------------------------------- */

static int
enter_item(struct copy_work *w, MDB_txn *txn, const struct item *it, uint64_t src_modseq,
    uint64_t dst_modseq, int64_t now, struct buf *extra, struct err *err)
{
	struct index *x = &w->src->store->index;
	struct box *to = &w->dst->box, *from = w->src == w->dst ? to : &w->src->box;
	unsigned char key[MESSAGE_KEY];
	struct keyword_set set;
	struct message old, m;
	struct view fields = { "", 0 };
	struct buf kept;
	char hex[33];
	int r = index_message_load(x, txn, from->id, it->uid, &old, err);

	if (r != 0)
		return r < 0 ? -1 : err_set(err, ERR_TEMP, "message %u vanished", it->uid);
	if (target_message(w, &old, it, &m, err) < 0)
		return -1;
	m.r.modseq = dst_modseq;
	m.r.save_date = now;
	index_message_key(key, from->id, it->uid);
	if (index_get(x, txn, DB_EXTRAS, view_make(key, sizeof key), &fields, err) < 0)
		return -1;
	buf_init(&kept, 65536); /* the view does not outlive the next put */
	buf_append_view(&kept, fields);
	if (!it->keeps_base && !uidlist_field(buf_view(&kept), 'G', &fields)) {
		hex_encode(hex, m.r.guid, sizeof m.r.guid);
		buf_printf(&kept, "%sG%s", kept.len > 0 ? " " : "", hex);
	}
	r = index_message_add(x, txn, to, &m, buf_view(&kept), err);
	buf_clear(&kept);
	set = keyword_extras(&m.r.keywords);
	if (set.bits[0] != 0 || set.bits[1] != 0)
		keyword_extra_format(extra, m.uid, &set);
	if (r == 0 && w->move)
		r = index_message_remove(x, txn, from, &old, src_modseq, err);
	return r;
}

static int
save_boxes(struct copy_work *w, MDB_txn *txn, struct err *err)
{
	struct index *x = &w->src->store->index;
	struct store *s = w->src->store;

	if (folder_own_change(w->dst, err) < 0)
		return -1;
	if (w->src != w->dst && w->move) {
		w->src->box.r.modseq++;
		if (folder_own_change(w->src, err) < 0)
			return -1;
	}
	if (w->move && box_trim_vanished(x, txn, &w->src->box, s->changes_kept, err) < 0)
		return -1;
	if (w->src != w->dst && w->move && box_save(x, txn, &w->src->box, err) < 0)
		return -1;
	return box_save(x, txn, &w->dst->box, err);
}

static int
enter(struct copy_work *w, struct err *err)
{
	struct index *x = &w->src->store->index;
	uint64_t src_modseq = w->src->box.r.modseq + 1, dst_modseq = w->dst->box.r.modseq + 1;
	int64_t now = wall_ns() / 1000000000;
	struct buf extra;
	MDB_txn *txn;
	int r = index_write(x, w->count * 2 * MESSAGE_ROOM, &txn, err);

	if (r < 0)
		return -1;
	buf_init(&extra, TEXT_MAX);
	w->dst->box.r.modseq = dst_modseq;
	for (size_t i = 0; i < w->count && r == 0; i++)
		r = enter_item(w, txn, &w->items[i], src_modseq, dst_modseq, now, &extra, err);
	if (r == 0 && extra.len > 0)
		r = keywords_append_extra(w->dst, buf_view(&extra), err);
	if (r == 0 && w->has_undo)
		r = undo_forget(w->dst, txn, err);
	if (r == 0)
		r = save_boxes(w, txn, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	buf_clear(&extra);
	return r;
}

/* --- the whole --------------------------------------------------------------------------------------------------------------------- */

static int
number_items(struct copy_work *w, struct err *err)
{
	struct box_record *b = &w->dst->box.r;

	if (b->uidnext > UIDLIST_MAX_UID - w->count)
		return err_set(err, ERR_LIMIT, "%s: UIDs are used up", w->dst->disk);
	for (size_t i = 0; i < w->count; i++)
		w->items[i].new_uid = b->uidnext++;
	return 0;
}

/* 1: a file was not where the index thought. */
static int
try_once(struct copy_work *w, const uint32_t *uids, size_t count, struct err *err)
{
	struct err ignored;
	int r;

	w->count = w->done = 0;
	w->bytes = 0;
	w->has_undo = false;
	if (plan(w, uids, count, err) < 0)
		return -1;
	if (w->count == 0)
		return 0;
	if (!w->move && quota_check(w->src->store, w->bytes, (uint32_t)w->count, err) < 0)
		return -1;
	if (number_items(w, err) < 0)
		return -1;
	r = append_texts(w, err);
	if (r == 0)
		r = place_files(w, err);
	if (r == 0)
		r = enter(w, err);
	if (r == 0) {
		if (!w->move)
			quota_add(w->src->store, (int64_t)w->bytes, (int64_t)w->count);
		return 0;
	}
	take_back(w);
	if (w->src->store->index.is_damaged || folder_save_uidnext(w->dst, &ignored) < 0 ||
	    (w->src != w->dst && folder_reload(w->src, &ignored) < 0))
		return -1;
	if (w->has_undo && undo_run(w->dst, &ignored) < 0)
		return -1;
	return err->kind == ERR_GONE ? 1 : -1;
}

static int
run(struct copy_work *w, const uint32_t *uids, size_t count, struct err *err)
{
	int r = 1;

	for (int i = 0; i < MAX_RESCANS && r > 0; i++) {
		if (i > 0 && folder_sync(w->src, SYNC_FORCE, err) < 0)
			return -1;
		r = try_once(w, uids, count, err);
	}
	if (r > 0)
		return err_set(
		    err, ERR_TEMP, "files in %s keep changing their names", w->src->disk);
	return r;
}

static int
fill_result(const struct copy_work *w, struct copy_result *out, struct err *err)
{
	out->uidvalidity = w->dst->box.r.uidvalidity;
	out->count = w->count;
	out->old_uids = arena_alloc(w->a, (w->count + 1) * sizeof *out->old_uids);
	out->new_uids = arena_alloc(w->a, (w->count + 1) * sizeof *out->new_uids);
	if (out->old_uids == NULL || out->new_uids == NULL)
		return err_set(err, ERR_LIMIT, "too many messages at once");
	for (size_t i = 0; i < w->count; i++) {
		out->old_uids[i] = w->items[i].uid;
		out->new_uids[i] = w->items[i].new_uid;
	}
	return 0;
}

int
mailbox_copy(struct mailbox *m, const uint32_t *uids, size_t count, const char *to, bool move,
    struct arena *a, struct copy_result *out, struct err *err)
{
	struct copy_work w = { .src = m->folder, .a = a, .move = move };
	int r;

	*out = (struct copy_result){ 0 };
	for (int i = 0; i < STORE_MAX_KEYWORDS; i++)
		w.keyword_map[i] = -1;
	if (folder_open(m->folder->store, to, &w.dst, err) < 0)
		return -1;
	r = lock_both(&w, err);
	if (r == 0) {
		r = run(&w, uids, count, err);
		if (r == 0 && move)
			r = uidlist_tidy(w.src, err);
		if (r == 0)
			r = fill_result(&w, out, err);
		unlock_both(&w);
	}
	folder_close(w.dst);
	return r;
}
