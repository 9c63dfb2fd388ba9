#include "delivery/mailbox_lookup.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/ipc/conn.h"
#include "common/log/log.h"

#include <stdlib.h>

enum { RETRY_MS = 1000, ASK_EDGE_MS = 5000 };

TAILQ_HEAD(waiter_list, mailbox_waiter);

/* A question under way, waiting for an edge, or answered and remembered. */
struct entry {
	TAILQ_ENTRY(entry) link; /* in `asked` or `known`, oldest first */
	struct mailbox_lookup *owner;
	char *address; /* owned */
	struct waiter_list waiters;
	struct ipc_call *call; /* NULL: not sent */
	int64_t deadline_ms;   /* of the question, then of the answer's life */
	char *account, *home;  /* owned; NULL until answered */
};
TAILQ_HEAD(entry_list, entry);

struct mailbox_lookup {
	struct loop *loop;
	uid_t uid;
	void (*on_edge_lost)(void *arg);
	void *arg;
	struct ipc_edge *edge; /* NULL: none yet */
	int64_t edge_asked_ms; /* when the last was asked for */
	struct map entries;    /* address -> struct entry */
	struct entry_list asked, known;
	struct loop_timer retry;
};

static void
entry_free(struct mailbox_lookup *m, struct entry *e)
{
	map_remove(&m->entries, view_of(e->address));
	ipc_call_cancel(e->call);
	free(e->address);
	free(e->account);
	free(e->home);
	free(e);
}

/* Tells all who wait.  A callback may start new questions, for this address too, but the entry is kept or gone before. */
static void
tell(struct waiter_list *waiters, const struct mailbox_answer *answer)
{
	struct mailbox_waiter *w;

	while ((w = TAILQ_FIRST(waiters)) != NULL) {
		TAILQ_REMOVE(waiters, w, link);
		w->cb(w->arg, answer);
	}
}

static void
entry_fail(struct entry *e, enum authd_status status)
{
	struct mailbox_lookup *m = e->owner;
	struct mailbox_answer answer = { .status = status };
	struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);

	TAILQ_CONCAT(&waiters, &e->waiters, link);
	TAILQ_REMOVE(&m->asked, e, link);
	entry_free(m, e);
	tell(&waiters, &answer);
}

static void
forget_old(struct mailbox_lookup *m)
{
	int64_t now = clock_mono_ms();
	struct entry *e;

	while ((e = TAILQ_FIRST(&m->known)) != NULL &&
	       (e->deadline_ms <= now || m->entries.count > LOOKUP_CACHE_MAX)) {
		TAILQ_REMOVE(&m->known, e, link);
		entry_free(m, e);
	}
}

static void
entry_remember(struct entry *e, const char *account, const char *home)
{
	struct mailbox_lookup *m = e->owner;
	char *a = x_strdup(account), *h = x_strdup(home);
	struct mailbox_answer answer = { .status = AUTHD_OK, .account = a, .home = h };
	struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);

	TAILQ_CONCAT(&waiters, &e->waiters, link);
	TAILQ_REMOVE(&m->asked, e, link);
	e->account = x_strdup(a);
	e->home = x_strdup(h);
	e->deadline_ms = clock_mono_ms() + LOOKUP_CACHE_MS;
	TAILQ_INSERT_TAIL(&m->known, e, link);
	tell(&waiters, &answer);
	free(a);
	free(h);
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct entry *e = arg;
	uint32_t status, uid;
	const char *account, *home;

	e->call = NULL;
	if (in == NULL) {
		/* timed out, or the edge is gone: then there will be another */
		if (clock_mono_ms() >= e->deadline_ms)
			entry_fail(e, AUTHD_TEMP);
		else if (!loop_timer_running(&e->owner->retry))
			loop_timer_start(&e->owner->retry, RETRY_MS);
		return;
	}
	status = ipc_get_u32(in);
	account = ipc_get_str(in);
	uid = ipc_get_u32(in);
	ipc_get_u32(in); /* gid: of no use here, files get that of the process */
	home = ipc_get_str(in);
	if (status == AUTHD_OK && uid != e->owner->uid) {
		log_warn("mailbox of %s is owned by uid %u, not by this process's uid",
		    lqs(e->address), (unsigned)uid);
		status = AUTHD_TEMP;
	}
	if (status == AUTHD_OK)
		entry_remember(e, account, home);
	else
		entry_fail(e, (enum authd_status)status);
}

