#include "common/store/index.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	MAX_READERS = 64,
	GROW_RESERVE = 4 << 20,
	LOCK_FILE_BYTES = 16384,
	RESERVE_BYTES = 128 * 1024
};

static const char *const db_names[DB_COUNT] = { "meta", "names", "boxes", "messages", "bases",
	"changes", "vanished", "keywords", "extras", "cache" };

int
index_error(struct index *x, int rc, const char *what, struct err *err)
{
	switch (rc) {
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PANIC:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_CURSOR_FULL:
	case MDB_PAGE_FULL:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_DBI:
	case MDB_BAD_TXN: /* only after a failure inside this transaction */
	case MDB_DBS_FULL:
		x->is_damaged = true;
		break;
	case MDB_MAP_FULL:
		x->is_full = true;
		break;
	}
	return err_set(err, ERR_TEMP, "index: %s: %s", what, mdb_strerror(rc));
}

/* --- who has it open, and did the last one end well? ---------------------------------------------------- */

/* "clean" is written by the last process at its end and names the state of data.mdb; "run.*" are locked by
 * living processes.  No clean file that fits and nobody alive: somebody died, or the file was changed by other
 * hands, so everything is checked before use. */
struct clean_mark {
	uint64_t ino;
	int64_t size, mtime_ns;
};

