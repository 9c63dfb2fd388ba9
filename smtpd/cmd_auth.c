#include "smtpd/cmd_auth.h"
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "smtpd/extensions.h"
#include "smtpd/session.h"

#include <stdlib.h>

enum {
	SASL_TIMEOUT_MS = 60000,
	RESPONSE_MAX = 12288, /* RFC 4954 4: of the base64; decoded it is shorter */
	MECHANISM_MAX = 20,   /* RFC 4422 3.1 */
	DELAY_MAX_MS = 10000,
};

/* One exchange. */
struct smtpd_sasl {
	uint32_t id; /* authd's name for it on our connection */
	char mechanism[MECHANISM_MAX + 1];
	bool is_started; /* authd holds state for it */
	bool
	    is_proved; /* the login is good; the client's empty answer to the last data is still due */
	char *account; /* owned, once proved */
	bool has_initial;
	struct buf response;
};

void
smtpd_sasl_free(struct smtpd_session *s, bool tell)
{
	struct smtpd_sasl *a = s->sasl;

	if (a == NULL)
		return;
	s->sasl = NULL;
	if (tell && a->is_started) {
		struct ipc_out o;

		ipc_out_init(&o, AUTHD_SASL_ABORT);
		ipc_put_u32(&o, a->id);
		ipc_edge_send(s->server->authd, &o);
	}
	buf_wipe(&a->response);
	free(a->account);
	free(a);
}

/* --- AUTH mechanism [initial-response] ------------------------------------------------------------ */

static bool
is_offered(const struct smtpd_config *conf, struct view mechanism)
{
	struct view rest = view_of(conf->mechanisms), word;

	while (conf_next(&rest, &word))
		if (view_case_eq(word, mechanism))
			return true;
	return false;
}

static bool
shows_password(struct view mechanism)
{
	return view_case_eq_str(mechanism, "PLAIN") || view_case_eq_str(mechanism, "LOGIN");
}

static bool
is_permitted(struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;

	if (!conf->has_auth || smtpd_discards(s, EXT_AUTH))
		smtpd_reply(s, 503, "5.5.1", "Error: authentication not enabled");
	else if (s->login != NULL) /* RFC 4954 4 */
		smtpd_reply(s, 503, "5.5.1", "Error: already authenticated");
	else if (s->auth_failures >= conf->auth_errors) {
		smtpd_reply(s, 421, "4.7.0", "%s Error: too many failed authentication attempts",
		    conf->myhostname);
		smtpd_session_end(s);
	} else if (conf->tls_auth_only && !smtpd_session_has_tls(s))
		smtpd_reply(
		    s, 538, "5.7.11", "Encryption required for requested authentication mechanism");
	else
		return true;
	return false;
}

static bool
take_mechanism(struct smtpd_session *s, struct view word)
{
	if (word.len == 0 || word.len > MECHANISM_MAX || !is_offered(s->server->conf, word)) {
		smtpd_reply(s, 504, "5.5.4", "Error: authentication mechanism not supported");
		return false;
	}
	if (shows_password(word) && !smtpd_session_has_tls(s)) {
		smtpd_reply(
		    s, 538, "5.7.11", "Encryption required for requested authentication mechanism");
		return false;
	}
	for (size_t i = 0; i < word.len; i++)
		s->sasl->mechanism[i] = (char)ascii_upper((unsigned char)word.p[i]);
	return true;
}

/* "=" is an initial response of no bytes (RFC 4954 4) */
static bool
take_initial(struct smtpd_session *s, struct view word)
{
	s->sasl->has_initial = word.len > 0;
	if (word.len == 0 || view_eq_str(word, "="))
		return true;
	if (base64_decode(&s->sasl->response, word.p, word.len) == 0)
		return true;
	smtpd_reply(s, 501, "5.5.2", "Error: cannot decode initial response");
	return false;
}

