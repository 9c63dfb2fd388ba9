#include "qmgr/route.h"
#include "common/base/mem.h"
#include "common/proto/idn.h"
#include "qmgr/resolve.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_ARENA = 4 << 20 };

LIST_HEAD(finding_list, finding);

struct routes {
	struct queue *q;
	struct ipc_edge *authd; /* borrowed */
	const char *relayhost;
	struct map domains; /* ours, in A-labels and lower case */
	struct finding_list findings;
};

/* One message whose recipients wait for authd.  It is busy meanwhile, so that its active stands still. */
struct finding {
	LIST_ENTRY(finding) link;
	struct routes *r;
	struct message *m;
	uint32_t at; /* the recipient asked about */
	bool is_authd_down;
	struct ipc_call *call;
};

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

/* Aliases are expanded when mail is accepted, and not again.  What is none any more is the delivery process's to
 * refuse. */
static const struct recipient *
pick_owner(const struct resolved *found, const char *address)
{
	const struct recipient *any = NULL;

	for (size_t i = 0; i < found->count; i++) {
		const struct recipient *r = &found->rcpts[i];

		if (view_case_eq_str(view_of(r->address), address))
			return r;
		if (any == NULL && r->transport == TRANSPORT_VIRTUAL)
			any = r;
	}
	return any;
}

static void
route_here(struct finding *f, const struct resolved *found)
{
	struct recipient *to = &f->m->active->env.rcpts[f->at];
	const struct recipient *owner = pick_owner(found, to->address);
	char text[ENVELOPE_MAX_STRING + 32];

	if (found->status == AUTHD_TEMP) {
		f->is_authd_down = true;
		refuse(f, DELIVERY_DEFERRED, "4.3.0", "mail system: address lookup failed");
	} else if (owner == NULL) {
		snprintf(text, sizeof text, "unknown user: \"%s\"", to->address);
		to->transport = TRANSPORT_VIRTUAL;
		refuse(f, DELIVERY_BOUNCED, "5.1.1", text);
	} else if (owner->transport == TRANSPORT_VIRTUAL) {
		to->transport = TRANSPORT_VIRTUAL;
		to->uid = owner->uid;
		to->gid = owner->gid;
	} else {
		route_away(f->r, to); /* authd has not heard of it yet, or no more */
	}
}

/* "smtp:[127.0.0.1]:10025": the message is for a filter, whoever the recipient is.  The transports' names are the
 * admin's (master.cf); what is not SMTP is not there. */
static void
route_to_filter(struct finding *f, const char *filter)
{
	struct recipient *to = &f->m->active->env.rcpts[f->at];
	const char *colon = strchr(filter, ':');
	struct view transport = view_make(filter, colon != NULL ? (size_t)(colon - filter) : strlen(filter));

	if (colon == NULL || view_case_starts(transport, "lmtp") || view_case_starts(transport, "pipe")) {
		refuse(f, DELIVERY_DEFERRED, "4.3.0", "mail transport unavailable");
		return;
	}
	to->transport = TRANSPORT_SMTP;
	to->nexthop = colon + 1;
}

static void find_rest(struct finding *f);

static void
on_owner(void *arg, struct ipc_in *in)
{
	struct finding *f = arg;
	struct resolved found;
	struct arena arena;

	f->call = NULL;
	arena_init(&arena, ANSWER_ARENA);
	resolve_read(in, f->m->active->env.rcpts[f->at].address, &arena, &found);
	route_here(f, &found);
	arena_clear(&arena);
	f->at++;
	find_rest(f);
}

/* One question at a time: there are few, and most messages have none. */
static void
find_rest(struct finding *f)
{
	struct routes *r = f->r;
	struct active *a = f->m->active;
	struct message *m = f->m;

	for (; f->at < a->env.nrcpts; f->at++) {
		struct recipient *to = &a->env.rcpts[f->at];

		if (a->rcpts[f->at].status != RCPT_PENDING || a->rcpts[f->at].phase != PHASE_IDLE)
			continue;
		if (a->env.filter != NULL && a->env.filter[0] != '\0') {
			route_to_filter(f, a->env.filter);
		} else if (!is_ours(r, to)) {
			route_away(r, to);
		} else if (to->transport != TRANSPORT_VIRTUAL && f->is_authd_down) {
			route_here(f, &(struct resolved){ .status = AUTHD_TEMP });
		} else if (to->transport != TRANSPORT_VIRTUAL) {
			f->call = resolve_ask(r->authd, to->address, on_owner, f);
			return;
		}
	}
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
