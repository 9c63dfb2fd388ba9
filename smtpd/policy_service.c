#include "smtpd/policy_service.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/ipc/msg/dialer.h"
#include "common/log/log.h"
#include "common/net/stream.h"

#include <stdlib.h>
#include <sys/queue.h>

enum {
	ANSWER_MAX = 8192,
	REQUEST_MAX = 65536,
	IDLE_MAX = 50, /* connections of one service that wait for a question */
};

/* A connection that waits for the next question. */
struct policy_link {
	TAILQ_ENTRY(policy_link) link;
	struct policy_service *service;
	struct stream *stream;  /* owned */
	struct policy_call *call; /* NULL: idle */
	int64_t born_ms;
	unsigned asked;
};
TAILQ_HEAD(policy_links, policy_link);

struct policy_service {
	char *text, *endpoint, *default_action, *context; /* owned */
	int64_t timeout_ms, max_idle_ms, max_ttl_ms, retry_ms;
	unsigned request_limit, try_limit;
	struct policy_links idle;
	size_t nidle;
};

struct policy_call {
	struct policy_service *service;
	struct loop *loop;
	struct ipc_edge *dialer;
	struct buf request;
	struct ipc_call *dialing;   /* owned */
	struct policy_link *link;   /* owned while the question is under way */
	struct loop_timer timer;    /* the time between two tries */
	unsigned tries;
	void (*cb)(void *arg, const char *action);
	void *arg;
};

/* --- the protocol ------------------------------------------------------------------------------------ */

void
policy_put(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "%s=", name);
	for (; value != NULL && *value != '\0'; value++)
		if (*value != '\n' && *value != '\r')
			buf_append_byte(out, *value);
	buf_append_byte(out, '\n');
}

/* The line without its CR, if it has one. */
static struct view
bare_line(struct view line)
{
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	return line;
}

int
policy_parse(struct view input, struct view *action, size_t *used)
{
	struct view rest = input, line;

	*action = view_make("", 0);
	while (view_cut(rest, '\n', &line, &rest)) {
		line = bare_line(line);
		if (line.len == 0) {
			*used = (size_t)(rest.p - input.p);
			return action->len > 0 ? 0 : -1;
		}
		if (view_case_starts(line, "action="))
			*action = view_trim(view_make(line.p + 7, line.len - 7));
	}
	return input.len >= ANSWER_MAX ? -1 : 1;
}

/* --- settings ----------------------------------------------------------------------------------------- */

static int
set_time(int64_t *out_ms, struct view name, struct view value, struct err *err)
{
	int64_t seconds;

	if (!conf_time_parse(value, &seconds))
		return err_set(err, ERR_SYNTAX, "%.*s: \"%.*s\" is not a time", VIEW_ARG(name), VIEW_ARG(value));
	*out_ms = seconds * 1000;
	return 0;
}

static int
set_count(unsigned *out, struct view name, struct view value, struct err *err)
{
	uint64_t n;

	if (!view_u64(value, 1000000, &n))
		return err_set(err, ERR_SYNTAX, "%.*s: \"%.*s\" is not a number", VIEW_ARG(name), VIEW_ARG(value));
	*out = (unsigned)n;
	return 0;
}

static void
set_text(char **out, struct view value)
{
	free(*out);
	*out = x_strndup(value.p, value.len);
}

static int
set_attribute(struct policy_service *p, struct view name, struct view value, struct err *err)
{
	if (view_eq_str(name, "timeout"))
		return set_time(&p->timeout_ms, name, value, err);
	if (view_eq_str(name, "max_idle"))
		return set_time(&p->max_idle_ms, name, value, err);
	if (view_eq_str(name, "max_ttl"))
		return set_time(&p->max_ttl_ms, name, value, err);
	if (view_eq_str(name, "retry_delay"))
		return set_time(&p->retry_ms, name, value, err);
	if (view_eq_str(name, "request_limit"))
		return set_count(&p->request_limit, name, value, err);
	if (view_eq_str(name, "try_limit"))
		return set_count(&p->try_limit, name, value, err);
	if (view_eq_str(name, "default_action"))
		set_text(&p->default_action, value);
	else if (view_eq_str(name, "policy_context"))
		set_text(&p->context, value);
	else
		return err_set(err, ERR_SYNTAX, "check_policy_service: unknown attribute \"%.*s\"", VIEW_ARG(name));
	return 0;
}

