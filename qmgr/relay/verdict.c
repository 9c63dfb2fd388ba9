#include "qmgr/relay/verdict.h"

#include <stdarg.h>
#include <stdio.h>

static void
clean(char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n' || *text == '\t')
			*text = ' ';
		else if (*text < ' ' || *text > '~')
			*text = '?';
	}
}

void
relay_verdict_set(
    struct relay_verdict *v, enum delivery_status status, const char *dsn, const char *fmt, ...)
{
	va_list ap;

	*v = (struct relay_verdict){ .status = status };
	snprintf(v->dsn, sizeof v->dsn, "%s", dsn);
	va_start(ap, fmt);
	vsnprintf(v->text, sizeof v->text, fmt, ap);
	va_end(ap);
	clean(v->text);
}

static enum delivery_status
status_of_code(int code)
{
	return code / 100 == 2   ? DELIVERY_SENT
	       : code / 100 == 5 ? DELIVERY_BOUNCED
				 : DELIVERY_DEFERRED;
}

void
relay_verdict_reply(
    struct relay_verdict *v, const struct smtp_reply *r, const char *subject, const char *request)
{
	enum delivery_status status = status_of_code(r->code);
	const char *dsn = r->dsn;
	char reply[RELAY_TEXT_MAX];

	if (*dsn == '\0')
		dsn = status == DELIVERY_SENT      ? "2.0.0"
		      : status == DELIVERY_BOUNCED ? "5.0.0"
		      : r->code / 100 == 4         ? "4.0.0"
						   : "4.5.0";
	snprintf(reply, sizeof reply, "%d %s%s%.*s", r->code, r->dsn, r->dsn[0] != '\0' ? " " : "",
	    VIEW_ARG(buf_view(&r->text)));
	if (status == DELIVERY_SENT)
		relay_verdict_set(v, status, dsn, "%s", reply);
	else if (request == NULL)
		relay_verdict_set(v, status, dsn, "%s: %.800s", subject, reply);
	else
		relay_verdict_set(
		    v, status, dsn, "%s: %.600s (in reply to %s)", subject, reply, request);
	v->code = r->code;
}

void
relay_verdict_soften(struct relay_verdict *v)
{
	if (v->status == DELIVERY_BOUNCED)
		v->status = DELIVERY_DEFERRED;
	if (v->dsn[0] == '5')
		v->dsn[0] = '4';
}
