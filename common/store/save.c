/* New messages from a session: written to tmp/, then named into cur/.
 *
 * Order of save_finish: content and time synced; lock; UID into dovecot-uidlist, synced; rename; directory synced;
 * index committed.  A crash before the rename leaves a UID that nobody has; after it, a message that the next
 * sync finds with the UID its line gives it. */
#include "common/store/store_internal.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SAVE_PIECE = 65536 };

struct save {
	struct folder *folder; /* shared */
	int fd;
	char base[MAILDIR_NAME_MAX + 1]; /* in tmp/; ",S=,W=" is added for cur/ */
	char *piece;                     /* owned; bytes to be written */
	size_t len;
	bool held_cr; /* the last byte given was a CR: it goes when an LF follows */
	char last;    /* last byte written */
	uint64_t disk_size, size;
	bool failed;
};

static void
tmp_path(const struct save *v, char path[MAILDIR_NAME_MAX + 8])
{
	snprintf(path, MAILDIR_NAME_MAX + 8, "tmp/%s", v->base);
}

static void
save_free(struct save *v)
{
	char path[MAILDIR_NAME_MAX + 8];

	if (v->fd >= 0) {
		tmp_path(v, path);
		unlinkat(v->folder->dir_fd, path, 0); /* gone already when it was renamed */
	}
	fd_close(&v->fd);
	folder_close(v->folder);
	free(v->piece);
	free(v);
}

