/* log.h - one fact, one line, through the log process (DESIGN 7, STYLE 3.11).
 *
 * Lines follow Postfix's and Dovecot's wording, so that pflogsumm, fail2ban and people's greps work.
 * Nothing here blocks: what the log process does not take at once waits in a bounded buffer, and when
 * that is full, lines are counted and the count is logged later.  Before log_open, lines go to standard
 * error.  Foreign text goes through log_quote.  Never a password, never a body.
 */
#ifndef COMMON_LOG_LOG_H
#define COMMON_LOG_LOG_H

#include "common/base/view.h"
#include "common/event/loop.h"

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_FATAL,
	LOG_LEVEL_PANIC,
};

/* One packet to the log process: a level byte, the tag, one NUL, the text. */
enum { LOG_TAG_MAX = 200, LOG_TEXT_MAX = 4000, LOG_PACKET_MAX = 1 + LOG_TAG_MAX + 1 + LOG_TEXT_MAX };

/* fd: this worker's SEQPACKET socket to the log process (owned from here on), -1 = standard error.
 * tag: the name Postfix or Dovecot would log under ("smtpd", "imap-login"); copied. */
void log_open(struct loop *l, int fd, const char *tag);
void log_set_debug(bool on);
void log_flush(void); /* waits up to a second for what is buffered: before exit */

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same under another tag than the process's own: qmgr speaks for "smtp" and "virtual", smtpd for
 * "cleanup", a mailbox session as "imap(user)<pid><session>". */
void log_as(const char *tag, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)   /* happened */
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)   /* the admin should look */
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__) /* mail refused or delayed by our fault */
/* fn(text) hears of log_fatal's line too, before the process ends. */
void log_on_fatal(void (*fn)(const char *text));
_Noreturn void log_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* exits 1 */

/* Printable form of foreign bytes: control and non-ASCII bytes as \ooo, cut at size - 1; returns out. */
const char *log_quote(char *out, size_t size, struct view v);
/* log_quote into one of eight rotating thread-local buffers: for use as printf arguments only. */
const char *lq(struct view v);
const char *lqs(const char *s);

#endif
