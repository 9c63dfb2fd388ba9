/* policy_request.h - what a policy server is told of a session (SMTPD_POLICY_README). */
#ifndef SMTPD_POLICY_REQUEST_H
#define SMTPD_POLICY_REQUEST_H

#include "common/base/buf.h"
#include "smtpd/restrict.h"

struct smtpd_session;

void smtpd_policy_request(struct smtpd_session *s, const struct restrict_ctx *c, const char *context,
    struct buf *out);

#endif
