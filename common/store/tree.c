/* CREATE, DELETE, RENAME: the tree of mailboxes is Maildir++ directories side by side, ".A.B" below ".A" by name only. */
#include "common/store/store_internal.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRASH_PREFIX "estafeta.deleted."

/* --- CREATE ------------------------------------------------------------------------------------------------------------- */

/* Made under a name that nobody looks at, then renamed: a folder is there whole or not at all. */
static int
make_folder(struct store *s, const char *disk, struct err *err)
{
	static const char *const subs[] = { "cur", "new", "tmp" };
	char work[300], unique[200];
	int fd, file;

	store_unique_name(s, unique, sizeof unique);
	snprintf(work, sizeof work, TRASH_PREFIX "%s", unique);
	if (mkdirat(s->root_fd, work, 0700) < 0)
		return err_sys(err, ERR_TEMP, "mkdir %s", work);
	fd = open_beneath(s->root_fd, work, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open %s", work);
	for (int i = 0; i < 3; i++)
		if (mkdirat(fd, subs[i], 0700) < 0) {
			fd_close(&fd);
			return err_sys(err, ERR_TEMP, "mkdir %s/%s", work, subs[i]);
		}
	file = open_beneath(fd, "maildirfolder", O_WRONLY | O_CREAT, 0600);
	fd_close(&file);
	fd_close(&fd);
	if (renameat2(s->root_fd, work, s->root_fd, disk, RENAME_NOREPLACE) < 0)
		return err_sys(err, errno == EEXIST ? ERR_PERM : ERR_TEMP, "create %s", disk);
	if (fsync(s->root_fd) < 0)
		return err_sys(err, ERR_TEMP, "fsync %s", s->maildir);
	return 0;
}

static int
create_locked(struct store *s, const char *name, struct err *err)
{
	char disk[MAILDIR_NAME_MAX + 1];
	struct folder *f;
	bool exists;
	int r;

	if (name_to_disk(s, name, disk, &exists, err) < 0)
		return -1;
	if (exists)
		return err_set(err, ERR_PERM, "mailbox exists");
	if (make_folder(s, disk, err) < 0 || folder_open_disk(s, disk, &f, err) < 0)
		return -1;
	r = folder_begin(f, err); /* its UIDVALIDITY stands in its uidlist from now on */
	if (r == 0)
		folder_unlock(f);
	folder_close(f);
	return r;
}

int
store_create(struct store *s, const char *name, struct err *err)
{
	int r;

	if (store_ready(s, err) < 0 || store_lock_tree(s, err) < 0)
		return -1;
	r = create_locked(s, name, err);
	store_unlock_tree(s);
	return r;
}

/* --- DELETE -------------------------------------------------------------------------------------------------------------- */

static void
remove_tree(int parent_fd, const char *name, int depth)
{
	int fd = open_beneath(parent_fd, name, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL) {
		fd_close(&fd);
		unlinkat(parent_fd, name, 0);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0 && depth < 16)
			remove_tree(dirfd(d), e->d_name, depth + 1);
	}
	closedir(d);
	unlinkat(parent_fd, name, AT_REMOVEDIR);
}

