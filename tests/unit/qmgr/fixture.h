/* fixture.h - a whole qmgr in a temporary directory, its peers played by the test over socket pairs. */
#ifndef TESTS_UNIT_QMGR_FIXTURE_H
#define TESTS_UNIT_QMGR_FIXTURE_H

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/delivery.h"
#include "common/ipc/msg/qmgr.h"
#include "common/ipc/msg/relay.h"
#include "qmgr/control.h"
#include "qmgr/deferred.h"
#include "qmgr/intake.h"
#include "qmgr/notices.h"
#include "qmgr/route.h"
#include "qmgr/schedule.h"
#include "qmgr/submit.h"
#include "qmgr/verify.h"
#include "tests/unit/remove_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { FIX_TIMEOUT_MS = 20000, FIX_JOBS = 4096, FIX_RCPTS = 64 };

/* A job as a fake delivery process or relay worker got it. */
struct fix_job {
	bool is_relay, is_lmtp, is_probe, is_answered;
	struct ipc_conn *conn;
	uint32_t number, flags;
	char id[QUEUE_ID_TEXT], nexthop[256], sender[256];
	char client[6][64]; /* of a relay job: login, name, address, port, HELO, protocol */
	char *text;         /* headers and body */
	size_t nrcpts;
	struct {
		uint32_t number, flags;
		char address[256], orig[256];
	} rcpts[FIX_RCPTS];
};

struct fixture {
	int delivery_fd;    /* of the connection below */
	const char *limits; /* of destinations and tenants, NULL = none */
	char dir[64];
	int root_fd;
	struct loop *loop;
	struct queue_conf qc;
	struct schedule_conf sc;
	struct route_conf rc;
	struct notices_conf nc;
	struct verify_conf vc;
	const struct journal_io *io;
	struct queue *queue;
	struct routes *routes;
	struct schedule *schedule;
	struct notices *notices;
	struct verify *verify;
	struct intake *intake;
	struct submit *submit;
	struct control *control;
	struct control_conf cc;
	struct contain *contain;
	struct contain_conf contain_conf;
	const char *login; /* of BEGIN; NULL: none */
	/* our ends */
	struct ipc_edge *authd_edge, *relay_edge;
	struct ipc_conn *authd, *relay, *smtpd, *tool;
	struct ipc_conn *delivery;
	bool delivery_refused;
	struct fix_job *jobs;
	size_t njobs;
	/* what authd says of any address: status, and of which kind the recipient is */
	uint32_t resolve_status, resolve_transport;
	unsigned resolved;
	/* AUTHD_ROUTE: the same, by nexthop; or what route says, from sender to address */
	const char *route_nexthop;
	void (*route)(struct fixture *f, const char *sender, const char *address, uint32_t *status,
	    uint32_t *transport, const char **nexthop);
	unsigned routed; /* questions */
};

