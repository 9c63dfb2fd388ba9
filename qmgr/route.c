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

static void
route_away(const struct routes *r, struct recipient *to)
{
	to->transport = TRANSPORT_SMTP;
	to->nexthop = r->relayhost;
}

static void
refuse(struct finding *f, enum delivery_status status, const char *dsn, const char *text)
{
	struct attempt a = { .status = status, .dsn = dsn, .relay = "none", .text = text };

	queue_rcpt_queued(f->m, f->at);
	queue_rcpt_answered(f->r->q, f->m, f->at, &a);
}

static void
route_failed(struct finding *f)
{
	f->is_authd_down = true;
	refuse(f, DELIVERY_DEFERRED, "4.3.0", "mail system: address lookup failed");
}

/* "5.1.1 User unknown": error(8), discard(8). */
static void
answer_itself(struct finding *f, enum delivery_status status, const char *def, const char *text)
{
	size_t len = enhanced_code_length(view_of(text));
	char dsn[12];

	snprintf(dsn, sizeof dsn, "%.*s", (int)len, text);
	text += len;
	refuse(f, status, len > 0 ? dsn : def, text + strspn(text, " "));
}

static void
route_by_nexthop(struct finding *f, const char *nexthop)
{
	struct active *a = f->m->active;

	if (f->nexthop == NULL || strcmp(f->nexthop, nexthop) != 0)
		f->nexthop = arena_strdup(&a->arena, nexthop);
	if (f->nexthop == NULL)
		route_failed(f);
	else
		a->env.rcpts[f->at].nexthop = f->nexthop;
}

/* What authd has said of the recipient at f->at. */
static void
take_route(struct finding *f, struct ipc_in *in)
{
	struct recipient *to = &f->m->active->env.rcpts[f->at];
	enum authd_status status = (enum authd_status)ipc_get_u32(in);
	uint32_t transport = ipc_get_u32(in);
	const char *nexthop = ipc_get_str(in);
	uint32_t uid = ipc_get_u32(in), gid = ipc_get_u32(in);
	char text[ENVELOPE_MAX_STRING + 32];

	if (status == AUTHD_TEMP || transport == 0 || transport >= TRANSPORT_COUNT) {
		refuse(f, DELIVERY_DEFERRED, "4.3.0", "mail system: address lookup failed");
		return;
	}
	to->transport = transport;
	switch (transport) {
	case TRANSPORT_VIRTUAL:
		to->uid = uid;
		to->gid = gid;
		snprintf(text, sizeof text, "unknown user: \"%s\"", to->address);
		if (status == AUTHD_NO)
			refuse(f, DELIVERY_BOUNCED, "5.1.1", text);
		break;
	case TRANSPORT_ERROR:
		answer_itself(f, DELIVERY_BOUNCED, "5.0.0", nexthop);
		break;
	case TRANSPORT_RETRY:
		answer_itself(f, DELIVERY_DEFERRED, "4.0.0", nexthop);
		break;
	case TRANSPORT_DISCARD:
		answer_itself(f, DELIVERY_SENT, "2.0.0",
		    nexthop[0] != '\0' ? nexthop : address_domain(to->address));
		break;
	default:
		route_by_nexthop(f, nexthop);
	}
}

/* "smtp:[127.0.0.1]:10025": the message is for a filter, whoever the recipient is.  The transports' names are the
 * admin's (master.cf); those that begin with lmtp speak it. */
static void
route_to_filter(struct finding *f, const char *filter)
{
	struct recipient *to = &f->m->active->env.rcpts[f->at];
	struct view transport, nexthop;
	bool is_lmtp, has_nexthop = view_cut(view_of(filter), ':', &transport, &nexthop);

	is_lmtp = view_case_starts(transport, "lmtp");
	if (!has_nexthop || view_case_starts(transport, "pipe") ||
	    (is_lmtp && view_starts(nexthop, "unix:"))) {
		refuse(f, DELIVERY_DEFERRED, "4.3.0", "mail transport unavailable");
		return;
	}
	to->transport = is_lmtp ? TRANSPORT_LMTP : TRANSPORT_SMTP;
	to->nexthop =
	    is_lmtp && view_starts(nexthop, "inet:") ? nexthop.p + strlen("inet:") : nexthop.p;
}

static void find_rest(struct finding *f);

static void
on_routes(void *arg, struct ipc_in *in)
{
	struct finding *f = arg;
	uint32_t next = f->at;

	f->call = NULL;
	if (in != NULL && ipc_get_u32(in) != AUTHD_OK)
		in = NULL;
	for (size_t i = 0; i < f->nasked; i++) {
		f->at = f->asked[i];
		if (in == NULL || !ipc_in_more(in))
			route_failed(f);
		else
			take_route(f, in);
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
	struct recipient *to = &a->env.rcpts[f->at];

	if (a->env.filter != NULL && a->env.filter[0] != '\0') {
		route_to_filter(f, a->env.filter);
		return false;
	}
	if (!f->r->has_rules && !is_ours(f->r, to)) {
		route_away(f->r, to);
		return false;
	}
	if (!f->r->has_rules && to->transport == TRANSPORT_VIRTUAL)
		return false;
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