/* "inet:host:port, name=value, { name = text with spaces }" */
static int
parse_text(struct policy_service *p, struct view text, struct err *err)
{
	struct view word, name, value;

	if (!conf_next(&text, &word))
		return err_set(err, ERR_SYNTAX, "check_policy_service: no server");
	p->endpoint = x_strndup(word.p, word.len);
	while (conf_next(&text, &word)) {
		if (!view_cut(word, '=', &name, &value))
			return err_set(
			    err, ERR_SYNTAX, "check_policy_service: \"%.*s\" is no name=value", VIEW_ARG(word));
		if (set_attribute(p, view_trim(name), view_trim(value), err) < 0)
			return -1;
	}
	return 0;
}

struct policy_service *
policy_service_new(struct view text, const struct conf *conf, struct err *err)
{
	struct policy_service *p = x_calloc(1, sizeof *p);

	TAILQ_INIT(&p->idle);
	p->text = x_strndup(text.p, text.len);
	p->timeout_ms = conf_seconds(conf, "smtpd_policy_service_timeout") * 1000;
	p->max_idle_ms = conf_seconds(conf, "smtpd_policy_service_max_idle") * 1000;
	p->max_ttl_ms = conf_seconds(conf, "smtpd_policy_service_max_ttl") * 1000;
	p->retry_ms = conf_seconds(conf, "smtpd_policy_service_retry_delay") * 1000;
	p->request_limit = (unsigned)conf_int(conf, "smtpd_policy_service_request_limit");
	p->try_limit = (unsigned)conf_int(conf, "smtpd_policy_service_try_limit");
	p->default_action = x_strdup(conf_str(conf, "smtpd_policy_service_default_action"));
	p->context = x_strdup(conf_str(conf, "smtpd_policy_service_policy_context"));
	if (parse_text(p, text, err) == 0)
		return p;
	policy_service_free(p);
	return NULL;
}

const char *
policy_service_text(const struct policy_service *p)
{
	return p->text;
}

const char *
policy_service_context(const struct policy_service *p)
{
	return p->context;
}

/* --- connections --------------------------------------------------------------------------------------- */

static void
link_free(struct policy_link *l)
{
	stream_free(l->stream);
	free(l);
}

static void
link_leave_idle(struct policy_link *l)
{
	TAILQ_REMOVE(&l->service->idle, l, link);
	l->service->nidle--;
}

void
policy_service_free(struct policy_service *p)
{
	struct policy_link *l;

	if (p == NULL)
		return;
	while ((l = TAILQ_FIRST(&p->idle)) != NULL) {
		link_leave_idle(l);
		link_free(l);
	}
	free(p->text);
	free(p->endpoint);
	free(p->default_action);
	free(p->context);
	free(p);
}

/* The connection has done its work: it waits for the next question, or goes. */
static void
link_release(struct policy_link *l)
{
	struct policy_service *p = l->service;
	/* what is left over would be taken for the answer to somebody else's question */
	bool is_old = stream_input(l->stream).len > 0 || clock_mono_ms() - l->born_ms >= p->max_ttl_ms ||
		      (p->request_limit > 0 && l->asked >= p->request_limit);

	l->call = NULL;
	if (is_old || p->nidle >= IDLE_MAX) {
		link_free(l);
		return;
	}
	stream_set_deadline(l->stream, p->max_idle_ms);
	TAILQ_INSERT_HEAD(&p->idle, l, link);
	p->nidle++;
}

/* --- one question ----------------------------------------------------------------------------------------- */

static void call_try(struct policy_call *call);

void
policy_call_cancel(struct policy_call *call)
{
	if (call == NULL)
		return;
	ipc_call_cancel(call->dialing);
	loop_timer_stop(&call->timer);
	if (call->link != NULL)
		link_free(call->link);
	buf_clear(&call->request);
	free(call);
}

static void
call_done(struct policy_call *call, const char *action)
{
	void (*cb)(void *, const char *) = call->cb;
	void *arg = call->arg;

	policy_call_cancel(call);
	cb(arg, action);
}

