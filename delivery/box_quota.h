/* box_quota.h - maildirsize, the Maildir++ quota file: honoured and kept up to date where it exists.
 * Whoever owns the index recalculates it; here lines are only added (maildir-interop: one line a change,
 * appended in one write). */
#ifndef DELIVERY_BOX_QUOTA_H
#define DELIVERY_BOX_QUOTA_H

#include "common/base/err.h"
#include "common/base/view.h"

struct box_quota {
	bool is_known;                    /* a readable maildirsize exists */
	int64_t limit_bytes, limit_count; /* 0 = none */
	int64_t used_bytes, used_count;
};

/* Pure: the text of the file.  false: not in the format. */
bool box_quota_parse(struct view text, struct box_quota *q);
/* Reads Maildir/maildirsize; what is missing or unusable counts as no quota. */
void box_quota_load(int maildir_fd, struct box_quota *q);
bool box_quota_has_room(const struct box_quota *q, uint64_t bytes);
/* Adds a line for what was delivered.  -1 *err. */
int box_quota_append(int maildir_fd, int64_t bytes, int64_t count, struct err *err);

#endif
