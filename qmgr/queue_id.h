/* queue_id.h - queue ids: time-ordered, unique over restarts and clock steps, shaped as Postfix's long ids.
 *
 * Text: the seconds in base 52 (at least six digits), the microseconds in base 52 (four), 'z', and a
 * number in base 51, which has no 'z'.  Where Postfix puts the inode we put the number of the journal
 * segment that this process began with: no two processes' lives share it.
 */
#ifndef QMGR_QUEUE_ID_H
#define QMGR_QUEUE_ID_H

#include "common/base/view.h"

enum { QUEUE_ID_TEXT = 24, QUEUE_ID_KEY = 12 };

struct queue_id {
	uint64_t us;   /* microseconds since 1970, 0 = no id */
	uint32_t life; /* which life of qmgr gave it */
};

void queue_id_format(struct queue_id id, char out[QUEUE_ID_TEXT]);
/* Only the text that queue_id_format makes is an id. */
bool queue_id_parse(struct view text, struct queue_id *out);
int queue_id_compare(struct queue_id a, struct queue_id b); /* <0, 0, >0: by time */
/* The id as bytes, for struct map. */
void queue_id_key(struct queue_id id, char out[QUEUE_ID_KEY]);
/* The least id that is greater. */
struct queue_id queue_id_after(struct queue_id id);

/* The next id is later than every one before it, whatever the clock says. */
struct queue_id_source {
	uint64_t last_us;
	uint32_t life;
};
struct queue_id queue_id_next(struct queue_id_source *s, int64_t wall_us);
/* An id seen on disk: later ones are given from now on. */
void queue_id_seen(struct queue_id_source *s, uint64_t us);

#endif
