/* qmgr - the durable queue: takes messages, schedules their delivery, returns what cannot be delivered. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/daemon/daemon.h"
#include "common/ipc/msg/master.h"
#include "common/ipc/rewriting.h"
#include "qmgr/control.h"
#include "qmgr/intake.h"
#include "qmgr/notices.h"
#include "qmgr/route.h"
#include "qmgr/schedule.h"
#include "qmgr/handin.h"
#include "qmgr/submit.h"
#include "qmgr/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum {
	DELIVERY_TIMEOUT_MS = 30000, /* for master to find or start a delivery process */
	DRAIN_MS = 10000,            /* deliveries under way at a reload may end within this time */
	DRAIN_POLL_MS = 50,
	TOOL_IDLE_MS = 30000,
	LOCK_WAIT_MS = 3000, /* for the qmgr of before to end */
	RELAYS_MAX = 6,      /* daemon.h bounds the edges of a process */
};

struct qmgr {
	struct daemon *d;
	struct queue *queue;
	struct routes *routes;
	struct schedule *schedule;
	struct schedule_conf schedule_conf;
	struct notices *notices;
	struct notices_conf notices_conf;
	struct intake *intake;
	struct submit *submit;
	struct contain *contain;
	struct contain_conf contain_conf;
	struct verify *verify;
	struct control *control;
	struct control_conf control_conf;
	struct ipc_edge *authd;
	struct peer *relays[RELAYS_MAX];
	unsigned nrelays;
	struct loop_timer drain_timer;
	int64_t drain_until_ms;
};

/* --- between the queue and those who do its wishes ------------------------------------------------------- */
static void
on_route(void *arg, struct message *m)
{
	routes_find(((struct qmgr *)arg)->routes, m);
}

static void
on_start(void *arg, struct message *m)
{
	struct qmgr *g = arg;

	if (m->active->probe != NULL)
		verify_routed(g->verify, m);
	else
		schedule_start(g->schedule, m);
}

static void
on_stop(void *arg, struct message *m)
{
	schedule_stop(((struct qmgr *)arg)->schedule, m);
}

static void
on_content(void *arg, struct message *m)
{
	schedule_content(((struct qmgr *)arg)->schedule, m);
}

static void
on_notify(void *arg, struct message *m, enum notice_kind kind)
{
	notices_notify(((struct qmgr *)arg)->notices, m, kind);
}

static void
on_probed(void *arg, struct message *m)
{
	verify_probed(((struct qmgr *)arg)->verify, m);
}

static void
on_accepted(void *arg, struct message *m)
{
	contain_accepted(((struct qmgr *)arg)->contain, m);
}

static void
on_failed(void *arg, const struct message *m)
{
	contain_failed(((struct qmgr *)arg)->contain, m);
}

/* --- delivery processes, from master -------------------------------------------------------------------------- */
struct wish {
	struct qmgr *g;
	uint32_t uid;
};

static void
on_delivery(void *arg, struct ipc_in *in)
{
	struct wish *w = arg;
	bool ok = in != NULL && ipc_get_u32(in) == 0;

	schedule_delivery(w->g->schedule, w->uid, ok ? ipc_get_fd(in) : -1);
	free(w);
}

