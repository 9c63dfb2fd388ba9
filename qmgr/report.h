/* report.h - the log lines of a message's way, in Postfix's words (pflogsumm reads them). */
#ifndef QMGR_REPORT_H
#define QMGR_REPORT_H

#include "qmgr/message.h"

/* "ID: from=<a>, size=1, nrcpt=1 (queue active)" */
void report_active(const struct message *m);
/* "ID: to=<b>, orig_to=<c>, relay=d, delay=1, delays=a/b/c/d, dsn=2.0.0, status=sent (text)", under the name of
 * Postfix's agent.  Call it after the recipient's state was set. */
void report_attempt(const struct message *m, size_t rcpt, const struct attempt *a, int64_t now_ms);
/* "ID: from=<a>, status=expired (force-expired), returned to sender" */
void report_expired(const struct message *m);
/* "ID: removed" */
void report_removed(const struct message *m);
/* "ID: TEXT" */
void report_event(struct queue_id id, const char *text);
/* "ID: sender non-delivery notification: NEW" */
void report_notice(struct queue_id id, enum notice_kind kind, struct queue_id notice);

/* Milliseconds as Postfix prints delays: two significant digits, at most two behind the point. */
enum { REPORT_DELAY = 24 };
const char *report_delay(int64_t ms, char out[REPORT_DELAY]);

#endif
