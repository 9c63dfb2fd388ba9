#include "common/store/store_internal.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct file_id
identity(const struct stat *st)
{
	return (struct file_id){ st->st_ino, st->st_size, mtime_ns(st) };
}

bool
file_id_equal(const struct file_id *a, const struct file_id *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

int
text_identify(int dir_fd, const char *name, struct file_id *id, struct err *err)
{
	struct stat st;

	*id = (struct file_id){ 0 };
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, ERR_TEMP, "stat %s", name);
	*id = identity(&st);
	return 0;
}

/* Something of that name that is no file (a link, a FIFO) counts as missing: the next write replaces it. */
int
text_load(int dir_fd, const char *name, struct buf *out, struct file_id *id, struct err *err)
{
	int fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	char *room;
	int r = -1;

	*id = (struct file_id){ 0 };
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO
			   ? 1
			   : err_sys(err, ERR_TEMP, "open %s", name);
	if (fstat(fd, &st) < 0)
		err_sys(err, ERR_TEMP, "fstat %s", name);
	else if (!S_ISREG(st.st_mode))
		r = 1;
	else if (st.st_size > (off_t)out->max ||
		 (room = buf_reserve(out, (size_t)st.st_size)) == NULL)
		err_set(err, ERR_LIMIT, "%s is too large", name);
	else if (fd_pread_all(fd, room, (size_t)st.st_size, 0, err) == 0)
		r = 0;
	if (r == 0) {
		out->len += (size_t)st.st_size;
		*id = identity(&st);
	}
	fd_close(&fd);
	return r;
}

int
text_replace(int dir_fd, const char *name, struct view content, struct file_id *id, struct err *err)
{
	char tmp[64];
	struct stat st;
	int fd;

	snprintf(tmp, sizeof tmp, "%s.estafeta-new", name);
	unlinkat(dir_fd, tmp, 0);
	fd = open_beneath(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "create %s", tmp);
	if (fd_write_all(fd, content.p, content.len, err) < 0)
		goto fail;
	if (fsync(fd) < 0 || fstat(fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "fsync %s", tmp);
		goto fail;
	}
	if (renameat(dir_fd, tmp, dir_fd, name) < 0) {
		err_sys(err, ERR_TEMP, "rename %s", tmp);
		goto fail;
	}
	fd_close(&fd);
	*id = identity(&st);
	/* What is appended and synced later must not vanish with a rename that was never written. */
	if (fsync(dir_fd) < 0)
		return err_sys(err, ERR_TEMP, "fsync directory of %s", name);
	return 0;
fail:
	fd_close(&fd);
	unlinkat(dir_fd, tmp, 0);
	return -1;
}

