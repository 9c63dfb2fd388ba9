#include "smtpd/restrict.h"
#include "common/base/mem.h"
#include "smtpd/restrict_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_MAX = 1 << 20 }; /* keys and answers of one run */

/* --- the words ------------------------------------------------------------------------------------ */

/* What a list is about; with smtpd_delay_reject the list is named, not the command. */
static enum restrict_subject
list_about(enum restrict_list_id id)
{
	switch (id) {
	case RESTRICT_CLIENT:
		return SUBJECT_CLIENT;
	case RESTRICT_HELO:
		return SUBJECT_HELO;
	case RESTRICT_SENDER:
	case RESTRICT_UNLISTED_SENDER:
		return SUBJECT_SENDER;
	default:
		return SUBJECT_RECIPIENT;
	}
}

static const char *
list_class(enum restrict_list_id id)
{
	return id == RESTRICT_DATA          ? "Data command"
	       : id == RESTRICT_END_OF_DATA ? "End-of-data command"
					    : restrict_class_name(list_about(id));
}

static const char *
list_subject(struct restrict_ctx *c)
{
	const char *text = c->at_list == RESTRICT_DATA ? "DATA"
			   : c->at_list == RESTRICT_END_OF_DATA
			       ? "END-OF-MESSAGE"
			       : restrict_subject_text(c, list_about(c->at_list));

	return text != NULL ? text : "";
}

/* Those of the innermost table that has answered with a list, else those of the list itself. */
static void
present_words(struct restrict_ctx *c, const char **subject, const char **class)
{
	for (size_t i = c->depth; i > 0; i--)
		if (c->frames[i - 1].subject != NULL) {
			*subject = c->frames[i - 1].subject;
			*class = c->frames[i - 1].class;
			return;
		}
	*subject = list_subject(c);
	*class = list_class(c->at_list);
}

/* --- refusals ------------------------------------------------------------------------------------- */

enum restrict_result
restrict_refuse(struct restrict_ctx *c, int code, const char *dsn, const char *fmt, ...)
{
	va_list ap;

	c->reply.code = code;
	snprintf(c->reply.dsn, sizeof c->reply.dsn, "%s", dsn);
	/* a code that main.cf has changed, or that an admin has given, decides whether it is for now (RFC 3463 3.1) */
	c->reply.dsn[0] = code >= 500 ? '5' : '4';
	va_start(ap, fmt);
	vsnprintf(c->reply.text, sizeof c->reply.text, fmt, ap);
	va_end(ap);
	return RESULT_REJECT;
}

enum restrict_result
restrict_refuse_list(struct restrict_ctx *c, int code, const char *dsn, const char *why)
{
	const char *subject, *class;

	present_words(c, &subject, &class);
	return restrict_refuse(c, code, dsn, "<%.400s>: %s rejected: %s", subject, class, why);
}

enum restrict_result
restrict_defer_if_permit(struct restrict_ctx *c, int code, const char *dsn, const char *fmt, ...)
{
	struct restrict_reply *r = c->is_warning ? &c->reply : &c->deferral;
	va_list ap;

	if (c->defer_if_permit && !c->is_warning)
		return RESULT_DUNNO; /* the first reason is the one reported */
	c->defer_if_permit |= !c->is_warning;
	r->code = code;
	snprintf(r->dsn, sizeof r->dsn, "%s", dsn);
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof r->text, fmt, ap);
	va_end(ap);
	return c->is_warning ? RESULT_REJECT : RESULT_DUNNO;
}

enum restrict_result
restrict_temporary(struct restrict_ctx *c, const char *subject)
{
	return restrict_refuse(c, 451, "4.3.0", "<%.400s>: Temporary lookup failure", subject);
}

bool
restrict_have(struct restrict_ctx *c, enum restrict_fact_id id)
{
	c->question.kind = ASK_FACT;
	c->question.fact = id;
	return c->facts[id] != FACT_UNKNOWN;
}

/* --- frames --------------------------------------------------------------------------------------- */

static struct restrict_frame *
push(struct restrict_ctx *c, const struct restrict_list *list)
{
	struct restrict_frame *f;

	if (c->depth == RESTRICT_DEPTH)
		return NULL;
	f = &c->frames[c->depth++];
	*f = (struct restrict_frame){ .list = list, .warn = c->is_warning };
	return f;
}

