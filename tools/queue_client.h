/* queue_client.h - what mailq, sendmail and `estafeta queue` ask qmgr over its control edge. */
#ifndef TOOLS_QUEUE_CLIENT_H
#define TOOLS_QUEUE_CLIENT_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <jansson.h>

enum { QUEUE_CALL_MS = 60000 };

/* Calls fn for every message of the queue: its JSON line and the same parsed (borrowed).  fn returns false to stop.
 * -1: ERR_TEMP, ERR_SYNTAX. */
int queue_each(
    int fd, bool (*fn)(void *arg, struct view line, json_t *entry), void *arg, struct err *err);
/* A request of QMGR_CTL_DELETE's shape: 0, *count messages were touched; -1 *err with qmgr's text. */
int queue_act(int fd, unsigned type, const char *what, unsigned *count, struct err *err);
/* String member of an object, "" if it has none. */
const char *queue_string(const json_t *entry, const char *name);

#endif
