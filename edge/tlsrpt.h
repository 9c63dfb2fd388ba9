/* tlsrpt.h - TLSRPT (RFC 8460): counts how sessions with mail servers came to TLS, for domains that want to know, and mails each a
 * report when the day is over, through qmgr.
 *
 * The counts are kept in a file, as they will be sent, so that a restart loses the last seconds only.  All is bounded:
 * domains, and what is told of each. */
#ifndef EDGE_TLSRPT_H
#define EDGE_TLSRPT_H

#include "common/config/conf.h"
#include "common/event/work.h"
#include "common/ipc/conn.h"
#include "common/ipc/msg/fetch.h"

struct tlsrpt;
/* NULL: *err; the configuration is at fault.  file: as seen from inside the cage. */
struct tlsrpt *tlsrpt_new(struct loop *l, struct ipc_edge *dnsd, struct ipc_edge *qmgr,
    const struct conf *conf, const char *file, struct err *err);
/* Once the cage is closed; the pool must outlive tlsrpt_free. */
void tlsrpt_start(struct tlsrpt *t, struct work_pool *pool);
void tlsrpt_free(struct tlsrpt *t); /* writes the file; NULL is allowed */

/* One session; strings are a peer's: any bytes. */
struct tlsrpt_result {
	const char *domain;
	enum fetch_tls_policy type;
	const char *policy, *mx;                   /* lines: policy-string, mx-host */
	const char *fault;                         /* result-type; "": TLS as the policy has it */
	const char *reason, *local_ip, *host, *ip; /* of a fault; "": not known */
};
void tlsrpt_count(struct tlsrpt *t, const struct tlsrpt_result *r);

#endif
