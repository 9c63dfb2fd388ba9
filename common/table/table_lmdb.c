/* lmdb:FILE - LMDB file FILE.lmdb, one database without a name, as postmap(1) makes and reads it: read-only and without
 * LMDB's own lock file.  Postfix writes into it while it is in use; each lookup sees a whole version. */
#include "common/table/table_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/base/mem.h"

enum { MAP_MIN = 16 << 20 };

struct lmdb {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn; /* a build's; NULL: reading */
};

static int
lmdb_failed(struct err *err, int code, const char *what)
{
	return err_set(
	    err, code == ENOENT ? ERR_GONE : ERR_TEMP, "%s: %s", what, mdb_strerror(code));
}

static int
lmdb_open_here(void *arg, const char *name)
{
	struct lmdb *m = arg;

	return mdb_env_open(m->env, name, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0);
}

/* LMDB would wait for ever on a FIFO.  The file's size, or -1. */
static off_t
lmdb_file_size(const struct table_file *file, struct err *err)
{
	struct stat st;

	if (fstatat(file->dirfd, file->name, &st, 0) < 0)
		return err_sys(
		    err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open database %s", file->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_PERM, "%s: not a regular file", file->path);
	return st.st_size;
}

/* It is mapped: a page behind its end would end the process by SIGBUS. */
static bool
lmdb_is_whole(const struct lmdb *m, off_t size)
{
	MDB_envinfo info;
	MDB_stat st;

	return mdb_env_info(m->env, &info) == 0 && mdb_env_stat(m->env, &st) == 0 &&
	       ((uint64_t)info.me_last_pgno + 1) * st.ms_psize <= (uint64_t)size;
}

static void
lmdb_close(void *state)
{
	struct lmdb *m = state;

	mdb_txn_abort(m->txn);
	mdb_env_close(m->env);
	free(m);
}

static int
lmdb_begin(struct lmdb *m, struct err *err)
{
	int code = mdb_txn_begin(m->env, NULL, MDB_RDONLY, &m->txn);

	return code != 0 ? lmdb_failed(err, code, "read database") : 0;
}

static void
lmdb_end(struct lmdb *m)
{
	mdb_txn_abort(m->txn);
	m->txn = NULL;
}

static int
lmdb_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	struct lmdb *m;
	off_t size = lmdb_file_size(file, err);
	int code;

	if (size < 0)
		return -1;
	m = x_calloc(1, sizeof *m);
	code = mdb_env_create(&m->env);
	if (code == 0)
		code = table_in_directory(file, lmdb_open_here, m, err);
	if (code == 0 && !lmdb_is_whole(m, size))
		code = MDB_CORRUPTED;
	if (code == 0)
		code = lmdb_begin(m, err);
	if (code == 0 && (code = mdb_dbi_open(m->txn, NULL, 0, &m->dbi)) == 0) {
		lmdb_end(m);
		*state = m;
		return 0;
	}
	lmdb_close(m);
	if (code == -1)
		return -1;
	if (code > 0 && code != EINVAL && code != ENOENT) /* ENOENT: it is empty */
		return lmdb_failed(err, code, file->path);
	return err_set(
	    err, ERR_TEMP, "damaged, or of another type; run: estafeta map build lmdb:%s", name);
}

static int
lmdb_get(void *state, struct view key, struct buf *value, struct err *err)
{
	const struct lmdb *m = state;
	MDB_val k = { key.len, (void *)(uintptr_t)key.p }, v;
	int code = key.len > (size_t)mdb_env_get_maxkeysize(m->env)
		       ? MDB_NOTFOUND
		       : mdb_get(m->txn, m->dbi, &k, &v);

	if (code == MDB_NOTFOUND)
		return 1;
	if (code != 0)
		return lmdb_failed(err, code, "read database");
	if (buf_append_view(value, table_drop_nul(view_make(v.mv_data, v.mv_size))) < 0)
		return err_set(err, ERR_LIMIT, "value too long");
	return 0;
}

static int
lmdb_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	struct lmdb *m = state;
	int r = lmdb_begin(m, err);

	if (r == 0)
		r = table_get_stored(lmdb_get, m, key, value, err);
	lmdb_end(m);
	return r;
}

static int
lmdb_put(void *to, struct view key, struct view value, struct err *err)
{
	struct lmdb *m = to;
	MDB_val k = { key.len, (void *)(uintptr_t)key.p };
	MDB_val v = { value.len, (void *)(uintptr_t)value.p };
	int code;

	if (key.len > (size_t)mdb_env_get_maxkeysize(m->env))
		return err_set(err, ERR_LIMIT, "key longer than the %d bytes that lmdb takes",
		    mdb_env_get_maxkeysize(m->env) - 1);
	code = mdb_put(m->txn, m->dbi, &k, &v, MDB_NOOVERWRITE);
	if (code == MDB_KEYEXIST)
		return 1;
	return code != 0 ? lmdb_failed(err, code, "write database") : 0;
}

/* Each entry costs at most its own size, rounded up to a page, and its share of the tree. */
static size_t
map_size(struct view text)
{
	size_t lines = 1;

	for (struct view rest = text; view_cut(rest, '\n', NULL, &rest);)
		lines++;
	return MAP_MIN + 8 * text.len + 64 * lines;
}

static int
lmdb_build(const char *path, const char *source, struct view text,
    void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
	struct lmdb *m = x_calloc(1, sizeof *m);
	int code = mdb_env_create(&m->env), r;

	if (code == 0)
		code = mdb_env_set_mapsize(m->env, map_size(text));
	if (code == 0)
		code = mdb_env_open(m->env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
	if (code == 0)
		code = mdb_txn_begin(m->env, NULL, 0, &m->txn);
	if (code == 0)
		code = mdb_dbi_open(m->txn, NULL, 0, &m->dbi);
	r = code != 0 ? lmdb_failed(err, code, "create database")
		      : table_fill(source, text, lmdb_put, m, warn, arg, err);
	if (r == 0) {
		code = mdb_txn_commit(m->txn);
		m->txn = NULL;
		r = code != 0 ? lmdb_failed(err, code, "write database") : 0;
	}
	lmdb_close(m);
	return r;
}

const struct table_driver table_lmdb = {
	.type = "lmdb",
	.text = "LMDB file FILE.lmdb, built in the same way: large maps; keys of up to 510 bytes.",
	.suffix = ".lmdb",
	.open = lmdb_open,
	.close = lmdb_close,
	.lookup = lmdb_lookup,
	.build = lmdb_build,
};