static int
forget_box(struct store *s, const char *disk, struct err *err)
{
	struct index *x = &s->index;
	MDB_txn *txn;
	uint32_t id;
	int r = index_write(x, 1 << 20, &txn, err);

	if (r < 0)
		return -1;
	r = box_find(x, txn, disk, &id, err);
	if (r == 0)
		r = box_remove(x, txn, id, disk, err);
	if (r >= 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

static int
has_child(void *arg, const char *disk, const char *name, struct err *err)
{
	const char *parent = arg;
	size_t len = strlen(parent);

	(void)disk;
	if (strncmp(name, parent, len) == 0 && name[len] == '/')
		return err_set(err, ERR_PERM, "mailbox has children");
	return 0;
}

static int
delete_locked(struct store *s, const char *name, struct err *err)
{
	char disk[MAILDIR_NAME_MAX + 1], trash[300], unique[200];
	struct err child;
	bool exists;

	if (name_to_disk(s, name, disk, &exists, err) < 0)
		return -1;
	if (strcmp(disk, ".") == 0)
		return err_set(err, ERR_PERM, "INBOX cannot be deleted");
	if (!exists) {
		/* RFC 3501 6.3.4: a name that is only the parent of others */
		if (store_each_folder(s, has_child, (void *)(uintptr_t)name, &child) < 0)
			return err_set(err, child.kind, "%s", child.text);
		return err_set(err, ERR_GONE, "no mailbox of this name");
	}
	store_unique_name(s, unique, sizeof unique);
	snprintf(trash, sizeof trash, TRASH_PREFIX "%s", unique);
	if (renameat(s->root_fd, disk, s->root_fd, trash) < 0)
		return err_sys(err, ERR_TEMP, "rename %s", disk);
	for (struct folder *f = s->folders; f != NULL; f = f->next)
		if (strcmp(f->disk, disk) == 0)
			f->is_gone = true;
	if (fsync(s->root_fd) < 0)
		return err_sys(err, ERR_TEMP, "fsync %s", s->maildir);
	if (forget_box(s, disk, err) < 0)
		return -1;
	remove_tree(s->root_fd, trash, 0);
	return 0;
}

int
store_delete(struct store *s, const char *name, struct err *err)
{
	int r;

	if (store_ready(s, err) < 0 || store_lock_tree(s, err) < 0)
		return -1;
	r = delete_locked(s, name, err);
	store_unlock_tree(s);
	return r;
}

/* --- RENAME --------------------------------------------------------------------------------------------------------------------- */

struct renames {
	struct store *s;
	const char *from,
	    *to; /* directory names: every folder that is from, or begins with from and '.', moves */
	char (*disks)[MAILDIR_NAME_MAX + 1]; /* owned */
	size_t count, cap;
};

static int
collect_rename(void *arg, const char *disk, const char *name, struct err *err)
{
	struct renames *r = arg;
	size_t len = strlen(r->from);

	(void)name;
	if (strncmp(disk, r->from, len) != 0 || (disk[len] != '\0' && disk[len] != '.'))
		return 0;
	if (strlen(r->to) + strlen(disk) - len > MAILDIR_NAME_MAX)
		return err_set(err, ERR_LIMIT, "name of a child would be too long");
	if (r->count == r->cap) {
		r->cap = r->cap < 16 ? 16 : r->cap * 2;
		r->disks = x_realloc(r->disks, r->cap, sizeof *r->disks);
	}
	memcpy(r->disks[r->count++], disk, strlen(disk) + 1);
	return 0;
}

static void
target_of(const struct renames *r, const char *disk, char to[MAILDIR_NAME_MAX + 1])
{
	snprintf(to, MAILDIR_NAME_MAX + 1, "%s%s", r->to, disk + strlen(r->from));
}

static int
rename_box(struct store *s, const char *disk, const char *to, struct err *err)
{
	struct index *x = &s->index;
	struct box b;
	MDB_txn *txn;
	uint32_t id;
	int r = index_write(x, 65536, &txn, err);

	if (r < 0)
		return -1;
	r = box_find(x, txn, disk, &id, err);
	if (r == 0)
		r = box_load(x, txn, id, &b, err);
	if (r == 0)
		r = box_rename(x, txn, &b, to, err);
	if (r >= 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

static int
rename_folder(struct renames *r, const char *disk, struct err *err)
{
	char to[MAILDIR_NAME_MAX + 1];

	target_of(r, disk, to);
	if (rename_exclusive(r->s->root_fd, disk, r->s->root_fd, to, err) < 0)
		return -1;
	for (struct folder *f = r->s->folders; f != NULL; f = f->next)
		if (strcmp(f->disk, disk) == 0)
			f->is_gone = true;
	return rename_box(r->s, disk, to, err);
}

static int
note_rename(struct store *s, struct view note, struct err *err)
{
	MDB_txn *txn;
	int r = index_write(&s->index, 65536, &txn, err);

	if (r < 0)
		return -1;
	r = note.len > 0 ? index_put(&s->index, txn, DB_META, VIEW_LIT("rename"), note, err)
			 : index_del(&s->index, txn, DB_META, VIEW_LIT("rename"), err);
	if (r == 0)
		r = index_commit(&s->index, &txn, err);
	index_abort(&txn);
	return r;
}

/* Several directories: the intention is noted first, so that a rename cut short is finished at the next start. */
static int
rename_all(struct renames *r, struct err *err)
{
	struct buf note;
	int result;

	buf_init(&note, 2 * MAILDIR_NAME_MAX + 2);
	buf_append(&note, r->from, strlen(r->from) + 1);
	buf_append(&note, r->to, strlen(r->to) + 1);
	result = r->count > 1 ? note_rename(r->s, buf_view(&note), err) : 0;
	buf_clear(&note);
	for (size_t i = 0; i < r->count && result == 0; i++)
		result = rename_folder(r, r->disks[i], err);
	if (result == 0 && fsync(r->s->root_fd) < 0)
		result = err_sys(err, ERR_TEMP, "fsync %s", r->s->maildir);
	if (result == 0 && r->count > 1)
		result = note_rename(r->s, view_make("", 0), err);
	return result;
}

static bool
any_target_exists(const struct renames *r)
{
	char to[MAILDIR_NAME_MAX + 1];
	struct stat st;

	for (size_t i = 0; i < r->count; i++) {
		target_of(r, r->disks[i], to);
		if (fstatat(r->s->root_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return false;
}

/* RFC 3501 6.3.5: INBOX's messages move to the new mailbox; INBOX and its children stay. */
static int
rename_inbox(struct store *s, const char *to, struct err *err)
{
	struct copy_result result;
	struct mailbox *inbox;
	struct arena a;
	uint32_t *uids;
	size_t count;
	int r;

	if (create_locked(s, to, err) < 0 || mailbox_open(s, "INBOX", false, &inbox, err) < 0)
		return -1;
	arena_init(&a, (size_t)4 << 30);
	r = mailbox_uids(inbox, &a, &uids, &count, err);
	if (r == 0)
		r = mailbox_copy(inbox, uids, count, to, true, &a, &result, err);
	arena_clear(&a);
	mailbox_close(inbox);
	return r;
}

static int
rename_locked(struct store *s, const char *from, const char *to, struct err *err)
{
	char from_disk[MAILDIR_NAME_MAX + 1], to_disk[MAILDIR_NAME_MAX + 1];
	struct renames r = { .s = s, .from = from_disk, .to = to_disk };
	bool from_exists, to_exists;
	size_t len;
	int result;

	if (name_to_disk(s, from, from_disk, &from_exists, err) < 0 ||
	    name_to_disk(s, to, to_disk, &to_exists, err) < 0)
		return -1;
	if (to_exists)
		return err_set(err, ERR_PERM, "mailbox exists");
	if (strcmp(from_disk, ".") == 0)
		return rename_inbox(s, to, err);
	len = strlen(from_disk);
	if (strncmp(to_disk, from_disk, len) == 0 && to_disk[len] == '.')
		return err_set(err, ERR_PERM, "mailbox cannot move below itself");
	result = store_each_folder(s, collect_rename, &r, err);
	if (result == 0 && r.count == 0)
		result = err_set(err, ERR_GONE, "no mailbox of this name");
	if (result == 0 && any_target_exists(&r))
		result = err_set(err, ERR_PERM, "mailbox exists");
	if (result == 0)
		result = rename_all(&r, err);
	free(r.disks);
	return result;
}

int
store_rename(struct store *s, const char *from, const char *to, struct err *err)
{
	int r;

	if (store_ready(s, err) < 0 || store_lock_tree(s, err) < 0)
		return -1;
	r = rename_locked(s, from, to, err);
	store_unlock_tree(s);
	return r;
}

/* --- at the start ------------------------------------------------------------------------------------------------------------------ */

static int
finish_rename(struct store *s, struct err *err)
{
	char from[MAILDIR_NAME_MAX + 1] = "", to[MAILDIR_NAME_MAX + 1] = "";
	struct renames r = { .s = s, .from = from, .to = to };
	struct view note, a, b;
	MDB_txn *txn;
	int result;

	if (index_read(&s->index, &txn, err) < 0)
		return -1;
	result = index_get(&s->index, txn, DB_META, VIEW_LIT("rename"), &note, err);
	if (result == 0) {
		view_cut(note, '\0', &a, &note);
		view_cut(note, '\0', &b, NULL);
		if (a.len > 1 && a.len <= MAILDIR_NAME_MAX && b.len > 1 &&
		    b.len <= MAILDIR_NAME_MAX) {
			memcpy(from, a.p, a.len);
			memcpy(to, b.p, b.len);
		}
	}
	index_read_end(&s->index);
	if (result != 0)
		return result > 0 ? 0 : -1;
	result = from[0] == '.' && to[0] == '.' ? store_each_folder(s, collect_rename, &r, err) : 0;
	if (r.count > 0)
		log_warn("finishing a rename from %s to %s that was cut short", lqs(from), lqs(to));
	for (size_t i = 0; i < r.count && result == 0; i++) {
		struct err one;

		if (rename_folder(&r, r.disks[i], &one) <
		    0) /* its target was made meanwhile: both stay */
			log_warn("%s: %s", lqs(r.disks[i]), one.text);
	}
	free(r.disks);
	return result == 0 ? note_rename(s, view_make("", 0), err) : result;
}

/* Folders whose removal or creation was cut short; Courier's traces. */
static int
look_around(struct store *s, struct err *err)
{
	int fd = open_beneath(s->root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL) {
		err_sys(err, ERR_TEMP, "open %s", s->maildir);
		fd_close(&fd);
		return -1;
	}
	while ((e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, TRASH_PREFIX, strlen(TRASH_PREFIX)) == 0)
			remove_tree(s->root_fd, e->d_name, 0);
		if (e->d_name[0] == '.')
			for (const char *p = e->d_name; *p != '\0'; p++)
				if ((unsigned char)*p >= 0x80)
					s->has_utf8_names = true;
	}
	closedir(d);
	return 0;
}

int
store_repair_tree(struct store *s, struct err *err)
{
	int r;

	if (store_lock_tree(s, err) < 0)
		return -1;
	r = finish_rename(s, err);
	if (r == 0)
		r = look_around(s, err);
	store_unlock_tree(s);
	return r;
}