bool
smtpd_check_auth(struct smtpd_session *s, struct view args)
{
	struct view word, initial = { "", 0 };

	if (!is_permitted(s))
		return false;
	view_token(&args, " \t", &word);
	initial = view_trim(args);
	if (word.len == 0 || memchr(initial.p, ' ', initial.len) != NULL) {
		smtpd_reply(s, 501, "5.5.4", "Syntax: AUTH mechanism [initial-response]");
		return false;
	}
	s->sasl = x_calloc(1, sizeof *s->sasl);
	buf_init(&s->sasl->response, RESPONSE_MAX);
	if (take_mechanism(s, word) && take_initial(s, initial))
		return true;
	smtpd_sasl_free(s, false);
	return false;
}

/* --- authd's answers ------------------------------------------------------------------------------- */

/* The exchange has ended; the command gets its reply. */
static void
sasl_over(struct smtpd_session *s)
{
	if (s->state == ST_SASL)
		smtpd_session_set_state(s, ST_HELO);
	smtpd_session_done(s);
}

static void
sasl_succeed(struct smtpd_session *s)
{
	struct smtpd_sasl *a = s->sasl;

	s->login = a->account;
	a->account = NULL;
	s->mechanism = x_strdup(a->mechanism);
	s->auth_failures = 0;
	smtpd_sasl_free(s, false);
	smtpd_reply(s, 235, "2.7.0", "Authentication successful");
	sasl_over(s);
}

static int64_t
failure_delay(const struct smtpd_session *s)
{
	int64_t ms = s->server->conf->error_sleep_ms * s->auth_failures;

	return ms < DELAY_MAX_MS ? ms : DELAY_MAX_MS;
}

/* The answer comes late, each time later; the wording is what fail2ban's stock filter looks for. */
static void
sasl_fail(struct smtpd_session *s, const char *reason)
{
	s->auth_failures++;
	log_warn("%s: SASL %s authentication failed: %s", smtpd_client_label(s), s->sasl->mechanism,
	    reason[0] != '\0' ? lqs(reason) : "authentication failure");
	smtpd_sasl_free(s, false);
	if (failure_delay(s) > 0)
		smtpd_session_delay(s, TIMER_SASL_DELAY, failure_delay(s));
	else
		smtpd_sasl_delayed(s);
}

void
smtpd_sasl_delayed(struct smtpd_session *s)
{
	smtpd_reply(s, 535, "5.7.8", "Error: authentication failed");
	sasl_over(s);
}

static void
sasl_refuse(struct smtpd_session *s, int code, const char *dsn, const char *text)
{
	smtpd_sasl_free(s, true);
	smtpd_reply(s, code, dsn, "%s", text);
	sasl_over(s);
}

static void
send_challenge(struct smtpd_session *s, struct view challenge)
{
	struct buf out;

	buf_init(&out, 4 * RESPONSE_MAX);
	buf_append_str(&out, "334 ");
	base64_encode(&out, challenge.p, challenge.len);
	buf_append_str(&out, "\r\n");
	if (!out.failed)
		stream_write(s->stream, out.p, out.len);
	buf_wipe(&out);
	smtpd_session_set_state(s, ST_SASL);
	smtpd_session_continue(s);
}

/* SMTP has no room for data in its 235: the last of it goes out as a challenge whose answer is empty
 * (RFC 4954 4). */
static void
sasl_proved(struct smtpd_session *s, const char *account, struct view data)
{
	s->sasl->is_started = false;
	s->sasl->account = x_strdup(account);
	if (account[0] == '\0') {
		sasl_refuse(s, 454, "4.7.0", "Temporary authentication failure");
	} else if (data.len == 0) {
		sasl_succeed(s);
	} else {
		s->sasl->is_proved = true;
		send_challenge(s, data);
	}
}

