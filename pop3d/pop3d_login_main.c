/* pop3d-login: POP3 clients until they have logged in, and their TLS for as long as they stay. */
#include "common/daemon/daemon.h"
#include "common/login/login.h"
#include "pop3d/login_pop3.h"

static struct sandbox_plan plan = { .calls = 0, .max_files = 65536, .max_memory = 4ull << 30 };

int
main(int argc, char **argv)
{
	struct daemon *d = daemon_start(argc, argv, ROLE_POP3D_LOGIN);
	struct login_front *front = login_front_of_daemon(d, &login_pop3_protocol);

	daemon_configured(d);
	return daemon_run(d, &plan, login_front_start, front);
}
