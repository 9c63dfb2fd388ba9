/* anvil - counts and remembers clients for all smtpd processes. */
#include "common/daemon/daemon.h"
#include "smtpd/anvil/anvil.h"

#include <time.h>

struct anvil_process {
	struct daemon *daemon;
	struct anvil *anvil;
};

static void
on_drain(void *arg)
{
	struct anvil_process *p = arg;

	anvil_hand_over(p->anvil);
	daemon_exit(p->daemon, 0);
}

static void
start(void *arg)
{
	anvil_start(arg);
}

int
main(int argc, char **argv)
{
	struct daemon *d = daemon_start(argc, argv, ROLE_ANVIL);
	struct sandbox_plan plan = {
		.role = "anvil",
		.calls = CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_ACCEPT | CALLS_THREADS |
			 CALLS_READ | CALLS_WRITE | CALLS_LOCK | CALLS_MMAP_FILE,
		.paths = { { "/", true } },
		.max_files = 1024,
		.max_file_size = 4ULL << 30, /* a flood of strangers does not fill the disk */
	};
	struct anvil_conf conf;
	struct anvil_process p = { .daemon = d };
	int status;

	anvil_conf_read(&conf, daemon_conf(d));
	daemon_configured(d);
	tzset();
	/* not "/": Berkeley DB 5.3 cuts "log." off "/log.", and lists the directory "" */
	p.anvil = anvil_new(daemon_loop(d), &conf, "/.");
	daemon_serve(d, ROLE_SMTPD, &anvil_caller_ops, anvil_caller_open, p.anvil, 0);
	daemon_on_drain(d, on_drain, &p);
	status = daemon_run(d, &plan, start, p.anvil);
	anvil_free(p.anvil);
	log_flush();
	return status;
}
