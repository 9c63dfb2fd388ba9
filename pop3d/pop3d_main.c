/* pop3d - the POP3 sessions of one account (DESIGN 3, 6).
 * Master starts it at the account's login; it ends when no session is left. */
#include "common/daemon/daemon.h"
#include "common/ipc/msg/master.h"
#include "pop3d/account.h"

enum { MAX_FILES = 1024, MEMORY_BESIDE_INDEX = 1 };

struct pop3d {
	struct daemon *daemon;
	struct store *store;
	struct pop3d_account *account;
};

static void
on_login(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct pop3d *d = arg;
	struct view ticket = ipc_get_bytes(in);
	int control, stream, authd;

	(void)c;
	ipc_get_u32(in); /* the front's pid and its number for the session: authd has bound them to the ticket */
	ipc_get_u32(in);
	control = ipc_get_fd(in);
	stream = ipc_get_fd(in);
	authd = ipc_get_fd(in);
	pop3d_account_login(d->account, ticket, control, stream, authd);
}

static const struct ipc_handler master_rows[] = {
	{ MASTER_LOGIN, MASTER_LOGIN_SIG, IPC_STATE_ANY, on_login },
	{ 0, NULL, 0, NULL },
};

static void
on_idle(void *arg)
{
	struct pop3d *d = arg;
	struct ipc_out out;

	/* a login may be on its way: master decides, by DRAIN */
	ipc_out_init(&out, MASTER_IDLE);
	(void)ipc_conn_send(daemon_master(d->daemon), &out);
}

static void
on_changed(void *arg)
{
	struct pop3d *d = arg;
	struct ipc_out out;

	ipc_out_init(&out, MASTER_NOTE);
	ipc_put_str(&out, daemon_account(d->daemon));
	ipc_put_str(&out, "INBOX");
	(void)ipc_conn_send(daemon_master(d->daemon), &out);
}

static void
end_when_drained(void *arg)
{
	struct pop3d *d = arg;

	if (daemon_is_draining(d->daemon) && d->account->count == 0)
		daemon_exit(d->daemon, 0);
}

/* Inside the cage: the index is a file that its owner can scribble on. */
static void
open_account(void *arg)
{
	static const struct pop3d_account_ops ops = { on_idle, end_when_drained, on_changed };
	struct pop3d *d = arg;
	const struct conf *conf = daemon_conf(d->daemon);
	struct store_config store = {
		.maildir = "Maildir",
		.host = conf_str(conf, "myhostname"),
		.index_map_bytes = (uint64_t)conf_size(conf, "index_map_size"),
		.changes_kept = (uint32_t)conf_int(conf, "index_changes_kept"),
	};
	struct pop3d_config config = {
		.account = daemon_account(d->daemon),
		.timeout_ms = conf_seconds(conf, "pop3_timeout") * 1000,
		.linger_ms = conf_seconds(conf, "mailbox_process_linger") * 1000,
		.sessions_max = (unsigned)conf_int(conf, "mailbox_max_sessions"),
		.mark_seen = conf_bool(conf, "pop3_mark_seen"),
	};
	struct err err;

	if (store_open(&store, &d->store, &err) != 0)
		log_fatal("pop3(%s): mailbox cannot be opened: %s", config.account, err.text);
	d->account = pop3d_account_new(daemon_loop(d->daemon), d->store, &config, &ops, d);
}

int
main(int argc, char **argv)
{
	struct pop3d d = { .daemon = daemon_start(argc, argv, ROLE_POP3D) };
	struct sandbox_plan plan = {
		.calls = CALLS_READ | CALLS_WRITE | CALLS_LOCK | CALLS_MMAP_FILE,
		.paths = { { "/", true } },
		.max_files = MAX_FILES,
		.max_memory = (uint64_t)conf_size(daemon_conf(d.daemon), "index_map_size") +
			      ((uint64_t)MEMORY_BESIDE_INDEX << 30),
	};
	int status;

	daemon_on_message(d.daemon, master_rows, &d);
	daemon_on_drain(d.daemon, end_when_drained, &d);
	status = daemon_run(d.daemon, &plan, open_account, &d);
	pop3d_account_free(&d.account);
	store_close(d.store);
	return status;
}
