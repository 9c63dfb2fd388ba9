/* content.h - a message's bytes: read back from the queue, and as delivery and relay get them.
 *
 * Functions that say they block are for the threads of the work pool and for start-up.
 */
#ifndef QMGR_CONTENT_H
#define QMGR_CONTENT_H

#include "common/base/err.h"
#include "qmgr/queue_file.h"

/* What other processes are given: two descriptors and where in them the message is. */
struct content {
	int headers_fd, body_fd; /* owned; -1: not open */
	uint64_t headers_len;
	uint64_t body_len; /* size of what body_fd refers to */
	uint64_t body_off; /* where in it the message goes on behind the headers */
};
#define CONTENT_NONE ((struct content){ .headers_fd = -1, .body_fd = -1 })
static inline bool
content_is_open(const struct content *c)
{
	return c->headers_fd >= 0;
}
void content_close(struct content *c);

/* A message in memory, as journal and deferred files hold it. */
struct message_bytes {
	char *raw; /* owned; the views point into it */
	struct message_head head;
	struct view envelope, headers, body; /* body: empty when it is a file */
};
void message_bytes_clear(struct message_bytes *m);
/* Reads the message record at offset of this segment and checks it.  Blocks.  -1: ERR_SYNTAX when it is
 * damaged, ERR_GONE, ERR_TEMP. */
int message_bytes_from_journal(int root_fd, const struct segment_header *seg, uint32_t offset,
    struct queue_id id, struct message_bytes *out, struct err *err);
/* Sealed memfds of what was read; a body that is a file is opened for reading.  Blocks. */
int content_make(int root_fd, struct queue_id id, const struct message_bytes *m,
    struct content *out, struct err *err);
/* The first at most max bytes of the message (headers and body).  Blocks. */
int content_read(const struct content *c, uint64_t max, struct buf *out, struct err *err);

/* --- large bodies: bodies/ID ------------------------------------------------------------------------------ */
/* A new empty file, mode 0600, open for writing, and for reading what was written (milters); quick enough for the loop.  Descriptor or -1. */
int body_create(int root_fd, struct queue_id id, struct err *err);
/* Takes the file as it is: no writer may be left (a read lease would not be given), the size must be
 * right; then file and directory are flushed.  Blocks.  *fd: open for reading.  -1: ERR_PERM when the
 * writer broke the agreement, ERR_TEMP when the disk failed. */
int body_settle(int root_fd, struct queue_id id, uint64_t size, int *fd, struct err *err);
/* Writes size bytes of from (a sealed memfd) to a new body file and settles it.  Blocks. */
int body_copy_in(
    int root_fd, struct queue_id id, int from, uint64_t size, int *fd, struct err *err);
/* A second name for a settled body: the file of another message.  The caller flushes the directory (bodies_flush).  Blocks. */
int body_link(int root_fd, struct queue_id from, struct queue_id to, struct err *err);
int bodies_flush(int root_fd, struct err *err);
int body_open(int root_fd, struct queue_id id, struct err *err);
/* Blocks; a file that is not there is no error. */
int body_remove(int root_fd, struct queue_id id, struct err *err);
/* Calls is_wanted for every body file and removes those that nobody wants.  Blocks; after replay only. */
int bodies_sweep(int root_fd, bool (*is_wanted)(void *arg, struct queue_id id), void *arg,
    unsigned *removed, struct err *err);

#endif
