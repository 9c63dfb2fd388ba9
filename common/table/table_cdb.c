/* cdb:FILE - D. J. Bernstein's constant database FILE.cdb.  Not mapped: a file that is cut short in place would end its
 * reader by SIGBUS. */
#include "common/table/table_driver.h"

#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/base/mem.h"

/* 256 hash tables: where they are, and how many slots of 8 bytes they have */
enum { CDB_TABLES = 256, CDB_HEADER = CDB_TABLES * 8, CDB_SLOT = 8 };

/* Does all that the header speaks of lie in the file? */
static bool
cdb_is_whole(int fd, off_t size)
{
	unsigned char header[CDB_HEADER];

	if (size < CDB_HEADER || fd_pread_all(fd, header, sizeof header, 0, NULL) < 0)
		return false;
	for (size_t i = 0; i < CDB_TABLES; i++) {
		uint64_t at = cdb_unpack(header + 8 * i), slots = cdb_unpack(header + 8 * i + 4);

		if (at < CDB_HEADER || at + slots * CDB_SLOT > (uint64_t)size)
			return false;
	}
	return true;
}

static int
cdb_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	int fd = openat(file->dirfd, file->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC), *kept;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open database %s", file->path);
		fd_close(&fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode) || !cdb_is_whole(fd, st.st_size)) {
		fd_close(&fd);
		return S_ISREG(st.st_mode)
			   ? err_set(err, ERR_TEMP,
				 "damaged, or of another type; run: estafeta map build cdb:%s",
				 name)
			   : err_set(
				 err, ERR_PERM, "open database %s: not a regular file", file->path);
	}
	kept = x_malloc(sizeof *kept);
	*kept = fd;
	*state = kept;
	return 0;
}

static void
cdb_close(void *state)
{
	fd_close(state);
	free(state);
}

static int
cdb_get_value(void *state, struct view key, struct buf *value, struct err *err)
{
	int fd = *(int *)state, r;
	unsigned len = 0;
	char *to;

	errno = 0;
	r = cdb_seek(fd, key.p, (unsigned)key.len, &len);
	if (r == 0)
		return 1;
	if (r < 0)
		return err_sys(err, ERR_TEMP, "read database");
	if (len > TABLE_VALUE_MAX || (to = buf_reserve(value, len)) == NULL)
		return err_set(err, ERR_LIMIT, "value too long");
	if (cdb_bread(fd, to, (int)len) < 0)
		return err_set(err, ERR_TEMP, "read database: it ends too early");
	value->len += table_drop_nul(view_make(to, len)).len;
	return 0;
}

static int
cdb_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	return table_get_stored(cdb_get_value, state, key, value, err);
}

static int
cdb_put(void *to, struct view key, struct view value, struct err *err)
{
	int r = cdb_make_put(
	    to, key.p, (unsigned)key.len, value.p, (unsigned)value.len, CDB_PUT_INSERT);

	return r < 0 ? err_sys(err, ERR_TEMP, "write database") : r > 0;
}

static int
cdb_build(const char *path, const char *source, struct view text,
    void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r;
	struct cdb_make make;

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "create database %s", path);
	cdb_make_start(&make, fd);
	r = table_fill(source, text, cdb_put, &make, warn, arg, err);
	errno = 0;
	if (cdb_make_finish(&make) < 0 && r == 0) /* frees what it has in any case */
		r = err_sys(err, ERR_TEMP, "write database %s", path);
	fd_close(&fd);
	return r;
}

const struct table_driver table_cdb = {
	.type = "cdb",
	.text = "Constant database FILE.cdb, built in the same way: large maps in a small file.",
	.suffix = ".cdb",
	.is_paged = true,
	.open = cdb_open,
	.close = cdb_close,
	.lookup = cdb_lookup,
	.build = cdb_build,
};
