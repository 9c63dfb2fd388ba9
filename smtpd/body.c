#include "smtpd/body.h"
#include "common/base/fd.h"

#include <sys/mman.h>

void
body_init(struct body *b)
{
	*b = (struct body){ .fd = -1 };
	/* one chunk waits while the next comes in */
	buf_init(&b->pending, 2 * BODY_CHUNK + 16);
}

void
body_clear(struct body *b)
{
	fd_close(&b->fd);
	buf_clear(&b->pending);
	b->is_file = false;
	b->stored = 0;
}

static int
write_pending(struct body *b, struct err *err)
{
	if (b->fd < 0 && (b->fd = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING)) < 0)
		return err_sys(err, ERR_TEMP, "memfd_create");
	if (fd_write_all(b->fd, b->pending.p, b->pending.len, err) < 0)
		return -1;
	b->stored += b->pending.len;
	buf_reset(&b->pending);
	return 0;
}

int
body_appended(struct body *b, struct err *err)
{
	return b->pending.len < BODY_CHUNK ? 0 : write_pending(b, err);
}

static int
copy_stored(int from, int to, uint64_t size, struct err *err)
{
	struct buf chunk;
	int r = 0;

	buf_init(&chunk, BODY_CHUNK);
	if (buf_reserve(&chunk, BODY_CHUNK) == NULL)
		r = err_set(err, ERR_TEMP, "out of memory");
	for (uint64_t off = 0; r == 0 && off < size;) {
		size_t n = size - off < BODY_CHUNK ? (size_t)(size - off) : BODY_CHUNK;

		if ((r = fd_pread_all(from, chunk.p, n, (off_t)off, err)) == 0)
			r = fd_write_all(to, chunk.p, n, err);
		off += n;
	}
	buf_clear(&chunk);
	return r;
}

int
body_use_file(struct body *b, int fd, struct err *err)
{
	int r = b->fd < 0 ? 0 : copy_stored(b->fd, fd, b->stored, err);

	fd_close(&b->fd);
	b->fd = fd;
	b->is_file = true;
	return r;
}

int
body_finish(struct body *b, struct err *err)
{
	if (b->pending.len > 0 && write_pending(b, err) < 0)
		return -1;
	buf_clear(&b->pending);
	if (b->is_file)
		return 0;
	if (b->fd < 0)
		return (b->fd = memfd_sealed("body", "", 0, err)) < 0 ? -1 : 0;
	return memfd_seal(b->fd, err);
}

int
body_read(const struct body *b, uint64_t off, void *p, size_t len, struct err *err)
{
	return fd_pread_all(b->fd, p, len, (off_t)off, err);
}
