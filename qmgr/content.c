#include "qmgr/content.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "qmgr/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void
content_close(struct content *c)
{
	fd_close(&c->headers_fd);
	fd_close(&c->body_fd);
}

void
message_bytes_clear(struct message_bytes *m)
{
	free(m->raw);
	*m = (struct message_bytes){ 0 };
}

/* The record's length is in its header, which is believed only when the whole record checks out. */
static int
read_record(int fd, const struct segment_header *seg, uint32_t offset, struct queue_id id,
    char **raw, struct record *r, struct err *err)
{
	char head[RECORD_HEADER];
	const unsigned char *len_at = (const unsigned char *)head + 12;
	uint64_t len;

	if (fd_pread_all(fd, head, sizeof head, offset, err) < 0)
		return -1;
	len = (uint64_t)len_at[0] | (uint64_t)len_at[1] << 8 | (uint64_t)len_at[2] << 16 |
	      (uint64_t)len_at[3] << 24;
	if (offset > seg->size || len > seg->size - offset)
		return err_set(err, ERR_SYNTAX, "journal: record of impossible length");
	*raw = malloc(RECORD_HEADER + len);
	if (*raw == NULL)
		return err_set(err, ERR_TEMP, "no memory for a message");
	if (fd_pread_all(fd, *raw, RECORD_HEADER + len, offset, err) < 0)
		return -1;
	if (!record_read_at(view_make(*raw, RECORD_HEADER + len), seg, offset, r) ||
	    r->type != RECORD_MESSAGE || queue_id_compare(r->id, id) != 0)
		return err_set(err, ERR_SYNTAX, "journal: the message's record is damaged");
	return 0;
}

int
message_bytes_from_journal(int root_fd, const struct segment_header *seg, uint32_t offset,
    struct queue_id id, struct message_bytes *out, struct err *err)
{
	char path[16 + SEGMENT_NAME] = "journal/";
	struct record r = { 0 };
	int fd, ret = -1;

	*out = (struct message_bytes){ 0 };
	segment_name(seg->number, path + strlen(path));
	fd = open_beneath(root_fd, path, O_RDONLY, 0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open %s", path);
	if (read_record(fd, seg, offset, id, &out->raw, &r, err) == 0)
		ret = message_record_decode(
		    r.content, &out->head, &out->envelope, &out->headers, &out->body, err);
	fd_close(&fd);
	if (ret < 0)
		message_bytes_clear(out);
	return ret;
}

int
content_make(int root_fd, struct queue_id id, const struct message_bytes *m, struct content *out,
    struct err *err)
{
	struct stat st;