int
save_begin(struct store *s, const char *mailbox, struct save **out, struct err *err)
{
	struct save *v = x_calloc(1, sizeof *v);
	char path[MAILDIR_NAME_MAX + 8];

	v->fd = -1;
	if (folder_open(s, mailbox, &v->folder, err) < 0) {
		free(v);
		return -1;
	}
	store_unique_name(s, v->base, 200);
	tmp_path(v, path);
	v->fd = open_beneath(v->folder->dir_fd, path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (v->fd < 0) {
		err_sys(err, ERR_TEMP, "create %s", path);
		save_free(v);
		return -1;
	}
	v->piece = x_malloc(SAVE_PIECE);
	*out = v;
	return 0;
}

void
save_abort(struct save *v)
{
	if (v != NULL)
		save_free(v);
}

static int
flush(struct save *v, struct err *err)
{
	if (v->len > 0 && fd_write_all(v->fd, v->piece, v->len, err) < 0) {
		v->failed = true;
		return -1;
	}
	v->len = 0;
	return 0;
}

/* Plain bytes as they go to disk; each LF counts one more unless a CR stands before it. */
static int
put(struct save *v, const char *p, size_t len, struct err *err)
{
	v->disk_size += len;
	v->size += len;
	for (const char *at = p, *lf; (lf = memchr(at, '\n', (size_t)(p + len - at))) != NULL;
	     at = lf + 1)
		v->size += (lf == p ? v->last : lf[-1]) != '\r';
	v->last = p[len - 1];
	while (len > 0) {
		size_t n = SAVE_PIECE - v->len < len ? SAVE_PIECE - v->len : len;

		memcpy(v->piece + v->len, p, n);
		v->len += n;
		p += n;
		len -= n;
		if (v->len == SAVE_PIECE && flush(v, err) < 0)
			return -1;
	}
	return 0;
}

/* On disk lines end with LF, as Maildir tools expect; a CR that no LF follows stays. */
int
save_write(struct save *v, const void *bytes, size_t len, struct err *err)
{
	const char *p = bytes, *end = p + len;

	if (v->failed)
		return err_set(err, ERR_TEMP, "an earlier write failed");
	if (len > 0 && v->held_cr) {
		v->held_cr = false;
		if (*p != '\n' && put(v, "\r", 1, err) < 0)
			return -1;
	}
	while (p < end) {
		const char *cr = memchr(p, '\r', (size_t)(end - p));
		const char *stop = cr == NULL ? end : cr;

		if (stop > p && put(v, p, (size_t)(stop - p), err) < 0)
			return -1;
		if (cr == NULL)
			return 0;
		if (cr + 1 == end) {
			v->held_cr = true;
			return 0;
		}
		if (cr[1] != '\n' && put(v, "\r", 1, err) < 0)
			return -1;
		p = cr + 1;
	}
	return 0;
}

/* The file's time is the message's INTERNALDATE (Maildir has no other place for it). */
static int
settle(struct save *v, int64_t date, struct err *err)
{
	struct timespec times[2];

	if (v->held_cr) {
		v->held_cr = false;
		if (put(v, "\r", 1, err) < 0)
			return -1;
	}
	if (v->failed || flush(v, err) < 0)
		return err_set(err, ERR_TEMP, "message could not be written");
	times[0] = times[1] = (struct timespec){ .tv_sec = date };
	if (futimens(v->fd, times) < 0)
		return err_sys(err, ERR_TEMP, "set time of message");
	if (fsync(v->fd) < 0)
		return err_sys(err, ERR_TEMP, "fsync message");
	return 0;
}

struct batch {
	struct folder *f;
	struct save **saves;
	const struct save_options *options;
	struct message *messages;
	size_t count, renamed;
	uint64_t bytes;
};

static int
set_keywords(struct folder *f, const char *const *names, struct keyword_set *set, struct err *err)
{
	for (; names != NULL && *names != NULL; names++) {
		int n = keywords_number(f, *names, true, err);

		if (n < 0)
			return -1;
		keyword_add(set, (unsigned)n);
	}
	return 0;
}

static int
plan_message(struct batch *b, size_t i, int64_t now, struct err *err)
{
	const struct save_options *o = &b->options[i];
	struct save *v = b->saves[i];
	struct message *m = &b->messages[i], draft = { 0 };
	int len;

	draft.uid = b->f->box.r.uidnext + (uint32_t)i;
	len = snprintf(draft.name, sizeof draft.name, "%s,S=%llu,W=%llu", v->base,
	    (unsigned long long)v->disk_size, (unsigned long long)v->size);
	draft.name_len = draft.r.base_len = (uint8_t)len;
	draft.r.size = v->size;
	draft.r.disk_size = v->disk_size;
	draft.r.internal_date = o->internal_date < 0 ? now : o->internal_date;
	draft.r.save_date = now;
	draft.r.modseq = b->f->box.r.modseq + 1;
	maildir_guid(message_base(&draft), draft.r.guid);
	if (set_keywords(b->f, o->keywords, &draft.r.keywords, err) < 0)
		return -1;
	if (message_rename_plan(&draft, o->flags & (uint16_t)~FLAG_RECENT, &draft.r.keywords, m) <
	    0)
		return err_set(err, ERR_LIMIT, "file name would be too long");
	return 0;
}

static int
write_texts(struct batch *b, struct err *err)
{
	struct buf records, names, extra;
	int r;

	buf_init(&records, TEXT_MAX);
	buf_init(&names, TEXT_MAX);
	buf_init(&extra, TEXT_MAX);
	for (size_t i = 0; i < b->count; i++) {
		const struct message *m = &b->messages[i];
		struct keyword_set set = keyword_extras(&m->r.keywords);

		uidlist_format_record(&records, m->uid, view_make("", 0), message_base(m));
		buf_append(&names, m->name, (size_t)m->name_len + 1);
		if (set.bits[0] != 0 || set.bits[1] != 0)
			keyword_extra_format(&extra, m->uid, &set);
	}
	r = records.failed || names.failed || extra.failed
		? err_set(err, ERR_LIMIT, "too many messages at once")
		: 0;
	if (r == 0)
		r = uidlist_append(b->f, buf_view(&records), (uint32_t)b->count, err);
	if (r == 0 && extra.len > 0)
		r = keywords_append_extra(b->f, buf_view(&extra), err);
	if (r == 0 && b->count > 1)
		r = undo_write(b->f, buf_view(&names), err);
	buf_clear(&records);
	buf_clear(&names);
	buf_clear(&extra);
	return r;
}

static int
rename_files(struct batch *b, struct err *err)
{
	char from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8];

	for (; b->renamed < b->count; b->renamed++) {
		tmp_path(b->saves[b->renamed], from);
		message_path(&b->messages[b->renamed], to);
		if (rename_exclusive(b->f->dir_fd, from, b->f->dir_fd, to, err) < 0)
			return -1;
	}
	return folder_fsync(b->f, "cur", err);
}

