/* restrict_table.h - one row for each restriction: its name in main.cf and the function that decides. */
#ifndef SMTPD_RESTRICT_TABLE_H
#define SMTPD_RESTRICT_TABLE_H

#include "smtpd/restrict.h"

enum restrict_result { RESULT_DUNNO, RESULT_OK, RESULT_REJECT, RESULT_NEED };

struct restriction {
	const char *name;
	enum restrict_result (*fn)(struct restrict_ctx *c);
};
const struct restriction *restriction_find(const char *name); /* NULL: none of this name */
const char *restriction_nearest(const char *name);            /* NULL: none is near */

/* For the rows: fill c->reply and return RESULT_REJECT. */
enum restrict_result restrict_refuse(struct restrict_ctx *c, int code, const char *dsn,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* "<subject>: Sender address rejected: why", by the list that is being evaluated. */
enum restrict_result restrict_refuse_list(
    struct restrict_ctx *c, int code, const char *dsn, const char *why);
/* Remembers the reason; returns RESULT_DUNNO. */
enum restrict_result restrict_defer_if_permit(struct restrict_ctx *c, const char *dsn,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
