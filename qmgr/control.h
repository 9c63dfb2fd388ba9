/* control.h - what estafeta queue, mailq and sendmail ask (common/ipc/msg/qmgr.h, QMGR_CTL_*).
 *
 * LIST, FLUSH and SUBMIT are for those whom the lists name, the rest is for root; the kernel says who asks. */
#ifndef QMGR_CONTROL_H
#define QMGR_CONTROL_H

#include "common/ipc/conn.h"
#include "qmgr/contain.h"
#include "qmgr/explain.h"
#include "qmgr/queue.h"
#include "qmgr/schedule.h"
#include "qmgr/submit.h"
#include "qmgr/user_acl.h"

enum {
	CONTROL_CONNS = 500, /* at a time ... */
	CONTROL_ROOT = 100,  /* ... of which so many are kept for root */
	CONTROL_USER = 100,  /* most of one other user ... */
	CONTROL_SERVED =
	    10, /* ... and so many of them are served; the others wait for their turn */
};
struct control_conf {
	struct user_acl mailq_users, flush_users, submit_users;
	int64_t idle_ms; /* a tool without a request is sent away after this time */
};
struct control;
/* All borrowed. */
struct control *control_new(
    struct queue *q, struct schedule *s, struct submit *submit, struct contain *contain,
    const struct control_conf *conf);
void control_free(struct control *ctl); /* when the queue is quiet: no request is under way */
/* Borrowed; without it EXPLAIN is refused. */
void control_set_explainer(struct control *ctl, struct explainer *e);
extern const struct ipc_conn_ops control_ops;
void control_open(struct control *ctl, struct ipc_conn *c);

#endif
