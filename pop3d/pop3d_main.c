/* pop3d - the POP3 sessions of one account (DESIGN 3, 6).
 * Master starts it at the account's login; it ends when no session is left. */
#include "common/daemon/daemon.h"
#include "common/ipc/msg/master.h"
#include "pop3d/session.h"

enum { MAX_FILES = 1024 };
#define MEMORY_BESIDE_INDEX (UINT64_C(1) << 30)

static const struct ipc_handler master_rows[] = {
	{ MASTER_LOGIN, MASTER_LOGIN_SIG, IPC_STATE_ANY, login_service_on_login },
	{ 0, NULL, 0, NULL },
};

static void
on_changed(void *arg)
{
	struct ipc_out out;

	ipc_out_init(&out, MASTER_NOTE);
	ipc_put_str(&out, daemon_account(arg));
	ipc_put_str(&out, "INBOX");
	(void)ipc_conn_send(daemon_master(arg), &out);
}

int
main(int argc, char **argv)
{
	struct daemon *d = daemon_start(argc, argv, ROLE_POP3D);
	const struct conf *conf = daemon_conf(d);
	struct pop3d_account account = {
		.timeout_ms = conf_seconds(conf, "pop3_timeout") * 1000,
		.mark_seen = conf_bool(conf, "pop3_mark_seen"),
		.on_changed = on_changed,
	};

	daemon_configured(d);
	daemon_on_message(d, master_rows, &account);
	return login_service_run(
	    &account.login, d, &pop3d_session_ops, MAX_FILES, MEMORY_BESIDE_INDEX);
}
