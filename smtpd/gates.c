#include "smtpd/gates.h"
#include "smtpd/bcc.h"
#include "smtpd/checks.h"
#include "smtpd/header_rewrite.h"
#include "smtpd/milter.h"
#include "smtpd/policy.h"
#include "smtpd/rate.h"
#include "smtpd/screen.h"
#include "smtpd/session.h"
#include "smtpd/verdicts.h"

static smtpd_gate *const gates[] = {
	smtpd_rate_gate, smtpd_screen_gate, smtpd_policy_gate, smtpd_checks_gate,
	smtpd_rewrite_gate, smtpd_milter_gate, smtpd_bcc_gate,
	smtpd_verdicts_gate, /* the last: what all others have decided counts */
};

static enum cmd_result
passed(struct smtpd_session *s, bool permitted)
{
	struct gate_walk *w = &s->gate;

	if (permitted && w->at < sizeof gates / sizeof gates[0])
		return gates[w->at++](s, w->stage, passed);
	return w->then(s, permitted);
}

enum cmd_result
smtpd_gates_start(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	s->gate = (struct gate_walk){ .stage = stage, .then = then };
	return passed(s, true);
}

void
smtpd_gate_settled(struct smtpd_session *s, enum cmd_result r)
{
	if (r == CMD_DONE)
		smtpd_session_done(s);
	else if (r == CMD_MORE)
		smtpd_session_continue(s);
}
