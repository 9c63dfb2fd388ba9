/* relay - the SMTP client: takes jobs of qmgr, finds the hosts, sends, reports (DESIGN 5.6). */
#include "common/daemon/daemon.h"
#include "qmgr/relay/generic.h"
#include "qmgr/relay/relay.h"

struct relay_process {
	struct daemon *daemon;
	struct relay *relay;
};

static void
on_idle(void *arg)
{
	daemon_exit(arg, 0);
}

static void
on_drain(void *arg)
{
	struct relay_process *p = arg;

	relay_drain(p->relay, on_idle, p->daemon);
}

int
main(int argc, char **argv)
{
	struct relay_process p = { .daemon = daemon_start(argc, argv, ROLE_RELAY) };
	struct sandbox_plan plan = {
		.role = "relay",
		.calls =
		    CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_ACCEPT | CALLS_NET | CALLS_MEMFD,
		.max_file_size = 3 * RELAY_GENERIC_HEADER_MAX, /* in memory: it may write no others */
	};
	struct loop *l = daemon_loop(p.daemon);
	struct relay_conf conf;
	struct err e;

	if (tls_init(l, NULL, &e) < 0 || relay_conf_read(&conf, daemon_conf(p.daemon), &e) < 0)
		log_fatal("%s", e.text);
	daemon_configured(p.daemon);
	/* a job holds two descriptors and a socket; two jobs wait for each that runs; kept connections */
	plan.max_files = 1024 + 8 * conf.connection_limit;
	p.relay = relay_new(l, &conf, daemon_edge(p.daemon, ROLE_DNSD, NULL, NULL),
	    daemon_edge(p.daemon, ROLE_AUTHD, NULL, NULL),
	    daemon_edge(p.daemon, ROLE_FETCHD, NULL, NULL));
	daemon_serve(p.daemon, ROLE_QMGR, &relay_qmgr_ops, relay_qmgr_open, p.relay, 1);
	daemon_on_drain(p.daemon, on_drain, &p);
	return daemon_run(p.daemon, &plan, NULL, NULL);
}
