/* fetchd - the only process that speaks HTTPS to strangers, for relay (DESIGN 3). */
#include "common/daemon/daemon.h"
#include "edge/fetchd.h"

static void
on_drain(void *arg)
{
	daemon_exit(arg, 0); /* what is asked is asked again of our successor */
}

static void
start(void *arg)
{
	fetchd_start(arg);
}

int
main(int argc, char **argv)
{
	struct daemon *d = daemon_start(argc, argv, ROLE_FETCHD);
	struct sandbox_plan plan = {
		.role = "fetchd",
		.calls = CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_ACCEPT | CALLS_NET |
			 CALLS_THREADS | CALLS_READ | CALLS_WRITE | CALLS_MEMFD,
		.paths = { { "/", true } },
		.max_files = 2048,
		.max_file_size = 64 << 20,
	};
	struct fetchd *f;
	struct err e;
	int status;

	f = fetchd_new(daemon_loop(d), daemon_edge(d, ROLE_DNSD, NULL, NULL),
	    daemon_edge(d, ROLE_QMGR, NULL, NULL), daemon_conf(d), "", &e);
	if (f == NULL)
		log_fatal("%s", e.text);
	daemon_configured(d);
	daemon_serve(d, ROLE_RELAY, &fetchd_caller_ops, fetchd_caller_open, f, 0);
	daemon_on_drain(d, on_drain, d);
	status = daemon_run(d, &plan, start, f);
	fetchd_free(f);
	log_flush();
	return status;
}