static inline void
fix_pair(int sv[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
}

static inline char *
fix_read_fd(int fd, uint64_t from)
{
	struct stat st;
	char *p;

	assert_int_equal(fstat(fd, &st), 0);
	p = x_calloc(1, (size_t)st.st_size - from + 1);
	assert_int_equal(fd_pread_all(fd, p, (size_t)st.st_size - from, (off_t)from, NULL), 0);
	return p;
}

static inline void
fix_job_content(struct fix_job *j, int headers, int body, uint64_t body_off)
{
	char *h = fix_read_fd(headers, 0), *b = fix_read_fd(body, body_off);

	j->text = x_asprintf("%s%s", h, b);
	free(h);
	free(b);
	close(headers);
	close(body);
}

static inline void
fix_on_delivery_job(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fixture *f = arg;
	struct fix_job *j = &f->jobs[f->njobs++];
	uint64_t off;
	int headers;

	assert_true(f->njobs < FIX_JOBS);
	*j = (struct fix_job){ .conn = c, .number = ipc_get_u32(in) };
	snprintf(j->id, sizeof j->id, "%s", ipc_get_str(in));
	snprintf(j->sender, sizeof j->sender, "%s", ipc_get_str(in));
	ipc_get_u64(in);
	ipc_get_u64(in);
	off = ipc_get_u64(in);
	headers = ipc_get_fd(in);
	fix_job_content(j, headers, ipc_get_fd(in), off);
	while (ipc_in_more(in)) {
		size_t n = j->nrcpts++;

		j->rcpts[n].number = ipc_get_u32(in);
		snprintf(j->rcpts[n].address, 256, "%s", ipc_get_str(in));
		snprintf(j->rcpts[n].orig, 256, "%s", ipc_get_str(in));
		j->rcpts[n].flags = ipc_get_u32(in);
	}
}

static inline void
fix_on_relay_job(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fixture *f = arg;
	struct fix_job *j = &f->jobs[f->njobs++];
	uint64_t off;
	int headers;

	assert_true(f->njobs < FIX_JOBS);
	*j = (struct fix_job){ .is_relay = true, .conn = c, .number = ipc_get_u32(in) };
	j->is_lmtp = ipc_get_u32(in) == RELAY_LMTP;
	snprintf(j->id, sizeof j->id, "%s", ipc_get_str(in));
	snprintf(j->nexthop, sizeof j->nexthop, "%s", ipc_get_str(in));
	snprintf(j->sender, sizeof j->sender, "%s", ipc_get_str(in));
	j->flags = ipc_get_u32(in);
	ipc_get_str(in);
	ipc_get_u64(in);
	off = ipc_get_u64(in);
	ipc_get_u64(in);
	headers = ipc_get_fd(in);
	fix_job_content(j, headers, ipc_get_fd(in), off);
	for (size_t i = 0; i < 6; i++)
		snprintf(j->client[i], sizeof j->client[i], "%s", ipc_get_str(in));
	while (ipc_in_more(in)) {
		size_t n = j->nrcpts++;

		j->rcpts[n].number = ipc_get_u32(in);
		snprintf(j->rcpts[n].address, 256, "%s", ipc_get_str(in));
		j->rcpts[n].flags = ipc_get_u32(in);
		snprintf(j->rcpts[n].orig, 256, "%s", ipc_get_str(in));
	}
}

static inline void
fix_on_probe(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fixture *f = arg;
	struct fix_job *j = &f->jobs[f->njobs++];

	assert_true(f->njobs < FIX_JOBS);
	*j = (struct fix_job){
		.is_relay = true, .is_probe = true, .conn = c, .number = ipc_get_u32(in), .nrcpts = 1
	};
	j->is_lmtp = ipc_get_u32(in) == RELAY_LMTP;
	snprintf(j->id, sizeof j->id, "%s", ipc_get_str(in));
	snprintf(j->nexthop, sizeof j->nexthop, "%s", ipc_get_str(in));
	snprintf(j->sender, sizeof j->sender, "%s", ipc_get_str(in));
	snprintf(j->rcpts[0].address, 256, "%s", ipc_get_str(in));
}

static inline void
fix_on_resolve(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fixture *f = arg;
	const char *address = ipc_get_str(in);
	bool is_nobody = strncmp(address, "nobody@", 7) == 0;
	enum authd_status status = is_nobody ? AUTHD_NO : f->resolve_status;
	struct ipc_out o;

	f->resolved++;
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_u32(&o, 1);
	ipc_put_str(&o, status == AUTHD_NO ? "user unknown" : "");
	if (status == AUTHD_OK) {
		ipc_put_u32(&o, f->resolve_transport);
		ipc_put_str(&o, "");
		ipc_put_str(&o, address);
		ipc_put_u32(&o, 5000);
		ipc_put_u32(&o, 5000);
		ipc_put_str(&o, strncmp(address, "list", 4) == 0 ? "owner@d.test" : "");
		ipc_put_u32(&o, 0);
	}
	ipc_conn_reply(c, in->id, &o);
}

static inline void
fix_on_route(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fixture *f = arg;
	const char *sender = ipc_get_str(in);
	struct ipc_out o;

	f->routed++;
	ipc_reply_init(&o);
	ipc_put_u32(&o, AUTHD_OK);
	while (ipc_in_more(in)) {
		uint32_t status = f->resolve_status, transport = f->resolve_transport;
		const char *address = ipc_get_str(in), *nexthop = f->route_nexthop;

		if (f->route != NULL)
			f->route(f, sender, address, &status, &transport, &nexthop);
		ipc_put_u32(&o, status);
		ipc_put_u32(&o, transport);
		ipc_put_str(&o, nexthop);
		ipc_put_u32(&o, transport == TRANSPORT_VIRTUAL ? 5000 : 0);
		ipc_put_u32(&o, transport == TRANSPORT_VIRTUAL ? 5000 : 0);
	}
	ipc_conn_reply(c, in->id, &o);
}

static inline void
fix_on_limits(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fixture *f = arg;
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, f->limits != NULL ? AUTHD_OK : AUTHD_NO);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, f->limits != NULL ? f->limits : "");
	ipc_conn_reply(c, in->id, &o);
}