static int
append_to(
    int fd, const char *name, struct view content, bool sync, struct file_id *id, struct err *err)
{
	struct stat st;
	char last = '\n';
	off_t end;

	if (fstat(fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "fstat %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_TEMP, "%s is not a file", name);
	end = st.st_size;
	if (end > 0 && fd_pread_all(fd, &last, 1, end - 1, err) < 0)
		return -1;
	if (last != '\n' && fd_pwrite_all(fd, "\n", 1, end++, err) < 0)
		return -1;
	if (fd_pwrite_all(fd, content.p, content.len, end, err) < 0) {
		/* Not half a record: what was there before stays readable. */
		if (ftruncate(fd, st.st_size) < 0)
			err_prefix(err, "and cannot be cut back");
		return -1;
	}
	if (sync && fdatasync(fd) < 0)
		return err_sys(err, ERR_TEMP, "fdatasync %s", name);
	if (fstat(fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "fstat %s", name);
	*id = identity(&st);
	return 0;
}

int
text_append(int dir_fd, const char *name, struct view content, bool sync, struct file_id *id,
    struct err *err)
{
	int fd = open_beneath(dir_fd, name, O_RDWR | O_CREAT | O_NONBLOCK, 0600);
	int r;

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open %s", name);
	r = append_to(fd, name, content, sync, id, err);
	fd_close(&fd);
	return r;
}

/* --- dovecot-uidlist -------------------------------------------------------------------------------------------- */

/* Dovecot breaks a lock that is old, so ours must look new each time. */
static int
touch_dotlock(struct folder *f, struct err *err)
{
	int fd;

	if (utimensat(f->dir_fd, UIDLIST_DOTLOCK, NULL, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	fd = open_beneath(f->dir_fd, UIDLIST_DOTLOCK, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "create %s", UIDLIST_DOTLOCK);
	fd_close(&fd);
	return 0;
}

/* A dotlock that nobody holds any more: one too old, or our own file while we hold the folder's lock: that was
 * left by a process of this suite that was killed. */
static bool
is_dead_dotlock(struct folder *f)
{
	struct stat lock, ours;

	if (fstatat(f->dir_fd, UIDLIST_LOCK, &lock, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (fstatat(f->dir_fd, UIDLIST_DOTLOCK, &ours, AT_SYMLINK_NOFOLLOW) == 0 &&
	    ours.st_ino == lock.st_ino)
		return true;
	return wall_ns() - mtime_ns(&lock) > DOTLOCK_STALE_MS * INT64_C(1000000);
}

/* With the folder locked.  The lock is a second name of a file of ours, so that it can be told from Dovecot's. */
int
uidlist_lock(struct folder *f, struct err *err)
{
	int64_t deadline = clock_mono_ms() + LOCK_WAIT_MS;
	struct timespec pause = { .tv_nsec = 2000000 };

	if (touch_dotlock(f, err) < 0)
		return -1;
	while (linkat(f->dir_fd, UIDLIST_DOTLOCK, f->dir_fd, UIDLIST_LOCK, 0) < 0) {
		if (errno != EEXIST)
			return err_sys(err, ERR_TEMP, "create %s", UIDLIST_LOCK);
		if (is_dead_dotlock(f)) {
			unlinkat(f->dir_fd, UIDLIST_LOCK, 0);
			continue;
		}
		if (clock_mono_ms() > deadline)
			return err_set(
			    err, ERR_TEMP, "%s is held by another program", UIDLIST_LOCK);
		nanosleep(&pause, NULL);
	}
	return 0;
}

void
uidlist_unlock(struct folder *f)
{
	unlinkat(f->dir_fd, UIDLIST_LOCK, 0);
}

/* The lock of our suite is held; the dotlock keeps Dovecot out.  If it wrote while we did not look, UIDs may
 * have been given twice: then nothing is written and the caller's next try sees what it did. */
int
uidlist_append(struct folder *f, struct view records, uint32_t lines, struct err *err)
{
	struct file_id id;
	int r = -1;

	if (uidlist_lock(f, err) < 0)
		return -1;
	if (text_identify(f->dir_fd, UIDLIST_FILE, &id, err) == 0) {
		if (!file_id_equal(&id, &f->box.r.uidlist))
			err_set(err, ERR_TEMP, "%s was changed by another program", UIDLIST_FILE);
		else
			r = text_append(f->dir_fd, UIDLIST_FILE, records, true, &id, err);
	}
	uidlist_unlock(f);
	if (r == 0) {
		f->box.r.uidlist = id;
		f->box.r.uidlist_lines += lines;
	}
	return r;
}

static int
append_record(
    struct folder *f, MDB_txn *txn, const struct message *m, struct buf *out, struct err *err)
{
	unsigned char key[MESSAGE_KEY];
	struct view fields = { "", 0 };

	index_message_key(key, f->box.id, m->uid);
	if (index_get(&f->store->index, txn, DB_EXTRAS, view_make(key, sizeof key), &fields, err) <
	    0)
		return -1;
	if (uidlist_format_record(out, m->uid, fields, message_base(m)) < 0)
		return err_set(err, ERR_LIMIT, "%s would be too large", UIDLIST_FILE);
	return 0;
}

static int
compose_uidlist(
    struct folder *f, MDB_txn *txn, struct view others, struct buf *out, struct err *err)
{
	struct index *x = &f->store->index;
	unsigned char prefix[BOX_KEY];
	struct index_cursor c;
	struct message m;
	struct view key, value;
	char guid[33];
	int r;

	hex_encode(guid, f->box.r.guid, sizeof f->box.r.guid);
	uidlist_format_header(out, f->box.r.uidvalidity, f->box.r.uidnext, guid, others);
	key_u32(prefix, f->box.id);
	if (cursor_open(x, txn, DB_MESSAGES, view_make(prefix, sizeof prefix), &c, err) < 0)
		return -1;
	for (r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &value, err); r == 0;
	     r = cursor_next(&c, &key, &value, err)) {
		if (key.len != MESSAGE_KEY ||
		    index_message_decode(f->box.id, key_get_u32((const unsigned char *)key.p + 4),
			value, &m, err) < 0) {
			x->is_damaged = true;
			r = -1;
			break;
		}
		if (append_record(f, txn, &m, out, err) < 0) {
			r = -1;
			break;
		}
	}
	cursor_close(&c);
	return r < 0 ? -1 : 0;
}

/* Header fields that we do not know are another program's and stay. */
static void
load_other_fields(struct folder *f, struct buf *others)
{
	struct file_id id;
	struct view line;
	struct buf text;

	buf_init(&text, TEXT_MAX);
	if (text_load(f->dir_fd, UIDLIST_FILE, &text, &id, NULL) == 0 &&
	    view_cut(buf_view(&text), '\n', &line, NULL))
		uidlist_other_fields(line, others);
	buf_clear(&text);
}

int
uidlist_rewrite(struct folder *f, struct err *err)
{
	struct index *x = &f->store->index;
	struct buf text, others;
	struct file_id id;
	MDB_txn *txn;
	int r;

	buf_init(&text, TEXT_MAX);
	buf_init(&others, 4096);
	r = index_read(x, &txn, err);
	if (r == 0) {
		load_other_fields(f, &others);
		r = compose_uidlist(
		    f, txn, others.failed ? view_make("", 0) : buf_view(&others), &text, err);
		index_read_end(x);
	}
	if (r == 0 && uidlist_lock(f, err) == 0) {
		r = text_replace(f->dir_fd, UIDLIST_FILE, buf_view(&text), &id, err);
		uidlist_unlock(f);
	} else {
		r = -1;
	}
	if (r == 0 && (r = index_write(x, 0, &txn, err)) == 0) {
		f->box.r.uidlist = id;
		f->box.r.uidlist_lines = f->box.r.messages;
		r = box_save(x, txn, &f->box, err);
		if (r == 0)
			r = index_commit(x, &txn, err);
		index_abort(&txn);
	}
	buf_clear(&text);
	buf_clear(&others);
	return r;
}

int
uidlist_tidy(struct folder *f, struct err *err)
{
	uint32_t lines = f->box.r.uidlist_lines, messages = f->box.r.messages;

	if (lines < 64 || lines <= messages || (uint64_t)(lines - messages) * 4 < lines)
		return 0;
	return uidlist_rewrite(f, err);
}