static int
enter(struct batch *b, struct err *err)
{
	struct index *x = &b->f->store->index;
	struct box *box = &b->f->box;
	MDB_txn *txn;
	int r = index_write(x, b->count * MESSAGE_ROOM, &txn, err);

	if (r < 0)
		return -1;
	box->r.modseq++;
	for (size_t i = 0; i < b->count && r == 0; i++)
		r = index_message_add(x, txn, box, &b->messages[i], view_make("", 0), err);
	if (r == 0 && b->count > 1)
		r = undo_forget(b->f, txn, err);
	if (r == 0)
		r = folder_own_change(b->f, err);
	if (r == 0)
		r = box_save(x, txn, box, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

/* Nothing of a batch that failed stays. */
static void
take_back(struct batch *b)
{
	char path[MAILDIR_NAME_MAX + 8];

	for (size_t i = 0; i < b->renamed; i++) {
		message_path(&b->messages[i], path);
		unlinkat(b->f->dir_fd, path, 0);
	}
	b->f->must_scan = true;
}

/* UIDs are used up even if what follows fails: a line with them may have reached the disk. */
static int
reserve_uids(struct batch *b, uint32_t *uids, struct err *err)
{
	if (b->f->box.r.uidnext > UIDLIST_MAX_UID - b->count)
		return err_set(err, ERR_LIMIT, "%s: UIDs are used up", b->f->disk);
	for (size_t i = 0; i < b->count; i++)
		uids[i] = b->messages[i].uid;
	b->f->box.r.uidnext += (uint32_t)b->count;
	return 0;
}

static int
finish_locked(struct batch *b, uint32_t *uidvalidity, uint32_t *uids, struct err *err)
{
	int64_t now = clock_wall_ms() / 1000;

	if (folder_sync(b->f, SYNC_QUICK, err) < 0 ||
	    quota_check(b->f->store, b->bytes, (uint32_t)b->count, err) < 0)
		return -1;
	for (size_t i = 0; i < b->count; i++)
		if (plan_message(b, i, now, err) < 0)
			return -1;
	*uidvalidity = b->f->box.r.uidvalidity;
	if (reserve_uids(b, uids, err) < 0 || write_texts(b, err) < 0)
		return -1;
	if (rename_files(b, err) < 0 || enter(b, err) < 0) {
		take_back(b);
		return -1;
	}
	quota_add(b->f->store, (int64_t)b->bytes, (int64_t)b->count);
	return 0;
}

int
save_finish_many(struct save **v, const struct save_options *o, size_t count, uint32_t *uidvalidity,
    uint32_t *uids, struct err *err)
{
	int64_t now = clock_wall_ms() / 1000;
	struct batch b = { .saves = v, .options = o, .count = count };
	int r = 0;

	if (count == 0)
		return 0;
	b.f = v[0]->folder;
	b.messages = x_calloc(count, sizeof *b.messages);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (v[i]->folder != b.f)
			r = err_set(err, ERR_BUG, "save_finish_many: different mailboxes");
		else
			r = settle(v[i], o[i].internal_date < 0 ? now : o[i].internal_date, err);
		b.bytes += v[i]->disk_size;
	}
	if (r == 0)
		r = folder_lock(b.f, err);
	if (r == 0) {
		r = finish_locked(&b, uidvalidity, uids, err);
		if (r < 0 && !b.f->store->index.is_damaged) {
			struct err ignored;

			/* UIDs that were written but not used must not come again. */
			if (folder_save_uidnext(b.f, &ignored) < 0)
				b.f->must_scan = true;
		}
		folder_unlock(b.f);
	}
	for (size_t i = 0; i < count; i++)
		save_free(v[i]);
	free(b.messages);
	return r;
}

int
save_finish(struct save *v, const struct save_options *o, uint32_t *uidvalidity, uint32_t *uid,
    struct err *err)
{
	return save_finish_many(&v, o, 1, uidvalidity, uid, err);
}
