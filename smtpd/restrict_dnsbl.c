/* reject_rbl_client, reject_rhsbl_*, permit_dnswl_client, permit_rhswl_client; the reply of default_rbl_reply. */
#include "common/base/mem.h"
#include "smtpd/dnsbl.h"
#include "smtpd/restrict_table.h"

#include <stdio.h>

enum { REPLY_MAX = 600 };

/* --- the reply: $names of default_rbl_reply -------------------------------------------------------- */

struct rbl_names {
	const struct restrict_ctx *c;
	const char *class, *what, *domain, *text;
	char code[4];
};

static const char *
name_value(const struct rbl_names *n, struct view name)
{
	const struct restrict_ctx *c = n->c;
	const struct {
		const char *name, *value;
	} rows[] = {
		{ "rbl_class", n->class },
		{ "rbl_code", n->code },
		{ "rbl_domain", n->domain },
		{ "rbl_reason", n->text },
		{ "rbl_txt", n->text },
		{ "rbl_what", n->what },
		{ "client_address", c->client_ip },
		{ "client_name", c->client_name },
		{ "helo_name", c->helo },
		{ "sender", c->sender },
		{ "recipient", c->recipient },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (view_eq_str(name, rows[i].name))
			return rows[i].value != NULL ? rows[i].value : "";
	return "";
}

static size_t
name_length(struct view v)
{
	size_t n = 0;

	while (n < v.len && (ascii_is_alnum((unsigned char)v.p[n]) || v.p[n] == '_'))
		n++;
	return n;
}

static void expand(struct buf *out, struct view in, const struct rbl_names *n, int depth);

/* "${name}", "${name?text}", "${name:text}": what stands between the braces. */
static void
expand_braced(struct buf *out, struct view inner, const struct rbl_names *n, int depth)
{
	size_t len = name_length(inner);
	const char *value = name_value(n, view_make(inner.p, len));
	struct view rest = view_make(inner.p + len, inner.len - len);

	if (rest.len == 0)
		buf_append_str(out, value);
	else if (rest.p[0] == (value[0] != '\0' ? '?' : ':'))
		expand(out, view_make(rest.p + 1, rest.len - 1), n, depth + 1);
}

static void
expand(struct buf *out, struct view in, const struct rbl_names *n, int depth)
{
	struct view head;

	while (depth < 5 && view_cut(in, '$', &head, &in)) {
		const char *end = in.len > 0 && in.p[0] == '{' ? memchr(in.p, '}', in.len) : NULL;
		size_t len = name_length(in);

		buf_append_view(out, head);
		if (end != NULL) {
			expand_braced(out, view_make(in.p + 1, (size_t)(end - in.p) - 1), n, depth);
			len = (size_t)(end - in.p) + 1;
		} else {
			buf_append_str(out, name_value(n, view_make(in.p, len)));
		}
		in = view_make(in.p + len, in.len - len);
	}
	buf_append_view(out, in);
}

static enum restrict_result
refuse_listed(struct restrict_ctx *c, const struct restrict_item *it, const char *template)
{
	struct rbl_names n = { .c = c, .class = restrict_class_name(it->what->subject),
		.what = c->kept[0], .domain = it->site->domain, .text = c->kept[1] };
	struct buf reply;
	struct action a;
	enum restrict_result r;

	snprintf(n.code, sizeof n.code, "%d", c->env->codes.rbl);
	buf_init(&reply, REPLY_MAX);
	expand(&reply, view_of(template), &n, 0);
	action_parse(buf_view(&reply), &a);
	if (a.code == 0) /* a template without $rbl_code */
		a = (struct action){ .text = buf_view(&reply) };
	r = restrict_refuse(c, a.code != 0 ? a.code : c->env->codes.rbl,
	    a.dsn[0] != '\0' ? a.dsn : "5.7.1", "%.*s", VIEW_ARG(a.text));
	buf_clear(&reply);
	return r;
}

/* --- the question ----------------------------------------------------------------------------------- */

/* What is looked for in the list: the client's address, or a domain.  NULL and *r: nothing, or a fact is needed. */
static const char *
listed_thing(struct restrict_ctx *c, const struct restrict_item *it, enum restrict_result *r)
{
	*r = RESULT_DUNNO;
	if (it->what->hosts == HOSTS_NONE)
		return c->client_ip;
	return restrict_subject_domain(c, it->what->subject, r);
}

static enum restrict_result
ask_dnsbl(struct restrict_ctx *c, const struct restrict_item *it)
{
	enum restrict_result r;
	const char *what = listed_thing(c, it, &r);
	bool ok;

	if (what == NULL)
		return r;
	ok = it->what->hosts == HOSTS_NONE
		 ? dnsbl_address_name(c->client, it->site->domain, c->question.name)
		 : dnsbl_domain_name(what, it->site->domain, c->question.name);
	if (!ok)
		return RESULT_DUNNO;
	c->kept[0] = arena_strdup(&c->arena, what);
	c->question.kind = ASK_DNSBL;
	c->question.site = it->site;
	return c->kept[0] != NULL ? RESULT_NEED : RESULT_DUNNO;
}

/* The domain's own reply, then everybody's (rbl_reply_maps). */
static enum restrict_result
ask_reply(struct restrict_ctx *c, const struct restrict_item *it)
{
	c->question.kind = ASK_TABLE;
	c->question.tables = c->env->rbl_reply_maps;
	c->question.keys[0] = (struct lookup_key){ .text = view_of(it->site->domain) };
	c->question.nkeys = 1;
	return RESULT_NEED;
}

enum restrict_result
reject_dnsbl(struct restrict_ctx *c)
{
	const struct restrict_item *it = c->item;
	if (c->step == 0)
		return ask_dnsbl(c, it);
	if (c->step == 2)
		return refuse_listed(
		    c, it, c->answer.result == LOOKUP_FOUND ? c->answer.value : c->env->rbl_reply);
	/* a list that does not answer lists nobody */
	if (c->answer.result != LOOKUP_FOUND)
		return RESULT_DUNNO;
	c->rbl_score += it->site->weight;
	if (c->rbl_score < c->env->rbl_threshold)
		return RESULT_DUNNO;
	c->kept[1] = c->answer.value;
	return c->env->rbl_reply_maps != NULL ? ask_reply(c, it)
					      : refuse_listed(c, it, c->env->rbl_reply);
}

enum restrict_result
permit_dnswl(struct restrict_ctx *c)
{
	const struct restrict_item *it = c->item;
	if (c->step == 0)
		return ask_dnsbl(c, it);
	/* whoever would have been let in must not be refused for good because a list is down */
	if (c->answer.result == LOOKUP_TEMP)
		c->defer_if_reject = true;
	return c->answer.result == LOOKUP_FOUND ? RESULT_OK : RESULT_DUNNO;
}
