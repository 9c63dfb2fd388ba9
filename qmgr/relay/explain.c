#include "qmgr/relay/explain.h"
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/relay.h"
#include "common/net/addr.h"
#include "qmgr/relay/nexthop.h"
#include "qmgr/relay/policy_lookup.h"
#include "qmgr/relay/relay_conf.h"
#include "qmgr/relay/source.h"

#include <stdio.h>
#include <stdlib.h>

struct relay_explanation {
	LIST_ENTRY(relay_explanation) link;
	const struct relay_env *env; /* borrowed, as the connection */
	struct ipc_conn *conn;
	uint32_t request, flags;
	bool is_lmtp;
	struct relay_nexthop hop;
	struct ipc_out answer;
	char *nexthop; /* owned, as the questions */
	struct relay_policy_lookup *lookup;
	struct relay_source_lookup *source_lookup;
};

static void
put(struct relay_explanation *x, const char *name, const char *value)
{
	ipc_put_str(&x->answer, name);
	ipc_put_str(&x->answer, value);
}

static void
explanation_free(struct relay_explanation *x)
{
	LIST_REMOVE(x, link);
	free(x->nexthop);
	free(x);
}

static void
end(struct relay_explanation *x)
{
	ipc_conn_reply(x->conn, x->request, &x->answer);
	explanation_free(x);
}

/* The lines of p->match as words. */
static void
put_matches(struct relay_explanation *x, const struct relay_tls_policy *p)
{
	char *words = x_strndup(p->match.len > 0 ? p->match.p : "", p->match.len);

	for (char *c = words; *c != '\0'; c++)
		*c = *c != '\n' ? *c : c[1] != '\0' ? ' ' : '\0';
	put(x, "tls.match", words);
	free(words);
}

/* As a job reads it (job.c, begin). */
static void
put_policy(struct relay_explanation *x, const char *entry)
{
	const struct relay_conf *conf = x->env->conf;
	bool is_optional = (x->flags & ENVELOPE_TLS_OPTIONAL) != 0;
	struct relay_tls_policy policy = { 0 };
	struct err err;

	if (entry != NULL)
		put(x, "tls.policy", entry);
	if (relay_tls_policy_read(&conf->tls_defaults, entry,
		is_optional ? RELAY_TLS_MAY : RELAY_TLS_SECURE, &policy, &err) < 0) {
		put(x, "tls.error", err.text);
	} else {
		put(x, "tls.level", relay_tls_level_name(policy.level));
		if (policy.match.len > 0)
			put_matches(x, &policy);
		if (policy.servername[0] != '\0')
			put(x, "tls.servername", policy.servername);
		if (relay_job_may_have_sts(
			x->env, &x->hop, x->is_lmtp, entry != NULL, is_optional, policy.level))
			put(x, "tls.mta_sts", "asked for");
		if (x->flags & ENVELOPE_REQUIRETLS)
			put(x, "tls.required", "yes");
	}
	relay_tls_policy_clear(&policy);
}

static void
on_policy(void *arg, bool is_known, const char *entry)
{
	struct relay_explanation *x = arg;

	x->lookup = NULL;
	if (is_known)
		put_policy(x, entry);
	else
		put(x, "tls.error", "smtp_tls_policy_maps do not answer: mail waits");
	end(x);
}

static void
explain_policy(struct relay_explanation *x)
{
	if (x->is_lmtp) {
		put(x, "tls.level", relay_tls_level_name(RELAY_TLS_NONE));
		end(x);
	} else if (x->env->conf->has_tls_policies) {
		x->lookup = relay_policy_lookup_start(x->env->authd, x->nexthop, on_policy, x);
	} else {
		put_policy(x, NULL);
		end(x);
	}
}

/* Which address of a pool it will be follows from the queue id, which an explanation has not. */
static void
on_source(void *arg, bool is_known, const char *value)
{
	struct relay_explanation *x = arg;

	x->source_lookup = NULL;
	if (!is_known)
		put(x, "source.error", "smtp_bind_address_maps do not answer: mail waits");
	else if (value != NULL)
		put(x, "source.pool", value);
	explain_policy(x);
}

static void
put_address(struct relay_explanation *x, const char *name, int family)
{
	const struct relay_conf *conf = x->env->conf;
	const struct sockaddr_storage *a =
	    relay_source_for(x->is_lmtp ? &conf->lmtp_source : &conf->source, family);
	char text[ADDR_TEXT];

	if (a != NULL)
		put(x, name, addr_text(a, text));
}

static void
put_hop(struct relay_explanation *x)
{
	char port[12];

	snprintf(port, sizeof port, "%u", x->hop.port);
	put(x, "host", x->hop.host);
	put(x, "port", port);
	put(x, "mx", x->hop.use_mx ? "yes" : "no");
	put_address(x, "source.ipv4", AF_INET);
	put_address(x, "source.ipv6", AF_INET6);
}

void
relay_explain(const struct relay_env *env, struct ipc_conn *c, struct ipc_in *in,
    struct relay_explanation_list *list)
{
	struct relay_explanation *x = x_calloc(1, sizeof *x);
	const char *sender, *login;
	struct err err;

	x->env = env;
	x->conn = c;
	x->request = in->id;
	x->is_lmtp = ipc_get_u32(in) == RELAY_LMTP;
	x->nexthop = x_strdup(ipc_get_str(in));
	x->flags = ipc_get_u32(in);
	sender = ipc_get_str(in);
	login = ipc_get_str(in);
	LIST_INSERT_HEAD(list, x, link);
	ipc_reply_init(&x->answer);
	if (relay_nexthop_parse(x->nexthop, x->is_lmtp ? env->conf->lmtp_port : env->conf->port,
		&x->hop, &err) < 0) {
		put(x, "relay_error", err.text);
		end(x);
		return;
	}
	/* a server that was named, not found by a domain */
	x->hop.use_mx &= !x->is_lmtp;
	put_hop(x);
	if (env->conf->has_source_maps && !x->is_lmtp)
		x->source_lookup =
		    relay_source_lookup_start(env->authd, sender, login, on_source, x);
	else
		explain_policy(x);
}

void
relay_explain_drop(struct relay_explanation_list *list)
{
	struct relay_explanation *x;

	while ((x = LIST_FIRST(list)) != NULL) {
		relay_policy_lookup_cancel(x->lookup);
		relay_source_lookup_cancel(x->source_lookup);
		ipc_out_clear(&x->answer);
		explanation_free(x);
	}
}
