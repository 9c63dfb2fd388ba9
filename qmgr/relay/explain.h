/* explain.h - what relay would do at a next hop (RELAY_EXPLAIN): asks for no host by DNS, connects to nobody. */
#ifndef QMGR_RELAY_EXPLAIN_H
#define QMGR_RELAY_EXPLAIN_H

#include "qmgr/relay/job.h"

#include <sys/queue.h>

struct relay_explanation;
LIST_HEAD(relay_explanation_list, relay_explanation);
/* in: a checked RELAY_EXPLAIN, answered on its connection, which is borrowed until then: while it waits it is in the list. */
void relay_explain(const struct relay_env *env, struct ipc_conn *c, struct ipc_in *in,
    struct relay_explanation_list *list);
/* The connection has gone: nobody is answered. */
void relay_explain_drop(struct relay_explanation_list *list);

#endif
