/* COPY of several messages and MULTIAPPEND are all or nothing (RFC 3501 6.4.7, RFC 3502), also when the process
 * is killed between two of their renames: the names that are about to appear in cur/ are noted first, and
 * whoever locks the folder next removes them. The note goes in the transaction that makes them messages. */
#include "common/store/store_internal.h"
#include "common/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static struct view
undo_key(const struct folder *f, unsigned char key[8])
{
	memcpy(key, "undo", 4);
	key_u32(key + 4, f->box.id);
	return view_make(key, 8);
}

int
undo_write(struct folder *f, struct view names, struct err *err)
{
	struct index *x = &f->store->index;
	unsigned char key[8];
	MDB_txn *txn;
	int r;

	if (index_write(x, names.len + 65536, &txn, err) < 0)
		return -1;
	r = index_put(x, txn, DB_META, undo_key(f, key), names, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

int
undo_forget(struct folder *f, MDB_txn *txn, struct err *err)
{
	unsigned char key[8];

	return index_del(&f->store->index, txn, DB_META, undo_key(f, key), err);
}

static void
remove_files(struct folder *f, struct view names)
{
	char path[MAILDIR_NAME_MAX + 8];

	while (names.len > 0) {
		struct view name;

		view_cut(names, '\0', &name, &names);
		if (name.len == 0 || name.len > MAILDIR_NAME_MAX ||
		    memchr(name.p, '/', name.len) != NULL)
			continue;
		snprintf(path, sizeof path, "cur/%.*s", VIEW_ARG(name));
		if (unlinkat(f->dir_fd, path, 0) < 0 && errno != ENOENT)
			log_warn("%s: cannot remove %s: %s", f->disk, path, strerror(errno));
	}
}

int
undo_run(struct folder *f, struct err *err)
{
	struct index *x = &f->store->index;
	unsigned char key[8];
	struct view value;
	struct buf names;
	MDB_txn *txn;
	int r;

	if (index_read(x, &txn, err) < 0)
		return -1;
	buf_init(&names, TEXT_MAX);
	r = index_get(x, txn, DB_META, undo_key(f, key), &value, err);
	if (r == 0 && buf_append_view(&names, value) < 0)
		r = err_set(err, ERR_TEMP, "no memory for an undo record");
	index_read_end(x);
	if (r == 0) {
		log_warn("%s: taking back a copy that was cut short", f->disk);
		remove_files(f, buf_view(&names));
		f->must_scan = true;
		r = index_write(x, 0, &txn, err);
		if (r == 0) {
			r = undo_forget(f, txn, err);
			if (r == 0)
				r = index_commit(x, &txn, err);
			index_abort(&txn);
		}
	}
	buf_clear(&names);
	return r < 0 ? -1 : 0;
}