/* This try came to nothing. */
static void
call_failed(struct policy_call *call, const char *why)
{
	struct policy_service *p = call->service;
	bool was_idle = call->link != NULL && call->link->asked > 1;
	char *action;

	if (call->link != NULL)
		link_free(call->link);
	call->link = NULL;
	if (was_idle) {
		/* the server had given up the connection meanwhile: that is no try */
		call->tries--;
		call_try(call);
		return;
	}
	log_warn("problem talking to server %s: %s", p->endpoint, lqs(why));
	if (call->tries < p->try_limit) {
		loop_timer_start(&call->timer, p->retry_ms);
		return;
	}
	action = x_strdup(p->default_action);
	call_done(call, action);
	free(action);
}

static void
call_answered(struct policy_call *call, struct view action)
{
	struct policy_link *l = call->link;
	char *text = x_strndup(action.p, action.len);

	call->link = NULL;
	link_release(l);
	call_done(call, text);
	free(text);
}

static void
on_input(void *arg, struct stream *s)
{
	struct policy_link *l = arg;
	struct policy_call *call = l->call;
	struct view action;
	size_t used;
	int r;

	if (call == NULL) {
		/* nobody has asked */
		link_leave_idle(l);
		link_free(l);
		return;
	}
	r = policy_parse(stream_input(s), &action, &used);
	if (r < 0) {
		call_failed(call, "the answer is no policy answer");
	} else if (r == 0) {
		char *copy = x_strndup(action.p, action.len);

		stream_consume(s, used);
		call_answered(call, view_of(copy));
		free(copy);
	}
}

static void
on_close(void *arg, struct stream *s, const struct err *why)
{
	struct policy_link *l = arg;

	(void)s;
	if (l->call != NULL) {
		call_failed(l->call, why->text);
		return;
	}
	link_leave_idle(l);
	link_free(l);
}

static void
link_ask(struct policy_link *l, struct policy_call *call)
{
	l->call = call;
	l->asked++;
	call->link = l;
	stream_set_deadline(l->stream, l->service->timeout_ms);
	stream_write(l->stream, call->request.p, call->request.len);
}

static void
on_dialed(void *arg, struct ipc_in *in)
{
	static const struct stream_limits limits = { ANSWER_MAX, 2 * REQUEST_MAX };
	static const struct stream_ops ops = { on_input, NULL, NULL, on_close };
	struct policy_call *call = arg;
	struct policy_link *l;
	uint32_t status;
	const char *why;

	call->dialing = NULL;
	if (in == NULL) {
		call_failed(call, "no connection");
		return;
	}
	status = ipc_get_u32(in);
	why = ipc_get_str(in);
	if (status != DIALER_OK) {
		call_failed(call, why);
		return;
	}
	l = x_calloc(1, sizeof *l);
	l->service = call->service;
	l->born_ms = clock_mono_ms();
	l->stream = stream_new(call->loop, ipc_get_fd(in), &limits, &ops, l);
	link_ask(l, call);
}

static void
call_try(struct policy_call *call)
{
	struct policy_service *p = call->service;
	struct policy_link *l = TAILQ_FIRST(&p->idle);
	struct ipc_out o;

	call->tries++;
	if (l != NULL) {
		link_leave_idle(l);
		link_ask(l, call);
		return;
	}
	ipc_out_init(&o, DIALER_CONNECT);
	ipc_put_str(&o, p->endpoint);
	call->dialing =
	    ipc_edge_call(call->dialer, &o, DIALER_ANSWER_SIG, p->timeout_ms, on_dialed, call);
}

static void
on_retry(void *arg)
{
	call_try(arg);
}

struct policy_call *
policy_call_start(struct policy_service *p, struct loop *l, struct ipc_edge *dialer,
    struct view request, void (*cb)(void *arg, const char *action), void *arg)
{
	struct policy_call *call = x_calloc(1, sizeof *call);

	call->service = p;
	call->loop = l;
	call->dialer = dialer;
	call->cb = cb;
	call->arg = arg;
	buf_init(&call->request, REQUEST_MAX);
	buf_append_view(&call->request, request);
	loop_timer_init(&call->timer, l, on_retry, call);
	call_try(call);
	return call;
}
