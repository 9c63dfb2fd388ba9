/* imapd - the IMAP sessions of one account (DESIGN 3, 6).
 * Master starts it at the account's first login and sends it every further one; it ends when none is left. */
#include "common/daemon/daemon.h"
#include "common/ipc/msg/master.h"
#include "common/mime/message.h"
#include "imapd/imap_search.h"
#include "imapd/session.h"

#include <time.h>

enum { MAX_FILES = 4096, SLICE_MS = 10 };
#define MEMORY_BESIDE_INDEX (UINT64_C(3) << 30)

static void
on_changed(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	imapd_account_changed(arg, ipc_get_str(in), NULL);
}

static const struct ipc_handler master_rows[] = {
	{ MASTER_LOGIN, MASTER_LOGIN_SIG, IPC_STATE_ANY, login_service_on_login },
	{ MASTER_CHANGED, "s", IPC_STATE_ANY, on_changed },
	{ 0, NULL, 0, NULL },
};

int
main(int argc, char **argv)
{
	struct daemon *d = daemon_start(argc, argv, ROLE_IMAPD);
	const struct conf *conf = daemon_conf(d);
	struct imapd_account account = {
		.config = {
			.line_max = (size_t)conf_size(conf, "imap_max_line_length"),
			.literal_max = (size_t)conf_size(conf, "imap_max_literal"),
			.bad_commands_max = (unsigned)conf_int(conf, "imap_max_bad_commands"),
			.message_size_max = (uint64_t)conf_size(conf, "message_size_limit"),
			.timeout_ms = conf_seconds(conf, "imap_timeout") * 1000,
			.idle_poll_ms = conf_seconds(conf, "imap_idle_poll_interval") * 1000,
			.idle_notify_ms = conf_seconds(conf, "imap_idle_notify_interval") * 1000,
			.slice_ms = SLICE_MS,
		},
	};

	tzset();
	charset_preload();
	imap_search_preload();
	daemon_configured(d);
	daemon_on_message(d, master_rows, &account);
	return login_service_run(
	    &account.login, d, &imapd_session_ops, MAX_FILES, MEMORY_BESIDE_INDEX);
}
