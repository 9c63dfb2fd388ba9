#include "common/user/user_db.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/random.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	CACHE_BYTES = 8 << 20,
	LOG_FILE_BYTES = 2 << 20,
	LOG_BUFFER_BYTES = 256 << 10,
	PAGE_BYTES = 4096, /* one block: it is written whole or not at all */
	LOCK_POLL_MS = 50,
};

/* Sorts before every address and is none. */
static const char secret_key[] = "\1secret";

struct user_db {
	DB_ENV *env;
	DB *db;
	int lock_fd;
	bool is_dirty;
	bool is_broken;
};

static void
quiet(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env, (void)prefix, (void)text; /* the caller says it in its own words */
}

static int
db_failed(struct err *err, int code, const char *what)
{
	return err_set(err, ERR_TEMP, "user database: %s: %s", what, db_strerror(code));
}

/* db_failed of an open database: after DB_RUNRECOVERY every call fails until it is opened anew. */
static int
use_failed(struct user_db *db, struct err *err, int code, const char *what)
{
	db->is_broken |= code == DB_RUNRECOVERY;
	return db_failed(err, code, what);
}

static int
is_open(const struct user_db *db, struct err *err)
{
	return db != NULL ? 0 : err_set(err, ERR_TEMP, "user database: it cannot be opened");
}

int
user_db_paths(const char *spec, char *file, char *env, size_t size, struct err *err)
{
	const char *path = strncmp(spec, "btree:", 6) == 0 ? spec + 6 : NULL;

	if (path == NULL || path[0] != '/')
		return err_set(
		    err, ERR_SYNTAX, "user_database: expected btree:/absolute/path, not %s", spec);
	if (strlen(path) + sizeof ".env" > size)
		return err_set(err, ERR_LIMIT, "user_database: path too long");
	snprintf(file, size, "%s.db", path);
	snprintf(env, size, "%s.env", path);
	return 0;
}

/* --- making it -------------------------------------------------------------------------------- */

static int
put_secret(DB *db, struct err *err)
{
	uint8_t secret[USER_SECRET_BYTES];
	DBT k = { .data = (void *)(uintptr_t)secret_key, .size = sizeof secret_key - 1 };
	DBT v = { .data = secret, .size = sizeof secret };
	int code;

	random_bytes(secret, sizeof secret);
	code = db->put(db, NULL, &k, &v, 0);
	mem_wipe(secret, sizeof secret);
	return code == 0 ? 0 : db_failed(err, code, "write");
}

/* A new database without environment: such a file can be taken into one later. */
static int
create_file(const char *path, struct err *err)
{
	DB *db;
	int code = db_create(&db, NULL, 0), r;

	if (code != 0)
		return db_failed(err, code, "create");
	db->set_errcall(db, quiet);
	code = db->set_pagesize(db, PAGE_BYTES);
	if (code == 0)
		code = db->set_flags(db, DB_CHKSUM);
	if (code == 0)
		code = db->open(db, NULL, path, NULL, DB_BTREE, DB_CREATE | DB_EXCL, 0600);
	r = code == 0 ? put_secret(db, err) : db_failed(err, code, path);
	code = db->close(db, 0);
	if (r == 0 && code != 0)
		r = db_failed(err, code, path);
	return r;
}

