/* tenant.h - whose mail it is, and whose turn to be delivered.
 *
 * A tenant is a login, else the domain of the sender; notices and whatever else has no sender are one of their own.  He is
 * known by a hash of that name: eight bytes in the summary of a deferred file, so that a restart with a
 * million messages knows whose they are without reading them.
 *
 * Messages that are READY wait in two lines, new mail and mail that has been tried; in each the tenants take turns.
 * Nobody may hold more of the active window than TENANT_SHARE times what is still free of it: alone he gets seven
 * eighths, each of n that want all of it seven of 7n + 1 parts, and there is always room for one who comes with little.
 * (A share of the whole would have to know how many there are; a window that one may fill has no room until his
 * destinations time out.)  He who has his share is set aside; every message that leaves the window has
 * another of those looked at.
 *
 * The admin may limit a tenant: how much new mail of his enters the window in a span of time, and how much of it is there
 * at once. */
#ifndef QMGR_TENANT_H
#define QMGR_TENANT_H

#include "common/base/map.h"
#include "qmgr/limits.h"
#include "qmgr/message.h"

enum { TENANT_UNKNOWN = 0, TENANT_NOTICES = 1, TENANT_PROBES = 2, TENANT_SHARE = 7 };
enum tenant_line { LINE_NEW, LINE_OLD, LINES };

TAILQ_HEAD(message_list, message);
TAILQ_HEAD(tenant_list, tenant);

struct tenant {
	struct tenants *all;
	uint64_t key;
	size_t
	    messages; /* in the queue; the last one takes the tenant with it, unless his rate is to be remembered */
	size_t active; /* of them in the active window */
	struct message_list ready[LINES];
	TAILQ_ENTRY(tenant)
	link[LINES]; /* among those whose turn comes, or those set aside, while he has ready ones */
	bool is_aside[LINES];
	/* the admin's limits (tenant_limit_maps) */
	bool is_known;          /* they have been asked for, or there are none */
	unsigned concurrency;   /* in the active window; 0 = no limit */
	struct rate rate;       /* of new mail */
	struct loop_timer wake; /* asks for them, or: his rate has room again */
	struct limits_query *query;
	char *name; /* owned: his login, or @domain; NULL: known by his hash only */
};

struct tenants {
	struct loop *loop;
	bool has_limits;
	struct ipc_edge *authd;     /* NULL: not yet */
	void (*on_room)(void *arg); /* one who waited may enter */
	void *arg;
	struct map by_key;
	struct tenant_list turns[LINES], aside[LINES];
};

uint64_t tenant_key(const struct envelope *e);
/* His login, or @domain; for the caller to free.  Of notices it means nothing. */
char *tenant_name(const struct envelope *e);

/* has_limits: tenant_limit_maps is to be asked, once there is authd; new mail waits until then. */
void tenants_init(
    struct tenants *ts, struct loop *loop, bool has_limits, void (*on_room)(void *arg), void *arg);
void tenants_limit(struct tenants *ts, struct ipc_edge *authd);
void tenants_clear(struct tenants *ts); /* the messages go without saying so */
/* One message more, or fewer, of this tenant. */
struct tenant *tenant_ref(struct tenants *ts, uint64_t key);
void tenant_unref(struct tenants *ts, struct tenant *t);
/* The envelope of one of his messages has told who he is. */
void tenant_meet(struct tenant *t, const struct envelope *e);

/* room: places that are free in the active window for this line. */
bool tenant_may_enter(const struct tenant *t, enum tenant_line line, size_t room);
void tenant_ready(struct tenants *ts, struct message *m, enum tenant_line line);
void tenant_unready(struct tenants *ts, struct message *m, enum tenant_line line);
/* Takes the message whose turn it is; NULL: nobody may enter now. */
struct message *tenant_next(struct tenants *ts, enum tenant_line line, size_t room);
/* One of his messages is in the active window, or has left it. */
void tenant_enter(struct tenant *t, enum tenant_line line);
void tenant_leave(struct tenants *ts, struct tenant *t);

#endif
