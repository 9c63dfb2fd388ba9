/* The SMTP session of an explanation: what smtpd tells of its steps beside the replies (common/ipc/msg/smtpd.h). */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/master.h"
#include "common/ipc/msg/smtpd.h"
#include "common/proto/idn.h"
#include "tools/explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	MASTER_MS = 10000,
	STEP_MS = 35000,  /* longer than smtpd gives a session */
	STEPS_MAX = 5000, /* more than it tells */
};

struct session {
	int steps, stream; /* owned */
	json_t *commands;  /* borrowed */
	json_t *command;   /* borrowed: the one under way */
	bool is_over;
	unsigned nsteps;
	char packet[IPC_MAX_PACKET];
};

const char *
explain_get(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s != NULL ? s : "";
}

json_t *
explain_string(const char *s)
{
	json_t *value = json_string(s);
	char *clean;

	if (value != NULL)
		return value;
	clean = x_strdup(s);
	for (char *p = clean; *p != '\0'; p++)
		if ((unsigned char)*p >= 128)
			*p = '?';
	value = json_string(clean);
	free(clean);
	return value;
}

/* --- steps ---------------------------------------------------------------------------------------- */

static void
take_reply(json_t *command, json_t *step)
{
	json_object_set_new(command, "code", json_integer(atoi(explain_get(step, "code"))));
	json_object_set(command, "dsn", json_object_get(step, "dsn"));
	json_object_set(command, "text", json_object_get(step, "text"));
}

/* 1: the command has its reply. */
static int
take_step(struct session *s, struct ipc_in *in)
{
	json_t *step = json_object();
	const char *what;
	bool is_reply;

	(void)ipc_get_str(in); /* the tool knows which command it has sent */
	what = ipc_get_str(in);
	is_reply = strcmp(what, "reply") == 0;
	json_object_set_new(step, "step", explain_string(what));
	while (ipc_in_more(in)) {
		const char *name = ipc_get_str(in);

		json_object_set_new_nocheck(step, bytes_are_ascii(view_of(name)) ? name : "?",
		    explain_string(ipc_get_str(in)));
	}
	if (is_reply)
		take_reply(s->command, step);
	else
		json_array_append(json_object_get(s->command, "steps"), step);
	json_decref(step);
	return is_reply;
}

/* Nobody reads the replies where they come as steps, but they must not stop the session. */
static void
drain_stream(const struct session *s)
{
	char buf[4096];

	while (recv(s->stream, buf, sizeof buf, MSG_DONTWAIT) > 0)
		;
}

/* Up to the reply, or to the end of the session. */
static int
read_steps(struct session *s, bool to_end, struct err *err)
{
	struct ipc_in in;

	for (;;) {
		const char *sig = SMTPD_STEP_SIG;

		if (ipc_recv_blocking(s->steps, STEP_MS, s->packet, &in, err) < 0)
			return err_prefix(err, "the smtpd process");
		if (in.type == SMTPD_EXPLAINED)
			sig = "";
		if (ipc_in_check(&in, sig, err) < 0 || ++s->nsteps > STEPS_MAX ||
		    (in.type != SMTPD_STEP && in.type != SMTPD_EXPLAINED)) {
			ipc_in_close_fds(&in);
			return err_set(err, ERR_SYNTAX, "the smtpd process sent what is no step");
		}
		s->is_over = in.type == SMTPD_EXPLAINED;
		if (s->is_over || (take_step(s, &in) == 1 && !to_end))
			break;
	}
	drain_stream(s);
	return 0;
}

/* --- commands --------------------------------------------------------------------------------------- */

static void
begin_command(struct session *s, const char *name, const char *line)
{
	s->command = json_object();
	json_object_set_new(s->command, "command", json_string(name));
	if (line != NULL)
		json_object_set_new(s->command, "sent", explain_string(line));
	json_object_set_new(s->command, "steps", json_array());
	json_array_append_new(s->commands, s->command);
}