static bool
clean_mark_of(int dir_fd, struct clean_mark *m)
{
	struct stat st;

	if (fstatat(dir_fd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	*m = (struct clean_mark){ st.st_ino, st.st_size,
		st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec };
	return true;
}

static bool
is_clean(int dir_fd)
{
	struct clean_mark now, then;
	int fd = open_beneath(dir_fd, "clean", O_RDONLY | O_NONBLOCK, 0);
	bool same;

	same = fd >= 0 && fd_pread_all(fd, &then, sizeof then, 0, NULL) == 0 &&
	       clean_mark_of(dir_fd, &now) && now.ino == then.ino && now.size == then.size &&
	       now.mtime_ns == then.mtime_ns;
	fd_close(&fd);
	return same;
}

static void
write_clean(int dir_fd)
{
	struct clean_mark m;
	int fd;

	if (!clean_mark_of(dir_fd, &m))
		return;
	fd = open_beneath(dir_fd, "clean", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0 && fd_write_all(fd, &m, sizeof m, NULL) < 0)
		unlinkat(dir_fd, "clean", 0);
	fd_close(&fd);
}

/* Is another process alive on it?  Marks of dead ones go. */
static bool
others_alive(const struct index *x)
{
	int fd = openat(x->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool alive = false;

	if (d == NULL) {
		fd_close(&fd);
		return false;
	}
	while ((e = readdir(d)) != NULL) {
		int lock;

		if (strncmp(e->d_name, "run.", 4) != 0 || strcmp(e->d_name, x->run_name) == 0)
			continue;
		lock = open_beneath(x->dir_fd, e->d_name, O_RDWR | O_NONBLOCK, 0);
		if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) < 0)
			alive = true;
		else
			unlinkat(x->dir_fd, e->d_name, 0);
		fd_close(&lock);
	}
	closedir(d);
	return alive;
}

static int
mark_running(struct index *x, struct err *err)
{
	snprintf(x->run_name, sizeof x->run_name, "run.%ld.%08x", (long)getpid(),
	    random_below(UINT32_MAX));
	x->run_fd = open_beneath(x->dir_fd, x->run_name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (x->run_fd < 0 || flock(x->run_fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(err, ERR_TEMP, "index: %s", x->run_name);
	return 0;
}

/* --- a full disk ------------------------------------------------------------------------------------------------ */

/* Whoever has filled his disk must be able to delete: a little room is kept beside the index and given up when a
 * transaction found none.  The next try has it. */
static void
keep_reserve(struct index *x)
{
	int fd = open_beneath(x->dir_fd, "reserve", O_WRONLY | O_CREAT | O_NONBLOCK, 0600);

	if (fd >= 0 && posix_fallocate(fd, 0, RESERVE_BYTES) != 0)
		unlinkat(x->dir_fd, "reserve", 0);
	fd_close(&fd);
}

static void
give_up_reserve(struct index *x)
{
	unlinkat(x->dir_fd, "reserve", 0);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

/* LMDB opens by path and would follow a link or block on a FIFO of that name. */
static int
check_plain_file(struct index *x, const char *name, struct err *err)
{
	struct stat st;

	if (fstatat(x->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, ERR_TEMP, "index: stat %s", name);
	if (S_ISREG(st.st_mode))
		return 0;
	x->is_damaged = true;
	return err_set(err, ERR_TEMP, "index: %s is not a file", name);
}

static int
open_directory(int maildir_fd, struct index *x, struct err *err)
{
	if (mkdirat(maildir_fd, INDEX_DIRECTORY, 0700) < 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir %s", INDEX_DIRECTORY);
	x->dir_fd = open_beneath(maildir_fd, INDEX_DIRECTORY, O_RDONLY | O_DIRECTORY, 0);
	if (x->dir_fd < 0) {
		x->is_damaged = errno == ENOTDIR || errno == ELOOP;
		return err_sys(err, ERR_TEMP, "open %s", INDEX_DIRECTORY);
	}
	if (check_plain_file(x, "data.mdb", err) < 0)
		return -1;
	return check_plain_file(x, "lock.mdb", err);
}

static int
check_format(struct index *x, MDB_txn *txn, struct err *err)
{
	static const uint32_t format = INDEX_FORMAT;
	struct view value = { 0 };
	int r = index_get(x, txn, DB_META, VIEW_LIT("format"), &value, err);

	if (r > 0)
		return index_put(
		    x, txn, DB_META, VIEW_LIT("format"), view_make(&format, sizeof format), err);
	if (r == 0 &&
	    (value.len != sizeof format || memcmp(value.p, &format, sizeof format) != 0)) {
		x->is_damaged = true;
		return err_set(err, ERR_TEMP, "index: of another version");
	}
	return r;
}

static int
open_databases(struct index *x, struct err *err)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(x->env, NULL, 0, &txn);

	if (rc != 0)
		return index_error(x, rc, "begin", err);
	for (int i = 0; i < DB_COUNT && rc == 0; i++)
		rc = mdb_dbi_open(txn, db_names[i], MDB_CREATE, &x->dbi[i]);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return index_error(x, rc, "open databases", err);
	}
	if (check_format(x, txn, err) < 0) {
		mdb_txn_abort(txn);
		return -1;
	}
	return index_commit(x, &txn, err);
}

/* LMDB maps its lock file writable and sparse: on a full disk the first touch of a page would be a SIGBUS.  Made and
 * allocated beforehand, a full disk is an error.  (Never while the environment is open: closing any descriptor of the
 * file would drop LMDB's own locks on it.) */
static int
allocate_lock_file(struct index *x, struct err *err)
{
	int fd = open_beneath(x->dir_fd, "lock.mdb", O_RDWR | O_CREAT | O_NONBLOCK, 0600), rc;

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "index: create lock.mdb");
	rc = posix_fallocate(fd, 0, LOCK_FILE_BYTES);
	fd_close(&fd);
	if (rc == 0)
		return 0;
	errno = rc;
	return err_sys(err, ERR_TEMP, "index: allocate lock.mdb");
}

static int
open_environment(struct index *x, uint64_t map_bytes, struct err *err)
{
	struct stat st;
	int rc, dead;

	if (allocate_lock_file(x, err) < 0)
		return -1;
	rc = mdb_env_create(&x->env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(x->env, DB_COUNT);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(x->env, MAX_READERS);
	if (rc == 0)
		rc = mdb_env_set_mapsize(x->env, map_bytes);
	if (rc == 0)
		rc =
		    mdb_env_open(x->env, x->path, MDB_NOTLS | MDB_NOMETASYNC | MDB_NORDAHEAD, 0600);
	if (rc == EINVAL) /* LMDB's word for meta pages that make no sense, or fewer than two */
		x->is_damaged = true;
	if (rc != 0)
		return index_error(x, rc, "open", err);
	mdb_reader_check(x->env, &dead);
	if (fstatat(x->dir_fd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, ERR_TEMP, "index: stat data.mdb");
	x->ino = st.st_ino;
	return 0;
}

static int
open_all(struct index *x, void *arg, struct err *err)
{
	if (open_environment(x, *(uint64_t *)arg, err) < 0)
		return -1;
	return open_databases(x, err);
}

static int
open_and_verify(struct index *x, void *arg, struct err *err)
{
	return open_all(x, arg, err) < 0 ? -1 : index_verify(x, err);
}

int
index_open(
    int maildir_fd, const char *maildir, uint64_t map_bytes, struct index *x, struct err *err)
{
	bool must_verify;
	int r;

	*x = (struct index){ .dir_fd = -1, .run_fd = -1 };
	x->path = x_asprintf("%s/%s", maildir, INDEX_DIRECTORY);
	if (open_directory(maildir_fd, x, err) < 0 || mark_running(x, err) < 0)
		return -1;
	if (index_crash_noted(x->dir_fd)) {
		x->is_damaged = true;
		return err_set(err, ERR_TEMP, "index: the last process that used it crashed");
	}
	must_verify = !others_alive(x) &&
		      faccessat(x->dir_fd, "data.mdb", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
		      !is_clean(x->dir_fd);
	r = must_verify ? index_guarded(x, open_and_verify, &map_bytes, err)
			: open_all(x, &map_bytes, err);
	/* from now on only a good end makes it clean again */
	unlinkat(x->dir_fd, "clean", 0);
	if (r == 0) {
		index_crash_watch(x->dir_fd);
		keep_reserve(x);
	}
	return r;
}

void
index_close(struct index *x)
{
	bool was_good = x->env != NULL && !x->is_damaged;

	index_crash_watch(-1);
	if (x->reader != NULL)
		mdb_txn_abort(x->reader);
	if (x->env != NULL)
		mdb_env_close(x->env);
	if (x->dir_fd >= 0 && x->run_fd >= 0) {
		unlinkat(x->dir_fd, x->run_name, 0);
		if (was_good && !others_alive(x))
			write_clean(x->dir_fd);
	}
	fd_close(&x->run_fd);
	fd_close(&x->dir_fd);
	free(x->path);
	*x = (struct index){ .dir_fd = -1, .run_fd = -1 };
}

static void
remove_flat_directory(int maildir_fd, const char *name)
{
	int fd = open_beneath(maildir_fd, name, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL) {
		fd_close(&fd);
		unlinkat(maildir_fd, name, 0);
		return;
	}
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	unlinkat(maildir_fd, name, AT_REMOVEDIR);
}

int
index_set_aside(int maildir_fd, struct err *err)
{
	static const char aside[] = INDEX_DIRECTORY ".damaged";

	remove_flat_directory(maildir_fd, aside);
	if (renameat(maildir_fd, INDEX_DIRECTORY, maildir_fd, aside) < 0 && errno != ENOENT)
		return err_sys(err, ERR_TEMP, "set aside %s", INDEX_DIRECTORY);
	return 0;
}

bool
index_is_current(const struct index *x, int maildir_fd)
{
	struct stat st;

	return x->env != NULL &&
	       fstatat(maildir_fd, INDEX_DIRECTORY "/data.mdb", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_ino == x->ino;
}

/* --- transactions ----------------------------------------------------------------------------------------------- */

int
index_read(struct index *x, MDB_txn **txn, struct err *err)
{
	int rc;

	if (x->is_reading)
		bug("index: nested read");
	rc = x->reader != NULL ? mdb_txn_renew(x->reader)
			       : mdb_txn_begin(x->env, NULL, MDB_RDONLY, &x->reader);
	if (rc == MDB_MAP_RESIZED) { /* another process has grown it */
		rc = mdb_env_set_mapsize(x->env, 0);
		if (rc == 0)
			rc = x->reader != NULL
				 ? mdb_txn_renew(x->reader)
				 : mdb_txn_begin(x->env, NULL, MDB_RDONLY, &x->reader);
	}
	if (rc != 0)
		return index_error(x, rc, "begin read", err);
	x->is_reading = true;
	*txn = x->reader;
	return 0;
}

void
index_read_end(struct index *x)
{
	if (x->is_reading)
		mdb_txn_reset(x->reader);
	x->is_reading = false;
}

/* Pages freed earlier are not counted as room: with many of them this grows the map (address space, not disk)
 * sooner than need be, which costs nothing. */
static int
make_room(struct index *x, uint64_t need_bytes, struct err *err)
{
	MDB_envinfo info;
	MDB_stat st;
	uint64_t used, want;
	int rc = mdb_env_info(x->env, &info);

	if (rc == 0)
		rc = mdb_env_stat(x->env, &st);
	if (rc != 0)
		return index_error(x, rc, "info", err);
	used = ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
	want = used + need_bytes + GROW_RESERVE;
	if (x->is_full && want < info.me_mapsize + GROW_RESERVE)
		want = info.me_mapsize + GROW_RESERVE;
	if (want <= info.me_mapsize)
		return 0;
	rc = mdb_env_set_mapsize(x->env, want + want / 2);
	return rc == 0 ? 0 : index_error(x, rc, "grow", err);
}

int
index_write(struct index *x, uint64_t need_bytes, MDB_txn **txn, struct err *err)
{
	int rc;

	if (x->is_reading)
		bug("index: write inside a read");
	*txn = NULL;
	if (make_room(x, need_bytes, err) < 0)
		return -1;
	x->is_full = false;
	rc = mdb_txn_begin(x->env, NULL, 0, txn);
	if (rc == MDB_MAP_RESIZED) {
		rc = mdb_env_set_mapsize(x->env, 0);
		if (rc == 0)
			rc = mdb_txn_begin(x->env, NULL, 0, txn);
	}
	if (rc != 0) {
		*txn = NULL;
		return index_error(x, rc, "begin write", err);
	}
	return 0;
}

int
index_commit(struct index *x, MDB_txn **txn, struct err *err)
{
	int rc = mdb_txn_commit(*txn);

	*txn = NULL;
	if (rc == ENOSPC || rc == EDQUOT)
		give_up_reserve(x);
	return rc == 0 ? 0 : index_error(x, rc, "commit", err);
}

void
index_abort(MDB_txn **txn)
{
	if (*txn != NULL)
		mdb_txn_abort(*txn);
	*txn = NULL;
}

static MDB_val
val_of(struct view v)
{
	return (MDB_val){ v.len, (void *)(uintptr_t)v.p };
}

int
index_get(struct index *x, MDB_txn *txn, enum index_db db, struct view key, struct view *value,
    struct err *err)
{
	MDB_val k = val_of(key), v;
	int rc = mdb_get(txn, x->dbi[db], &k, &v);

	if (rc == MDB_NOTFOUND)
		return 1;
	if (rc != 0)
		return index_error(x, rc, db_names[db], err);
	*value = view_make(v.mv_data, v.mv_size);
	return 0;
}

int
index_put(struct index *x, MDB_txn *txn, enum index_db db, struct view key, struct view value,
    struct err *err)
{
	MDB_val k = val_of(key), v = val_of(value);
	int rc = mdb_put(txn, x->dbi[db], &k, &v, 0);

	return rc == 0 ? 0 : index_error(x, rc, db_names[db], err);
}

int
index_del(struct index *x, MDB_txn *txn, enum index_db db, struct view key, struct err *err)
{
	MDB_val k = val_of(key);
	int rc = mdb_del(txn, x->dbi[db], &k, NULL);

	return rc == 0 || rc == MDB_NOTFOUND ? 0 : index_error(x, rc, db_names[db], err);
}

/* --- cursors --------------------------------------------------------------------------------------------------------- */

int
cursor_open(struct index *x, MDB_txn *txn, enum index_db db, struct view prefix,
    struct index_cursor *c, struct err *err)
{
	int rc;

	*c = (struct index_cursor){ .x = x, .prefix_len = prefix.len };
	if (prefix.len > sizeof c->prefix)
		bug("index: prefix of %zu bytes", prefix.len);
	memcpy(c->prefix, prefix.p, prefix.len);
	rc = mdb_cursor_open(txn, x->dbi[db], &c->cursor);
	return rc == 0 ? 0 : index_error(x, rc, "cursor", err);
}

static int
cursor_step(struct index_cursor *c, MDB_val *k, MDB_cursor_op op, struct view *key,
    struct view *value, struct err *err)
{
	MDB_val v;
	int rc = mdb_cursor_get(c->cursor, k, &v, op);

	if (rc == MDB_NOTFOUND)
		return 1;
	if (rc != 0)
		return index_error(c->x, rc, "cursor", err);
	if (k->mv_size < c->prefix_len || memcmp(k->mv_data, c->prefix, c->prefix_len) != 0)
		return 1;
	*key = view_make(k->mv_data, k->mv_size);
	*value = view_make(v.mv_data, v.mv_size);
	return 0;
}

int
cursor_seek(
    struct index_cursor *c, struct view from, struct view *key, struct view *value, struct err *err)
{
	MDB_val k = val_of(from);

	return cursor_step(c, &k, MDB_SET_RANGE, key, value, err);
}

int
cursor_next(struct index_cursor *c, struct view *key, struct view *value, struct err *err)
{
	MDB_val k;

	return cursor_step(c, &k, MDB_NEXT, key, value, err);
}

int
cursor_delete(struct index_cursor *c, struct err *err)
{
	int rc = mdb_cursor_del(c->cursor, 0);

	return rc == 0 ? 0 : index_error(c->x, rc, "delete", err);
}

void
cursor_close(struct index_cursor *c)
{
	if (c->cursor != NULL)
		mdb_cursor_close(c->cursor);
	c->cursor = NULL;
}
