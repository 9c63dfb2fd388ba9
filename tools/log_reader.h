/* log_reader.h - the log file and the ones rotated from it, line by line, oldest first. */
#ifndef TOOLS_LOG_READER_H
#define TOOLS_LOG_READER_H

#include "common/base/err.h"
#include "common/base/view.h"

struct log_event {
	struct view line;  /* whole, without its end */
	struct view stamp; /* "Nov 24 00:13:06" */
	struct view tag;   /* "postfix/smtpd[23286]" */
	struct view text;
};
/* Splits a line; false: it is none of ours. */
bool log_event_parse(struct view line, struct log_event *out);

/* Calls fn for each line of path and of path.1, path.2.gz, path-20261124 and the like.  The event is valid during the call.
 * -1: path cannot be read. */
int log_read(
    const char *path, void (*fn)(void *arg, const struct log_event *e), void *arg, struct err *err);

#endif
