/* imapd - the IMAP sessions of one account (DESIGN 3, 6).
 * Master starts it at the account's first login and sends it every further one; it ends when none is left. */
#include "common/daemon/daemon.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/master.h"
#include "common/mime/message.h"
#include "imapd/account.h"
#include "imapd/imap_search.h"

#include <time.h>
#include <unistd.h>

enum { MAX_FILES = 4096, MEMORY_BESIDE_INDEX = 3 };

struct imapd {
	struct daemon *daemon;
	struct store *store;
	struct imapd_account *account;
};

static void
on_login(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct imapd *d = arg;
	struct view ticket = ipc_get_bytes(in);
	int control, stream, authd;

	(void)c;
	ipc_get_u32(
	    in); /* the front's pid and its number for the session: authd has bound them to the ticket */
	ipc_get_u32(in);
	control = ipc_get_fd(in);
	stream = ipc_get_fd(in);
	authd = ipc_get_fd(in);
	imapd_account_login(d->account, ticket, control, stream, authd);
}

static void
on_changed(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct imapd *d = arg;

	(void)c;
	imapd_account_changed(d->account, ipc_get_str(in), NULL);
}

static const struct ipc_handler master_rows[] = {
	{ MASTER_LOGIN, MASTER_LOGIN_SIG, IPC_STATE_ANY, on_login },
	{ MASTER_CHANGED, "s", IPC_STATE_ANY, on_changed },
	{ 0, NULL, 0, NULL },
};

static void
on_idle(void *arg)
{
	struct imapd *d = arg;
	struct ipc_out out;

	/* a login may be on its way: master decides, by DRAIN */
	ipc_out_init(&out, MASTER_IDLE);
	(void)ipc_conn_send(daemon_master(d->daemon), &out);
}

static void
on_drain(void *arg)
{
	struct imapd *d = arg;

	if (d->account->count == 0)
		daemon_exit(d->daemon, 0);
	else if (daemon_is_stopping(d->daemon))
		imapd_account_stop(d->account);
}

static void
on_empty(void *arg)
{
	struct imapd *d = arg;

	if (daemon_is_draining(d->daemon))
		daemon_exit(d->daemon, 0);
}

/* Inside the cage: the index is a file that its owner can scribble on. */
static void
open_account(void *arg)
{
	static const struct imapd_account_ops ops = { on_idle, on_empty };
	struct imapd *d = arg;
	const struct conf *conf = daemon_conf(d->daemon);
	struct store_config store = {
		.maildir = "/Maildir",
		.host = conf_str(conf, "myhostname"),
		.index_map_bytes = (uint64_t)conf_size(conf, "index_map_size"),
		.changes_kept = (uint32_t)conf_int(conf, "index_changes_kept"),
	};
	struct imapd_config config = {
		.account = daemon_account(d->daemon),
		.line_max = (size_t)conf_size(conf, "imap_max_line_length"),
		.literal_max = (size_t)conf_size(conf, "imap_max_literal"),
		.bad_commands_max = (unsigned)conf_int(conf, "imap_max_bad_commands"),
		.sessions_max = (unsigned)conf_int(conf, "mailbox_max_sessions"),
		.message_size_max = (uint64_t)conf_size(conf, "message_size_limit"),
		.timeout_ms = conf_seconds(conf, "imap_timeout") * 1000,
		.idle_poll_ms = conf_seconds(conf, "imap_idle_poll_interval") * 1000,
		.idle_notify_ms = conf_seconds(conf, "imap_idle_notify_interval") * 1000,
		.linger_ms = conf_seconds(conf, "mailbox_process_linger") * 1000,
	};
	struct err err;

	if (store_open(&store, &d->store, &err) != 0)
		log_fatal("imap(%s): mailbox cannot be opened: %s", config.account, err.text);
	d->account = imapd_account_new(daemon_loop(d->daemon), d->store, &config, &ops, d);
}

int
main(int argc, char **argv)
{
	struct imapd d = { .daemon = daemon_start(argc, argv, ROLE_IMAPD) };
	const struct conf *conf = daemon_conf(d.daemon);
	struct sandbox_plan plan = {
		.calls = CALLS_READ | CALLS_WRITE | CALLS_LOCK | CALLS_MMAP_FILE,
		.paths = { { "/", true } },
		.max_files = MAX_FILES,
		.max_memory = (uint64_t)conf_size(conf, "index_map_size") +
			      ((uint64_t)MEMORY_BESIDE_INDEX << 30),
	};
	int status;

	tzset();
	charset_preload();
	imap_search_preload();
	daemon_on_message(d.daemon, master_rows, &d);
	daemon_on_drain(d.daemon, on_drain, &d);
	status = daemon_run(d.daemon, &plan, open_account, &d);
	imapd_account_free(&d.account);
	store_close(d.store);
	return status;
}
