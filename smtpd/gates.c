#include "smtpd/gates.h"
#include "smtpd/bcc.h"
#include "smtpd/checks.h"
#include "smtpd/explain.h"
#include "smtpd/header_rewrite.h"
#include "smtpd/milter.h"
#include "smtpd/policy.h"
#include "smtpd/rate.h"
#include "smtpd/screen.h"
#include "smtpd/session.h"
#include "smtpd/verdicts.h"

static bool
has_screen(const struct smtpd_config *c, enum smtpd_stage stage)
{
	return stage == STAGE_CONNECT && c->screen.is_enabled;
}

static bool
has_milters(const struct smtpd_config *c, enum smtpd_stage stage)
{
	return stage == STAGE_CONNECT && c->milters.count > 0;
}

/* `remembers`: what the gate asks keeps what it was asked, so that it is not asked for a client that is only claimed. */
/* clang-format off */
static const struct {
	smtpd_gate *pass;
	const char *remembers;
	bool (*is_there)(const struct smtpd_config *c, enum smtpd_stage stage);
} gates[] = {
	{ smtpd_rate_gate,     "rates",      smtpd_rate_is_limited },
	{ smtpd_screen_gate,   "postscreen", has_screen },
	{ smtpd_policy_gate,   NULL,         NULL },
	{ smtpd_checks_gate,   NULL,         NULL },
	{ smtpd_rewrite_gate,  NULL,         NULL },
	{ smtpd_milter_gate,   "milters",    has_milters },
	{ smtpd_bcc_gate,      NULL,         NULL },
	{ smtpd_verdicts_gate, NULL,         NULL }, /* the last: what all others have decided counts */
};
/* clang-format on */
enum { GATES = sizeof gates / sizeof gates[0] };

static void
skip(struct smtpd_session *s)
{
	struct gate_walk *w = &s->gate;

	for (; w->at < GATES && gates[w->at].remembers != NULL; w->at++)
		if (gates[w->at].is_there(s->server->conf, w->stage))
			smtpd_explain_step(s, "not_asked", "name", gates[w->at].remembers);
}

static enum cmd_result
passed(struct smtpd_session *s, bool permitted)
{
	struct gate_walk *w = &s->gate;

	if (permitted && s->explain != NULL)
		skip(s);
	if (permitted && w->at < GATES)
		return gates[w->at++].pass(s, w->stage, passed);
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