static inline void
fix_on_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct fixture *f = arg;

	(void)why;
	if (c == f->delivery)
		f->delivery = NULL;
	if (c == f->relay)
		f->relay = NULL;
	if (c == f->smtpd)
		f->smtpd = NULL;
	if (c == f->tool)
		f->tool = NULL;
	if (c == f->authd)
		f->authd = NULL;
}

static const struct ipc_handler fix_delivery_rows[] = {
	{ DELIVERY_JOB, DELIVERY_JOB_SIG, IPC_STATE_ANY, fix_on_delivery_job }, { 0, NULL, 0, NULL }
};
static const struct ipc_handler fix_relay_rows[] = {
	{ RELAY_JOB, RELAY_JOB_SIG, IPC_STATE_ANY, fix_on_relay_job },
	{ RELAY_PROBE, RELAY_PROBE_SIG, IPC_STATE_ANY, fix_on_probe },
	{ 0, NULL, 0, NULL }
};
static const struct ipc_handler fix_authd_rows[] = { { AUTHD_RESOLVE, "sus", IPC_STATE_ANY,
							 fix_on_resolve },
	{ AUTHD_ROUTE, "s(s)", IPC_STATE_ANY, fix_on_route },
	{ AUTHD_LIMITS, "(us)", IPC_STATE_ANY, fix_on_limits },
	{ AUTHD_TENANT_LIMITS, "(us)", IPC_STATE_ANY, fix_on_limits }, { 0, NULL, 0, NULL } };
static const struct ipc_conn_ops fix_delivery_ops = { fix_delivery_rows, fix_on_close };
static const struct ipc_conn_ops fix_relay_ops = { fix_relay_rows, fix_on_close };
static const struct ipc_conn_ops fix_authd_ops = { fix_authd_rows, fix_on_close };
static const struct ipc_conn_ops fix_client_ops = { NULL, fix_on_close };

static inline void
fix_want_delivery(void *arg, uint32_t uid, uint32_t gid)
{
	struct fixture *f = arg;
	int sv[2];

	(void)gid;
	if (f->delivery_refused) {
		schedule_delivery(f->schedule, uid, -1);
		return;
	}
	fix_pair(sv);
	f->delivery_fd = sv[1];
	f->delivery = ipc_conn_new(f->loop, sv[1], &fix_delivery_ops, f);
	schedule_delivery(f->schedule, uid, sv[0]);
}

static inline void
fix_route_op(void *arg, struct message *m)
{
	routes_find(((struct fixture *)arg)->routes, m);
}

static inline void
fix_start_op(void *arg, struct message *m)
{
	struct fixture *f = arg;

	if (m->active->probe != NULL)
		verify_routed(f->verify, m);
	else
		schedule_start(f->schedule, m);
}

static inline void
fix_probed_op(void *arg, struct message *m)
{
	verify_probed(((struct fixture *)arg)->verify, m);
}

static inline void
fix_stop_op(void *arg, struct message *m)
{
	schedule_stop(((struct fixture *)arg)->schedule, m);
}

static inline void
fix_content_op(void *arg, struct message *m)
{
	schedule_content(((struct fixture *)arg)->schedule, m);
}