static int
send_bytes(const struct session *s, struct view bytes, struct err *err)
{
	while (bytes.len > 0) {
		ssize_t n = send(s->stream, bytes.p, bytes.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, ERR_GONE, "the smtpd process");
		bytes = view_make(bytes.p + n, bytes.len - (size_t)n);
	}
	return 0;
}

static int
command_code(const struct session *s)
{
	return (int)json_integer_value(json_object_get(s->command, "code"));
}

/* The reply's code, or -1; 0: the session is over. */
static int __attribute__((format(printf, 4, 5)))
say(struct session *s, const char *name, struct err *err, const char *fmt, ...)
{
	struct buf line;
	va_list ap;
	char *words;
	int r;

	if (s->is_over)
		return 0;
	va_start(ap, fmt);
	r = vasprintf(&words, fmt, ap);
	va_end(ap);
	if (r < 0)
		return err_set(err, ERR_TEMP, "out of memory");
	begin_command(s, name, words);
	buf_init(&line, 8192);
	buf_printf(&line, "%s\r\n", words);
	free(words);
	r = line.failed ? err_set(err, ERR_LIMIT, "%s: too long", name)
			: send_bytes(s, buf_view(&line), err);
	buf_clear(&line);
	if (r == 0)
		r = read_steps(s, false, err);
	return r < 0 ? -1 : command_code(s);
}

/* With its dots stuffed (RFC 5321 4.5.2). */
static int
send_message(struct session *s, struct view message, struct err *err)
{
	struct view line;
	struct buf out;
	int r;

	begin_command(s, "END-OF-MESSAGE", NULL);
	buf_init(&out, 2 * EXPLAIN_MESSAGE + 100);
	while (message.len > 0) {
		view_cut(message, '\n', &line, &message);
		buf_printf(&out, "%s%.*s\r\n", line.len > 0 && line.p[0] == '.' ? "." : "",
		    VIEW_ARG(line));
	}
	buf_append_str(&out, ".\r\n");
	r = send_bytes(s, buf_view(&out), err);
	buf_clear(&out);
	return r < 0 || read_steps(s, false, err) < 0 ? -1 : command_code(s);
}

/* 250: one of them was taken. */
static int
send_recipients(struct session *s, const struct explain_request *q, struct err *err)
{
	int best = 0;

	for (size_t i = 0; i < q->nrcpts; i++) {
		int code = say(s, "RCPT", err, "RCPT TO:<%s>", q->rcpts[i]);

		if (code < 0)
			return -1;
		if (code == 250)
			best = code;
	}
	return best;
}

static int
talk(struct session *s, const struct explain_request *q, struct err *err)
{
	char size[40] = "";
	int code;

	begin_command(s, "CONNECT", NULL);
	if (read_steps(s, false, err) < 0)
		return -1;
	if (q->size > 0)
		snprintf(size, sizeof size, " SIZE=%llu", (unsigned long long)q->size);
	code = say(s, "EHLO", err, "EHLO %s", q->helo);
	if (code == 250)
		code = say(s, "MAIL", err, "MAIL FROM:<%s>%s%s", q->sender, size,
		    q->is_utf8 ? " SMTPUTF8" : "");
	if (code == 250)
		code = send_recipients(s, q, err);
	if (code == 250)
		code = say(s, "DATA", err, "DATA");
	if (code == 354)
		code = send_message(s, buf_view(&q->message), err);
	if (code < 0 || (!s->is_over && say(s, "QUIT", err, "QUIT") < 0))
		return -1;
	return s->is_over ? 0 : read_steps(s, true, err);
}

/* --- the connection ---------------------------------------------------------------------------------- */

static int
ask_master(const struct tool *t, const struct explain_request *q, struct session *s, json_t *out,
    struct err *err)
{
	int master = tool_connect(t, ROLE_MASTER, err);
	struct ipc_out o;
	struct ipc_in in;
	uint32_t status;
	const char *word;
	int r;

