/* policy_service.h - Postfix's policy delegation protocol (SMTPD_POLICY_README): attributes one a line, an empty line;
 * the answer is "action=..." and an empty line.  Connections come from dialer, are kept and used again; each carries
 * one question at a time. */
#ifndef SMTPD_POLICY_SERVICE_H
#define SMTPD_POLICY_SERVICE_H

#include "common/base/buf.h"
#include "common/config/conf.h"
#include "common/ipc/conn.h"

struct policy_service; /* one place, with its settings and its connections */

/* "inet:host:port", "unix:path", or these and attributes as in braces: "inet:host:port, timeout=10s,
 * default_action=DUNNO, policy_context=x, max_idle=, max_ttl=, request_limit=, try_limit=, retry_delay=".
 * NULL and *err (ERR_SYNTAX). */
struct policy_service *policy_service_new(struct view text, const struct conf *conf, struct err *err);
void policy_service_free(struct policy_service *p); /* no question is under way; NULL is allowed */
/* As it was given to policy_service_new: the same text is the same service. */
const char *policy_service_text(const struct policy_service *p);
const char *policy_service_context(const struct policy_service *p);

/* "name=value\n"; what would break the protocol's lines is left out.  Pure. */
void policy_put(struct buf *out, const char *name, const char *value);
/* The action in one answer; 0, 1 = more input is needed, -1 = not such an answer.  *used bytes.  Pure. */
int policy_parse(struct view input, struct view *action, size_t *used);

struct policy_call;
/* cb comes once, from the loop, with the server's action, or the default one when it does not answer in time and in as
 * many tries as allowed; never after policy_call_cancel.  request is copied. */
struct policy_call *policy_call_start(struct policy_service *p, struct loop *l, struct ipc_edge *dialer,
    struct view request, void (*cb)(void *arg, const char *action), void *arg);
void policy_call_cancel(struct policy_call *call); /* NULL is allowed */

#endif
