/* queue_private.h - what queue.c, queue_load.c and settle.c share. */
#ifndef QMGR_QUEUE_PRIVATE_H
#define QMGR_QUEUE_PRIVATE_H

#include "qmgr/queue.h"

/* queue.c */
struct message *message_new(struct queue *q, struct queue_id id);
void message_wait(struct queue *q, struct message *m, int64_t delay_ms); /* WAITING, unless held */
void message_unload(struct queue *q, struct message *m);
void message_gone(struct queue *q, struct message *m); /* forgets it; logs nothing */
void message_settle_soon(struct queue *q, struct message *m);
void message_free_active(struct queue *q, struct message *m);
void message_tell_waiters(struct message *m, bool ok);
void message_leave_journal(struct queue *q, struct message *m);

struct active *active_new(void);
void queue_pump_soon(struct queue *q);
void message_make_ready(struct queue *q, struct message *m);
void message_unready(struct queue *q, struct message *m); /* WAITING, in no list */
void message_set_tenant(struct queue *q, struct message *m, uint64_t key);
void message_start_round(struct queue *q, struct message *m);
int64_t message_reserve_of(size_t nrcpts);

/* queue_load.c */
void message_load_active(struct queue *q, struct message *m);
int queue_recover(struct queue *q, struct err *err);
/* Gives a's recipients their states: pending, but for those that m->finished names. */
void active_init_rcpts(const struct message *m, struct active *a);

/* settle.c */
void message_settle(struct queue *q, struct message *m);
/* Gives a message in the journal its deferred file although it is being delivered; false: not now. */
bool message_relocate(struct queue *q, struct message *m);

#endif