	if (master < 0)
		return -1;
	ipc_out_init(&o, MASTER_CTL_EXPLAIN);
	ipc_put_str(&o, q->service);
	r = ipc_call_blocking(master, &o, MASTER_EXPLAIN_SIG, MASTER_MS, s->packet, &in, err);
	close(master);
	if (r < 0)
		return -1;
	status = ipc_get_u32(&in);
	word = ipc_get_str(&in);
	s->steps = ipc_get_fd(&in);
	json_object_set_new(out, "service", explain_string(status == EX_OK ? word : q->service));
	return status == EX_OK ? 0 : err_set(err, ERR_GONE, "%s", word);
}

static int
claim(struct session *s, const struct explain_request *q, struct err *err)
{
	int pair[2];
	struct ipc_out o;
	struct ipc_in in;
	uint32_t status;
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, ERR_TEMP, "socketpair");
	s->stream = pair[0];
	ipc_out_init(&o, SMTPD_EXPLAIN);
	ipc_put_str(&o, q->client);
	ipc_put_u32(&o, q->port);
	ipc_put_str(&o, q->name);
	ipc_put_str(&o, q->login);
	ipc_put_u32(
	    &o, (q->has_tls ? SMTPD_EXPLAIN_TLS : 0) | (q->asks_policy ? SMTPD_EXPLAIN_POLICY : 0));
	ipc_put_fd(&o, pair[1]);
	r = ipc_call_blocking(s->steps, &o, "us", STEP_MS, s->packet, &in, err);
	close(pair[1]);
	if (r < 0)
		return err_prefix(err, "the smtpd process");
	status = ipc_get_u32(&in);
	return status == EX_OK ? 0 : err_set(err, ERR_TEMP, "%s", ipc_get_str(&in));
}

/* --- what has come of it ------------------------------------------------------------------------------- */

/* The steps that say what would be queued are no steps of the way. */
static void
take_outcome(json_t *out, const struct session *s)
{
	json_t *recipients = json_array(), *headers = json_array(), *steps, *step = NULL, *kept;
	size_t i;

	json_object_set_new(out, "recipients", recipients);
	json_object_set_new(out, "prepended", headers);
	json_object_set_new(out, "accepted", json_false());
	json_array_foreach(s->commands, i, step)
	{
		if (strcmp(explain_get(step, "command"), "END-OF-MESSAGE") == 0)
			break;
	}
	if (step == NULL)
		return;
	if (json_integer_value(json_object_get(step, "code")) == 250)
		json_object_set_new(out, "accepted", json_true());
	steps = json_incref(json_object_get(step, "steps"));
	kept = json_array();
	json_object_set_new(step, "steps", kept);
	json_array_foreach(steps, i, step)
	{
		const char *what = explain_get(step, "step");

		if (strcmp(what, "envelope") != 0 && strcmp(what, "recipient") != 0 &&
		    strcmp(what, "header") != 0) {
			json_array_append(kept, step);
			continue;
		}
		if (strcmp(what, "recipient") == 0)
			json_array_append(recipients, step);
		else if (strcmp(what, "header") == 0)
			json_array_append(headers, json_object_get(step, "value"));
		else
			json_object_update(out, step);
		json_object_del(step, "step");
	}
	json_object_del(out, "step");
	json_object_set_new(
	    out, "message_size_limit", json_integer(atoll(explain_get(out, "message_size_limit"))));
	json_decref(steps);
}

int
explain_session(const struct tool *t, const struct explain_request *q, json_t *out, struct err *err)
{
	struct session *s = x_calloc(1, sizeof *s);
	int r;

	s->steps = s->stream = -1;
	s->commands = json_array();
	r = ask_master(t, q, s, out, err);
	if (r == 0)
		r = claim(s, q, err);
	if (r == 0)
		r = talk(s, q, err);
	json_object_set_new(out, "commands", s->commands);
	if (r == 0)
		take_outcome(out, s);
	fd_close(&s->stream);
	fd_close(&s->steps);
	free(s);
	return r;
}
