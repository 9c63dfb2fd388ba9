#include "smtpd/explain.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/smtpd.h"
#include "common/log/log.h"
#include "common/proto/address.h"
#include "common/proto/reply.h"
#include "smtpd/policy_service.h"
#include "smtpd/dnsbl.h"
#include "smtpd/restrict_table.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

enum {
	LIFE_MS = 30000,
	SESSIONS_MAX = 4, /* a process */
	STEPS_MAX = 4096,
	VALUE_MAX = 2000, /* of one particular */
	LOGIN_MAX = 255,
};

struct smtpd_explain {
	LIST_ENTRY(smtpd_explain) link;
	struct smtpd_server *server;
	struct ipc_conn *tool;         /* owned; NULL: it goes */
	struct smtpd_session *session; /* owned; NULL: not begun, or ended */
	struct loop_timer life;
	unsigned flags, nsteps;
};

static void
explain_free(struct smtpd_explain *x)
{
	loop_timer_stop(&x->life);
	LIST_REMOVE(x, link);
	x->server->nexplained--;
	x->tool = NULL;
	if (x->session != NULL)
		smtpd_session_free(x->session);
	free(x);
}

/* --- steps ---------------------------------------------------------------------------------------- */

/* A value's end is not worth a lost step. */
static void
put_value(struct ipc_out *o, const char *value)
{
	size_t len = strlen(value);

	ipc_put_view_str(o, view_make(value, len < VALUE_MAX ? len : VALUE_MAX));
}

static struct smtpd_explain *
step_begin(struct smtpd_session *s, const char *step, struct ipc_out *o)
{
	struct smtpd_explain *x = s->explain;

	if (x == NULL || x->tool == NULL || x->nsteps == STEPS_MAX)
		return NULL;
	if (++x->nsteps == STEPS_MAX)
		step = "too_many_steps";
	ipc_out_init(o, SMTPD_STEP);
	ipc_put_str(o, smtpd_session_where(s));
	ipc_put_str(o, step);
	return x;
}

static void
put(struct ipc_out *o, const char *name, const char *value)
{
	if (value == NULL)
		return;
	ipc_put_str(o, name);
	put_value(o, value);
}

void
smtpd_explain_pairs(
    struct smtpd_session *s, const char *step, const char *const *pairs, size_t count)
{
	struct ipc_out o;
	struct smtpd_explain *x = step_begin(s, step, &o);

	if (x == NULL)
		return;
	for (size_t i = 0; i + 1 < count; i += 2)
		put(&o, pairs[i], pairs[i + 1]);
	ipc_conn_send(x->tool, &o);
}

void
smtpd_explain_reply(struct smtpd_session *s, int code, const char *text)
{
	char digits[12], dsn[12];
	size_t len;

	if (s->explain == NULL)
		return;
	len = enhanced_code_length(view_of(text));
	snprintf(digits, sizeof digits, "%d", code);
	snprintf(dsn, sizeof dsn, "%.*s", (int)len, text);
	text += len;
	smtpd_explain_step(
	    s, "reply", "code", digits, "dsn", dsn, "text", text + strspn(text, " "));
}

static const char *
result_word(enum lookup_result r)
{
	return r == LOOKUP_FOUND ? "found" : r == LOOKUP_NONE ? "none" : "temporary";
}

void
smtpd_explain_lookup(struct smtpd_session *s, const struct smtpd_tables *t, enum lookup_result r,
    const struct lookup_key *keys, size_t which, const char *value)
{
	char text[ADDRESS_MAX + 1];

	if (s->explain == NULL)
		return;
	/* of those that were looked for in vain the first, which is the best one, stands for all */
	snprintf(text, sizeof text, "%.*s", VIEW_ARG(keys[r == LOOKUP_FOUND ? which : 0].text));
	smtpd_explain_step(s, "table", "table", smtpd_tables_name(t), "key", text, "result",
	    result_word(r), "value", r == LOOKUP_FOUND ? value : NULL);
}

/* --- restrictions ------------------------------------------------------------------------------------ */

static const char *
argument_of(const struct restrict_item *it)
{
	return it->tables != NULL    ? smtpd_tables_name(it->tables)
	       : it->site != NULL    ? it->site->domain
	       : it->service != NULL ? policy_service_text(it->service)
				     : NULL;
}

