/* tickets.h - what a login front gets for a client that has proved who it is (DESIGN 3, Login).
 * Pure: the clock is an argument.  A ticket is random, short-lived, good for one use, and bound
 * to account, service, front and front session; whoever shows it with another binding destroys
 * it. */
#ifndef AUTHD_TICKETS_H
#define AUTHD_TICKETS_H

#include "common/base/map.h"
#include "common/ipc/msg/authd.h"

#include <sys/queue.h>
#include <sys/types.h>

enum { TICKETS_MAX = 65536, TICKET_SERVICE_MAX = 16 };

struct ticket {
	TAILQ_ENTRY(ticket) link;
	uint8_t bytes[TICKET_BYTES];
	int64_t expires_ms;
	char service[TICKET_SERVICE_MAX];
	pid_t front;
	uint32_t session;
	char account[]; /* NUL-terminated */
};
TAILQ_HEAD(ticket_queue, ticket);

struct tickets {
	struct map by_bytes;
	struct ticket_queue queue; /* oldest first: all live equally long */
};

void tickets_init(struct tickets *t);
void tickets_clear(struct tickets *t);
/* The new ticket, borrowed; NULL when there are too many. */
const struct ticket *ticket_issue(struct tickets *t, int64_t now_ms, const char *account,
    const char *service, pid_t front, uint32_t session);
/* Takes it out if all of this is its binding and it has not expired: the caller frees it with
 * ticket_free.  Else NULL, and if there is such a ticket it is gone. */
struct ticket *ticket_take(struct tickets *t, int64_t now_ms, struct view bytes,
    const char *service, pid_t front, uint32_t session);
void ticket_free(struct ticket **t);
/* Is it this one, and in time? */
bool ticket_matches(const struct ticket *t, int64_t now_ms, struct view bytes);
/* Those of a front that has gone. */
void tickets_drop_front(struct tickets *t, pid_t front);

#endif
