#include "authd/tickets.h"

#include "common/base/mem.h"
#include "common/base/random.h"

#include <stdio.h>
#include <stdlib.h>

void
tickets_init(struct tickets *t)
{
	map_init(&t->by_bytes);
	TAILQ_INIT(&t->queue);
}

static void
take_out(struct tickets *t, struct ticket *one)
{
	map_remove(&t->by_bytes, view_make(one->bytes, TICKET_BYTES));
	TAILQ_REMOVE(&t->queue, one, link);
}

void
ticket_free(struct ticket **t)
{
	if (*t != NULL)
		mem_wipe((*t)->bytes, TICKET_BYTES);
	x_free(t);
}

static void
drop(struct tickets *t, struct ticket *one)
{
	take_out(t, one);
	ticket_free(&one);
}

void
tickets_clear(struct tickets *t)
{
	while (!TAILQ_EMPTY(&t->queue))
		drop(t, TAILQ_FIRST(&t->queue));
	map_clear(&t->by_bytes);
}

static void
drop_expired(struct tickets *t, int64_t now_ms)
{
	struct ticket *one;

	while ((one = TAILQ_FIRST(&t->queue)) != NULL && one->expires_ms <= now_ms)
		drop(t, one);
}

const struct ticket *
ticket_issue(struct tickets *t, int64_t now_ms, const char *account, const char *service,
    pid_t front, uint32_t session)
{
	struct ticket *one;

	drop_expired(t, now_ms);
	if (t->by_bytes.count >= TICKETS_MAX || strlen(service) >= TICKET_SERVICE_MAX)
		return NULL;
	one = x_calloc(1, sizeof *one + strlen(account) + 1);
	random_bytes(one->bytes, TICKET_BYTES);
	one->expires_ms = now_ms + TICKET_LIFE_MS;
	snprintf(one->service, sizeof one->service, "%s", service);
	one->front = front;
	one->session = session;
	memcpy(one->account, account, strlen(account) + 1);
	map_put(&t->by_bytes, view_make(one->bytes, TICKET_BYTES), one);
	TAILQ_INSERT_TAIL(&t->queue, one, link);
	return one;
}

struct ticket *
ticket_take(struct tickets *t, int64_t now_ms, struct view bytes, const char *service, pid_t front,
    uint32_t session)
{
	struct ticket *one;

	drop_expired(t, now_ms);
	one = bytes.len == TICKET_BYTES ? map_get(&t->by_bytes, bytes) : NULL;
	if (one == NULL)
		return NULL;
	take_out(t, one);
	if (strcmp(one->service, service) != 0 || one->front != front || one->session != session)
		ticket_free(&one);
	return one;
}

bool
ticket_matches(const struct ticket *t, int64_t now_ms, struct view bytes)
{
	return t != NULL && now_ms < t->expires_ms && bytes.len == TICKET_BYTES &&
	       mem_equal_secret(bytes.p, t->bytes, TICKET_BYTES);
}

void
tickets_drop_front(struct tickets *t, pid_t front)
{
	struct ticket *one = TAILQ_FIRST(&t->queue);

	while (one != NULL) {
		struct ticket *next = TAILQ_NEXT(one, link);

		if (one->front == front)
			drop(t, one);
		one = next;
	}
}
