/* ledger.h - what stays of journal segments: who was acknowledged and what came of it (docs/queue-format.md).
 *
 * Before the journal removes a segment, its housekeeping thread writes ledger/NUMBER: a segment with the same
 * records, but for the messages' content and for what says nothing of an outcome.  It is flushed before the
 * segment goes, so that one of both is always there, and their numbers are the same, so that both are one.
 * Nothing of this is in the way of a message.  Everything here blocks.
 */
#ifndef QMGR_LEDGER_H
#define QMGR_LEDGER_H

#include "qmgr/segment.h"

struct ledger_limits {
	int64_t keep_ms; /* 0 = there is no ledger */
	uint64_t max_bytes;
};

/* Makes the directory.  At start. */
int ledger_prepare(int root_fd, struct err *err);
/* Copies a segment of journal/, whose last record is durable.  A copy that failed leaves a short file: a hole
 * that can be seen.  io_fsync: fsync(2), or what a test puts in its place. */
int ledger_copy(int root_fd, uint64_t number, int (*io_fsync)(int fd), struct err *err);
/* Removes what is too old or, from the oldest on, too much. */
void ledger_trim(int root_fd, const struct ledger_limits *limits, int64_t wall_ms);
/* Is this file, loaded whole, all that was to be copied?  s: a scan that has ended. */
bool ledger_is_complete(const struct segment_header *h, const struct segment_scan *s);

#endif
