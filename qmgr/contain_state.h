/* contain_state.h - what containment keeps on disk: two text files below queue_directory/contain, replaced whole.
 *
 * locks: STATE SINCE LOGIN KEPT REASON, a line each: H (held) or R (being released), wall ms, the login with bytes that are no visible
 * ASCII, and "%", as %XX, ids that the admin had on hold before, separated by commas ("-": none), text.
 * habits: LOGIN RECIPIENTS DOMAINS SPANS NETWORKS, the last in hex, separated by commas ("-": none). */
#ifndef QMGR_CONTAIN_STATE_H
#define QMGR_CONTAIN_STATE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "qmgr/contain_judge.h"
#include "qmgr/queue_id.h"

enum { CONTAIN_KEPT_MAX = 10000, CONTAIN_LOGIN_MAX = 256 };

struct contain_lock_line {
	bool is_releasing;
	int64_t since_ms;
	char login[CONTAIN_LOGIN_MAX];
	struct queue_id *kept; /* read: owned by the caller of contain_lock_read; NULL: none */
	size_t nkept;
	char reason[CONTAIN_WHY];
};
void contain_lock_write(const struct contain_lock_line *l, struct buf *out);
/* -1: no such line, *l has nothing to free. */
int contain_lock_read(struct view line, struct contain_lock_line *l);

void contain_habit_write(const char *login, const struct contain_habit *h, struct buf *out);
int contain_habit_read(struct view line, char login[CONTAIN_LOGIN_MAX], struct contain_habit *h);

/* name: "locks", "habits".  Blocks.  is_durable: it has reached the disk.  0 or -1. */
int contain_file_save(
    int root_fd, const char *name, struct view text, bool is_durable, struct err *err);
/* Appends the file; none is like an empty one.  0 or -1. */
int contain_file_load(int root_fd, const char *name, struct buf *out, struct err *err);

#endif