void
smtpd_explain_verdict(struct smtpd_session *s, const struct restrict_ctx *c, const char *verdict)
{
	const struct restrict_item *it = c->item;
	bool is_refusal = strcmp(verdict, "REJECT") == 0 || strcmp(verdict, "WARN") == 0;
	char code[12];

	snprintf(code, sizeof code, "%d", c->reply.code);
	smtpd_explain_step(s, "restriction", "list", smtpd_restriction_param(c->at_list), "name",
	    it->what != NULL ? it->what->name : restrict_class_param(c->env, it->class), "argument",
	    argument_of(it), "verdict", verdict, "code", is_refusal ? code : NULL, "dsn",
	    is_refusal ? c->reply.dsn : NULL, "text", is_refusal ? c->reply.text : NULL);
}

static void
tell_fact(struct smtpd_session *s, const struct restrict_ctx *c)
{
	static const char *const facts[FACT_COUNT] = { "client_name", "client_reverse_name",
		"helo_host", "sender_domain", "sender", "recipient_domain", "recipient" };
	static const char *const words[] = { "unknown", "yes", "no", "temporary", "null_mx", "full",
		"error", "retry" };
	enum restrict_fact_id id = c->question.fact;

	smtpd_explain_step(s, "fact", "fact", facts[id], "result", words[c->facts[id]], "value",
	    id == FACT_CLIENT_NAME      ? c->client_name
	    : id == FACT_CLIENT_REVERSE ? c->reverse_name
					: NULL);
}

static void
tell_hosts(struct smtpd_session *s, const struct restrict_ctx *c)
{
	struct buf list;

	buf_init(&list, VALUE_MAX);
	for (size_t i = 0; i < c->answer.nhosts; i++)
		buf_printf(&list, "%s%s", i > 0 ? " " : "", c->answer.hosts[i]);
	smtpd_explain_step(s, "hosts", "name", c->question.name, "value", buf_cstr(&list));
	buf_clear(&list);
}

void
smtpd_explain_answer(struct smtpd_session *s, const struct restrict_ctx *c, size_t which)
{
	const struct restrict_question *q = &c->question;
	const struct restrict_answer *a = &c->answer;

	if (s->explain == NULL)
		return;
	switch (q->kind) {
	case ASK_FACT:
		tell_fact(s, c);
		break;
	case ASK_TABLE:
		smtpd_explain_lookup(s, q->tables, a->result, q->keys, which, a->value);
		break;
	case ASK_DNSBL:
		smtpd_explain_step(s, "dns_list", "name", q->name, "result", result_word(a->result),
		    "address", a->result == LOOKUP_FOUND ? a->address : NULL, "value",
		    a->result == LOOKUP_FOUND ? a->value : NULL);
		break;
	case ASK_HOSTS:
		tell_hosts(s, c);
		break;
	case ASK_POLICY:
		smtpd_explain_step(s, "policy_service", "name", policy_service_text(q->service),
		    "value", a->value);
		break;
	case ASK_GREYLIST:
	case ASK_VERIFY:
	case ASK_SLEEP:
		break;
	}
}

bool
smtpd_explain_asks_policy(const struct smtpd_session *s)
{
	return s->explain == NULL || (s->explain->flags & SMTPD_EXPLAIN_POLICY) != 0;
}

/* --- the message ---------------------------------------------------------------------------------- */

void
smtpd_explain_envelope(struct smtpd_session *s, const struct envelope *e)
{
	const struct smtpd_verdicts *v = &s->tx->verdicts;
	char limit[24];

	snprintf(
	    limit, sizeof limit, "%llu", (unsigned long long)s->server->conf->message_size_limit);
	smtpd_explain_step(s, "envelope", "sender", e->sender, "message_size_limit", limit,
	    "filter", e->filter[0] != '\0' ? e->filter : NULL, "hold",
	    (e->flags & ENVELOPE_HOLD) ? "yes" : NULL, "discard", v->discard ? "yes" : NULL,
	    "redirect", v->redirect, "tls",
	    (e->flags & ENVELOPE_REQUIRETLS)     ? "required"
	    : (e->flags & ENVELOPE_TLS_OPTIONAL) ? "optional"
						 : NULL);
	for (size_t i = 0; i < v->nprepend; i++)
		smtpd_explain_step(s, "header", "value", v->prepend[i]);
	for (size_t i = 0; i < e->nrcpts; i++) {
		const struct recipient *r = &e->rcpts[i];

		smtpd_explain_step(s, "recipient", "address", r->address, "original",
		    r->orig[0] != '\0' ? r->orig : NULL, "transport", transport_name(r->transport),
		    "nexthop", r->nexthop[0] != '\0' ? r->nexthop : NULL, "sender",
		    r->sender != NULL && r->sender[0] != '\0' ? r->sender : NULL);
	}
}