static void
entry_ask(struct entry *e)
{
	struct mailbox_lookup *m = e->owner;
	int64_t left = e->deadline_ms - clock_mono_ms();
	struct ipc_out o;

	if (m->edge == NULL || e->call != NULL || left <= 0)
		return;
	ipc_out_init(&o, AUTHD_MAILBOX);
	ipc_put_str(&o, e->address);
	e->call = ipc_edge_ask(m->edge, &o, "usuus", left, on_answer, e);
}

static void
want_edge(struct mailbox_lookup *m)
{
	m->edge_asked_ms = clock_mono_ms();
	m->on_edge_lost(m->arg);
}

/* Sends again what has no answer, ends what has waited too long. */
static void
on_retry(void *arg)
{
	struct mailbox_lookup *m = arg;
	int64_t now = clock_mono_ms();
	struct entry *e;

	while ((e = TAILQ_FIRST(&m->asked)) != NULL && e->call == NULL && e->deadline_ms <= now)
		entry_fail(e, AUTHD_TEMP);
	if (!TAILQ_EMPTY(&m->asked) && (m->edge == NULL || ipc_edge_conn(m->edge) == NULL) &&
	    now - m->edge_asked_ms >= ASK_EDGE_MS)
		want_edge(m);
	TAILQ_FOREACH (e, &m->asked, link) {
		entry_ask(e);
		if (e->call == NULL && !loop_timer_running(&m->retry))
			loop_timer_start(&m->retry, RETRY_MS);
	}
}

static void
on_edge_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct mailbox_lookup *m = arg;

	(void)c;
	log_warn("lost the connection to authd: %s", why->text);
	want_edge(m);
}

struct mailbox_lookup *
mailbox_lookup_new(struct loop *l, uid_t uid, void (*on_edge_lost)(void *arg), void *arg)
{
	struct mailbox_lookup *m = x_calloc(1, sizeof *m);

	m->loop = l;
	m->uid = uid;
	m->on_edge_lost = on_edge_lost;
	m->arg = arg;
	m->edge_asked_ms = clock_mono_ms(); /* the first one comes unasked */
	map_init(&m->entries);
	TAILQ_INIT(&m->asked);
	TAILQ_INIT(&m->known);
	loop_timer_init(&m->retry, l, on_retry, m);
	return m;
}

void
mailbox_lookup_free(struct mailbox_lookup *m)
{
	struct entry *e;

	if (m == NULL)
		return;
	loop_timer_stop(&m->retry);
	while ((e = TAILQ_FIRST(&m->asked)) != NULL) {
		TAILQ_REMOVE(&m->asked, e, link);
		entry_free(m, e);
	}
	while ((e = TAILQ_FIRST(&m->known)) != NULL) {
		TAILQ_REMOVE(&m->known, e, link);
		entry_free(m, e);
	}
	ipc_edge_free(m->edge);
	map_clear(&m->entries);
	free(m);
}

void
mailbox_lookup_set_edge(struct mailbox_lookup *m, int fd)
{
	static const struct ipc_conn_ops ops = { .on_close = on_edge_close };

	ipc_edge_free(m->edge); /* what was asked over it is asked again */
	m->edge = ipc_edge_new_fd(m->loop, fd, &ops, m);
	on_retry(m);
}

void
mailbox_lookup_start(struct mailbox_lookup *m, const char *address, struct mailbox_waiter *w,
    void (*cb)(void *arg, const struct mailbox_answer *answer), void *arg)
{
	struct entry *e;

	w->cb = cb;
	w->arg = arg;
	forget_old(m);
	e = map_get(&m->entries, view_of(address));
	if (e != NULL && e->home != NULL) {
		struct mailbox_answer answer = {
			.status = AUTHD_OK, .account = e->account, .home = e->home
		};

		cb(arg, &answer);
		return;
	}
	if (e == NULL) {
		e = x_calloc(1, sizeof *e);
		e->owner = m;
		e->address = x_strdup(address);
		e->deadline_ms = clock_mono_ms() + LOOKUP_TIMEOUT_MS;
		TAILQ_INIT(&e->waiters);
		TAILQ_INSERT_TAIL(&m->asked, e, link);
		map_put(&m->entries, view_of(address), e);
	}
	TAILQ_INSERT_TAIL(&e->waiters, w, link);
	entry_ask(e);
	if (e->call == NULL && !loop_timer_running(&m->retry))
		loop_timer_start(&m->retry, RETRY_MS);
}