static int
hand_over(int fd, uid_t uid, gid_t gid, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "fstat %s", path);
	if ((st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
		return err_sys(err, ERR_PERM, "chown %s", path);
	return 0;
}

/* Built under another name, then renamed: a database is whole or absent. */
static int
make_file(const char *file, uid_t uid, gid_t gid, struct err *err)
{
	char *tmp = x_asprintf("%s.%08x.tmp", file, random_below(UINT32_MAX));
	char *copy = x_strdup(file);
	int fd = -1, dirfd = -1, r = create_file(tmp, err);

	if (r < 0)
		goto out;
	r = -1;
	if ((fd = open(tmp, O_RDWR | O_CLOEXEC | O_NOFOLLOW)) < 0)
		err_sys(err, ERR_TEMP, "open %s", tmp);
	else if (hand_over(fd, uid, gid, tmp, err) < 0)
		r = -1;
	else if (fsync(fd) < 0)
		err_sys(err, ERR_TEMP, "fsync %s", tmp);
	else if ((dirfd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		err_sys(err, ERR_TEMP, "open the directory of %s", file);
	else if (renameat2(AT_FDCWD, tmp, AT_FDCWD, file, RENAME_NOREPLACE) < 0 && errno != EEXIST)
		err_sys(err, ERR_TEMP, "rename %s", tmp);
	else if (fsync(dirfd) < 0)
		err_sys(err, ERR_TEMP, "fsync the directory of %s", file);
	else
		r = 0;
out:
	unlink(tmp); /* gone already when all went well */
	fd_close(&fd);
	fd_close(&dirfd);
	free(tmp);
	free(copy);
	return r;
}

/* Accounts may be made before the suite's first start has made its directories. */
static int
make_parent(const char *env, struct err *err)
{
	char *copy = x_strdup(env);
	const char *parent = dirname(copy);
	int r = 0;

	if (mkdir(parent, 0755) < 0 && errno != EEXIST)
		r = err_sys(err, ERR_TEMP, "mkdir %s", parent);
	free(copy);
	return r;
}

static int
make_env(const char *env, uid_t uid, gid_t gid, struct err *err)
{
	int fd, r = 0;

	if (make_parent(env, err) < 0)
		return -1;
	if (mkdir(env, 0700) < 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir %s", env);
	fd = open(env, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open %s", env);
	r = hand_over(fd, uid, gid, env, err);
	if (r == 0 && fsync(fd) < 0)
		r = err_sys(err, ERR_TEMP, "fsync %s", env);
	fd_close(&fd);
	return r;
}

int
user_db_prepare(const char *spec, uid_t uid, gid_t gid, struct err *err)
{
	char file[PATH_MAX], env[PATH_MAX];
	struct stat st;

	if (user_db_paths(spec, file, env, sizeof file, err) < 0 ||
	    make_env(env, uid, gid, err) < 0)
		return -1;
	if (lstat(file, &st) == 0)
		return S_ISREG(st.st_mode) ? 0
					   : err_set(err, ERR_PERM, "%s: not a regular file", file);
	return make_file(file, uid, gid, err);
}

/* --- opening ---------------------------------------------------------------------------------- */

int
user_db_enter(const char *spec, struct err *err)
{
	char file[PATH_MAX], env[PATH_MAX];
	const char *parent;

	if (user_db_paths(spec, file, env, sizeof file, err) < 0)
		return -1;
	parent = dirname(file);
	if (chdir(parent) < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "chdir %s", parent);
	return 0;
}

/* As the working directory's entry; path is absolute. */
static const char *
name_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

static int
take_lock(struct user_db *db, const char *env, int wait_ms, struct err *err)
{
	int64_t deadline = clock_mono_ms() + wait_ms;
	int dirfd = open(name_of(env), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dirfd < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s", env);
	if (faccessat(dirfd, "DB_CONFIG", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		close(dirfd);
		return err_set(err, ERR_PERM, "%s/DB_CONFIG: not wanted here, remove it", env);
	}
	db->lock_fd = openat(dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	close(dirfd);
	if (db->lock_fd < 0)
		return err_sys(err, ERR_TEMP, "open %s/lock", env);
	while (flock(db->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(err, ERR_TEMP, "lock %s", env);
		if (clock_mono_ms() >= deadline)
			return err_set(
			    err, ERR_LIMIT, "user database %s is in use by another process", env);
		poll(NULL, 0, LOCK_POLL_MS);
	}
	return 0;
}

static int
open_env(struct user_db *db, const char *env, struct err *err)
{
	int code = db_env_create(&db->env, 0);

	if (code != 0)
		return db_failed(err, code, "create environment");
	db->env->set_errcall(db->env, quiet);
	code = db->env->set_data_dir(db->env, "..");
	if (code == 0)
		code = db->env->set_cachesize(db->env, 0, CACHE_BYTES, 1);
	if (code == 0)
		code = db->env->set_lg_bsize(db->env, LOG_BUFFER_BYTES);
	if (code == 0)
		code = db->env->set_lg_max(db->env, LOG_FILE_BYTES);
	if (code == 0)
		code = db->env->log_set_config(db->env, DB_LOG_AUTO_REMOVE, 1);
	if (code == 0)
		code = db->env->open(db->env, name_of(env),
		    DB_CREATE | DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG | DB_PRIVATE | DB_RECOVER,
		    0600);
	return code == 0 ? 0 : db_failed(err, code, "recover");
}

static int
open_file(struct user_db *db, const char *file, struct err *err)
{
	int code = db_create(&db->db, db->env, 0);

	if (code != 0)
		return db_failed(err, code, "create handle");
	code = db->db->open(db->db, NULL, name_of(file), NULL, DB_BTREE, DB_AUTO_COMMIT, 0);
	if (code == ENOENT)
		return err_set(err, ERR_GONE, "user database %s does not exist", file);
	return code == 0 ? 0 : db_failed(err, code, file);
}

int
user_db_open(const char *spec, int wait_ms, struct user_db **out, struct err *err)
{
	char file[PATH_MAX], env[PATH_MAX];
	struct user_db *db;

	*out = NULL;
	if (user_db_paths(spec, file, env, sizeof file, err) < 0)
		return -1;
	db = x_calloc(1, sizeof *db);
	db->lock_fd = -1;
	if (take_lock(db, env, wait_ms, err) < 0 || open_env(db, env, err) < 0 ||
	    open_file(db, file, err) < 0) {
		user_db_close(db);
		return -1;
	}
	*out = db;
	return 0;
}

void
user_db_close(struct user_db *db)
{
	if (db == NULL)
		return;
	if (db->db != NULL)
		db->db->close(db->db, 0);
	if (db->env != NULL && db->is_broken) {
		db->env->close(db->env, 0);
	} else if (db->env != NULL) {
		/* what is not in the file yet is in the log: a failure here costs the next open
		 * a longer recovery */
		db->env->txn_checkpoint(db->env, 0, 0, 0);
		db->env->close(db->env, 0);
	}
	fd_close(&db->lock_fd);
	free(db);
}

/* --- using it --------------------------------------------------------------------------------- */

static DBT
key_of(const char *address)
{
	return (DBT){ .data = (void *)(uintptr_t)address, .size = (u_int32_t)strlen(address) };
}

static bool
is_account_key(const char *address)
{
	return address[0] != '\0' && address[0] != secret_key[0];
}

int
user_db_get(struct user_db *db, const char *address, struct user_record *out, struct err *err)
{
	DBT k = key_of(address), v = { 0 };
	struct err why;
	int code;

	if (is_open(db, err) < 0)
		return -1;
	if (!is_account_key(address))
		return 1;
	code = db->db->get(db->db, NULL, &k, &v, 0);
	if (code == DB_NOTFOUND)
		return 1;
	if (code != 0)
		return use_failed(db, err, code, "read");
	if (user_record_decode(view_make(v.data, v.size), out, &why) == 0)
		return 0;
	/* the account is there: its mail and its logins wait for the admin */
	return err_set(err, ERR_TEMP, "%s: %s", address, why.text);
}

static int
exists(struct user_db *db, DBT *key, struct err *err)
{
	int code = db->db->exists(db->db, NULL, key, 0);

	if (code == DB_NOTFOUND)
		return 0;
	return code == 0 ? 1 : use_failed(db, err, code, "read");
}

int
user_db_put(struct user_db *db, const char *address, const struct user_record *r,
    enum user_db_put how, struct err *err)
{
	DBT k = key_of(address), v = { 0 };
	struct buf record;
	int code, found, done = -1;

	if (is_open(db, err) < 0)
		return -1;
	if (!is_account_key(address))
		return err_set(err, ERR_SYNTAX, "not an address for an account");
	found = exists(db, &k, err);
	if (found < 0 || found == (how == USER_DB_NEW))
		return found < 0 ? -1 : 1;
	buf_init(&record, USER_RECORD_MAX);
	if (user_record_encode(r, &record, err) == 0) {
		v.data = record.p;
		v.size = (u_int32_t)record.len;
		/* a transaction of its own: committed, with its log record synced, when it
		 * returns */
		code = db->db->put(db->db, NULL, &k, &v, 0);
		done = code == 0 ? 0 : use_failed(db, err, code, "write");
		db->is_dirty = true;
	}
	buf_wipe(&record);
	return done;
}

int
user_db_del(struct user_db *db, const char *address, struct err *err)
{
	DBT k = key_of(address);
	int code;

	if (is_open(db, err) < 0)
		return -1;
	if (!is_account_key(address))
		return 1;
	code = db->db->del(db->db, NULL, &k, 0);
	if (code == DB_NOTFOUND)
		return 1;
	db->is_dirty = true;
	return code == 0 ? 0 : use_failed(db, err, code, "delete");
}

/* address from a key; false for what is none (the secret, a key of some other program). */
static bool
address_of(const DBT *k, char out[USER_ADDRESS_MAX + 1])
{
	const char *p = k->data;

	if (k->size == 0 || k->size > USER_ADDRESS_MAX || p[0] == secret_key[0] ||
	    memchr(p, '\0', k->size) != NULL)
		return false;
	memcpy(out, p, k->size);
	out[k->size] = '\0';
	return true;
}

int
user_db_list(struct user_db *db, const char *after, bool (*fn)(void *arg, const char *address),
    void *arg, struct err *err)
{
	DBT k = key_of(after), v = { .flags = DB_DBT_PARTIAL };
	char address[USER_ADDRESS_MAX + 1];
	DBC *cursor;
	int code;

	if (is_open(db, err) < 0)
		return -1;
	code = db->db->cursor(db->db, NULL, &cursor, 0);
	if (code != 0)
		return use_failed(db, err, code, "read");
	code = cursor->get(cursor, &k, &v, after[0] == '\0' ? DB_FIRST : DB_SET_RANGE);
	while (code == 0) {
		if (address_of(&k, address) && strcmp(address, after) != 0 && !fn(arg, address))
			break;
		code = cursor->get(cursor, &k, &v, DB_NEXT);
	}
	cursor->close(cursor);
	return code == 0 || code == DB_NOTFOUND ? 0 : use_failed(db, err, code, "read");
}

int
user_db_secret(struct user_db *db, uint8_t out[USER_SECRET_BYTES], struct err *err)
{
	DBT k = { .data = (void *)(uintptr_t)secret_key, .size = sizeof secret_key - 1 }, v = { 0 };
	int code;

	if (is_open(db, err) < 0)
		return -1;
	code = db->db->get(db->db, NULL, &k, &v, 0);
	if (code != 0)
		return use_failed(db, err, code, "read the secret");
	if (v.size != USER_SECRET_BYTES)
		return err_set(err, ERR_SYNTAX, "user database: the secret is damaged");
	memcpy(out, v.data, USER_SECRET_BYTES);
	return 0;
}

int
user_db_checkpoint(struct user_db *db, struct err *err)
{
	int code;

	if (db == NULL || !db->is_dirty)
		return 0;
	code = db->env->txn_checkpoint(db->env, 0, 0, 0);
	if (code != 0)
		return use_failed(db, err, code, "checkpoint");
	db->is_dirty = false;
	return 0;
}

bool
user_db_is_broken(const struct user_db *db)
{
	return db != NULL && db->is_broken;
}
