/* outcome.h - what became of one recipient: what qmgr is told. */
#ifndef DELIVERY_OUTCOME_H
#define DELIVERY_OUTCOME_H

#include "common/ipc/msg/delivery.h"

#include <stdbool.h>

struct outcome {
	bool is_known; /* false: not decided yet */
	enum delivery_status status;
	char dsn[8];    /* RFC 3463 */
	bool is_alarm;  /* the admin should look: also logged as a warning */
	char text[400]; /* for log and DSN; printable */
};

void outcome_sent(struct outcome *o);
void outcome_set(struct outcome *o, enum delivery_status status, const char *dsn, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
/* Deferred because a system call failed: the code says whether the disk, the quota or the permissions are
 * at fault, the text ends with that of error. */
void outcome_errno(struct outcome *o, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
