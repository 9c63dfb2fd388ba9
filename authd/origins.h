/* origins.h - where exchanges come from, an IPv4 address or an IPv6 network of 64 bits, and what
 * is remembered of it: how many exchanges it has, whether its logins have failed lately, and how
 * far ahead it has spent its turns at the workers (workers.h).
 *
 * Failure has a price that does not depend on what was wrong: the next exchanges of the origin
 * wait 2, 4, 8, then 15 s before they begin, and stand behind others when they do.  Failures
 * within that time count as one, so that a household with one stale password is not punished
 * for the number of its devices; a login takes back one step, and some minutes all.  Whoever
 * shares the origin waits no longer than those seconds.
 *
 * Ownership: the table; an origin lives while it has exchanges, and as long as it has a failure
 * to remember (the oldest goes when there are too many). */
#ifndef AUTHD_ORIGINS_H
#define AUTHD_ORIGINS_H

#include "common/base/map.h"

#include <sys/queue.h>

enum {
	ORIGIN_EXCHANGES_MAX = 128, /* of one origin */
	ORIGINS_MAX = 16384,       /* remembered without an exchange */
	ORIGIN_FORGET_MS = 5 * 60 * 1000,
	ORIGIN_LEVELS = 4,
};

struct exchange;
TAILQ_HEAD(exchange_list, exchange);

struct origin {
	TAILQ_ENTRY(origin) link; /* of those without an exchange, longest first */
	char key[8];
	size_t key_len;
	unsigned count;                /* exchanges */
	struct exchange_list awaiting; /* those that wait for their client, oldest first */
	int64_t turn;                  /* of its latest job */
	unsigned level;                /* of failure */
	int64_t until;                 /* its next exchanges begin then */
};
TAILQ_HEAD(origin_list, origin);

struct origins {
	struct map by_key;
	struct origin_list unused;
	size_t unused_count;
};

void origins_init(struct origins *o);
void origins_clear(struct origins *o);
/* One exchange more.  client: as the front says; what is no address is all one origin. */
struct origin *origin_take(struct origins *o, const char *client, int64_t now_ms);
void origin_release(struct origins *o, struct origin *from, int64_t now_ms);

void origin_failed(struct origin *from, int64_t now_ms);
void origin_succeeded(struct origin *from);
unsigned origin_level(const struct origin *from, int64_t now_ms); /* 0..ORIGIN_LEVELS */
int64_t origin_wait_ms(const struct origin *from, int64_t now_ms);

#endif
