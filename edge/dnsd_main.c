/* dnsd - all DNS of the suite (DESIGN 3): no other process speaks it. */
#include "common/daemon/daemon.h"
#include "edge/dnsd.h"

static void
on_idle(void *arg)
{
	daemon_exit(arg, 0);
}

struct dnsd_process {
	struct daemon *daemon;
	struct dnsd *dnsd;
};

static void
on_drain(void *arg)
{
	struct dnsd_process *p = arg;

	dnsd_drain(p->dnsd, on_idle, p->daemon);
}

int
main(int argc, char **argv)
{
	struct dnsd_process p = { .daemon = daemon_start(argc, argv, ROLE_DNSD) };
	struct sandbox_plan plan = {
		.role = "dnsd",
		.calls = CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_ACCEPT | CALLS_NET,
		.max_files = 4096,
		.max_file_size = 1,
	};
	struct err e;

	p.dnsd = dnsd_new(daemon_loop(p.daemon), daemon_conf(p.daemon), &e);
	if (p.dnsd == NULL)
		log_fatal("%s", e.text);
	daemon_configured(p.daemon);
	daemon_serve(p.daemon, ROLE_SMTPD, &dnsd_caller_ops, dnsd_caller_open, p.dnsd, 0);
	daemon_serve(p.daemon, ROLE_RELAY, &dnsd_caller_ops, dnsd_caller_open, p.dnsd, 0);
	daemon_serve(p.daemon, ROLE_DIALER, &dnsd_caller_ops, dnsd_caller_open, p.dnsd, 0);
	daemon_serve(p.daemon, ROLE_FETCHD, &dnsd_caller_ops, dnsd_caller_open, p.dnsd, 0);
	daemon_on_drain(p.daemon, on_drain, &p);
	return daemon_run(p.daemon, &plan, NULL, NULL);
}
