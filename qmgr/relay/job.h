/* job.h - one message to one nexthop: finds the hosts, tries them in order, and tells each recipient's outcome
 * exactly once. */
#ifndef QMGR_RELAY_JOB_H
#define QMGR_RELAY_JOB_H

#include "common/base/arena.h"
#include "qmgr/relay/pool.h"

struct relay_job;

/* What jobs share. */
struct relay_env {
	struct loop *loop;
	const struct relay_conf *conf;
	struct ipc_edge *dnsd, *authd;
	struct ipc_edge *fetchd; /* NULL: neither MTA-STS nor TLS reports */
	struct relay_pool *pool;
};

/* One recipient's outcome, as msg/relay.h has it. */
struct relay_outcome {
	uint32_t recipient; /* its number within the message */
	const struct relay_verdict *verdict;
	const char *relay; /* "host[ip]:port" or "none" */
	const char *site;  /* as msg/relay.h has it */
	uint32_t setup_ms, transmit_ms, uses;
};
struct relay_job_ops {
	void (*on_outcome)(void *arg, struct relay_job *job, const struct relay_outcome *o);
	/* All recipients are told; the owner frees the job here. */
	void (*on_end)(void *arg, struct relay_job *job);
};

struct relay_job_rcpt_spec {
	uint32_t number;
	const char *address, *orcpt;
	uint32_t notify;
};
/* Who gave us the message, "" where it is not known: for XFORWARD. */
struct relay_client {
	const char *name, *address, *port, *helo, *protocol;
};
struct relay_job_spec {
	uint32_t number; /* qmgr's */
	bool is_lmtp;    /* RFC 2033, else SMTP */
	bool is_probe;   /* no content: asks whether the recipient would be taken */
	const char *queue_id, *nexthop, *sender, *envid, *login;
	struct relay_client client;
	uint32_t flags;
};

/* Copies the spec; takes the descriptors of *content.  Recipients are added before the start. */
struct relay_job *relay_job_new(const struct relay_env *env, const struct relay_job_spec *spec,
    const struct relay_content *content, const struct relay_job_ops *ops, void *arg);
/* -1: too many for the memory of one job. */
int relay_job_add(struct relay_job *job, const struct relay_job_rcpt_spec *rcpt);
/* Are there recipients, and is the content what it must be?  -1 *err. */
int relay_job_check(struct relay_job *job, struct err *err);
/* Callbacks come from the loop. */
void relay_job_start(struct relay_job *job);
/* Without a connection to any host: all recipients get this.  Calls on_outcome and on_end. */
void relay_job_refuse(struct relay_job *job, const struct relay_verdict *v);
/* Drops everything at once; nobody is told.  NULL is allowed. */
void relay_job_free(struct relay_job *job);
/* Does MTA-STS count there?  level: of the TLS policy; has_entry: it is of smtp_tls_policy_maps. */
bool relay_job_may_have_sts(const struct relay_env *env, const struct relay_nexthop *hop,
    bool is_lmtp, bool has_entry, bool is_tls_optional, enum relay_tls_level level);
uint32_t relay_job_number(const struct relay_job *job);

#endif
