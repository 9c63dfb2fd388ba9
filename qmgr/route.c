#include "qmgr/route.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/proto/address.h"
#include "common/proto/idn.h"
#include "common/proto/reply.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	ROUTE_TIMEOUT_MS = 60000,
	QUESTION_BYTES = IPC_MAX_PACKET / 2, /* the longest address beside it fits too */
};

LIST_HEAD(finding_list, finding);

struct routes {
	struct queue *q;
	struct ipc_edge *authd; /* borrowed */
	const char *relayhost;
	bool has_rules;
	struct map domains; /* ours, in A-labels and lower case */
	struct finding_list findings;
};

/* One message whose recipients wait for authd.  It is busy meanwhile, so that its active stands still. */
struct finding {
	LIST_ENTRY(finding) link;
	struct routes *r;
	struct message *m;
	uint32_t at; /* the next recipient to be looked at */
	uint32_t asked[AUTHD_ROUTES];
	size_t nasked;
	const char *nexthop; /* the last one that was named: most have the same */
	bool is_authd_down;
	struct ipc_call *call;
};

void
route_conf_read(const struct conf *from, struct route_conf *out)
{
	static const char *const tables[] = { "transport_maps", "sender_dependent_relayhost_maps",
		"sender_dependent_default_transport_maps" };
	const char *relayed = conf_str(from, "relay_transport");

	*out = (struct route_conf){ .relayhost = conf_str(from, "relayhost"),
		.mailbox_domains = conf_str(from, "virtual_mailbox_domains"),
		.destination = conf_str(from, "mydestination") };
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
		out->has_rules |= conf_str(from, tables[i])[0] != '\0';
	out->has_rules |= strcmp(conf_str(from, "default_transport"), "smtp") != 0 ||
			  strcmp(conf_str(from, "virtual_transport"), "virtual") != 0;
	out->has_rules |= conf_str(from, "relay_domains")[0] != '\0' &&
			  strcmp(relayed, "relay") != 0 && strcmp(relayed, "smtp") != 0;
}

static void
add_domains(struct map *m, const char *list)
{
	struct view rest = view_of(list), item;

	while (view_token(&rest, ", \t\r\n", &item)) {
		char name[IDN_DOMAIN_MAX];

		if (idn_to_ascii(item, name))
			map_put(m, view_of(name), m);
	}
}

struct routes *
routes_new(struct queue *q, struct ipc_edge *authd, const struct route_conf *conf)
{
	struct routes *r = x_calloc(1, sizeof *r);

	r->q = q;
	r->authd = authd;
	r->relayhost = conf->relayhost;
	r->has_rules = conf->has_rules;
	map_init(&r->domains);
	add_domains(&r->domains, conf->mailbox_domains);
	add_domains(&r->domains, conf->destination);
	LIST_INIT(&r->findings);
	return r;
}

static void
finding_free(struct finding *f)
{
	LIST_REMOVE(f, link);
	ipc_call_cancel(f->call);
	free(f);
}

void
routes_free(struct routes *r)
{
	struct finding *f;

	if (r == NULL)
		return;
	while ((f = LIST_FIRST(&r->findings)) != NULL)
		finding_free(f);
	map_clear(&r->domains);
	free(r);
}

/* A bare name has no domain that could have moved. */
static bool
is_ours(const struct routes *r, const struct recipient *to)
{
	const char *at = strrchr(to->address, '@');
	char domain[IDN_DOMAIN_MAX];

	if (at == NULL)
		return to->transport == TRANSPORT_VIRTUAL;
	return idn_to_ascii(view_of(at + 1), domain) &&
	       map_get(&r->domains, view_of(domain)) != NULL;
}

/* Not what out->unknown has room for: there may be many recipients. */
static void
route_set(struct route *out, uint32_t transport, const char *nexthop, uint32_t uid, uint32_t gid)
{
	out->transport = transport;
	out->nexthop = nexthop;
	out->uid = uid;
	out->gid = gid;
	out->is_answered = false;
}

