/* queue_client.h - what mailq, sendmail and `estafeta queue` ask qmgr over its control edge. */
#ifndef TOOLS_QUEUE_CLIENT_H
#define TOOLS_QUEUE_CLIENT_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/ipc/msg/qmgr.h"

#include <jansson.h>

enum {
	QUEUE_CALL_MS = 60000,
	QUEUE_BULK_MS = 24 * 3600 * 1000, /* every file of a million */
	QUEUE_VALUE = 512,
};

/* Which messages: all conditions together. */
struct queue_filter {
	struct {
		enum qmgr_filter kind;
		char value[QUEUE_VALUE];
	} conditions[QMGR_FILTER_KINDS];
	size_t count;
};

/* Calls fn for every message that the filter (NULL: no conditions) takes: its JSON line and the same parsed
 * (borrowed), and flushes standard output after each packet.  fn returns false to stop.  -1: ERR_TEMP, ERR_SYNTAX. */
int queue_each(int fd, const struct queue_filter *filter,
    bool (*fn)(void *arg, struct view line, json_t *entry), void *arg, struct err *err);
/* A request of QMGR_CTL_DELETE's shape: 0, *count messages were touched; -1 *err with qmgr's text. */
int queue_act(int fd, unsigned type, const char *what, const struct queue_filter *filter,
    unsigned *count, struct err *err);
/* Tries what waits for this domain, "" = everything. */
int queue_ask_flush(int fd, const char *domain, unsigned *count, struct err *err);
/* String member of an object, "" if it has none. */
const char *queue_string(const json_t *entry, const char *name);

#endif
