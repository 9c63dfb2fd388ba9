#include "qmgr/relay/pool.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <sys/queue.h>

struct idle {
	TAILQ_ENTRY(idle) link;
	struct relay_pool *pool;
	struct relay_session *session; /* owned */
	char *nexthop;                 /* owned */
	struct loop_timer timer;
};

struct relay_pool {
	struct loop *loop;
	const struct relay_conf *conf;
	TAILQ_HEAD(, idle) idles; /* oldest first: at most a few hundred, for two seconds */
	size_t count;
};

struct relay_pool *
relay_pool_new(struct loop *l, const struct relay_conf *conf)
{
	struct relay_pool *p = x_calloc(1, sizeof *p);

	p->loop = l;
	p->conf = conf;
	TAILQ_INIT(&p->idles);
	return p;
}

static struct relay_session *
idle_free(struct idle *i)
{
	struct relay_session *s = i->session;

	loop_timer_stop(&i->timer);
	TAILQ_REMOVE(&i->pool->idles, i, link);
	i->pool->count--;
	free(i->nexthop);
	free(i);
	return s;
}

void
relay_pool_free(struct relay_pool *p)
{
	struct idle *i;

	if (p == NULL)
		return;
	while ((i = TAILQ_FIRST(&p->idles)) != NULL)
		relay_session_quit(idle_free(i));
	free(p);
}

static void
on_expired(void *arg)
{
	relay_session_quit(idle_free(arg));
}

static void
on_failed(void *arg, struct relay_session *s, const struct relay_verdict *v, enum relay_failure how)
{
	(void)s, (void)v, (void)how;
	relay_session_free(idle_free(arg));
}

static const struct relay_session_ops idle_ops = { .on_failed = on_failed };

void
relay_pool_put(struct relay_pool *p, struct relay_session *s, const char *nexthop)
{
	struct idle *i;

	if (p->conf->cache_ms == 0 || !relay_session_is_reusable(s)) {
		relay_session_quit(s);
		return;
	}
	if (p->count > p->conf->connection_limit / 2)
		relay_session_quit(idle_free(TAILQ_FIRST(&p->idles)));
	i = x_calloc(1, sizeof *i);
	i->pool = p;
	i->session = s;
	i->nexthop = x_strdup(nexthop);
	loop_timer_init(&i->timer, p->loop, on_expired, i);
	loop_timer_start(&i->timer, p->conf->cache_ms);
	TAILQ_INSERT_TAIL(&p->idles, i, link);
	p->count++;
	relay_session_give(s, &idle_ops, i);
}

struct relay_session *
relay_pool_take(struct relay_pool *p, const char *nexthop, const char *identity)
{
	struct idle *i;

	TAILQ_FOREACH (i, &p->idles, link)
		if (strcmp(i->nexthop, nexthop) == 0 &&
		    strcmp(relay_session_identity(i->session), identity) == 0)
			return idle_free(i);
	return NULL;
}

struct relay_session *
relay_pool_take_peer(struct relay_pool *p, const struct relay_target *target, const char *identity)
{
	struct idle *i;

	TAILQ_FOREACH (i, &p->idles, link)
		if (relay_session_is_to(i->session, target) &&
		    strcmp(relay_session_identity(i->session), identity) == 0)
			return idle_free(i);
	return NULL;
}