/* --- the tool --------------------------------------------------------------------------------------- */

static void
answer(struct smtpd_explain *x, uint32_t id, uint32_t status, const char *text)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, text);
	ipc_conn_reply(x->tool, id, &o);
}

static bool
has_control(const char *text)
{
	while ((unsigned char)*text >= ' ' && *text != 127)
		text++;
	return *text != '\0';
}

/* What is wrong with a claim; NULL: nothing. */
static const char *
read_claim(struct smtpd_claim *c, const char *address, uint32_t port, uint32_t flags)
{
	if (!addr_parse(view_of(address), &c->peer) || port > UINT16_MAX)
		return "no such client address";
	addr_set_port(&c->peer, port);
	if (c->name[0] != '\0' && !hostname_is_valid(view_of(c->name), true))
		return "no such client name";
	if (strlen(c->login) > LOGIN_MAX || has_control(c->login))
		return "no such login";
	return (flags & ~(uint32_t)SMTPD_EXPLAIN_FLAGS) != 0 ? "unknown flags" : NULL;
}

static void
on_explain(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct smtpd_explain *x = arg;
	const char *address = ipc_get_str(in), *why;
	uint32_t port = ipc_get_u32(in);
	struct smtpd_claim claim = { .explain = x };
	int fd;

	claim.name = ipc_get_str(in);
	claim.login = ipc_get_str(in);
	x->flags = ipc_get_u32(in);
	claim.has_tls = (x->flags & SMTPD_EXPLAIN_TLS) != 0 || x->server->conf->is_wrapper;
	fd = ipc_get_fd(in);
	why = read_claim(&claim, address, port, x->flags);
	if (why == NULL && x->server->nexplained > SESSIONS_MAX)
		why = "this process explains enough messages now";
	if (why != NULL) {
		fd_close(&fd);
		answer(x, in->id, EX_TEMPFAIL, why);
		return;
	}
	ipc_conn_set_state(c, 2);
	answer(x, in->id, EX_OK, "");
	log_debug("explain: client %s, login \"%s\"", lqs(address), lqs(claim.login));
	smtpd_server_enter_claimed(x->server, fd, &claim);
}

void
smtpd_explain_began(struct smtpd_explain *x, struct smtpd_session *s)
{
	x->session = s;
	s->explain = x;
}

void
smtpd_explain_ended(struct smtpd_session *s)
{
	struct smtpd_explain *x = s->explain;
	struct ipc_out o;

	if (x == NULL)
		return;
	x->session = NULL;
	if (x->tool == NULL)
		return;
	ipc_out_init(&o, SMTPD_EXPLAINED);
	ipc_conn_send(x->tool, &o);
}

static void
on_tool_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)c, (void)why;
	explain_free(arg);
}

static void
on_life(void *arg)
{
	struct smtpd_explain *x = arg;

	ipc_conn_close(x->tool);
	explain_free(x);
}

void
smtpd_explain_open(struct smtpd_server *v, int fd)
{
	static const struct ipc_handler rows[] = {
		{ SMTPD_EXPLAIN, SMTPD_EXPLAIN_SIG, 1, on_explain },
		{ .fn = NULL },
	};
	static const struct ipc_conn_ops ops = { rows, on_tool_gone };
	struct smtpd_explain *x = x_calloc(1, sizeof *x);

	x->server = v;
	x->tool = ipc_conn_new(v->loop, fd, &ops, x);
	LIST_INSERT_HEAD(&v->explained, x, link);
	v->nexplained++;
	loop_timer_init(&x->life, v->loop, on_life, x);
	loop_timer_start(&x->life, LIFE_MS);
}

void
smtpd_explain_clear(struct smtpd_server *v)
{
	struct smtpd_explain *x;

	while ((x = LIST_FIRST(&v->explained)) != NULL)
		on_life(x);
}
