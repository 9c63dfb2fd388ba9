#include "smtpd/restrict.h"
#include "common/base/mem.h"
#include "common/config/conf.h"
#include "smtpd/restrict_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int
set_unknown(const char *name, struct err *err)
{
	const char *near = restriction_nearest(name);

	return err_set(err, ERR_SYNTAX, "unknown restriction \"%s\"%s%s%s", name,
	    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

int
restrict_list_parse(struct restrict_list *l, const char *names, struct err *err)
{
	struct view rest = view_of(names), item;
	bool warn_next = false;
	int r = 0;

	*l = (struct restrict_list){ 0 };
	while (r == 0 && conf_next(&rest, &item)) {
		char *name = x_strndup(item.p, item.len);
		const struct restriction *what = restriction_find(name);

		if (strcmp(name, "warn_if_reject") == 0) {
			warn_next = true;
		} else if (what == NULL) {
			r = set_unknown(name, err);
		} else {
			l->items = x_realloc(l->items, l->count + 1, sizeof *l->items);
			l->items[l->count++] = (struct restrict_item){ what, warn_next };
			warn_next = false;
		}
		free(name);
	}
	if (r < 0)
		restrict_list_clear(l);
	return r;
}

void
restrict_list_clear(struct restrict_list *l)
{
	x_free(&l->items);
	l->count = 0;
}

/* The words for what a list is about; with smtpd_delay_reject they name the list, not the command. */
static const char *
list_class(enum restrict_list_id id)
{
	switch (id) {
	case RESTRICT_CLIENT:
		return "Client host";
	case RESTRICT_HELO:
		return "Helo command";
	case RESTRICT_SENDER:
		return "Sender address";
	case RESTRICT_DATA:
		return "Data command";
	case RESTRICT_END_OF_DATA:
		return "End-of-data command";
	default:
		return "Recipient address";
	}
}

static void
list_subject(const struct restrict_ctx *c, char *out, size_t size)
{
	switch (c->at_list) {
	case RESTRICT_CLIENT:
		snprintf(out, size, "%s[%s]", c->client_name, c->client_ip);
		break;
	case RESTRICT_HELO:
		snprintf(out, size, "%s", c->helo != NULL ? c->helo : "");
		break;
	case RESTRICT_SENDER:
		snprintf(out, size, "%s", c->sender != NULL ? c->sender : "");
		break;
	case RESTRICT_DATA:
		snprintf(out, size, "DATA");
		break;
	case RESTRICT_END_OF_DATA:
		snprintf(out, size, "END-OF-MESSAGE");
		break;
	default:
		snprintf(out, size, "%s", c->recipient != NULL ? c->recipient : "");
	}
}

enum restrict_result
restrict_refuse(struct restrict_ctx *c, int code, const char *dsn, const char *fmt, ...)
{
	va_list ap;

	c->reply.code = code;
	snprintf(c->reply.dsn, sizeof c->reply.dsn, "%s", dsn);
	va_start(ap, fmt);
	vsnprintf(c->reply.text, sizeof c->reply.text, fmt, ap);
	va_end(ap);
	return RESULT_REJECT;
}

enum restrict_result
restrict_refuse_list(struct restrict_ctx *c, int code, const char *dsn, const char *why)
{
	char subject[400];

	list_subject(c, subject, sizeof subject);
	return restrict_refuse(
	    c, code, dsn, "<%s>: %s rejected: %s", subject, list_class(c->at_list), why);
}

enum restrict_result
restrict_defer_if_permit(struct restrict_ctx *c, const char *dsn, const char *fmt, ...)
{
	struct restrict_reply *r = c->is_warning ? &c->reply : &c->deferral;
	va_list ap;

	if (c->defer_if_permit && !c->is_warning)
		return RESULT_DUNNO; /* the first reason is the one reported */
	c->defer_if_permit |= !c->is_warning;
	r->code = 450;
	snprintf(r->dsn, sizeof r->dsn, "%s", dsn);
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof r->text, fmt, ap);
	va_end(ap);
	return c->is_warning ? RESULT_REJECT : RESULT_DUNNO;
}

void
restrict_start(struct restrict_ctx *c, unsigned lists)
{
	c->todo = lists;
	c->at_list = RESTRICT_CLIENT;
	c->at_item = 0;
	c->defer_if_permit = c->defer_if_reject = false;
	c->reply.code = 0;
}

static enum restrict_result
run_item(struct restrict_ctx *c, const struct restrict_item *it)
{
	enum restrict_result r;

	c->is_warning = it->warn;
	r = it->what->fn(c);

	if (r == RESULT_REJECT && it->warn) {
		if (c->on_warn != NULL)
			c->on_warn(c->on_warn_arg, &c->reply);
		r = RESULT_DUNNO;
	}
	return r;
}

/* One list from at_item on.  RESULT_OK and RESULT_DUNNO at its end are the same to the caller. */
static enum restrict_result
run_list(struct restrict_ctx *c)
{
	const struct restrict_list *l = &c->lists[c->at_list];

	for (; c->at_item < l->count; c->at_item++) {
		enum restrict_result r = run_item(c, &l->items[c->at_item]);

		if (r != RESULT_DUNNO)
			return r;
	}
	return RESULT_DUNNO;
}

static enum restrict_verdict
refused(struct restrict_ctx *c)
{
	/* Postfix: defer_if_reject turns a permanent refusal into a temporary one */
	if (c->defer_if_reject && c->reply.code >= 500) {
		c->reply.code = 450;
		c->reply.dsn[0] = '4';
	}
	return RESTRICT_REJECT;
}

enum restrict_verdict
restrict_run(struct restrict_ctx *c)
{
	for (; c->at_list < RESTRICT_LISTS; c->at_list++, c->at_item = 0) {
		enum restrict_result r;

		if (!(c->todo & (1u << c->at_list)))
			continue;
		r = run_list(c);
		if (r == RESULT_NEED)
			return RESTRICT_NEED;
		if (r == RESULT_REJECT)
			return refused(c);
	}
	if (c->defer_if_permit) {
		c->reply = c->deferral;
		return RESTRICT_REJECT;
	}
	return RESTRICT_PERMIT;
}