static void
pop(struct restrict_ctx *c)
{
	restrict_list_clear(&c->frames[--c->depth].own);
}

static enum restrict_result
misconfigured(struct restrict_ctx *c)
{
	return restrict_refuse(c, 451, "4.3.5", "Server configuration error");
}

/* A class, in place of the item that named it. */
static enum restrict_result
call_class(struct restrict_ctx *c, const struct restrict_list *class)
{
	return push(c, class) != NULL ? RESULT_CALL : misconfigured(c);
}

/* --- access(5) ------------------------------------------------------------------------------------ */

/* What a table answered is a list of restrictions of its own. */
static enum restrict_result
call_answer(struct restrict_ctx *c, struct view names, const char *subject, const char *class)
{
	const char *text = arena_strndup(&c->arena, names.p, names.len);
	struct restrict_frame *f = push(c, NULL);
	struct err err;

	if (text == NULL || f == NULL)
		return misconfigured(c);
	f->list = &f->own;
	f->subject = arena_strdup(&c->arena, subject);
	f->class = class;
	if (restrict_list_parse(&f->own, c->at_list, text, c->env, &err) == 0)
		return RESULT_CALL;
	pop(c);
	if (c->on_action != NULL)
		c->on_action(c->arg, ACTION_RESTRICTIONS, text, err.text);
	return misconfigured(c);
}

/* "<subject>: Client host triggers HOLD action", or with the admin's words */
static void
report_action(
    struct restrict_ctx *c, const struct action *a, const char *subject, const char *class)
{
	const char *word = action_word(a->kind);
	bool is_argument = a->kind == ACTION_REDIRECT || a->kind == ACTION_FILTER ||
			   a->kind == ACTION_PREPEND || a->kind == ACTION_BCC;
	char *argument = x_strndup(a->text.p, a->text.len), *text;

	if (is_argument)
		text = x_asprintf("<%s>: %s triggers %s %s", subject, class, word, argument);
	else if (argument[0] != '\0')
		text = x_asprintf("<%s>: %s %s", subject, class, argument);
	else
		text = x_asprintf("<%s>: %s triggers %s action", subject, class, word);
	if (c->on_action != NULL)
		c->on_action(c->arg, a->kind, argument, text);
	free(text);
	free(argument);
}

static enum restrict_result
act_refuse(struct restrict_ctx *c, const struct action *a, int code, const char *dsn,
    const char *subject, const char *class)
{
	struct view why = a->text.len > 0 ? a->text : view_of("Access denied");

	return restrict_refuse(c, a->code != 0 ? a->code : code, a->dsn[0] != '\0' ? a->dsn : dsn,
	    "<%.400s>: %s rejected: %.*s", subject, class, VIEW_ARG(why));
}

enum restrict_result
restrict_act(struct restrict_ctx *c, const char *value, const char *subject, const char *class)
{
	const struct restrict_codes *codes = &c->env->codes;
	struct action a;

	action_parse(view_of(value), &a);
	switch (a.kind) {
	case ACTION_OK:
		return RESULT_OK;
	case ACTION_DUNNO:
		return RESULT_DUNNO;
	case ACTION_REJECT:
		return act_refuse(c, &a, codes->access_reject, "5.7.1", subject, class);
	case ACTION_DEFER:
		return act_refuse(c, &a, codes->access_defer, "4.7.1", subject, class);
	case ACTION_DEFER_IF_PERMIT:
		return restrict_defer_if_permit(c, 450, a.dsn[0] != '\0' ? a.dsn : "4.7.1",
		    "<%.400s>: %s rejected: %.*s", subject, class,
		    VIEW_ARG((a.text.len > 0 ? a.text : view_of("Service unavailable"))));
	case ACTION_DEFER_IF_REJECT:
		c->defer_if_reject = true;
		return RESULT_DUNNO;
	case ACTION_RESTRICTIONS:
		return call_answer(c, a.text, subject, class);
	default:
		report_action(c, &a, subject, class);
		return a.kind == ACTION_DISCARD ? RESULT_OK : RESULT_DUNNO;
	}
}

enum restrict_result
restrict_act_list(struct restrict_ctx *c, const char *value)
{
	const char *subject, *class;

	present_words(c, &subject, &class);
	return restrict_act(c, value, subject, class);
}

