#include "smtpd/opening.h"
#include "common/log/log.h"
#include "smtpd/client_name.h"
#include "smtpd/gates.h"
#include "smtpd/session.h"

static enum cmd_result
opened(struct smtpd_session *s, bool permitted)
{
	if (permitted)
		smtpd_reply(s, 220, NULL, "%s", s->server->conf->banner);
	else
		smtpd_session_end(s);
	smtpd_session_touch(s);
	return CMD_MORE;
}

static enum cmd_result
opened_again(struct smtpd_session *s, bool permitted)
{
	opened(s, permitted);
	return CMD_DONE;
}

enum cmd_result
smtpd_opening_again(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_CONNECT, opened_again);
}

void
smtpd_opening_secured(struct smtpd_session *s)
{
	enum cmd_result r;

	s->is_waiting = true;
	r = smtpd_gates_start(s, STAGE_CONNECT, opened);
	if (r != CMD_WAIT)
		smtpd_gate_settled(s, r);
}

static void
start_wrapped(struct smtpd_session *s)
{
	struct err err;

	s->is_in_handshake = true;
	stream_set_deadline(s->stream, s->server->conf->starttls_timeout_ms);
	if (s->server->tls == NULL)
		err_set(&err, ERR_TEMP, "no certificate");
	else if (stream_start_tls(s->stream, s->server->tls, NULL, &err) == 0)
		return;
	log_warn("TLS with %s: %s", smtpd_client_label(s), err.text);
	smtpd_session_free(s);
}

void
smtpd_opening_start(struct smtpd_session *s)
{
	if (s->server->conf->is_wrapper)
		start_wrapped(s);
	else
		smtpd_opening_secured(s);
}
