#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/log/log.h"
#include "common/login/login_client.h"
#include "common/net/tls.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what the stream tells ---- */

static void
on_input(void *arg, struct stream *s)
{
	(void)s;
	login_client_run(arg);
}

static void
on_drained(void *arg, struct stream *s)
{
	(void)s;
	login_proxy_drained(arg);
}

static void
on_tls(void *arg, struct stream *s)
{
	struct login_client *c = arg;

	(void)s;
	c->is_tls_up = true;
	c->phase = LOGIN_PHASE_COMMAND;
	if (!c->was_greeted) {
		c->was_greeted = true;
		c->front->protocol->greet(c);
	}
	login_client_run(c);
}

static void
on_close(void *arg, struct stream *s, const struct err *why)
{
	struct login_client *c = arg;
	char reason[240];

	(void)s;
	if (c->phase == LOGIN_PHASE_PROXY) {
		login_proxy_client_closed(c, why);
		return;
	}
	if (why->kind == ERR_GONE && why->sys == 0)
		snprintf(reason, sizeof reason, "Connection closed");
	else
		snprintf(reason, sizeof reason, "Connection closed: %s", why->text);
	/* a parenthesis of OpenSSL's would look like the one that fail2ban looks for */
	for (char *p = reason; *p != '\0'; p++)
		if (*p == '(' || *p == ')')
			*p = ' ';
	login_client_end(c, NULL, reason);
}

static const struct stream_ops client_ops = { on_input, on_drained, on_tls, on_close };

/* Time to log in is over. */
static void
on_timer(void *arg)
{
	login_client_end(arg, "Disconnected for inactivity.", "Inactivity");
}

/* ---- life ---- */

static void
client_set_addresses(struct login_client *c, int fd, const struct sockaddr_storage *peer)
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof local;

	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		local.ss_family = AF_UNSPEC;
	addr_text(peer, c->rip);
	addr_text(&local, c->lip);
	c->rport = addr_port(peer);
	c->lport = addr_port(&local);
}

static void
client_set_session(struct login_client *c)
{
	unsigned char id[12];
	struct buf text;

	random_bytes(id, sizeof id);
	buf_init(&text, sizeof c->session_id);
	(void)base64_encode(&text, id, sizeof id);
	snprintf(c->session_id, sizeof c->session_id, "%s", buf_cstr(&text));
	buf_clear(&text);
}

static void
client_clear_state(struct login_client *c)
{
	if (c->front->protocol->clear != NULL)
		c->front->protocol->clear(c);
	mem_wipe(c->state, c->front->protocol->state_size);
}

static void
client_start_tls(struct login_client *c)
{
	struct err err;

	c->wants_tls = false;
	c->phase = LOGIN_PHASE_TLS;
	/* RFC 3207 4.2, RFC 2595 4: what was said in the clear is forgotten */
	client_clear_state(c);
	if (stream_start_tls(c->stream, c->front->tls, NULL, &err) < 0) {
		log_error("%s", err.text);
		login_client_end(c, NULL, "TLS unavailable");
	}
}

void
login_client_new(
    struct login_front *f, int fd, const struct sockaddr_storage *peer, struct login_address *a)
{
	struct login_client *c = x_calloc(1, sizeof *c);
	struct stream_limits limits = { f->protocol->input_max, LOGIN_CLIENT_OUTPUT };

	c->front = f;
	c->address = a;
	c->session_fd = -1;
	c->born_ms = clock_mono_ms();
	c->state = x_calloc(1, f->protocol->state_size);
	c->is_counted_waiting = true;
	TAILQ_INSERT_TAIL(&f->waiting, c, link);
	client_set_addresses(c, fd, peer);
	client_set_session(c);
	c->stream = stream_new(f->setup.loop, fd, &limits, &client_ops, c);
	loop_timer_init(&c->timer, f->setup.loop, on_timer, c);
	loop_timer_init(&c->delay, f->setup.loop, login_auth_delay_over, c);
	loop_timer_start(&c->timer, conf_seconds(f->setup.conf, "login_timeout") * 1000);
	if (f->has_wrapper_tls) {
		client_start_tls(c);
		return;
	}
	c->phase = LOGIN_PHASE_COMMAND;
	c->was_greeted = true;
	f->protocol->greet(c);
}

