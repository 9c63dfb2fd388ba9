/* hash:FILE and btree:FILE - Berkeley DB files FILE.db, as postmap(1) makes and reads them.
 *
 * The handle has no environment: no region, no lock, no DB_CONFIG (with a NULL environment
 * Debian's 5.3.28 reads none, CVE-2017-10140).  A map is never written in place: see
 * table_build.  */
#include "common/table/table_driver.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/log/log.h"

enum { READ_CACHE = 1 << 20, BUILD_CACHE = 16 << 20 };
/* a mapped file that is cut short in place ends its reader by SIGBUS */
enum { OPEN_FLAGS = DB_RDONLY | DB_NOMMAP };

/* The first page's beginning, the same for every type (libdb's db_page.h, DBMETA). */
enum { META_MAGIC = 12, META_PAGE_SIZE = 20, META_LAST_PAGE = 32, META_BYTES = 36 };

static void
bdb_quiet(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env, (void)prefix, (void)text; /* the caller says it in its own words */
}

static int
bdb_failed(struct err *err, int code, const char *what, const char *path)
{
	return err_set(
	    err, code == ENOENT ? ERR_GONE : ERR_TEMP, "%s %s: %s", what, path, db_strerror(code));
}

static int
bdb_new(DB **db, unsigned cache, const char *path, struct err *err)
{
	int code = db_create(db, NULL, 0);

	if (code != 0)
		return bdb_failed(err, code, "db_create", path);
	(*db)->set_errcall(*db, bdb_quiet);
	code = (*db)->set_cachesize(*db, 0, cache, 1);
	if (code != 0) {
		(*db)->close(*db, 0);
		return bdb_failed(err, code, "set_cachesize", path);
	}
	return 0;
}

static uint32_t
meta_number(const unsigned char *meta, int at)
{
	uint32_t n;

	memcpy(&n, meta + at, sizeof n);
	return n;
}

/* Was all of it written?  Berkeley DB looks no further than the first page.  Of another byte order nothing is said. */
static bool
bdb_is_whole(int fd, off_t size, struct err *err)
{
	unsigned char meta[META_BYTES];
	uint32_t magic;

	if (size < META_BYTES || fd_pread_all(fd, meta, sizeof meta, 0, err) < 0)
		return false;
	magic = meta_number(meta, META_MAGIC);
	return (magic != DB_HASHMAGIC && magic != DB_BTREEMAGIC) ||
	       (uint64_t)size >= ((uint64_t)meta_number(meta, META_LAST_PAGE) + 1) *
				     meta_number(meta, META_PAGE_SIZE);
}

/* Berkeley DB would wait for ever on a FIFO and take a directory for a broken map. */
static int
bdb_check_file(const struct table_file *file, bool *is_whole, struct err *err)
{
	int fd = openat(file->dirfd, file->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC), r = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		r = err_sys(
		    err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open database %s", file->path);
	else if (!S_ISREG(st.st_mode))
		r = err_set(err, ERR_PERM, "open database %s: not a regular file", file->path);
	else
		*is_whole = bdb_is_whole(fd, st.st_size, err);
	fd_close(&fd);
	return r;
}

struct opening {
	DB *db;
	DBTYPE type;
};

static int
bdb_open_here(void *arg, const char *name)
{
	struct opening *o = arg;

	return o->db->open(o->db, NULL, name, NULL, o->type, OPEN_FLAGS, 0);
}

static int
bdb_open(
    const char *name, const struct table_file *file, DBTYPE type, void **state, struct err *err)
{
	bool is_whole = false;
	DB *db;
	int code = 0;

	if (bdb_check_file(file, &is_whole, err) < 0 ||
	    bdb_new(&db, READ_CACHE, file->path, err) < 0)
		return -1;
	if (is_whole)
		code = table_in_directory(file, bdb_open_here, &(struct opening){ db, type }, err);
	if (code == 0 && is_whole) {
		*state = db;
		return 0;
	}
	db->close(db, 0);
	if (code == -1) /* the directory */
		return -1;
	/* what is not in the file system's words is about what stands in the file */
	if (code > 0 && code != EINVAL)
		return bdb_failed(err, code, "open database", file->path);
	return err_set(err, ERR_TEMP, "damaged, or of another type; run: estafeta map build %s:%s",
	    type == DB_HASH ? "hash" : "btree", name);
}

static int
hash_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	return bdb_open(name, file, DB_HASH, state, err);
}

static int
btree_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	return bdb_open(name, file, DB_BTREE, state, err);
}

static void
bdb_close(void *state)
{
	DB *db = state;

	db->close(db, DB_NOSYNC);
}

static int
bdb_get(void *state, struct view key, struct buf *value, struct err *err)
{
	DB *db = state;
	DBT k = { .data = (void *)(uintptr_t)key.p, .size = (u_int32_t)key.len }, v = { 0 };
	int code = db->get(db, NULL, &k, &v, 0);

	if (code == DB_NOTFOUND)
		return 1;
	if (code != 0)
		return err_set(err, ERR_TEMP, "read database: %s", db_strerror(code));
	if (buf_append_view(value, table_drop_nul(view_make(v.data, v.size))) < 0)
		return err_set(err, ERR_LIMIT, "value too long");
	return 0;
}

static int
bdb_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	return table_get_stored(bdb_get, state, key, value, err);
}

static int
bdb_put(void *to, struct view key, struct view value, struct err *err)
{
	DB *db = to;
	DBT k = { .data = (void *)(uintptr_t)key.p, .size = (u_int32_t)key.len };
	DBT v = { .data = (void *)(uintptr_t)value.p, .size = (u_int32_t)value.len };
	int code = db->put(db, NULL, &k, &v, DB_NOOVERWRITE);

	if (code == DB_KEYEXIST)
		return 1;
	return code != 0 ? err_set(err, ERR_TEMP, "write database: %s", db_strerror(code)) : 0;
}

static int
bdb_build(const char *path, DBTYPE type, const char *source, struct view text,
    void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
	DB *db;
	int code, r;

	if (bdb_new(&db, BUILD_CACHE, path, err) < 0)
		return -1;
	code = db->open(db, NULL, path, NULL, type, DB_CREATE | DB_EXCL, 0600);
	if (code != 0) {
		db->close(db, 0);
		return bdb_failed(err, code, "create database", path);
	}
	r = table_fill(source, text, bdb_put, db, warn, arg, err);
	code = db->close(db, 0);
	if (r == 0 && code != 0)
		r = bdb_failed(err, code, "write database", path);
	return r;
}

static int
hash_build(const char *path, const char *source, struct view text,
    void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
	return bdb_build(path, DB_HASH, source, text, warn, arg, err);
}

static int
btree_build(const char *path, const char *source, struct view text,
    void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
	return bdb_build(path, DB_BTREE, source, text, warn, arg, err);
}

const struct table_driver table_hash = {
	.type = "hash",
	.text =
	    "Berkeley DB hash FILE.db, built from the text FILE by `estafeta map build`: large maps, the fastest lookup.",
	.suffix = ".db",
	.is_paged = true,
	.open = hash_open,
	.close = bdb_close,
	.lookup = bdb_lookup,
	.build = hash_build,
};

const struct table_driver table_btree = {
	.type = "btree",
	.text = "Berkeley DB tree FILE.db, built in the same way: large maps.",
	.suffix = ".db",
	.is_paged = true,
	.open = btree_open,
	.close = bdb_close,
	.lookup = bdb_lookup,
	.build = btree_build,
};