static inline void
fix_notify_op(void *arg, struct message *m, enum notice_kind kind)
{
	notices_notify(((struct fixture *)arg)->notices, m, kind);
}

static inline void
fix_accepted_op(void *arg, struct message *m)
{
	contain_accepted(((struct fixture *)arg)->contain, m);
}

static inline void
fix_failed_op(void *arg, const struct message *m)
{
	contain_failed(((struct fixture *)arg)->contain, m);
}

/* New peers and a queue on what is in the directory. */
static inline void
fix_start(struct fixture *f)
{
	static const struct queue_ops ops = { fix_route_op, fix_start_op, fix_stop_op,
		fix_content_op, fix_notify_op, fix_probed_op, fix_accepted_op, fix_failed_op };
	struct submit_conf uc = { .myhostname = "mx.example.test",
		.myorigin = "example.test",
		.mail_name = "Estafeta",
		.completion = {
		    .origin = VIEW_LIT("example.test"), .domain = VIEW_LIT("d.test") } };
	struct intake_conf ic = { 0 };
	struct peer *p;
	struct err err;
	int sv[2];

	f->queue = queue_open(f->loop, f->root_fd, &f->qc, f->io, &err);
	if (f->queue == NULL)
		fail_msg("%s", err.text);
	fix_pair(sv);
	f->authd_edge = ipc_edge_new_fd(f->loop, sv[0], NULL, NULL);
	f->authd = ipc_conn_new(f->loop, sv[1], &fix_authd_ops, f);
	f->schedule = schedule_new(f->loop, f->queue, &f->sc, f->authd_edge, fix_want_delivery, f);
	p = schedule_relay_new(f->schedule);
	fix_pair(sv);
	f->relay_edge = ipc_edge_new_fd(f->loop, sv[0], &schedule_relay_ops, p);
	f->relay = ipc_conn_new(f->loop, sv[1], &fix_relay_ops, f);
	schedule_relay_attach(p, f->relay_edge);
	f->routes = routes_new(f->queue, f->authd_edge, &f->rc);
	f->notices = notices_new(f->queue, f->authd_edge, &f->nc);
	f->verify = verify_new(f->queue, f->schedule, f->authd_edge, &f->vc);
	ic.verify = f->verify;
	f->submit = submit_new(f->queue, f->authd_edge, &uc);
	f->contain = contain_new(f->queue, f->submit, &f->contain_conf);
	ic.contain = f->contain;
	f->intake = intake_new(f->queue, &ic);
	f->control = control_new(f->queue, f->schedule, f->submit, f->contain, &f->cc);
	fix_pair(sv);
	intake_open(f->intake, ipc_conn_new(f->loop, sv[0], &intake_ops, NULL));
	f->smtpd = ipc_conn_new(f->loop, sv[1], &fix_client_ops, f);
	fix_pair(sv);
	control_open(f->control, ipc_conn_new(f->loop, sv[0], &control_ops, NULL));
	f->tool = ipc_conn_new(f->loop, sv[1], &fix_client_ops, f);
	queue_set_ops(f->queue, &ops, f);
}

static inline void
fix_run(struct fixture *f, bool (*is_done)(struct fixture *f))
{
	int64_t deadline = clock_mono_ms() + FIX_TIMEOUT_MS;

	while (!is_done(f)) {
		if (clock_mono_ms() > deadline)
			fail_msg("nothing happened in time");
		loop_run_once(f->loop, false);
		usleep(200);
	}
}

static inline bool
fix_is_quiet(struct fixture *f)
{
	return queue_is_quiet(f->queue);
}

static inline bool
fix_is_empty(struct fixture *f)
{
	return queue_is_quiet(f->queue) && queue_count(f->queue) == 0;
}

static inline void
fix_turn(struct fixture *f, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;

	do {
		loop_run_once(f->loop, false);
		usleep(200);
	} while (clock_mono_ms() < until);
}

static inline void
fix_forget_jobs(struct fixture *f)
{
	for (size_t i = 0; i < f->njobs; i++)
		free(f->jobs[i].text);
	f->njobs = 0;
}

