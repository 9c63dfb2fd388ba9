/* dnsd.h - all DNS of the suite: validating, one cache, questions of smtpd and relay (DESIGN 3).
 *
 * libunbound runs on our loop (ub_resolve_event): no thread, no child.  One question asked by many at a time
 * is one question to libunbound.  Everything is bounded: questions under way in all (dns_max_queries) and
 * per caller, the time that an asker waits (dns_timeout), records and bytes of an answer.
 * A broken or slow name server is DNS_FAIL, never "no such name". */
#ifndef EDGE_DNSD_H
#define EDGE_DNSD_H

#include "common/config/conf.h"
#include "common/ipc/conn.h"

struct dnsd;

/* Reads its parameters, the trust anchors and /etc/resolv.conf; everything that libunbound opens lazily is
 * opened here, before the cage closes.  NULL and *err when the configuration cannot work. */
struct dnsd *dnsd_new(struct loop *l, const struct conf *conf, struct err *err);
void dnsd_free(struct dnsd *d);

/* For daemon_serve: a caller's connection. arg is the struct dnsd. */
extern const struct ipc_conn_ops dnsd_caller_ops;
void dnsd_caller_open(void *arg, struct ipc_conn *c);

/* No more questions are taken; idle(arg) is called once the askers of all present ones have their answer, at once
 * if there are none. */
void dnsd_drain(struct dnsd *d, void (*idle)(void *arg), void *arg);

#endif
