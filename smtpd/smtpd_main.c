/* smtpd - the SMTP server: ports 25, 587 and 465 (DESIGN 5). */
#include "common/daemon/daemon.h"
#include "common/ipc/msg/master.h"
#include "smtpd/explain.h"
#include "smtpd/server.h"
#include "smtpd/table_values.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
	/* descriptors beside one a session: edges, log, control, and the memfds and files of messages on their way */
	SPARE_FILES = 900,
};

static void
on_client(void *arg, int fd, const struct sockaddr_storage *peer)
{
	smtpd_server_accept(arg, fd, peer);
}

static void
on_full(void *arg, bool is_full)
{
	daemon_pause_accept(arg, is_full);
}

static void
on_empty(void *arg)
{
	daemon_exit(arg, 0);
}

static void
on_drain(void *arg)
{
	struct smtpd_server *server = arg;

	if (daemon_is_stopping(server->arg))
		smtpd_server_stop(server);
	else
		smtpd_server_drain(server);
}

/* estafeta explain */
static void
on_edge(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	uint32_t role = ipc_get_u32(in);
	int fd = ipc_get_fd(in);

	(void)c;
	if (role == ROLE_TOOL)
		smtpd_explain_open(arg, fd);
	else
		close(fd);
}

static const struct ipc_handler master_rows[] = {
	{ MASTER_EDGE, "uh", IPC_STATE_ANY, on_edge },
	{ .fn = NULL },
};

/* The kernel's limit on descriptors bounds the number of sessions, whatever the configuration says. */
static uint64_t
fit_client_limit(struct smtpd_config *conf)
{
	struct rlimit files = { 0 };
	uint64_t each = 1 + conf->milters.count; /* a session has a connection to every milter */
	uint64_t want = conf->client_limit * each + SPARE_FILES;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max != RLIM_INFINITY &&
	    want > files.rlim_max) {
		conf->client_limit =
		    (files.rlim_max > 2 * SPARE_FILES ? files.rlim_max - SPARE_FILES
						      : files.rlim_max / 2) /
		    each;
		log_warn("smtpd_client_limit is reduced to %zu by the limit on open files (ulimit -n, LimitNOFILE=)",
		    conf->client_limit);
		want = files.rlim_max;
	}
	return want;
}

/* The time zone and TLS's algorithms are loaded while files can be opened. */
static void
load_before_the_cage(struct daemon *d, struct smtpd_config *conf)
{
	struct ipc_edge *keyd = daemon_edge(d, ROLE_KEYD, NULL, NULL);
	struct err err;

	tzset();
	conf->tls.service = daemon_service(d);
	if (tls_init(daemon_loop(d), keyd, &err) < 0 ||
	    (conf->has_certificate && tls_server_prepare(&conf->tls, &err) < 0))
		log_fatal("%s", err.text);
}

static void
start_server(void *arg)
{
	smtpd_server_start(arg);
}

int
main(int argc, char **argv)
{
	struct daemon *d = daemon_start(argc, argv, ROLE_SMTPD);
	static struct smtpd_config conf;
	static struct smtpd_server server;
	struct sandbox_plan plan = {
		.role = "smtpd",
		.calls = CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_ACCEPT | CALLS_MEMFD,
	};
	struct err err;

	if (smtpd_config_read(&conf, daemon_conf(d), &err) < 0)
		log_fatal("%s", err.text);
	load_before_the_cage(d, &conf);
	if (daemon_is_test(d))
		smtpd_table_values_test(&conf);
	daemon_configured(d);
	plan.max_files = fit_client_limit(&conf);
	server = (struct smtpd_server){
		.loop = daemon_loop(d),
		.conf = &conf,
		.authd = daemon_edge(d, ROLE_AUTHD, NULL, NULL),
		.qmgr = daemon_edge(d, ROLE_QMGR, NULL, NULL),
		.dnsd = daemon_edge(d, ROLE_DNSD, NULL, NULL),
		.dialer = daemon_edge(d, ROLE_DIALER, NULL, NULL),
		.anvil = daemon_edge(d, ROLE_ANVIL, NULL, NULL),
		.service = daemon_service(d),
		.on_full = on_full,
		.on_empty = on_empty,
		.arg = d,
	};
	daemon_accept(d, on_client, &server);
	daemon_on_drain(d, on_drain, &server);
	daemon_on_message(d, master_rows, &server);
	return daemon_run(d, &plan, start_server, &server);
}