/* As a clean stop; in flight deliveries are lost. */
static inline void
fix_stop(struct fixture *f)
{
	ipc_conn_close(f->smtpd);
	ipc_conn_close(f->tool);
	queue_drain(f->queue);
	fix_run(f, fix_is_quiet);
	fix_turn(f, 1); /* closes are noticed */
	routes_free(f->routes);
	notices_free(f->notices);
	submit_free(f->submit);
	verify_free(f->verify);
	f->verify = NULL;
	schedule_free(f->schedule);
	queue_close(f->queue);
	intake_free(f->intake);
	control_free(f->control);
	contain_free(f->contain);
	ipc_edge_free(f->relay_edge);
	ipc_edge_free(f->authd_edge);
	ipc_conn_close(f->relay);
	ipc_conn_close(f->authd);
	ipc_conn_close(f->delivery);
	f->smtpd = f->tool = f->relay = f->authd = f->delivery = NULL;
	f->queue = NULL;
	fix_forget_jobs(f);
}

static inline void
fix_restart(struct fixture *f)
{
	fix_stop(f);
	fix_start(f);
}

static inline int
fix_setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);
	struct conf conf;

	snprintf(f->dir, sizeof f->dir, "/tmp/qmgr_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->root_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->loop = loop_new();
	f->jobs = x_calloc(FIX_JOBS, sizeof *f->jobs);
	f->qc = (struct queue_conf){ .segment_size = 1 << 20,
		.active_limit = 1000,
		.content_limit = 200,
		.min_backoff_ms = 300000,
		.max_backoff_ms = 4000000,
		.lifetime_ms = 432000000,
		.bounce_lifetime_ms = 432000000 };
	f->sc = (struct schedule_conf){ .smtp = { .concurrency_limit = 20,
					    .initial_concurrency = 5,
					    .recipient_limit = 50,
					    .failed_cohort_limit = 1,
					    .positive = { 1, FEEDBACK_FIXED },
					    .negative = { 1, FEEDBACK_FIXED } },
		.local = { .concurrency_limit = 200,
		    .initial_concurrency = 200,
		    .recipient_limit = 50 },
		.relay_jobs = 200,
		.min_backoff_ms = 300000,
		.max_backoff_ms = 4000000 };
	f->rc = (struct route_conf){
		.relayhost = "", .mailbox_domains = "example.test", .destination = ""
	};
	conf_init(&conf);
	f->nc = (struct notices_conf){ .myhostname = "mx.example.test",
		.mail_name = "Estafeta",
		.bounce_size_limit = 50000,
		.bounce_recipient = "copies@example.test",
		.delay_recipient = "delays@example.test",
		.double_bounce_recipient = "doubles@example.test",
		.double_bounce = "double-bounce@example.test",
		.texts = notice_texts_new(&conf) };
	conf_clear(&conf);
	f->vc = (struct verify_conf){ .times = { 31 * 86400, 7 * 86400, 3 * 86400, 3 * 3600, true },
		.sender = "double-bounce@example.test",
		.probes_max = 64 };
	f->cc.idle_ms = 30000;
	f->resolve_status = AUTHD_OK;
	f->resolve_transport = TRANSPORT_VIRTUAL;
	f->sc.lmtp = f->sc.smtp;
	*state = f;
	return 0;
}

static inline int
fix_teardown(void **state)
{
	struct fixture *f = *state;

	if (f->queue != NULL)
		fix_stop(f);
	notice_texts_free(f->nc.texts);
	free(f->jobs);
	loop_free(f->loop);
	close(f->root_fd);
	remove_all(f->dir);
	free(f);
	return 0;
}

/* --- smtpd's side ----------------------------------------------------------------------------------------- */
struct fix_reply {
	bool is_there, is_null;
	uint32_t status, count;
	char id[QUEUE_ID_TEXT], text[400];
	int fd;
};

static inline void
fix_on_begun(void *arg, struct ipc_in *in)
{
	struct fix_reply *r = arg;

	r->is_there = true;
	r->is_null = in == NULL;
	if (in == NULL)
		return;
	r->status = ipc_get_u32(in);
	snprintf(r->id, sizeof r->id, "%s", ipc_get_str(in));
	snprintf(r->text, sizeof r->text, "%s", ipc_get_str(in));
}