void
login_client_free(struct login_client *c)
{
	struct login_front *f = c->front;

	client_clear_state(c);
	free(c->state);
	ipc_call_cancel(c->call);
	loop_timer_stop(&c->timer);
	loop_timer_stop(&c->delay);
	stream_free(c->stream);
	stream_free(c->session);
	fd_close(&c->session_fd);
	ipc_conn_close(c->control);
	login_front_forget(f, c);
	mem_wipe(c->ticket, sizeof c->ticket);
	free(c);
}

void
login_client_end(struct login_client *c, const char *bye, const char *reason)
{
	bool can_speak = c->phase != LOGIN_PHASE_TLS && !c->wants_tls;

	login_log_end(c, reason);
	login_auth_cancel(c);
	if (bye != NULL && can_speak)
		c->front->protocol->bye(c, bye);
	if (can_speak) {
		stream_finish(c->stream, LOGIN_FINISH_MS);
		c->stream = NULL;
	}
	login_client_free(c);
}

/* One command or response off the input.  0: look again, 1: wait, -1: the client may have been freed. */
static int
client_step(struct login_client *c)
{
	struct view in = stream_input(c->stream), line;
	size_t used = 0;
	struct err err;
	int r;

	if (c->phase == LOGIN_PHASE_RESPONSE) {
		r = line_cut(in, LOGIN_LINE_MAX, &line, &used, &err);
		if (r == 0)
			login_auth_response(c, line);
	} else {
		r = c->front->protocol->input(c, in, &used, &err);
	}
	if (r < 0) {
		login_client_end(c, err.text, "Malformed input");
		return -1;
	}
	if (r == 1)
		return 1;
	if (c->phase == LOGIN_PHASE_ENDED) {
		login_client_free(c);
		return -1;
	}
	stream_consume(c->stream, used);
	if (c->wants_tls) {
		client_start_tls(c); /* frees the client if it fails; nothing to do either way */
		return -1;
	}
	return 0;
}

void
login_client_run(struct login_client *c)
{
	if (c->phase == LOGIN_PHASE_PROXY) {
		login_proxy_input(c);
		return;
	}
	while (c->phase == LOGIN_PHASE_COMMAND || c->phase == LOGIN_PHASE_RESPONSE)
		if (stream_input(c->stream).len == 0 || client_step(c) != 0)
			return;
}

/* ---- for protocols ---- */

void *
login_state(struct login_client *c)
{
	return c->state;
}

const struct conf *
login_conf(const struct login_client *c)
{
	return c->front->setup.conf;
}

void
login_reply(struct login_client *c, const char *fmt, ...)
{
	struct buf b;
	va_list ap;

	if (c->stream == NULL)
		return;
	buf_init(&b, LOGIN_CLIENT_OUTPUT);
	va_start(ap, fmt);
	(void)buf_vprintf(&b, fmt, ap);
	va_end(ap);
	/* a reply that does not fit ends the stream, which is told from the loop */
	(void)stream_write(c->stream, b.p, b.len);
	buf_clear(&b);
}

bool
login_has_tls(const struct login_client *c)
{
	return c->is_tls_up;
}

bool
login_can_start_tls(const struct login_client *c)
{
	return c->front->tls != NULL && !c->is_tls_up;
}

bool
login_can_plaintext(const struct login_client *c)
{
	return c->is_tls_up || !c->front->disables_plaintext;
}

void
login_start_tls(struct login_client *c)
{
	c->wants_tls = true;
}

void
login_refused_plaintext(struct login_client *c)
{
	c->has_tried_plaintext = true;
}

bool
login_bad_command(struct login_client *c)
{
	if (++c->bad_commands < (unsigned)conf_int(login_conf(c), "login_max_bad_commands"))
		return false;
	c->front->protocol->bye(c, "Too many invalid commands.");
	login_log_end(c, "Too many invalid commands");
	stream_finish(c->stream, LOGIN_FINISH_MS);
	c->stream = NULL;
	c->phase = LOGIN_PHASE_ENDED;
	return true;
}

void
login_quit(struct login_client *c)
{
	login_log_end(c, "Logged out");
	stream_finish(c->stream, LOGIN_FINISH_MS);
	c->stream = NULL;
	c->phase = LOGIN_PHASE_ENDED;
}

void
login_log_id(struct login_client *c, const char *text)
{
	log_info("ID sent: %s: user=<>, rip=%s, lip=%s%s, session=<%s>", text, c->rip, c->lip,
	    c->is_tls_up ? ", TLS" : "", c->session_id);
}
