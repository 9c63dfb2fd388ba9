/* The SASL exchange between a client and authd. */
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "common/login/login_client.h"

#include <stdio.h>

enum { AUTH_TIMEOUT_MS = 60 * 1000 };

static bool
is_plaintext_mech(struct view mech)
{
	return view_case_eq_str(mech, "PLAIN") || view_case_eq_str(mech, "LOGIN");
}

static bool
mech_is_offered(const struct login_client *c, struct view mech)
{
	struct view rest = view_of(conf_str(login_conf(c), "smtpd_sasl_mechanisms")), item;

	while (conf_next(&rest, &item))
		if (view_case_eq(item, mech))
			return true;
	return false;
}

bool
login_can_login(const struct login_client *c)
{
	return login_can_plaintext(c) && mech_is_offered(c, VIEW_LIT("PLAIN"));
}

const char *
login_mechanisms(struct login_client *c, const char *prefix, struct buf *out)
{
	struct view rest = view_of(conf_str(login_conf(c), "smtpd_sasl_mechanisms")), item;

	while (conf_next(&rest, &item)) {
		if (is_plaintext_mech(item) && !login_can_plaintext(c))
			continue;
		(void)buf_printf(out, "%s%s%.*s", out->len > 0 ? " " : "", prefix, VIEW_ARG(item));
	}
	return buf_cstr(out);
}

/* Back to commands; the client is told. */
void
login_auth_fail(struct login_client *c, enum login_failure why)
{
	c->has_exchange = false;
	c->phase = LOGIN_PHASE_COMMAND;
	mem_wipe(c->ticket, sizeof c->ticket);
	c->front->protocol->failed(c, why);
}

/* Guessing is slowed down by a timer, not by a process that sleeps; the answer to the last guess allowed is
 * the end of the connection.  So is asking again and again when authd has no room. */
void
login_auth_delay_over(void *arg)
{
	struct login_client *c = arg;

	login_auth_fail(c, c->delayed);
	if (c->attempts >= (unsigned)conf_int(login_conf(c), "login_max_attempts"))
		login_client_end(
		    c, "Too many authentication failures.", "Too many authentication failures");
	else
		login_client_run(c);
}

static void
auth_fail_slowly(struct login_client *c, enum login_failure why)
{
	if (why == LOGIN_WRONG)
		c->attempts++;
	c->has_exchange = false;
	c->delayed = why;
	c->phase = LOGIN_PHASE_DELAY;
	loop_timer_start(&c->delay, conf_seconds(login_conf(c), "login_failure_delay") * 1000);
}

void
login_auth_cancel(struct login_client *c)
{
	struct ipc_out o;

	if (!c->has_exchange)
		return;
	c->has_exchange = false;
	ipc_out_init(&o, AUTHD_SASL_ABORT);
	ipc_put_u32(&o, c->id);
	(void)ipc_edge_send(c->front->setup.authd, &o);
}

static void
client_challenge(struct login_client *c, struct view data)
{
	struct buf text;
	const char *base64;

	buf_init(&text, LOGIN_LINE_MAX);
	(void)base64_encode(&text, data.p, data.len);
	base64 = buf_cstr(&text);
	c->phase = LOGIN_PHASE_RESPONSE;
	c->front->protocol->challenge(c, base64 != NULL ? base64 : "");
	buf_clear(&text);
}

/* The mechanism is through.  Its last words, if any, are one more challenge, which the client answers with an
 * empty response (RFC 4422 3.6: neither IMAP nor POP3 has room for data in its success). */
static void
auth_done(struct login_client *c, struct view data, const char *account, struct view ticket)
{
	if (ticket.len != TICKET_BYTES) {
		log_error("authd gives no ticket");
		login_auth_fail(c, LOGIN_UNAVAILABLE);
		return;
	}
	memcpy(c->ticket, ticket.p, TICKET_BYTES);
	c->has_exchange = false;
	log_quote(c->user, sizeof c->user, view_of(account));
	if (data.len > 0) {
		c->has_final_data = true;
		client_challenge(c, data);
		return;
	}
	login_handover(c);
}

static void
on_step(void *arg, struct ipc_in *in)
{
	struct login_client *c = arg;
	uint32_t step = AUTHD_STEP_TEMP;
	struct view data, ticket;
	const char *account, *reason = "authd does not answer";

	c->call = NULL;
	if (in != NULL) {
		step = ipc_get_u32(in);
		data = ipc_get_bytes(in);
		account = ipc_get_str(in);
		ticket = ipc_get_bytes(in);
		reason = ipc_get_str(in);
	}
	switch (step) {
	case AUTHD_STEP_MORE:
		client_challenge(c, data);
		break;
	case AUTHD_STEP_DONE:
		auth_done(c, data, account, ticket);
		break;
	case AUTHD_STEP_FAILED:
		log_debug("session=<%s>: authentication failed: %s", c->session_id, lqs(reason));
		auth_fail_slowly(c, LOGIN_WRONG);
		break;
	case AUTHD_STEP_NO_MECH:
		login_auth_fail(c, LOGIN_NO_MECH);
		break;
	default:
		log_error("authentication unavailable: %s, rip=%s, session=<%s>", lqs(reason),
		    c->rip, c->session_id);
		login_auth_cancel(c);
		auth_fail_slowly(c, LOGIN_UNAVAILABLE);
	}
	login_client_run(c);
}

