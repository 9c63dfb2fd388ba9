/* explain.h - `estafeta explain`: where a message's recipients would go, and under which limits, without a message. */
#ifndef QMGR_EXPLAIN_H
#define QMGR_EXPLAIN_H

#include "qmgr/route.h"
#include "qmgr/schedule.h"

struct explainer;
/* All borrowed. */
struct explainer *explainer_new(struct loop *l, const struct routes *r, struct schedule *s,
    struct ipc_edge *authd, bool has_tenant_limits);

/* in: a checked QMGR_CTL_EXPLAIN.  done comes once, from the loop; *answer (QMGR_EXPLAIN_SIG, owned by who is called). */
void explain_start(struct explainer *e, struct ipc_in *in,
    void (*done)(void *arg, struct ipc_out *answer), void *arg);

#endif