	*out = CONTENT_NONE;
	out->headers_len = m->headers.len;
	out->body_len = m->head.body_len;
	out->body_off = m->head.body_off;
	out->headers_fd = memfd_sealed("headers", m->headers.p, m->headers.len, err);
	if (out->headers_fd < 0)
		return -1;
	out->body_fd = m->head.has_file ? body_open(root_fd, id, err)
					: memfd_sealed("body", m->body.p, m->body.len, err);
	if (out->body_fd < 0)
		goto fail;
	if (fstat(out->body_fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "fstat body");
		goto fail;
	}
	if ((uint64_t)st.st_size != out->body_len) {
		err_set(err, ERR_SYNTAX, "the body's file has another size than was accepted");
		goto fail;
	}
	return 0;
fail:
	content_close(out);
	return -1;
}

int
content_read(const struct content *c, uint64_t max, struct buf *out, struct err *err)
{
	uint64_t headers = c->headers_len < max ? c->headers_len : max;
	uint64_t body = c->body_len - c->body_off;
	char *p;

	if (body > max - headers)
		body = max - headers;
	p = buf_reserve(out, headers + body);
	if (p == NULL)
		return err_set(err, ERR_LIMIT, "message too large for its buffer");
	if (fd_pread_all(c->headers_fd, p, headers, 0, err) < 0 ||
	    fd_pread_all(c->body_fd, p + headers, body, (off_t)c->body_off, err) < 0)
		return -1;
	out->len += headers + body;
	return 0;
}

/* --- large bodies ----------------------------------------------------------------------------------------- */
static void
body_path(struct queue_id id, char out[8 + QUEUE_ID_TEXT])
{
	memcpy(out, "bodies/", 8);
	queue_id_format(id, out + 7);
}

int
body_create(int root_fd, struct queue_id id, struct err *err)
{
	char path[8 + QUEUE_ID_TEXT];
	int fd;

	body_path(id, path);
	fd = open_beneath(root_fd, path, O_RDWR | O_CREAT | O_EXCL, 0600);
	return fd >= 0 ? fd : err_sys(err, ERR_TEMP, "create %s", path);
}

int
body_open(int root_fd, struct queue_id id, struct err *err)
{
	char path[8 + QUEUE_ID_TEXT];
	int fd;

	body_path(id, path);
	fd = open_beneath(root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s", path);
	return fd;
}

/* The kernel gives a read lease only while no descriptor anywhere is open for writing: what was handed
 * out, and every copy made of it, is closed.  Nobody can open the file anew, so it need not be kept. */
static int
check_no_writer(int fd, struct err *err)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return err_sys(err, errno == EAGAIN ? ERR_PERM : ERR_TEMP,
		    "body: no lease, somebody can still write");
	if (fcntl(fd, F_SETLEASE, F_UNLCK) < 0)
		return err_sys(err, ERR_TEMP, "body: giving up the lease");
	return 0;
}

int
body_settle(int root_fd, struct queue_id id, uint64_t size, int *fd, struct err *err)
{
	struct stat st;

	*fd = body_open(root_fd, id, err);
	if (*fd < 0)
		return -1;
	if (check_no_writer(*fd, err) < 0)
		goto fail;
	if (fstat(*fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "body: fstat");
		goto fail;
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size) {
		err_set(err, ERR_PERM, "body: %lld bytes instead of %llu", (long long)st.st_size,
		    (unsigned long long)size);
		goto fail;
	}
	if (fsync(*fd) < 0) {
		err_sys(err, ERR_TEMP, "body: fsync");
		goto fail;
	}
	if (bodies_flush(root_fd, err) < 0)
		goto fail;
	return 0;
fail:
	fd_close(fd);
	return -1;
}

int
body_copy_in(int root_fd, struct queue_id id, int from, uint64_t size, int *fd, struct err *err)
{
	enum { CHUNK = 256 * 1024 };
	char *chunk = x_malloc(CHUNK);
	int to = body_create(root_fd, id, err), r = to < 0 ? -1 : 0;

	for (uint64_t at = 0; r == 0 && at < size; at += CHUNK) {
		size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;

		r = fd_pread_all(from, chunk, n, (off_t)at, err);
		if (r == 0)
			r = fd_write_all(to, chunk, n, err);
	}
	free(chunk);
	if (to < 0)
		return -1;
	fd_close(&to);
	if (r == 0)
		r = body_settle(root_fd, id, size, fd, err);
	if (r < 0)
		body_remove(root_fd, id, NULL); /* a rest is removed at the next start */
	return r;
}

int
body_link(int root_fd, struct queue_id from, struct queue_id to, struct err *err)
{
	char old[8 + QUEUE_ID_TEXT], new[8 + QUEUE_ID_TEXT];

	body_path(from, old);
	body_path(to, new);
	return linkat(root_fd, old, root_fd, new, 0) == 0
		   ? 0
		   : err_sys(err, ERR_TEMP, "link %s to %s", old, new);
}

int
bodies_flush(int root_fd, struct err *err)
{
	return dir_fsync(root_fd, "bodies", err);
}

int
body_remove(int root_fd, struct queue_id id, struct err *err)
{
	char path[8 + QUEUE_ID_TEXT];

	body_path(id, path);
	if (unlinkat(root_fd, path, 0) < 0 && errno != ENOENT)
		return err_sys(err, ERR_TEMP, "unlink %s", path);
	return 0;
}

int
bodies_sweep(int root_fd, bool (*is_wanted)(void *arg, struct queue_id id), void *arg,
    unsigned *removed, struct err *err)
{
	int fd = open_beneath(root_fd, "bodies", O_RDONLY | O_DIRECTORY, 0), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	struct queue_id id;

	*removed = 0;
	if (d == NULL) {
		err_sys(err, ERR_TEMP, "open bodies");
		fd_close(&fd);
		return -1;
	}
	while (r == 0 && (de = readdir(d)) != NULL) {
		if (!queue_id_parse(view_of(de->d_name), &id) || is_wanted(arg, id))
			continue;
		r = body_remove(root_fd, id, err);
		++*removed;
	}
	closedir(d);
	return r;
}