static void
route_unknown(struct route *out)
{
	route_set(out, 0, "", 0, 0);
	out->is_answered = true;
	out->status = DELIVERY_DEFERRED;
	snprintf(out->dsn, sizeof out->dsn, "4.3.0");
	out->text = "mail system: address lookup failed";
}

static void
refuse(struct finding *f, const struct route *route)
{
	struct attempt a = {
		.status = route->status, .dsn = route->dsn, .relay = "none", .text = route->text
	};

	queue_rcpt_queued(f->m, f->at);
	queue_rcpt_answered(f->r->q, f->m, f->at, &a);
}

static void
route_failed(struct finding *f)
{
	struct route route;

	f->is_authd_down = true;
	route_unknown(&route);
	refuse(f, &route);
}

/* "5.1.1 User unknown": error(8), discard(8). */
static void
answer_itself(struct route *out, enum delivery_status status, const char *def, const char *text)
{
	size_t len = enhanced_code_length(view_of(text));

	out->is_answered = true;
	out->status = status;
	if (len > 0 && len < sizeof out->dsn)
		snprintf(out->dsn, sizeof out->dsn, "%.*s", (int)len, text);
	else
		snprintf(out->dsn, sizeof out->dsn, "%s", def);
	text += len;
	out->text = text + strspn(text, " ");
}

void
route_take(struct ipc_in *in, const char *address, struct route *out)
{
	enum authd_status status = (enum authd_status)ipc_get_u32(in);
	uint32_t transport = ipc_get_u32(in);
	const char *nexthop = ipc_get_str(in);

	route_set(out, transport, nexthop, 0, 0);
	out->uid = ipc_get_u32(in);
	out->gid = ipc_get_u32(in);
	if (status == AUTHD_TEMP || transport == 0 || transport >= TRANSPORT_COUNT) {
		route_unknown(out);
		return;
	}
	switch (transport) {
	case TRANSPORT_VIRTUAL:
		if (status != AUTHD_NO)
			break;
		answer_itself(out, DELIVERY_BOUNCED, "5.1.1", "");
		snprintf(out->unknown, sizeof out->unknown, "unknown user: \"%s\"", address);
		out->text = out->unknown;
		break;
	case TRANSPORT_ERROR:
		answer_itself(out, DELIVERY_BOUNCED, "5.0.0", nexthop);
		break;
	case TRANSPORT_RETRY:
		answer_itself(out, DELIVERY_DEFERRED, "4.0.0", nexthop);
		break;
	case TRANSPORT_DISCARD:
		answer_itself(out, DELIVERY_SENT, "2.0.0",
		    nexthop[0] != '\0' ? nexthop : address_domain(address));
		break;
	default:
		break;
	}
}

/* "smtp:[127.0.0.1]:10025": the message is for a filter, whoever the recipient is.  The transports' names are the
 * admin's (master.cf); those that begin with lmtp speak it. */
static void
route_to_filter(const char *filter, struct route *out)
{
	struct view transport, nexthop;
	bool is_lmtp, has_nexthop = view_cut(view_of(filter), ':', &transport, &nexthop);

	is_lmtp = view_case_starts(transport, "lmtp");
	if (!has_nexthop || view_case_starts(transport, "pipe") ||
	    (is_lmtp && view_starts(nexthop, "unix:"))) {
		answer_itself(out, DELIVERY_DEFERRED, "4.3.0", "mail transport unavailable");
		return;
	}
	out->transport = is_lmtp ? TRANSPORT_LMTP : TRANSPORT_SMTP;
	out->nexthop =
	    is_lmtp && view_starts(nexthop, "inet:") ? nexthop.p + strlen("inet:") : nexthop.p;
}

