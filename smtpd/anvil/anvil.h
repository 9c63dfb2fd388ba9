/* anvil.h - what all smtpd processes know together (common/ipc/msg/anvil.h): counts in memory, the greylist and the screen's
 * allow-list in a store that a work thread uses. */
#ifndef SMTPD_ANVIL_ANVIL_H
#define SMTPD_ANVIL_ANVIL_H

#include "common/config/conf.h"
#include "common/ipc/conn.h"
#include "smtpd/anvil/greylist.h"

struct anvil_conf {
	int64_t unit_ms, status_ms;
	struct greylist_conf greylist;
};
void anvil_conf_read(struct anvil_conf *a, const struct conf *conf);

struct anvil;
/* directory: of the store.  conf is copied. */
struct anvil *anvil_new(struct loop *l, const struct anvil_conf *conf, const char *directory);
/* Starts the thread: once the cage is closed. */
void anvil_start(struct anvil *a);
/* This one ends and another follows: leaves it the counts of the sending limits. */
void anvil_hand_over(struct anvil *a);
/* Answers what is still asked, syncs what was written, logs the statistics.  The loop runs no more. */
void anvil_free(struct anvil *a);

/* For daemon_serve: a smtpd's connection. */
extern const struct ipc_conn_ops anvil_caller_ops;
void anvil_caller_open(void *arg, struct ipc_conn *c);

#endif
