#include "common/log/log.h"
#include "smtpd/extensions.h"
#include "smtpd/session.h"

bool
smtpd_check_starttls(struct smtpd_session *s, struct view args)
{
	const struct smtpd_config *conf = s->server->conf;

	(void)args;
	if (smtpd_session_has_tls(s))
		smtpd_reply(s, 554, "5.5.1", "Error: TLS already active");
	else if (conf->tls_level == SMTPD_TLS_NONE || !conf->has_certificate ||
		 smtpd_discards(s, EXT_STARTTLS))
		smtpd_reply(s, 502, "5.5.1", "Error: command not implemented");
	else if (s->server->tls == NULL)
		smtpd_reply(s, 454, "4.7.0", "TLS not available due to local problem");
	else
		return true;
	return false;
}

/* RFC 3207 4.2: everything learnt before is forgotten.  Input that came with the command is thrown away by
 * stream_start_tls: it was never sent under TLS, whoever put it there (the STARTTLS injection of CVE-2011-0411). */
static enum cmd_result
starttls_permitted(struct smtpd_session *s, bool permitted)
{
	struct err err;

	if (!permitted)
		return CMD_DONE;
	if (smtpd_session_has_more_input(s))
		log_warn("%zu bytes behind STARTTLS from %s are dropped",
		    stream_input(s->stream).len, smtpd_client_label(s));
	smtpd_reply(s, 220, "2.0.0", "Ready to start TLS");
	smtpd_session_forget(s);
	loop_timer_stop(&s->timer);
	stream_set_deadline(s->stream, s->server->conf->starttls_timeout_ms);
	s->is_in_handshake = true;
	if (stream_start_tls(s->stream, s->server->tls, NULL, &err) == 0)
		return CMD_DONE;
	/* 220 is already on its way: there is no taking it back */
	log_warn("TLS with %s: %s", smtpd_client_label(s), err.text);
	s->is_in_handshake = false;
	smtpd_session_end(s);
	return CMD_DONE;
}

enum cmd_result
smtpd_cmd_starttls(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_STARTTLS, starttls_permitted);
}