bool
route_now(const struct routes *r, const char *filter, const struct recipient *to, struct route *out)
{
	route_set(out, to->transport, to->nexthop, to->uid, to->gid);
	if (filter != NULL && filter[0] != '\0') {
		route_to_filter(filter, out);
		return true;
	}
	if (!r->has_rules && !is_ours(r, to)) {
		out->transport = TRANSPORT_SMTP;
		out->nexthop = r->relayhost;
		return true;
	}
	return !r->has_rules && to->transport == TRANSPORT_VIRTUAL;
}

/* --- the recipients of a message ------------------------------------------------------------------- */

/* The recipient at f->at; is_kept: the next hop lives as long as the message does. */
static void
set_route(struct finding *f, const struct route *route, bool is_kept)
{
	struct active *a = f->m->active;
	struct recipient *to = &a->env.rcpts[f->at];
	const char *nexthop = route->nexthop;

	if (!is_kept && !route->is_answered && route->transport != TRANSPORT_VIRTUAL) {
		if (f->nexthop == NULL || strcmp(f->nexthop, nexthop) != 0)
			f->nexthop = arena_strdup(&a->arena, nexthop);
		if ((nexthop = f->nexthop) == NULL) {
			route_failed(f);
			return;
		}
	}
	if (route->is_answered && route->transport == 0) {
		refuse(f, route);
		return;
	}
	to->transport = route->transport;
	to->uid = route->uid;
	to->gid = route->gid;
	if (route->is_answered)
		refuse(f, route);
	else if (route->transport != TRANSPORT_VIRTUAL)
		to->nexthop = nexthop;
}

static void find_rest(struct finding *f);

static void
on_routes(void *arg, struct ipc_in *in)
{
	struct finding *f = arg;
	struct active *a = f->m->active;
	uint32_t next = f->at;
	struct route route;

	f->call = NULL;
	if (in != NULL && ipc_get_u32(in) != AUTHD_OK)
		in = NULL;
	for (size_t i = 0; i < f->nasked; i++) {
		f->at = f->asked[i];
		if (in == NULL || !ipc_in_more(in)) {
			route_failed(f);
			continue;
		}
		route_take(in, a->env.rcpts[f->at].address, &route);
		set_route(f, &route, false);
	}
	f->at = next;
	f->nasked = 0;
	find_rest(f);
}

/* false: what can be said of the recipient at f->at without authd is said. */
static bool
needs_authd(struct finding *f)
{
	struct active *a = f->m->active;
	struct route route;

	if (route_now(f->r, a->env.filter, &a->env.rcpts[f->at], &route)) {
		set_route(f, &route, true);
		return false;
	}
	if (f->is_authd_down)
		route_failed(f);
	return !f->is_authd_down;
}

/* One question at a time, about as many as fit. */
static void
find_rest(struct finding *f)
{
	struct routes *r = f->r;
	struct message *m = f->m;
	struct active *a = m->active;
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_ROUTE);
	ipc_put_str(&o, a->env.sender);
	for (; f->at < a->env.nrcpts && f->nasked < AUTHD_ROUTES && o.body.len < QUESTION_BYTES;
	     f->at++) {
		if (a->rcpts[f->at].status != RCPT_PENDING || a->rcpts[f->at].phase != PHASE_IDLE ||
		    !needs_authd(f))
			continue;
		ipc_put_str(&o, a->env.rcpts[f->at].address);
		f->asked[f->nasked++] = f->at;
	}
	if (f->nasked > 0) {
		f->call =
		    ipc_edge_ask(r->authd, &o, AUTHD_ROUTE_SIG, ROUTE_TIMEOUT_MS, on_routes, f);
		return;
	}
	ipc_out_clear(&o);
	finding_free(f);
	queue_routed(r->q, m);
}

void
routes_find(struct routes *r, struct message *m)
{
	struct finding *f = x_calloc(1, sizeof *f);

	f->r = r;
	f->m = m;
	LIST_INSERT_HEAD(&r->findings, f, link);
	find_rest(f);
}
