/* journal.h - the append-only log that makes an accepted message durable (DESIGN 5, docs/queue-format.md).
 *
 * One writer thread takes whatever entries are waiting, writes them with one pwrite and one fdatasync, and
 * hands them back to the loop's thread: commits that arrive together share a flush.  An entry is a group of
 * records that happens as a whole or not at all.
 *
 * A failed write or flush poisons the segment: it is never written or flushed again, its batch fails, and
 * nothing else succeeds before a new segment says durably which records of the old one are void.
 *
 * Segments are removed oldest first, the directory flushed in between, once nothing holds them.  Whoever
 * keeps a message alive by a record holds the record's segment; younger segments stay as long as an older
 * one does, so that what they say about its messages is there at the next replay.
 *
 * All functions are for the loop's thread.
 */
#ifndef QMGR_JOURNAL_H
#define QMGR_JOURNAL_H

#include "common/event/loop.h"
#include "common/ipc/msg/qmgr.h"
#include "qmgr/ledger.h"

#include <sys/queue.h>
#include <sys/types.h>

struct journal;

/* One journal segment.  number, salt and size never change and may be read from any thread. */
struct journal_segment {
	TAILQ_ENTRY(journal_segment) link;
	struct segment_header header;
	uint64_t holders;
	int64_t
	    since_ms; /* monotonic: when the first record in it was acknowledged, or it was read back */
	bool is_spare;    /* never used yet */
	bool is_corrupt;  /* kept for the admin when it is no longer needed */
	bool is_removing; /* the housekeeper is at it */
};

/* The system calls whose failure tests inject; NULL members are the real ones. */
struct journal_io {
	ssize_t (*pwrite)(int fd, const void *p, size_t len, off_t off);
	int (*fdatasync)(int fd);
	int (*fsync)(int fd);
};

struct journal_options {
	struct loop *loop;
	int root_fd; /* borrowed: the directory in which journal/ and corrupt/ are */
	uint64_t segment_size;
	uint64_t minfree;            /* room the file system keeps when a spare is made */
	struct ledger_limits ledger; /* what stays of segments that are removed */
	const struct journal_io *io;
};

/* Content of a record: bytes in memory (p), or len bytes of fd from off; kept by the caller until done. */
struct journal_piece {
	const void *p;
	int fd;
	uint64_t off;
	uint64_t len;
};
enum { JOURNAL_PIECES = 4, JOURNAL_RECORDS = SEGMENT_GROUP };

struct journal_record {
	enum record_type type;
	struct queue_id id;
	struct journal_piece pieces[JOURNAL_PIECES];
	unsigned npieces;
	uint32_t offset; /* out: where it stands in the entry's segment */
};

struct journal_entry {
	STAILQ_ENTRY(journal_entry) link;
	struct journal_record records[JOURNAL_RECORDS];
	unsigned nrecords;
	void (*done)(void *arg, struct journal_entry *e);
	void *arg;
	enum qmgr_status status;         /* out: QMGR_OK, QMGR_TEMP (a write failed), QMGR_FULL */
	struct journal_segment *segment; /* out, with QMGR_OK; hold it in done() to keep it */
	/* the journal's own */
	uint64_t bytes, number;
};

/* Reads the directory; no threads yet.  NULL: *err. */
struct journal *journal_open(const struct journal_options *o, struct err *err);
/* Calls on_record for every record that counts, in the order of writing: void ones, incomplete groups and
 * damage are left out, and what is odd is logged.  The record is valid during the call; more: the next one
 * belongs to the same group.  The callee holds the segments it wants kept.  Blocks; once, before start. */
int journal_replay(struct journal *j,
    void (*on_record)(void *arg, const struct record *r, struct journal_segment *s), void *arg,
    struct err *err);
/* Starts the threads.  When no segment can be opened it says so and goes on trying: nothing is accepted until then. */
int journal_start(struct journal *j, struct err *err);
/* Writes what is waiting, joins the threads; done callbacks are called, and may append nothing more. */
void journal_close(struct journal *j);

/* Appends *e, which the caller keeps until e->done.  lazy: may wait a moment for company, as an outcome
 * whose repetition would do no harm. */
void journal_append(struct journal *j, struct journal_entry *e, bool lazy);
uint64_t journal_entry_bytes(const struct journal_entry *e);
/* Largest entry that fits. */
uint64_t journal_max_entry(const struct journal *j);

/* Room for outcomes, moves and voids of what was accepted is never given to new messages. */
void journal_reserve(struct journal *j, int64_t bytes);
/* Is there room for a new message of this size?  QMGR_OK or QMGR_FULL. */
enum qmgr_status journal_admits(struct journal *j, uint64_t bytes);
bool journal_is_broken(struct journal *j);
size_t journal_waiting(const struct journal *j); /* entries appended and not yet done */

void journal_hold(struct journal_segment *s);
void journal_drop(struct journal *j, struct journal_segment *s);
/* Tells of the latest id, so that a segment's header can bear it. */
void journal_note_id(struct journal *j, uint64_t us);
/* Latest id that any segment's header bears, and a number that no earlier life of qmgr used for ids. */
uint64_t journal_last_id(const struct journal *j);
uint32_t journal_life(const struct journal *j);
/* The oldest segment. */
const struct journal_segment *journal_first(const struct journal *j);
/* The oldest segment if it is not the one being written and has been in use for so long; else NULL. */
const struct journal_segment *journal_overdue(const struct journal *j, int64_t age_ms);

#endif