static void
on_step(void *arg, struct ipc_in *in)
{
	struct smtpd_session *s = arg;
	uint32_t state = AUTHD_STEP_TEMP;
	struct view challenge = { "", 0 };
	const char *account = "", *reason = "";

	s->call = NULL;
	if (in != NULL) {
		state = ipc_get_u32(in);
		challenge = ipc_get_bytes(in);
		account = ipc_get_str(in);
		ipc_get_bytes(in);
		reason = ipc_get_str(in);
	}
	switch (state) {
	case AUTHD_STEP_MORE:
		send_challenge(s, challenge);
		break;
	case AUTHD_STEP_DONE:
		sasl_proved(s, account, challenge);
		break;
	case AUTHD_STEP_FAILED:
		sasl_fail(s, reason);
		break;
	case AUTHD_STEP_NO_MECH:
		sasl_refuse(s, 504, "5.5.4", "Error: authentication mechanism not supported");
		break;
	default:
		log_warn(
		    "%s: SASL %s authentication failed: Connection lost to authentication server",
		    smtpd_client_label(s), s->sasl->mechanism);
		sasl_refuse(s, 454, "4.7.0", "Temporary authentication failure");
	}
}

static void
server_address(const struct smtpd_session *s, char out[ADDR_TEXT])
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof local;

	out[0] = '\0';
	if (getsockname(stream_fd(s->stream), (struct sockaddr *)&local, &len) == 0)
		addr_text(&local, out);
}

static enum cmd_result
auth_permitted(struct smtpd_session *s, bool permitted)
{
	struct smtpd_sasl *a = s->sasl;
	char local[ADDR_TEXT];
	struct ipc_out o;

	if (!permitted) {
		smtpd_sasl_free(s, false);
		return CMD_DONE;
	}
	a->id = smtpd_server_next_id(s->server);
	a->is_started = true;
	server_address(s, local);
	ipc_out_init(&o, AUTHD_SASL_START);
	ipc_put_u32(&o, a->id);
	ipc_put_str(&o, "smtp");
	ipc_put_str(&o, a->mechanism);
	ipc_put_u32(&o, (smtpd_session_has_tls(s) ? AUTHD_HAS_TLS : 0) |
			    (a->has_initial ? AUTHD_HAS_INITIAL : 0));
	ipc_put_str(&o, s->client.ip);
	ipc_put_str(&o, local);
	ipc_put_str(&o, s->server->conf->myhostname);
	ipc_put_bytes(&o, a->response.p, a->response.len);
	s->call = ipc_edge_call(s->server->authd, &o, AUTHD_STEP_SIG, SASL_TIMEOUT_MS, on_step, s);
	buf_wipe(&a->response);
	return CMD_WAIT;
}

enum cmd_result
smtpd_cmd_auth(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_AUTH, auth_permitted);
}

/* --- the client's responses -------------------------------------------------------------------------- */

static void
send_response(struct smtpd_session *s)
{
	struct smtpd_sasl *a = s->sasl;
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_SASL_STEP);
	ipc_put_u32(&o, a->id);
	ipc_put_bytes(&o, a->response.p, a->response.len);
	s->is_waiting = true;
	s->call = ipc_edge_call(s->server->authd, &o, AUTHD_STEP_SIG, SASL_TIMEOUT_MS, on_step, s);
	buf_wipe(&a->response);
}

static void
response_to_proof(struct smtpd_session *s)
{
	if (s->sasl->response.len > 0)
		sasl_refuse(s, 501, "5.5.2", "Error: an empty response was expected");
	else
		sasl_succeed(s);
}

void
smtpd_sasl_line(struct smtpd_session *s, struct view line, size_t used)
{
	bool is_cancel = view_eq_str(line, "*");
	int r = is_cancel ? 0 : base64_decode(&s->sasl->response, line.p, line.len);

	smtpd_session_touch(s);
	stream_consume(s->stream, used);
	if (is_cancel)
		sasl_refuse(s, 501, "5.7.0", "Authentication aborted");
	else if (r < 0)
		sasl_refuse(s, 501, "5.5.2", "Error: cannot decode response");
	else if (s->sasl->is_proved)
		response_to_proof(s);
	else
		send_response(s);
}

void
smtpd_sasl_too_long(struct smtpd_session *s)
{
	sasl_refuse(s, 500, "5.5.6", "Error: authentication exchange line is too long");
}