static void
want_delivery(void *arg, uint32_t uid, uint32_t gid)
{
	struct qmgr *g = arg;
	struct wish *w = x_calloc(1, sizeof *w);
	struct ipc_out o;

	w->g = g;
	w->uid = uid;
	ipc_out_init(&o, MASTER_DELIVERY);
	ipc_put_u32(&o, uid);
	ipc_put_u32(&o, gid);
	ipc_conn_call(daemon_master(g->d), &o, MASTER_DELIVERY_REPLY_SIG, DELIVERY_TIMEOUT_MS,
	    on_delivery, w);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */
static void
on_drain_poll(void *arg)
{
	struct qmgr *g = arg;
	bool idle = queue_is_quiet(g->queue) && schedule_flying(g->schedule) == 0 &&
		    intake_pending(g->intake) == 0 && verify_is_quiet(g->verify);

	/* at any moment kill -9 would do no harm either: what is waited for are second copies */
	if (idle || clock_mono_ms() >= g->drain_until_ms) {
		contain_save(g->contain);
		daemon_exit(g->d, 0);
	} else
		loop_timer_start(&g->drain_timer, DRAIN_POLL_MS);
}

static void
on_drain(void *arg)
{
	struct qmgr *g = arg;

	queue_drain(g->queue);
	verify_drain(g->verify);
	schedule_drain(g->schedule);
	g->drain_until_ms = clock_mono_ms() + DRAIN_MS;
	on_drain_poll(g);
}

/* --- the beginning -------------------------------------------------------------------------------------------------- */
static void
on_smtpd(void *arg, struct ipc_conn *c)
{
	intake_open(((struct qmgr *)arg)->intake, c);
}

static void
on_tool(void *arg, struct ipc_conn *c)
{
	control_open(((struct qmgr *)arg)->control, c);
}

static void
on_fetchd(void *arg, struct ipc_conn *c)
{
	ipc_conn_set_arg(c, ((struct qmgr *)arg)->submit);
}

/* Two of us would write the same journal.  The lock is held for our life: its descriptor is never closed. */
static void
lock_queue(int root, const char *name)
{
	int fd = open_beneath(root, "lock", O_RDWR, 0);
	pid_t holder = -1;

	if (fd >= 0 && fd_lock(fd, true, LOCK_WAIT_MS, &holder) == 0)
		return;
	if (holder < 0)
		log_fatal("queue_directory %s: lock: %s", name, strerrordesc_np(errno));
	log_fatal("queue_directory %s: in use by another qmgr (pid %d)", name, (int)holder);
}

/* Of "resource, software", Postfix's default, nothing is sent either; but nobody has asked for it. */
static void
warn_of_classes(const struct conf *c)
{
	static const char known[] = " bounce 2bounce delay resource software ";
	static const char unsent[] = " data policy protocol ";
	struct view rest = view_of(conf_str(c, "notify_classes")), word;

	while (conf_next(&rest, &word)) {
		char *spaced = x_asprintf(" %.*s ", VIEW_ARG(word));

		if (strcasestr(unsent, spaced) != NULL)
			log_warn("notify_classes: nothing is sent of class %s", lq(word));
		else if (strcasestr(known, spaced) == NULL)
			log_warn("notify_classes: there is no class %s", lq(word));
		free(spaced);
	}
}

static bool
is_notified_of(const struct conf *c, const char *class)
{
	struct view rest = view_of(conf_str(c, "notify_classes")), word;

	while (conf_next(&rest, &word))
		if (view_case_eq_str(word, class))
			return true;
	return false;
}

static struct queue *
open_queue(struct qmgr *g)
{
	struct daemon *d = g->d;
	const struct conf *c = daemon_conf(d);
	bool has_bounce_copies = is_notified_of(c, "bounce");
	int64_t run_delay_ms = conf_seconds(c, "queue_run_delay") * 1000;
	struct queue_conf qc = { .segment_size = (uint64_t)conf_size(c, "queue_segment_size"),
		.minfree = (uint64_t)conf_size(c, "queue_minfree"),
		.ledger = { .keep_ms = conf_seconds(c, "ledger_keep") * 1000,
		    .max_bytes = (uint64_t)conf_size(c, "ledger_size_limit") },
		.active_limit = (unsigned)conf_int(c, "qmgr_message_active_limit"),
		.content_limit = (unsigned)conf_int(c, "qmgr_memfd_limit"),
		.min_backoff_ms = conf_seconds(c, "minimal_backoff_time") * 1000,
		.max_backoff_ms = conf_seconds(c, "maximal_backoff_time") * 1000,
		.lifetime_ms = conf_seconds(c, "maximal_queue_lifetime") * 1000,
		.bounce_lifetime_ms = conf_seconds(c, "bounce_queue_lifetime") * 1000,
		.delay_warning_ms = conf_seconds(c, "delay_warning_time") * 1000,
		.confirm_delay_cleared = conf_bool(c, "confirm_delay_cleared"),
		.soft_bounce = conf_bool(c, "soft_bounce"),
		.has_bounce_copies = has_bounce_copies,
		.has_double_bounces = has_bounce_copies || is_notified_of(c, "2bounce"),
		.has_delay_copies = is_notified_of(c, "delay"),
		.has_tenant_limits = conf_str(c, "tenant_limit_maps")[0] != '\0',
		.double_bounce = g->notices_conf.double_bounce };
	struct queue *q;
	struct err err;
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Postfix looks at deferred mail once in queue_run_delay: nothing is retried sooner */
	if (qc.min_backoff_ms < run_delay_ms)
		qc.min_backoff_ms = run_delay_ms;
	if (qc.max_backoff_ms < qc.min_backoff_ms)
		qc.max_backoff_ms = qc.min_backoff_ms;
	if (root < 0)
		log_fatal("the queue directory cannot be opened");
	lock_queue(root, conf_str(c, "queue_directory"));
	q = queue_open(daemon_loop(d), root, &qc, NULL, &err);
	if (q == NULL)
		log_fatal("%s", err.text);
	return q;
}

/* Inside the cage: the queue directory is the root, and threads may start. */
static void
begin(void *arg)
{
	struct qmgr *g = arg;
	const struct conf *c = daemon_conf(g->d);
	const struct submit_conf uc = { .myhostname = conf_str(c, "myhostname"),
		.mail_name = conf_str(c, "mail_name"),
		.myorigin = conf_str(c, "myorigin"),
		.message_size_limit = (uint64_t)conf_size(c, "message_size_limit"),
		.completion = { .origin = view_of(conf_bool(c, "append_at_myorigin")
						      ? conf_str(c, "myorigin")
						      : ""),
		    .domain = view_of(
			conf_bool(c, "append_dot_mydomain") ? conf_str(c, "mydomain") : "") },
		.rewrites = rewriting_classes(c) };
	struct intake_conf ic = { .message_size_limit = uc.message_size_limit };
	const struct queue_ops ops = { on_route, on_start, on_stop, on_content, on_notify,
		on_probed, on_accepted, on_failed };
	struct verify_conf vc;
	struct route_conf rc;

	route_conf_read(c, &rc);
	g->queue = open_queue(g);
	tenants_limit(&g->queue->tenants, g->authd);
	g->routes = routes_new(g->queue, g->authd, &rc);
	g->schedule = schedule_new(
	    daemon_loop(g->d), g->queue, &g->schedule_conf, g->authd, want_delivery, g);
	for (unsigned i = 0; i < g->nrelays; i++) {
		struct peer *p = schedule_relay_new(g->schedule);

		schedule_relay_attach(p, daemon_edge(g->d, ROLE_RELAY, &schedule_relay_ops, p));
	}
	g->notices = notices_new(g->queue, g->authd, &g->notices_conf);
	verify_conf_read(c, &vc);
	g->verify = verify_new(g->queue, g->schedule, g->authd, &vc);
	ic.verify = g->verify;
	g->submit = submit_new(g->queue, g->authd, &uc);
	g->contain = contain_new(g->queue, g->submit, &g->contain_conf);
	ic.contain = g->contain;
	g->intake = intake_new(g->queue, &ic);
	g->control = control_new(g->queue, g->schedule, g->submit, g->contain, &g->control_conf);
	control_set_explainer(
	    g->control, explainer_new(daemon_loop(g->d), g->routes, g->schedule, g->authd,
			    conf_str(c, "tenant_limit_maps")[0] != '\0'));
	queue_set_ops(g->queue, &ops, g);
}

/* Names of users are known outside the cage only. */
static void
read_control_conf(struct qmgr *g)
{
	const struct conf *c = daemon_conf(g->d);
	const struct {
		struct user_acl *acl;
		const char *parameter;
	} acls[] = { { &g->control_conf.mailq_users, "authorized_mailq_users" },
		{ &g->control_conf.flush_users, "authorized_flush_users" },
		{ &g->control_conf.submit_users, "authorized_submit_users" } };

	g->control_conf.idle_ms = TOOL_IDLE_MS;
	for (size_t i = 0; i < sizeof acls / sizeof acls[0]; i++)
		user_acl_init(acls[i].acl, acls[i].parameter, conf_str(c, acls[i].parameter));
}

/* For the life of the process.  Who "postmaster" is without a domain authd knows (RFC 5321 4.5.1). */
static const char *
whole_address(const struct conf *c, const char *name)
{
	const char *address = conf_str(c, name);

	if (strchr(address, '@') != NULL || strcasecmp(address, "postmaster") == 0)
		return address;
	return x_asprintf("%s@%s", address, conf_str(c, "myorigin"));
}

/* Texts stand in files of the admin's. */
static void
read_notices_conf(struct qmgr *g)
{
	const struct conf *c = daemon_conf(g->d);

	warn_of_classes(c);
	g->notices_conf = (struct notices_conf){ .myhostname = conf_str(c, "myhostname"),
		.mail_name = conf_str(c, "mail_name"),
		.bounce_size_limit = (uint64_t)conf_size(c, "bounce_size_limit"),
		.bounce_recipient = whole_address(c, "bounce_notice_recipient"),
		.delay_recipient = whole_address(c, "delay_notice_recipient"),
		.double_bounce_recipient = whole_address(c, "2bounce_notice_recipient"),
		.double_bounce = whole_address(c, "double_bounce_sender"),
		.texts = notice_texts_new(c) };
}

static void
read_contain_conf(struct qmgr *g)
{
	const struct conf *c = daemon_conf(g->d);
	const char *action = conf_str(c, "contain_action");

	g->contain_conf =
	    (struct contain_conf){ .action = strcmp(action, "hold") == 0   ? CONTAIN_HOLD
					     : strcmp(action, "warn") == 0 ? CONTAIN_WARN
									   : CONTAIN_NONE,
		    .limits = { .span_ms = conf_seconds(c, "contain_span") * 1000,
			.failure_minimum = (unsigned)conf_int(c, "contain_failure_minimum"),
			.failure_percent = (unsigned)conf_int(c, "contain_failure_percent"),
			.rate_minimum = (unsigned)conf_int(c, "contain_rate_minimum"),
			.rate_factor = (unsigned)conf_int(c, "contain_rate_factor"),
			.domain_minimum = (unsigned)conf_int(c, "contain_domain_minimum"),
			.domain_factor = (unsigned)conf_int(c, "contain_domain_factor") },
		    .exceptions = conf_str(c, "contain_exceptions"),
		    .notice_sender = g->notices_conf.double_bounce,
		    .recipient = whole_address(c, "contain_notice_recipient") };
}

int
main(int argc, char **argv)
{
	struct qmgr g = { .d = daemon_start(argc, argv, ROLE_QMGR) };
	struct sandbox_plan plan = {
		.calls = CALLS_MEMFD | CALLS_THREADS | CALLS_READ | CALLS_WRITE | CALLS_LOCK,
		.paths = { { "/", true } },
		.max_files = 20000,
	};
	struct err err;

	read_control_conf(&g);
	read_notices_conf(&g);
	read_contain_conf(&g);
	if (schedule_conf_read(daemon_conf(g.d), &g.schedule_conf, &err) < 0)
		log_fatal("%s", err.text);
	daemon_configured(g.d);
	g.nrelays = (unsigned)conf_int(daemon_conf(g.d), "relay_connections");
	g.authd = daemon_edge(g.d, ROLE_AUTHD, NULL, NULL);
	loop_timer_init(&g.drain_timer, daemon_loop(g.d), on_drain_poll, &g);
	daemon_serve(g.d, ROLE_SMTPD, &intake_ops, on_smtpd, &g, 0);
	daemon_serve(g.d, ROLE_TOOL, &control_ops, on_tool, &g, CONTROL_CONNS);
	daemon_serve(g.d, ROLE_FETCHD, &handin_ops, on_fetchd, &g, 1);
	daemon_on_drain(g.d, on_drain, &g);
	return daemon_run(g.d, &plan, begin, &g);
}