static inline void
fix_on_status(void *arg, struct ipc_in *in)
{
	struct fix_reply *r = arg;

	r->is_there = true;
	r->is_null = in == NULL;
	if (in == NULL)
		return;
	r->status = ipc_get_u32(in);
	snprintf(r->text, sizeof r->text, "%s", ipc_get_str(in));
}

static inline void
fix_on_fd(void *arg, struct ipc_in *in)
{
	struct fix_reply *r = arg;

	r->is_there = true;
	r->is_null = in == NULL;
	if (in == NULL)
		return;
	r->status = ipc_get_u32(in);
	r->fd = ipc_get_fd(in);
}

static inline void
fix_wait(struct fixture *f, struct fix_reply *r)
{
	int64_t deadline = clock_mono_ms() + FIX_TIMEOUT_MS;

	while (!r->is_there) {
		if (clock_mono_ms() > deadline)
			fail_msg("no answer in time");
		loop_run_once(f->loop, false);
		usleep(100);
	}
}

static inline void
fix_begin(struct fixture *f, struct fix_reply *r)
{
	struct ipc_out o;

	*r = (struct fix_reply){ .fd = -1 };
	ipc_out_init(&o, QMGR_BEGIN);
	ipc_put_u64(&o, 0);
	ipc_put_str(&o, f->login != NULL ? f->login : "");
	ipc_conn_call(f->smtpd, &o, "uss", FIX_TIMEOUT_MS, fix_on_begun, r);
	fix_wait(f, r);
}

struct fix_mail {
	const char *sender, *headers, *body;
	const char *rcpts[FIX_RCPTS];   /* "user@domain": virtual of uid 5000; "smtp:user@domain" */
	const char *senders[FIX_RCPTS]; /* their own */
	uint32_t flags, notify;
	bool has_file;
	const char *nexthop; /* that authd named at RCPT; NULL = none */
	const char *filter;
	const char *login, *client_address, *helo;
};

static inline size_t
fix_envelope(const struct fix_mail *m, struct buf *out)
{
	struct recipient rcpts[FIX_RCPTS];
	struct envelope e = { .sender = m->sender,
		.flags = m->flags,
		.arrival_ms = clock_wall_ms(),
		.size = strlen(m->headers) + strlen(m->body),
		.filter = m->filter,
		.sasl_username = m->login,
		.client_address = m->client_address,
		.helo = m->helo,
		.rcpts = rcpts };

	for (; m->rcpts[e.nrcpts] != NULL; e.nrcpts++) {
		const char *to = m->rcpts[e.nrcpts];
		bool smtp = strncmp(to, "smtp:", 5) == 0;

		rcpts[e.nrcpts] = (struct recipient){ .address = smtp ? to + 5 : to,
			.transport = smtp ? TRANSPORT_SMTP : TRANSPORT_VIRTUAL,
			.nexthop = m->nexthop,
			.notify = m->notify,
			.sender = m->senders[e.nrcpts],
			.uid = 5000,
			.gid = 5000 };
	}
	assert_int_equal(envelope_encode(&e, out), 0);
	return e.nrcpts;
}

/* Sends COMMIT; fds are borrowed. */
static inline void
fix_send_commit(struct fixture *f, const char *id, struct view envelope, uint64_t headers_len,
    uint64_t body_len, int headers_fd, int body_fd, struct fix_reply *r)
{
	struct ipc_out o;

	*r = (struct fix_reply){ .fd = -1 };
	ipc_out_init(&o, QMGR_COMMIT);
	ipc_put_str(&o, id);
	ipc_put_u32(&o, 0);
	ipc_put_bytes(&o, envelope.p, envelope.len);
	ipc_put_u64(&o, headers_len);
	ipc_put_u64(&o, body_len);
	ipc_put_u64(&o, 0);
	ipc_put_u32(&o, body_fd < 0 ? 1 : 0);
	ipc_put_fd(&o, headers_fd);
	if (body_fd >= 0)
		ipc_put_fd(&o, body_fd);
	ipc_conn_call(f->smtpd, &o, "us", FIX_TIMEOUT_MS, fix_on_status, r);
}

