/* control.c - what estafeta(8) asks of a running master; root only. */
#include "master/master.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/daemon/counters.h"
#include "common/ipc/msg/master.h"
#include "common/log/log.h"

#include <errno.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

/* RELOAD_MS: less than estafeta waits (cmd_start.c) */
enum { STATUS_BYTES = 60000, LISTED_PROCESSES = 64, RELOAD_MS = 25000 };

static void
answer(struct ipc_conn *c, uint32_t id, uint32_t status, struct view text)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_view_str(&o, text);
	if (ipc_conn_reply(c, id, &o) < 0)
		log_warn("the answer to estafeta was not taken");
}

static void
put_json_string(struct buf *out, const char *s)
{
	buf_append_byte(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_append_byte(out, '\\');
		buf_append_byte(out, (unsigned char)*s < ' ' ? '?' : *s);
	}
	buf_append_byte(out, '"');
}

static void
put_service(struct buf *out, const struct service_state *s)
{
	const struct process *p;
	unsigned count = 0;

	buf_append_str(out, "{\"service\":");
	put_json_string(out, s->name);
	buf_printf(out, ",\"program\":\"%s\",\"removed\":%s,\"processes\":[", role_row(s->role)->name,
	    s->is_removed ? "true" : "false");
	LIST_FOREACH(p, &s->processes, link)
	{
		if (count++ >= LISTED_PROCESSES)
			continue;
		buf_printf(out, "%s{\"pid\":%d,\"ready\":%s,\"draining\":%s,\"uid\":%u,\"age\":%lld",
		    count > 1 ? "," : "", (int)p->pid, p->is_ready ? "true" : "false",
		    p->is_draining ? "true" : "false", (unsigned)p->uid,
		    (long long)(clock_mono_ms() - p->started_ms) / 1000);
		if (p->account[0] != '\0') {
			buf_append_str(out, ",\"account\":");
			put_json_string(out, p->account);
		}
		buf_append_byte(out, '}');
	}
	buf_printf(out, "],\"count\":%u}\n", count);
}

static void
put_counters(struct buf *out, const struct master *m)
{
	buf_append_byte(out, '{');
	for (size_t c = 0; c < COUNTERS; c++) {
		uint64_t sum = 0;

		for (size_t role = 0; role < ROLE_COUNT; role++)
			if (m->counters[role].page != NULL)
				sum += m->counters[role].page->values[c];
		buf_printf(out, "%s\"%s\":%llu", c > 0 ? "," : "", counter_names[c],
		    (unsigned long long)sum);
	}
	buf_append_str(out, "}\n");
}

static void
on_status(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct master *m = arg;
	const struct service_state *s;
	struct buf text;

	buf_init(&text, STATUS_BYTES);
	LIST_FOREACH(s, &m->services, link)
	{
		put_service(&text, s);
	}
	answer(c, in->id, text.failed ? EX_SOFTWARE : EX_OK, buf_view(&text));
	buf_clear(&text);
}

static void
on_counters(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct buf text;

	buf_init(&text, STATUS_BYTES);
	put_counters(&text, arg);
	answer(c, in->id, text.failed ? EX_SOFTWARE : EX_OK, buf_view(&text));
	buf_clear(&text);
}

void
control_reload_ended(struct master *m, uint32_t status, const char *text)
{
	struct ipc_conn *asker = m->reload_asker;

	if (asker == NULL)
		return;
	loop_timer_stop(&m->reload_deadline);
	m->reload_asker = NULL;
	answer(asker, m->reload_request, status, view_of(text));
}

static void
on_reload_deadline(void *arg)
{
	struct master *m = arg;
	const struct service_state *s;
	struct buf text;

	buf_init(&text, STATUS_BYTES);
	buf_printf(&text, "after %d seconds the new workers of these services are not ready:", RELOAD_MS / 1000);
	LIST_FOREACH(s, &m->services, link)
	{
		if (!service_is_up(s))
			buf_printf(&text, " %s", s->name);
	}
	log_error("reload: %.*s", VIEW_ARG(buf_view(&text)));
	control_reload_ended(m, EX_TEMPFAIL, buf_cstr(&text) != NULL ? buf_cstr(&text) : "");
	buf_clear(&text);
}

static void
on_reload(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct master *m = arg;
	struct err err;

	if (m->reload_asker != NULL) {
		answer(c, in->id, EX_TEMPFAIL, VIEW_LIT("another reload is under way"));
		return;
	}
	m->reload_asker = c;
	m->reload_request = in->id;
	loop_timer_start(&m->reload_deadline, RELOAD_MS);
	if (services_load(m, &err) < 0) {
		log_error("reload: %s; the old configuration stays in force", err.text);
		control_reload_ended(m, EX_CONFIG, err.text);
		return;
	}
	log_info("reload -- version 1, configuration %s", m->config_directory);
	if (master_is_up(m))
		control_reload_ended(m, EX_OK, "");
}

