/* body.h - where a message's content goes while it comes in: memory, then a memfd, then a file of qmgr's
 * (DESIGN 5.2).  Each byte is stored once.
 *
 * Up to BODY_CHUNK bytes wait in memory, so that a message of ordinary size costs one write into one memfd.  Writing to
 * the file happens on the loop: it is a copy into the page cache in pieces of at most BODY_CHUNK, some 20 us each, and
 * the flush is qmgr's, in its own thread; handing pieces to a thread would cost more than it saves.
 * The process's one risk is a disk so far behind that the kernel makes writers wait.
 */
#ifndef SMTPD_BODY_H
#define SMTPD_BODY_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum { BODY_CHUNK = 65536, BODY_MEMFD_MAX = 256 << 10 };

struct body {
	struct buf pending; /* not written yet; the caller appends, then calls body_written */
	int fd;             /* owned; -1 while everything is pending */
	bool is_file;       /* fd is a file of qmgr's, else a memfd */
	uint64_t stored;    /* bytes in fd */
};

void body_init(struct body *b);
void body_clear(struct body *b);
static inline uint64_t
body_size(const struct body *b)
{
	return b->stored + b->pending.len;
}
/* Something was appended to pending: writes it out when there is enough of it.  0 or -1 (ERR_TEMP, sys = ENOSPC and
 * the like). */
int body_appended(struct body *b, struct err *err);
/* More than a memfd should hold: the caller asks qmgr for a file and gives it to body_use_file. */
static inline bool
body_wants_file(const struct body *b)
{
	return !b->is_file && body_size(b) > BODY_MEMFD_MAX;
}
/* Moves what is stored so far to the file, and goes on there.  Takes fd, also when it fails. */
int body_use_file(struct body *b, int fd, struct err *err);
/* The content is complete, and can be read from b->fd.  A memfd is sealed; a file's descriptor is to be closed before qmgr
 * commits. */
int body_finish(struct body *b, struct err *err);
/* Of a finished body: exactly len bytes from off. */
int body_read(const struct body *b, uint64_t off, void *p, size_t len, struct err *err);

#endif
