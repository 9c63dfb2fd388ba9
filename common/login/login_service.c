/* An account's process under master: logins come, IDLE and DRAIN go to and fro, the cage. */
#include "common/daemon/daemon.h"
#include "common/ipc/msg/master.h"
#include "common/login/login_session.h"

void
login_service_on_login(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct view ticket = ipc_get_bytes(in);
	int control, stream, authd;

	(void)c;
	ipc_get_u32(
	    in); /* front's pid and its number for the session: authd has bound them to the ticket */
	ipc_get_u32(in);
	control = ipc_get_fd(in);
	stream = ipc_get_fd(in);
	authd = ipc_get_fd(in);
	login_account_login(arg, ticket, control, stream, authd);
}

/* A login may be on its way: master decides, by DRAIN, and sends no more after it. */
static void
on_idle(void *arg)
{
	struct ipc_out out;

	ipc_out_init(&out, MASTER_IDLE);
	(void)ipc_conn_send(daemon_master(arg), &out);
}

static void
on_drained(void *arg)
{
	daemon_exit(arg, 0);
}

static void
on_drain(void *arg)
{
	struct login_account *a = arg;

	login_account_drain(a, daemon_is_stopping(a->arg));
}

int
login_service_run(struct login_account *a, struct daemon *d, const struct login_session_ops *ops,
    uint64_t max_files, uint64_t memory_bytes)
{
	static const struct login_account_events events = { on_idle, on_drained };
	const struct conf *conf = daemon_conf(d);
	struct login_account_config config = {
		.account = daemon_account(d),
		.home = "/",
		.store = {
			.maildir = "Maildir",
			.host = conf_str(conf, "myhostname"),
			.index_map_bytes = (uint64_t)conf_size(conf, "index_map_size"),
			.changes_kept = (uint32_t)conf_int(conf, "index_changes_kept"),
		},
		.sessions_max = (unsigned)conf_int(conf, "mailbox_max_sessions"),
		.linger_ms = conf_seconds(conf, "mailbox_process_linger") * 1000,
	};
	/* the index is a file that its owner can scribble on: it is opened inside */
	struct sandbox_plan plan = {
		.calls = CALLS_READ | CALLS_WRITE | CALLS_LOCK | CALLS_MMAP_FILE,
		.paths = { { "/", true } },
		.max_files = max_files,
		.max_memory = config.store.index_map_bytes + memory_bytes,
	};
	int status;

	login_account_init(a, daemon_loop(d), &config, ops, &events, d);
	daemon_on_drain(d, on_drain, a);
	status = daemon_run(d, &plan, login_account_start, a);
	login_account_clear(a);
	return status;
}