static void
ask_authd(struct login_client *c, struct ipc_out *o)
{
	c->phase = LOGIN_PHASE_AUTHD;
	c->call =
	    ipc_edge_call(c->front->setup.authd, o, AUTHD_STEP_SIG, AUTH_TIMEOUT_MS, on_step, c);
}

void
login_auth_start(struct login_client *c, struct view mech, bool has_initial, struct view response)
{
	unsigned flags = AUTHD_WANT_TICKET;
	struct ipc_out o;

	if (is_plaintext_mech(mech) && !login_can_plaintext(c))
		login_refused_plaintext(c);
	if (!mech_is_offered(c, mech) || mech.len >= sizeof c->mech ||
	    (is_plaintext_mech(mech) && !login_can_plaintext(c))) {
		login_auth_fail(c, LOGIN_NO_MECH);
		return;
	}
	memcpy(c->mech, mech.p, mech.len);
	c->mech[mech.len] = '\0';
	for (char *p = c->mech; *p != '\0'; p++)
		*p = (char)ascii_upper(*p);
	c->user[0] = '\0';
	c->responses = 0;
	c->has_exchange = true;
	c->has_final_data = false;
	if (has_initial)
		(void)login_sasl_user(c->mech, c->responses++, response, c->user, sizeof c->user);
	if (c->is_tls_up)
		flags |= AUTHD_HAS_TLS;
	if (has_initial)
		flags |= AUTHD_HAS_INITIAL;
	c->id = ++c->front->next_id;
	ipc_out_init(&o, AUTHD_SASL_START);
	ipc_put_u32(&o, c->id);
	ipc_put_str(&o, c->front->protocol->service);
	ipc_put_str(&o, c->mech);
	ipc_put_u32(&o, flags);
	ipc_put_str(&o, c->rip);
	ipc_put_str(&o, c->lip);
	ipc_put_str(&o, conf_str(login_conf(c), "myhostname"));
	ipc_put_bytes(&o, response.p, response.len);
	ask_authd(c, &o);
}

void
login_auth_start_base64(
    struct login_client *c, struct view mech, bool has_initial, struct view base64)
{
	struct buf data;

	buf_init(&data, LOGIN_LINE_MAX);
	if (has_initial && !view_eq_str(base64, "=") &&
	    base64_decode(&data, base64.p, base64.len) < 0)
		login_auth_fail(c, LOGIN_MALFORMED);
	else
		login_auth_start(c, mech, has_initial, buf_view(&data));
	buf_wipe(&data);
}

void
login_auth_plain(struct login_client *c, struct view user, struct view password)
{
	struct buf data;

	buf_init(&data, 2 * LOGIN_LINE_MAX);
	(void)buf_append_byte(&data, '\0');
	(void)buf_append_view(&data, user);
	(void)buf_append_byte(&data, '\0');
	(void)buf_append_view(&data, password);
	/* RFC 4616 2: no NUL in either, which would move the border between them */
	if (data.failed || memchr(user.p, '\0', user.len) != NULL ||
	    memchr(password.p, '\0', password.len) != NULL)
		login_auth_fail(c, LOGIN_MALFORMED);
	else
		login_auth_start(c, VIEW_LIT("PLAIN"), true, buf_view(&data));
	buf_wipe(&data);
}

static void
send_response(struct login_client *c, struct view data)
{
	struct ipc_out o;

	(void)login_sasl_user(c->mech, c->responses++, data, c->user, sizeof c->user);
	ipc_out_init(&o, AUTHD_SASL_STEP);
	ipc_put_u32(&o, c->id);
	ipc_put_bytes(&o, data.p, data.len);
	ask_authd(c, &o);
}

void
login_auth_response(struct login_client *c, struct view line)
{
	struct buf data;

	buf_init(&data, LOGIN_LINE_MAX);
	if (view_eq_str(line, "*")) {
		login_auth_cancel(c);
		login_auth_fail(c, LOGIN_CANCELLED);
	} else if (base64_decode(&data, line.p, line.len) < 0 ||
		   (c->has_final_data && data.len > 0)) {
		login_auth_cancel(c);
		login_auth_fail(c, LOGIN_MALFORMED);
	} else if (c->has_final_data) {
		login_handover(c);
	} else {
		send_response(c, buf_view(&data));
	}
	buf_wipe(&data);
}
