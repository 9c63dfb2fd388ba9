/* dialer - connects to milters and policy servers and hands the sockets to smtpd (DESIGN 3). */
#include "common/daemon/daemon.h"
#include "edge/dialer.h"
#include "edge/endpoint.h"

static void
leave(void *arg)
{
	daemon_exit(arg, 0);
}

struct dialer_process {
	struct daemon *daemon;
	struct dialer *dialer;
};

static void
on_drain(void *arg)
{
	struct dialer_process *p = arg;

	dialer_drain(p->dialer, leave, p->daemon);
}

int
main(int argc, char **argv)
{
	struct dialer_process p = { .daemon = daemon_start(argc, argv, ROLE_DIALER) };
	struct sandbox_plan plan = {
		.role = "dialer",
		/* fchdir: a Unix socket outside the cage is reached from its directory, opened beforehand; that directory
		 * and what lies beneath it is all that can be reached so, and only to connect */
		.calls =
		    CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_ACCEPT | CALLS_NET | CALLS_FCHDIR,
		.max_files = 4096,
		.max_file_size = 1,
	};
	struct map endpoints;
	struct err e;

	if (endpoints_collect(&endpoints, conf_str(daemon_conf(p.daemon), "config_directory"), &e) <
	    0)
		log_fatal("%s", e.text);
	daemon_configured(p.daemon);
	p.dialer = dialer_new(daemon_loop(p.daemon), daemon_edge(p.daemon, ROLE_DNSD, NULL, NULL),
	    &endpoints, leave, p.daemon);
	daemon_serve(p.daemon, ROLE_SMTPD, &dialer_caller_ops, dialer_caller_open, p.dialer, 0);
	daemon_on_drain(p.daemon, on_drain, &p);
	return daemon_run(p.daemon, &plan, NULL, NULL);
}