/* BEGIN, and COMMIT sent, not waited for. */
static inline void
fix_commit(struct fixture *f, const struct fix_mail *m, char id[QUEUE_ID_TEXT], struct fix_reply *r)
{
	int headers = memfd_sealed("h", m->headers, strlen(m->headers), NULL);
	int body = memfd_sealed("b", m->body, strlen(m->body), NULL);
	struct buf envelope;

	fix_begin(f, r);
	assert_int_equal(r->status, QMGR_OK);
	memcpy(id, r->id, QUEUE_ID_TEXT);
	buf_init(&envelope, 60000);
	fix_envelope(m, &envelope);
	fix_send_commit(
	    f, id, buf_view(&envelope), strlen(m->headers), strlen(m->body), headers, body, r);
	buf_clear(&envelope);
	close(headers);
	close(body);
}

static inline void
fix_send(struct fixture *f, const struct fix_mail *m, char id[QUEUE_ID_TEXT])
{
	struct fix_reply r;

	fix_commit(f, m, id, &r);
	fix_wait(f, &r);
	assert_false(r.is_null);
	if (r.status != QMGR_OK)
		fail_msg("commit: %u %s", r.status, r.text);
}

/* --- delivery's and relay's side ---------------------------------------------------------------------------- */
static uint32_t fix_relay_flags; /* enum relay_result_flags of relay's answers */

static inline void
fix_answer(
    struct fix_job *j, size_t rcpt, enum delivery_status status, const char *dsn, const char *text)
{
	struct ipc_out o;

	ipc_out_init(&o, j->is_relay ? RELAY_RESULT : DELIVERY_RESULT);
	ipc_put_u32(&o, j->number);
	ipc_put_u32(&o, j->rcpts[rcpt].number);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, dsn);
	ipc_put_str(&o, text);
	if (j->is_relay) {
		ipc_put_str(&o, "mx.remote.test[192.0.2.1]:25");
		ipc_put_u32(&o, status == DELIVERY_SENT       ? 250
				: status == DELIVERY_DEFERRED ? 450
							      : 550);
		ipc_put_u32(&o, 20);
		ipc_put_u32(&o, 30);
		ipc_put_u32(&o, 1);
		ipc_put_u32(&o, fix_relay_flags);
		ipc_put_str(&o, "");
	}
	assert_int_equal(ipc_conn_send(j->conn, &o), 0);
	j->is_answered = true;
}

static inline void
fix_answer_all(struct fixture *f, enum delivery_status status, const char *dsn, const char *text)
{
	for (size_t i = 0; i < f->njobs; i++) {
		if (f->jobs[i].is_answered)
			continue;
		for (size_t k = 0; k < f->jobs[i].nrcpts; k++)
			fix_answer(&f->jobs[i], k, status, dsn, text);
	}
}

static inline bool
fix_has_open_job(struct fixture *f)
{
	for (size_t i = 0; i < f->njobs; i++)
		if (!f->jobs[i].is_answered)
			return true;
	return false;
}

static inline struct fix_job *
fix_next_job(struct fixture *f)
{
	fix_run(f, fix_has_open_job);
	for (size_t i = 0; i < f->njobs; i++)
		if (!f->jobs[i].is_answered)
			return &f->jobs[i];
	return NULL;
}

static inline bool
fix_exists(const struct fixture *f, const char *path)
{
	struct stat st;

	return fstatat(f->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* How many there are in this directory; or were. */
static inline int
fix_files(const struct fixture *f, const char *dir, bool remove)
{
	int fd = openat(f->root_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	DIR *d = fdopendir(fd);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (remove)
			assert_int_equal(unlinkat(fd, e->d_name, 0), 0);
	}
	closedir(d);
	return n;
}

static inline void
fix_deferred_path(const char *id, char out[64])
{
	struct queue_id q;

	assert_true(queue_id_parse(view_of(id), &q));
	snprintf(out, 64, "deferred/%02x/%s", (unsigned)(q.us % 256), id);
}

#endif