/* --- the run -------------------------------------------------------------------------------------- */

void
restrict_start(struct restrict_ctx *c, unsigned lists)
{
	arena_init(&c->arena, ARENA_MAX);
	c->todo = lists;
	c->at_list = RESTRICT_CLIENT;
	c->depth = 0;
	c->step = 0;
	c->rbl_score = 0;
	c->is_answered = c->defer_if_permit = c->defer_if_reject = c->is_deferral = false;
	c->reply.code = 0;
}

void
restrict_clear(struct restrict_ctx *c)
{
	while (c->depth > 0)
		pop(c);
	arena_clear(&c->arena);
}

static const char *
keep(struct restrict_ctx *c, const char *s)
{
	const char *copy = s != NULL ? arena_strdup(&c->arena, s) : "";

	return copy != NULL ? copy : "";
}

void
restrict_answer(struct restrict_ctx *c, const struct restrict_answer *a)
{
	const char **hosts = a->nhosts > 0 ? arena_alloc(&c->arena, a->nhosts * sizeof *hosts) : NULL;

	c->answer = (struct restrict_answer){ .result = a->result,
		.value = keep(c, a->value), .address = keep(c, a->address), .hosts = hosts };
	for (size_t i = 0; hosts != NULL && i < a->nhosts; i++)
		hosts[c->answer.nhosts++] = keep(c, a->hosts[i]);
	/* no room for it: an answer that is lost must not look like none */
	if (a->value != NULL && strcmp(c->answer.value, a->value) != 0) {
		c->answer.result = LOOKUP_TEMP;
		c->answer.value = "451 4.3.5 Server configuration error";
	}
	c->is_answered = true;
	c->step++;
}

static void
tell_verdict(struct restrict_ctx *c, enum restrict_result r, bool defers)
{
	static const char *const words[] = { [RESULT_DUNNO] = "DUNNO",
		[RESULT_OK] = "OK",
		[RESULT_REJECT] = "REJECT",
		[RESULT_CALL] = "LIST" };

	if (c->on_verdict == NULL || r == RESULT_NEED)
		return;
	c->on_verdict(c->arg, r == RESULT_REJECT && c->is_warning ? "WARN"
			      : r == RESULT_DUNNO && defers       ? "DEFER_IF_PERMIT"
								  : words[r]);
}

static enum restrict_result
run_item(struct restrict_ctx *c, const struct restrict_item *it)
{
	bool deferred = c->defer_if_permit;
	enum restrict_result r;

	c->item = it;
	r = it->what != NULL ? it->what->fn(c) : call_class(c, it->class);
	tell_verdict(c, r, c->defer_if_permit && !deferred);
	if (r == RESULT_REJECT && c->is_warning) {
		if (c->on_warn != NULL)
			c->on_warn(c->arg, &c->reply);
		r = RESULT_DUNNO;
	}
	return r;
}

/* One list.  RESULT_OK and RESULT_DUNNO at its end are the same to the caller. */
static enum restrict_result
run_list(struct restrict_ctx *c)
{
	while (c->depth > 0) {
		struct restrict_frame *f = &c->frames[c->depth - 1];
		enum restrict_result r;

		if (f->at == f->list->count) {
			pop(c);
			continue;
		}
		c->is_warning = f->warn || f->list->items[f->at].warn;
		r = run_item(c, &f->list->items[f->at]);
		if (r == RESULT_NEED) {
			c->is_answered = false;
			return r;
		}
		f->at++;
		c->step = 0;
		c->is_answered = false;
		if (r == RESULT_OK || r == RESULT_REJECT)
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
	for (; c->at_list < RESTRICT_LISTS; c->at_list++) {
		enum restrict_result r;

		if (!(c->todo & (1u << c->at_list)))
			continue;
		if (c->depth == 0) {
			c->is_warning = false;
			push(c, &c->lists[c->at_list]);
		}
		r = run_list(c);
		if (r == RESULT_NEED)
			return RESTRICT_NEED;
		while (c->depth > 0)
			pop(c);
		if (r == RESULT_REJECT)
			return refused(c);
	}
	if (c->defer_if_permit) {
		c->is_deferral = true;
		c->reply = c->deferral;
		return RESTRICT_REJECT;
	}
	return RESTRICT_PERMIT;
}
