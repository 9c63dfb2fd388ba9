#include "common/store/store_internal.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/mime/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { READ_PIECE = 65536 };

int
message_find(struct folder *f, uint32_t uid, struct message *m, struct err *err)
{
	struct index *x = &f->store->index;
	MDB_txn *txn;
	int r;

	if (folder_ready(f, err) < 0 || index_read(x, &txn, err) < 0)
		return -1;
	r = index_message_load(x, txn, f->box.id, uid, m, err);
	index_read_end(x);
	return r > 0 ? err_set(err, ERR_GONE, "no message %u", uid) : r;
}

/* No link, no FIFO, no device: O_NONBLOCK keeps the open itself from waiting. */
static int
open_file(struct folder *f, const struct message *m, struct err *err)
{
	char path[MAILDIR_NAME_MAX + 8];
	struct stat st;
	int fd;

	message_path(m, path);
	fd = open_beneath(f->dir_fd, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(
		    err, errno == ENOENT || errno == ELOOP ? ERR_GONE : ERR_TEMP, "open %s", path);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	fd_close(&fd);
	return err_set(err, ERR_GONE, "%s is not a file", path);
}

int
message_open(struct folder *f, uint32_t uid, struct message *m, struct err *err)
{
	int fd;

	if (message_find(f, uid, m, err) < 0)
		return -1;
	fd = open_file(f, m, err);
	if (fd >= 0 || err->kind != ERR_GONE)
		return fd;
	/* Renamed by another program: its flags changed, or it is gone. */
	if (folder_lock(f, err) < 0)
		return -1;
	if (folder_sync(f, SYNC_FORCE, err) == 0 && message_find(f, uid, m, err) == 0)
		fd = open_file(f, m, err);
	folder_unlock(f);
	return fd;
}

int
measure_fd(int fd, uint64_t *size, struct err *err)
{
	char *piece = x_malloc(READ_PIECE), last = '\0';
	uint64_t bytes = 0, bare = 0;
	ssize_t n;

	while ((n = pread(fd, piece, READ_PIECE, (off_t)bytes)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		for (const char *p = piece, *end = piece + n, *lf; p < end; p = lf + 1) {
			lf = memchr(p, '\n', (size_t)(end - p));
			if (lf == NULL)
				break;
			bare += (lf == piece ? last : lf[-1]) != '\r';
		}
		last = piece[n - 1];
		bytes += (uint64_t)n;
	}
	free(piece);
	if (n < 0)
		return err_sys(err, ERR_TEMP, "read message");
	*size = bytes + bare;
	return 0;
}

static int
read_file(int fd, struct buf *out, struct err *err)
{
	struct stat st;
	char *room;

	if (fstat(fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "fstat message");
	room = buf_reserve(out, (size_t)st.st_size);
	if (room == NULL)
		return err_set(
		    err, ERR_LIMIT, "message of %lld bytes is too large", (long long)st.st_size);
	if (fd_pread_all(fd, room, (size_t)st.st_size, 0, err) < 0)
		return -1;
	out->len += (size_t)st.st_size;
	return 0;
}

/* The name's W= was wrong, or another program changed the content: what clients are told from now on is what is
 * there. */
static void
correct_size(struct folder *f, uint32_t uid, uint64_t size)
{
	struct index *x = &f->store->index;
	struct message old, m;
	struct err err;
	MDB_txn *txn;
	int r;

	if (folder_lock(f, &err) < 0)
		return;
	r = message_find(f, uid, &old, &err);
	if (r == 0 && index_write(x, MESSAGE_ROOM, &txn, &err) == 0) {
		m = old;
		m.r.size = size;
		if (index_message_update(x, txn, &f->box, &old, &m, &err) == 0 &&
		    box_save(x, txn, &f->box, &err) == 0)
			(void)index_commit(x, &txn, &err);
		index_abort(&txn);
	}
	folder_unlock(f);
}

int
mailbox_read(struct mailbox *m, uint32_t uid, struct buf *content, struct err *err)
{
	struct message msg;
	struct buf raw;
	int fd, r;

	buf_reset(content);
	fd = message_open(m->folder, uid, &msg, err);
	if (fd < 0)
		return -1;
	buf_init(&raw, content->max);
	r = read_file(fd, &raw, err);
	fd_close(&fd);
	if (r == 0 && crlf_append(buf_view(&raw), content) < 0)
		r = err_set(err, ERR_LIMIT, "message is too large");
	buf_clear(&raw);
	if (r == 0 && msg.r.size != SIZE_UNKNOWN && msg.r.size != content->len)
		correct_size(m->folder, uid, content->len);
	return r;
}

int
mailbox_open_file(struct mailbox *m, uint32_t uid, uint64_t *size, struct err *err)
{
	struct message msg;
	struct stat st;
	int fd = message_open(m->folder, uid, &msg, err);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "fstat message");
		fd_close(&fd);
	} else if (st.st_size > MEASURE_MAX) {
		*size = (uint64_t)st.st_size;
	} else if (measure_fd(fd, size, err) < 0) {
		fd_close(&fd);
	} else if (msg.r.size != *size) {
		correct_size(m->folder, uid, *size);
	}
	return fd;
}

/* Reads until the empty line has come, in growing pieces: a header block is small, the message behind it not. */
int
mailbox_read_header(struct mailbox *m, uint32_t uid, struct buf *content, struct err *err)
{
	enum { HEADER_MAX = 16 << 20 };
	size_t piece = 8192, header;
	struct message msg;
	struct buf raw;
	int fd, r = 0;

	buf_reset(content);
	fd = message_open(m->folder, uid, &msg, err);
	if (fd < 0)
		return -1;
	buf_init(&raw, content->max < HEADER_MAX ? content->max : HEADER_MAX);
	for (;;) {
		char *room = buf_reserve(&raw, piece);
		ssize_t n = room == NULL ? 0 : pread(fd, room, piece, (off_t)raw.len);

		if (room == NULL)
			r = err_set(err, ERR_LIMIT, "header is too large");
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0)
			r = err_sys(err, ERR_TEMP, "read message");
		if (r < 0 || n == 0)
			break;
		raw.len += (size_t)n;
		header = header_block_length(buf_view(&raw));
		if (header < raw.len)
			break;
		piece = raw.len;
	}
	fd_close(&fd);
	if (r == 0 && raw.len > 0) {
		header = header_block_length(buf_view(&raw));
		if (crlf_append(view_make(raw.p, header), content) < 0)
			r = err_set(err, ERR_LIMIT, "header is too large");
	}
	buf_clear(&raw);
	return r;
}
