#include "authd/nursery.h"

#include "common/base/fd.h"
#include "common/ipc/conn.h"
#include "common/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIRST_FD = 3 };

/* Nothing of the loop's process goes with the child: no descriptor but stderr and this one, no
 * signal handler (libevent's would write to a descriptor that is something else now). */
static int
leave_parent_behind(int keep)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, ign = { .sa_handler = SIG_IGN };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL);
	sigaction(SIGPIPE, &ign, NULL);
	sigaction(SIGINT, &ign, NULL);
	sigaction(SIGHUP, &ign, NULL);
	sigaction(SIGCHLD, &ign, NULL); /* children are not waited for */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup3(keep, FIRST_FD, O_CLOEXEC) < 0 && keep != FIRST_FD)
		_exit(1);
	if (syscall(SYS_close_range, FIRST_FD + 1, ~0U, 0) < 0)
		_exit(1);
	return FIRST_FD;
}

/* stderr is the log socket when master started us (daemon.h), else a terminal or a file. */
static void
log_from_child(const char *name)
{
	int type = 0;
	socklen_t len = sizeof type;

	if (getsockopt(STDERR_FILENO, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	    type == SOCK_SEQPACKET)
		log_open(NULL, STDERR_FILENO, "authd");
	else
		log_open(NULL, -1, name);
}

/* 'r' and nothing, or 'e' and the reason. */
static void
report(int fd, const struct err *e)
{
	char packet[1 + sizeof e->text];
	size_t len = e == NULL ? 0 : strlen(e->text);

	packet[0] = e == NULL ? 'r' : 'e';
	if (len > 0)
		memcpy(packet + 1, e->text, len);
	if (ipc_send_packet(fd, packet, 1 + len, NULL, 0) < 0)
		_exit(1);
}

static _Noreturn void
nursery_loop(const struct nursery_kind *kind, const struct authd_conf *conf, int fd)
{
	for (;;) {
		int fds[IPC_MAX_FDS];
		unsigned nfds;
		char word;
		ssize_t n = ipc_recv_packet(fd, &word, 1, fds, &nfds);
		pid_t pid;

		if (n != 1 || nfds != 1)
			_exit(n != 0); /* 0: the loop has ended */
		pid = fork();
		if (pid == 0) {
			close(fd);
			kind->run(conf, fds[0]);
			_exit(1);
		}
		if (pid < 0)
			log_error("%s: fork: %s", kind->name, strerrordesc_np(errno));
		close(fds[0]);
	}
}

static _Noreturn void
nursery_main(const struct nursery_kind *kind, const struct authd_conf *conf,
    const struct sandbox_plan *plan, int fd)
{
	struct err e;

	fd = leave_parent_behind(fd);
	log_from_child(kind->name);
	prctl(PR_SET_NAME, kind->name);
	if ((kind->prepare != NULL && kind->prepare(conf, &e) < 0) ||
	    (plan != NULL && sandbox_enter(plan, &e) < 0)) {
		report(fd, &e);
		_exit(1);
	}
	report(fd, NULL);
	nursery_loop(kind, conf, fd);
}

/* Blocks until it is in its cage: nothing else runs yet. */
static int
await_report(int fd, struct err *err)
{
	char packet[1 + sizeof err->text];
	int fds[IPC_MAX_FDS];
	unsigned nfds;
	ssize_t n = ipc_recv_packet(fd, packet, sizeof packet - 1, fds, &nfds);

	if (n < 1)
		return err_set(err, ERR_TEMP, "it died at its start");
	if (packet[0] == 'r')
		return 0;
	packet[n] = '\0';
	return err_set(err, ERR_PERM, "%s", packet + 1);
}

int
nursery_start(const struct nursery_kind *kind, const struct authd_conf *conf,
    const struct sandbox_plan *plan, struct err *err)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, ERR_TEMP, "socketpair");
	pid = fork();
	if (pid == 0)
		nursery_main(kind, conf, plan, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		err_sys(err, ERR_TEMP, "fork");
		fd_close(&pair[0]);
	} else if (await_report(pair[0], err) < 0) {
		err_prefix(err, "%s", kind->name);
		fd_close(&pair[0]);
	}
	return pair[0];
}

int
nursery_spawn(int nursery, struct err *err)
{
	int pair[2];
	ssize_t n;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, ERR_TEMP, "socketpair");
	n = ipc_send_packet(nursery, "w", 1, &pair[1], 1);
	if (n != 1) {
		err_sys(err, ERR_TEMP, "nursery");
		fd_close(&pair[0]);
	}
	close(pair[1]);
	return pair[0];
}
