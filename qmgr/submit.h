/* submit.h - mail handed in on this machine by sendmail(1): what pickup and cleanup do in Postfix. */
#ifndef QMGR_SUBMIT_H
#define QMGR_SUBMIT_H

#include "common/ipc/conn.h"
#include "common/mime/address_complete.h"
#include "qmgr/queue.h"

struct submit_conf {
	const char *myhostname, *myorigin, *mail_name; /* borrowed */
	uint64_t message_size_limit;                   /* 0 = none */
	struct address_completion completion;          /* of the header */
	unsigned rewrites;                             /* rewriting_classes */
};

struct submit;
struct submit *submit_new(struct queue *q, struct ipc_edge *authd, const struct submit_conf *conf);
void submit_free(struct submit *s);

struct submission;
/* Takes both descriptors.  cb(arg, status, id, text) once, never from within; never after submit_cancel. */
struct submission *submit_start(struct submit *s, uid_t uid, const char *sender, uint32_t flags,
    const char *full_name, int content_fd, int rcpts_fd,
    void (*cb)(void *arg, enum qmgr_status status, const char *id, const char *text), void *arg);
/* Nobody waits for the answer any more; what was begun goes on. */
void submit_forget(struct submission *x);

#endif
