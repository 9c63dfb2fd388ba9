#include "common/store/store_internal.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/log/log.h"
#include "common/store/courier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* --- opening and closing ------------------------------------------------------------------------------------ */

static int
make_subdirectories(int dir_fd, const char *disk, struct err *err)
{
	static const char *const names[] = { "cur", "new", "tmp" };

	for (size_t i = 0; i < 3; i++)
		if (mkdirat(dir_fd, names[i], 0700) < 0 && errno != EEXIST)
			return err_sys(err, ERR_TEMP, "mkdir %s/%s", disk, names[i]);
	return 0;
}

static struct folder *
find_open(struct store *s, const char *disk)
{
	for (struct folder *f = s->folders; f != NULL; f = f->next)
		if (!f->is_gone && strcmp(f->disk, disk) == 0)
			return f;
	return NULL;
}

int
folder_open_disk(struct store *s, const char *disk, struct folder **out, struct err *err)
{
	struct folder *f = find_open(s, disk);
	struct stat here, there;
	int fd;

	if (f != NULL && fstat(f->dir_fd, &here) == 0 &&
	    fstatat(s->root_fd, disk, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    here.st_ino == there.st_ino) {
		f->refs++;
		*out = f;
		return 0;
	}
	if (f != NULL) /* another program removed it and made it anew */
		f->is_gone = true;
	fd = open_beneath(s->root_fd, disk, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return err_sys(err,
		    errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? ERR_GONE : ERR_TEMP,
		    "open mailbox %s", disk);
	if (make_subdirectories(fd, disk, err) < 0) {
		fd_close(&fd);
		return -1;
	}
	f = x_calloc(1, sizeof *f);
	f->store = s;
	f->refs = 1;
	f->dir_fd = fd;
	f->lock_fd = -1;
	memcpy(f->disk, disk, strlen(disk) + 1);
	f->next = s->folders;
	s->folders = f;
	*out = f;
	return 0;
}

int
folder_open(struct store *s, const char *name, struct folder **out, struct err *err)
{
	char disk[MAILDIR_NAME_MAX + 1];
	bool exists;

	if (name_to_disk(s, name, disk, &exists, err) < 0)
		return -1;
	if (!exists)
		return err_set(err, ERR_GONE, "no mailbox of this name");
	return folder_open_disk(s, disk, out, err);
}

void
folder_close(struct folder *f)
{
	struct folder **at = &f->store->folders;

	if (--f->refs > 0)
		return;
	if (f->locked > 0)
		bug("folder: closed while locked");
	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	keywords_forget(f);
	fd_close(&f->lock_fd);
	fd_close(&f->dir_fd);
	free(f);
}

/* --- its record in the index ------------------------------------------------------------------------------------ */

static void
ignore_record(void *arg, const struct uidlist_record *r)
{
	(void)arg;
	(void)r;
}

/* A mailbox that the index does not know.  What dovecot-uidlist says of it counts: its UIDVALIDITY and GUID are
 * what clients know it by.  Modseqs of a mailbox with a past begin at the present microsecond: above all that an
 * earlier index, or another server, can have given out. */
static int
new_box(struct folder *f, struct err *err)
{
	struct uidlist_header h;
	struct buf text;
	struct file_id id;
	size_t faults;
	int r;

	f->box = (struct box){ .r = { .uidnext = 1, .recent_uid = 1, .modseq = 1 } };
	memcpy(f->box.disk, f->disk, sizeof f->disk);
	random_bytes(f->box.r.guid, sizeof f->box.r.guid);
	buf_init(&text, TEXT_MAX);
	r = text_load(f->dir_fd, UIDLIST_FILE, &text, &id, err);
	if (r > 0)
		r = text_load(f->dir_fd, COURIER_UIDDB, &text, &id, err);
	if (r == 0 && uidlist_parse(buf_view(&text), &h, ignore_record, NULL, &faults, NULL) == 0) {
		f->box.r.uidvalidity = h.uidvalidity;
		if (h.guid.len == 32)
			hex_decode(f->box.r.guid, sizeof f->box.r.guid, h.guid);
		f->box.r.modseq = f->box.r.floor = (uint64_t)(wall_ns() / 1000);
		uidvalidity_seen(f->store, h.uidvalidity);
	} else if (r >= 0) {
		r = uidvalidity_next(f->store, &f->box.r.uidvalidity, err);
	}
	buf_clear(&text);
	return r < 0 ? -1 : 0;
}

static int
add_box(struct folder *f, struct err *err)
{
	struct index *x = &f->store->index;
	MDB_txn *txn;
	int r;

	if (new_box(f, err) < 0 || index_write(x, 65536, &txn, err) < 0)
		return -1;
	r = box_add(x, txn, &f->box, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

static int
load_box(struct folder *f, struct err *err)
{
	struct index *x = &f->store->index;
	MDB_txn *txn;
	uint32_t id;
	int r;

	if (index_read(x, &txn, err) < 0)
		return -1;
	r = box_find(x, txn, f->disk, &id, err);
	if (r == 0)
		r = box_load(x, txn, id, &f->box, err);
	if (r == 0)
		r = keywords_load(f, txn, err);
	index_read_end(x);
	return r;
}

static bool
is_in_place(struct folder *f)
{
	struct stat here, there;

	return fstat(f->dir_fd, &here) == 0 &&
	       fstatat(f->store->root_fd, f->disk, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

static int
bind_box(struct folder *f, struct err *err)
{
	int r;

	if (!is_in_place(f)) {
		f->is_gone = true;
		return err_set(err, ERR_GONE, "mailbox %s is gone", f->disk);
	}
	r = load_box(f, err);
	if (r > 0) {
		keywords_forget(f);
		r = add_box(f, err);
	}
	if (r < 0)
		return -1;
	f->generation = f->store->generation;
	return undo_run(f, err);
}

/* --- locking -------------------------------------------------------------------------------------------------------- */

int
folder_lock(struct folder *f, struct err *err)
{
	if (f->is_gone)
		return err_set(err, ERR_GONE, "mailbox %s is gone", f->disk);
	if (f->locked++ > 0)
		return 0;
	if (f->lock_fd < 0)
		f->lock_fd =
		    open_beneath(f->dir_fd, FOLDER_LOCK, O_RDWR | O_CREAT | O_NONBLOCK, 0600);
	if (f->lock_fd < 0) {
		f->locked--;
		return err_sys(err, ERR_TEMP, "open %s/%s", f->disk, FOLDER_LOCK);
	}
	if ((f->store->locks == 0 && store_ready(f->store, err) < 0) ||
	    lock_wait(f->lock_fd, FOLDER_LOCK, err) < 0) {
		f->locked--;
		return -1;
	}
	f->store->locks++;
	if (bind_box(f, err) < 0) {
		folder_unlock(f);
		return -1;
	}
	return 0;
}

void
folder_unlock(struct folder *f)
{
	if (f->locked == 0)
		bug("folder: not locked");
	if (--f->locked > 0)
		return;
	f->store->locks--;
	flock(f->lock_fd, LOCK_UN);
}

int
folder_begin(struct folder *f, struct err *err)
{
	if (folder_lock(f, err) < 0)
		return -1;
	if (folder_sync(f, SYNC_QUICK, err) < 0) {
		folder_unlock(f);
		return -1;
	}
	return 0;
}

int
folder_reload(struct folder *f, struct err *err)
{
	struct index *x = &f->store->index;
	MDB_txn *txn;
	int r;

	if (index_read(x, &txn, err) < 0)
		return -1;
	r = box_load(x, txn, f->box.id, &f->box, NULL);
	index_read_end(x);
	return r;
}

int
folder_save_box(struct folder *f, struct err *err)
{
	struct index *x = &f->store->index;
	MDB_txn *txn;
	int r = index_write(x, 0, &txn, err);

	if (r == 0)
		r = box_save(x, txn, &f->box, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

int
folder_save_uidnext(struct folder *f, struct err *err)
{
	struct box_record mine = f->box.r;

	if (folder_reload(f, err) < 0)
		return -1;
	if (mine.uidnext > f->box.r.uidnext)
		f->box.r.uidnext = mine.uidnext;
	f->box.r.uidlist = mine.uidlist;
	f->box.r.uidlist_lines = mine.uidlist_lines;
	f->box.r.keywords = mine.keywords;
	f->box.r.extra = mine.extra;
	return folder_save_box(f, err);
}

int
folder_ready(struct folder *f, struct err *err)
{
	if (f->is_gone)
		return err_set(err, ERR_GONE, "mailbox %s is gone", f->disk);
	if (f->generation == f->store->generation && !f->store->index.is_damaged)
		return 0;
	return folder_peek(f, err);
}

int
folder_peek(struct folder *f, struct err *err)
{
	struct index *x = &f->store->index;
	MDB_txn *txn;
	int r;

	if (f->locked > 0)
		return 0;
	if (f->is_gone)
		return err_set(err, ERR_GONE, "mailbox %s is gone", f->disk);
	if (f->store->locks == 0 && store_ready(f->store, err) < 0)
		return -1;
	if (f->generation != f->store->generation) {
		if (folder_begin(f, err) < 0)
			return -1;
		folder_unlock(f);
	}
	if (index_read(x, &txn, err) < 0)
		return -1;
	r = box_load(x, txn, f->box.id, &f->box, err);
	if (r == 0 && strcmp(f->box.disk, f->disk) != 0)
		r = 1;
	if (r == 0)
		r = keywords_load(f, txn, err);
	index_read_end(x);
	if (r > 0) {
		f->is_gone = true;
		return err_set(err, ERR_GONE, "mailbox %s is gone", f->disk);
	}
	return r;
}

/* --- its directories ---------------------------------------------------------------------------------------------------- */

/* The time of cur/ is now our own doing: no reason to read it again.  What another program did there in the
 * same moment is hidden by it; is_unverified makes a later look read it (SYNC_VERIFY). */
int
folder_own_change(struct folder *f, struct err *err)
{
	struct stat st;

	if (fstatat(f->dir_fd, "cur", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, ERR_TEMP, "stat %s/cur", f->disk);
	f->box.r.cur_mtime_ns = mtime_ns(&st);
	f->box.r.cur_scan_ns = INT64_MAX;
	f->box.r.is_unverified = 1;
	return 0;
}

int
folder_fsync(struct folder *f, const char *subdir, struct err *err)
{
	return dir_fsync(f->dir_fd, subdir, err);
}

void
message_path(const struct message *m, char path[MAILDIR_NAME_MAX + 8])
{
	snprintf(
	    path, MAILDIR_NAME_MAX + 8, "%s/%s", m->r.place == PLACE_NEW ? "new" : "cur", m->name);
}

int
rename_exclusive(int from_fd, const char *from, int to_fd, const char *to, struct err *err)
{
	struct stat st;

	if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EINVAL || errno == ENOSYS) { /* a file system that cannot (NFS) */
		if (fstatat(to_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
			errno = EEXIST;
		else if (renameat(from_fd, from, to_fd, to) == 0)
			return 0;
	}
	if (errno == EEXIST)
		return err_sys(err, ERR_PERM, "rename to %s", to);
	return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "rename %s", from);
}

int
message_rename_plan(const struct message *old, uint16_t flags, const struct keyword_set *keywords,
    struct message *out)
{
	struct maildir_name n;

	maildir_name_parse(view_make(old->name, old->name_len), &n);
	n.flags = flags;
	n.letters = (uint32_t)(keywords->bits[0] & ((1u << KEYWORD_LETTERS) - 1));
	*out = *old;
	out->r.flags = flags;
	out->r.keywords = *keywords;
	out->r.place = PLACE_CUR;
	if (maildir_name_format(&n, out->name) < 0)
		return -1;
	out->name_len = (uint8_t)strlen(out->name);
	return 0;
}