static void
on_stop(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct master *m = arg;

	control_reload_ended(m, EX_UNAVAILABLE, "the mail system stops");
	m->stop_asker = c;
	m->stop_request = in->id;
	master_begin_stop(m);
}

static void
on_rotate(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct master *m = arg;
	struct err err;
	int fd = open_log_file(&m->conf, &err);

	if (fd < 0) {
		answer(c, in->id, EX_CANTCREAT, view_of(err.text));
		return;
	}
	master_set_log_file(m, fd);
	answer(c, in->id, EX_OK, view_make("", 0));
}

/* By its name, or by the port alone where that is HOST:PORT; "": any. */
static bool
is_service(const char *name, const char *wanted)
{
	const char *port = strrchr(name, ':');

	return wanted[0] == '\0' || strcmp(name, wanted) == 0 ||
	       (port != NULL && strcmp(port + 1, wanted) == 0);
}

/* One that takes clients, on the present configuration if there is one. */
static struct process *
find_smtpd(struct master *m, const char *service)
{
	struct service_state *s;
	struct process *p, *found = NULL;

	LIST_FOREACH (s, &m->services, link) {
		if (s->role != ROLE_SMTPD || !is_service(s->name, service))
			continue;
		LIST_FOREACH (p, &s->processes, link) {
			if (p->conn != NULL && p->is_ready && !p->is_draining &&
			    (found == NULL || (found->generation != m->generation &&
						  p->generation == m->generation)))
				found = p;
		}
	}
	return found;
}

/* estafeta explain talks to a smtpd process itself. */
static void
on_explain(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const char *service = ipc_get_str(in);
	struct process *p = find_smtpd(arg, service);
	int pair[2] = { -1, -1 };
	struct ipc_out o;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		log_error("socketpair: %s", strerrordesc_np(errno));
		ipc_conn_close(c);
		return;
	}
	ipc_out_init(&o, MASTER_EDGE);
	ipc_put_u32(&o, ROLE_TOOL);
	ipc_put_fd(&o, pair[1]);
	if (p == NULL || ipc_conn_send(p->conn, &o) < 0)
		p = NULL;
	ipc_reply_init(&o);
	ipc_put_u32(&o, p != NULL ? EX_OK : EX_UNAVAILABLE);
	ipc_put_str(
	    &o, p != NULL ? p->service->name : "no process of such a smtpd service takes clients");
	ipc_put_fd(&o, pair[0]);
	if (ipc_conn_reply(c, in->id, &o) < 0)
		log_warn("the answer to estafeta was not taken");
	fd_close(&pair[0]);
	fd_close(&pair[1]);
}

static void
on_asker_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct master *m = arg;

	(void)why;
	if (m->stop_asker == c)
		m->stop_asker = NULL;
	if (m->reload_asker == c) {
		loop_timer_stop(&m->reload_deadline);
		m->reload_asker = NULL;
	}
}

static const struct ipc_handler handlers[] = {
	{ MASTER_CTL_STATUS, "", IPC_STATE_ANY, on_status },
	{ MASTER_CTL_RELOAD, "", IPC_STATE_ANY, on_reload },
	{ MASTER_CTL_STOP, "", IPC_STATE_ANY, on_stop },
	{ MASTER_CTL_ROTATE, "", IPC_STATE_ANY, on_rotate },
	{ MASTER_CTL_COUNTERS, "", IPC_STATE_ANY, on_counters },
	{ MASTER_CTL_EXPLAIN, "s", IPC_STATE_ANY, on_explain },
	{ 0 },
};

static void
on_connect(void *arg, short what)
{
	static const struct ipc_conn_ops ops = { handlers, on_asker_gone };
	struct master *m = arg;
	int fd = accept4(m->control, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ipc_conn *c;
	uid_t uid;

	(void)what;
	if (fd < 0)
		return;
	c = ipc_conn_new(m->loop, fd, &ops, m);
	ipc_conn_peer(c, NULL, &uid, NULL);
	if (uid != 0)
		ipc_conn_close(c);
}

void
control_start(struct master *m)
{
	loop_timer_init(&m->reload_deadline, m->loop, on_reload_deadline, m);
	loop_watch_init(&m->control_watch, m->loop, m->control, on_connect, m);
	loop_watch_set(&m->control_watch, LOOP_READ);
}
