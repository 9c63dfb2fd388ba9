/* control.h - what estafeta queue, mailq and sendmail ask (common/ipc/msg/qmgr.h, QMGR_CTL_*).
 *
 * Everything but LIST and SUBMIT is for root; the kernel says who asks. */
#ifndef QMGR_CONTROL_H
#define QMGR_CONTROL_H

#include "common/ipc/conn.h"
#include "qmgr/queue.h"
#include "qmgr/schedule.h"
#include "qmgr/submit.h"

struct control;
/* All borrowed. */
struct control *control_new(struct queue *q, struct schedule *s, struct submit *submit);
void control_free(struct control *ctl); /* when the queue is quiet: no request is under way */
extern const struct ipc_conn_ops control_ops;
void control_open(struct control *ctl, struct ipc_conn *c);

#endif
