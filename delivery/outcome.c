#include "delivery/outcome.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
outcome_vset(
    struct outcome *o, enum delivery_status status, const char *dsn, const char *fmt, va_list ap)
{
	*o = (struct outcome){ .is_known = true, .status = status };
	snprintf(o->dsn, sizeof o->dsn, "%s", dsn);
	vsnprintf(o->text, sizeof o->text, fmt, ap);
}

void
outcome_sent(struct outcome *o)
{
	outcome_set(o, DELIVERY_SENT, "2.0.0", "delivered to maildir");
}

void
outcome_set(struct outcome *o, enum delivery_status status, const char *dsn, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	outcome_vset(o, status, dsn, fmt, ap);
	va_end(ap);
}

static const char *
dsn_of_errno(int error)
{
	switch (error) {
	case ENOSPC:
		return "4.3.1"; /* RFC 3463 3.4: mail system full */
	case EDQUOT:
	case EFBIG:
		return "4.2.2"; /* mailbox full */
	case EIO:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENODATA: /* the message itself could not be read */
	case EROFS:
		return "4.3.0"; /* other mail system status */
	default:
		return "4.2.0"; /* other mailbox status */
	}
}

void
outcome_errno(struct outcome *o, int error, const char *fmt, ...)
{
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	outcome_vset(o, DELIVERY_DEFERRED, dsn_of_errno(error), fmt, ap);
	va_end(ap);
	len = strlen(o->text);
	snprintf(o->text + len, sizeof o->text - len, ": %s", strerrordesc_np(error));
	/* a way that leaves the mailbox, or the disk itself: nobody but the admin can mend it */
	o->is_alarm =
	    error == ELOOP || error == EXDEV || error == ENOTDIR || error == EIO || error == EROFS;
}
