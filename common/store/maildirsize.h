/* maildirsize.h - the Maildir++ quota file: a line of limits, then lines "bytes count" to be added up.
 *
 * It is the user's, and shared with other programs: every change is one line, appended in one write.  The store, which
 * sees all folders, counts anew (quota.c); delivery only reads and appends (of the Maildir it opens no more). */
#ifndef COMMON_STORE_MAILDIRSIZE_H
#define COMMON_STORE_MAILDIRSIZE_H

#include "common/base/err.h"
#include "common/base/view.h"

struct maildirsize {
	bool is_known;                    /* false: none, or not to be understood; all else is 0 */
	int64_t limit_bytes, limit_count; /* 0 = none */
	int64_t used_bytes, used_count;   /* never negative */
	unsigned lines;                   /* behind the first */
	int64_t size, mtime_s;            /* of the file */
};

/* Pure: the text of the file. */
bool maildirsize_parse(struct view text, struct maildirsize *m);
/* Of the Maildir dir_fd. */
void maildirsize_load(int dir_fd, struct maildirsize *m);
bool maildirsize_has_room(const struct maildirsize *m, uint64_t bytes);
/* Adds a line where the file exists; 1: it does not. */
int maildirsize_append(int dir_fd, int64_t bytes, int64_t count, struct err *err);
int maildirsize_replace(int dir_fd, const struct maildirsize *m, struct err *err);

#endif
