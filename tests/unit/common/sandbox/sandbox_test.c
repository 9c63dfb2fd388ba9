/* The cage, closed for real in a child process: what is outside the plan fails or kills (DESIGN 3). */
#include "common/sandbox/sandbox.h"
#include "common/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { NOBODY = 65534, ALLOWED = 0, DENIED = 10, CAGE_FAILED = 20 };

static char root[] = "/tmp/sandbox_test.XXXXXX";

/* Runs probe in a child inside the cage of this plan; its exit status, or 128 + signal. */
static int
run_caged(struct sandbox_plan plan, int (*probe)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct err err;

		plan.role = "test";
		plan.root = root;
		plan.uid = plan.gid = NOBODY;
		plan.calls |= CALLS_BASE;
		if (sandbox_enter(&plan, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			_exit(CAGE_FAILED);
		}
		_exit(probe());
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int
verdict(long r)
{
	return r >= 0 ? ALLOWED : DENIED;
}

static int
probe_nothing(void)
{
	return ALLOWED;
}

static int
probe_open(void)
{
	return verdict(open("/file", O_RDONLY));
}

static int
probe_create(void)
{
	return verdict(open("/new", O_WRONLY | O_CREAT, 0600));
}

static int
probe_fchdir(void)
{
	return verdict(fchdir(open("/tmp", O_PATH)));
}

static int
probe_rename(void)
{
	int fd = open("/tmp/x", O_WRONLY | O_CREAT, 0600);

	return fd < 0 ? CAGE_FAILED : verdict(rename("/tmp/x", "/new/x"));
}

static int
probe_exec(void)
{
	char *argv[] = { (char *)(uintptr_t)"/bin/true", NULL };

	return verdict(execve(argv[0], argv, NULL));
}

static int
probe_ptrace(void)
{
	return verdict(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int
probe_setuid(void)
{
	return verdict(syscall(SYS_setuid, 0));
}

static int
probe_io_uring(void)
{
	return verdict(syscall(SYS_io_uring_setup, 1, NULL));
}

static int
probe_kill(void)
{
	return verdict(kill(getppid(), 0));
}

static int
probe_inet(void)
{
	return verdict(socket(AF_INET, SOCK_STREAM, 0));
}

static int
probe_unix(void)
{
	return verdict(socket(AF_UNIX, SOCK_SEQPACKET, 0));
}

#ifndef __SANITIZE_ADDRESS__
static int
probe_executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? DENIED : ALLOWED;
}
#endif

static int
probe_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return verdict(pid);
}

/* A connected TCP socket must not become a way out by connect(AF_UNSPEC) and connect again. */
static int tcp_pair;

static int
probe_reconnect(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };

	connect(tcp_pair, &none, sizeof none);
	if (connect(tcp_pair, (struct sockaddr *)&to, sizeof to) == 0)
		return ALLOWED;
	/* refused by the peer would mean that the packet went out */
	return errno == EACCES || errno == EPERM ? DENIED : ALLOWED;
}

static int
probe_identity(void)
{
	if (getuid() != NOBODY || geteuid() != NOBODY || getgid() != NOBODY)
		return 1;
	return ALLOWED;
}

static void
the_empty_cage_holds(void **state)
{
	struct sandbox_plan plan = { .calls = CALLS_IPC };

	(void)state;
	assert_int_equal(run_caged(plan, probe_nothing), ALLOWED);
	assert_int_equal(run_caged(plan, probe_identity), ALLOWED);
	assert_int_equal(run_caged(plan, probe_unix), ALLOWED);
	assert_int_equal(run_caged(plan, probe_open), DENIED);
	assert_int_equal(run_caged(plan, probe_create), DENIED);
	assert_int_equal(run_caged(plan, probe_inet), DENIED);
	assert_int_equal(run_caged(plan, probe_kill), DENIED);
	assert_int_equal(run_caged(plan, probe_fork), DENIED);
#ifndef __SANITIZE_ADDRESS__
	assert_int_equal(run_caged(plan, probe_executable_memory), DENIED);
#endif
	assert_int_equal(run_caged(plan, probe_exec), 128 + SIGSYS);
	assert_int_equal(run_caged(plan, probe_ptrace), 128 + SIGSYS);
	assert_int_equal(run_caged(plan, probe_setuid), 128 + SIGSYS);
	assert_int_equal(run_caged(plan, probe_io_uring), 128 + SIGSYS);
}

static void
paths_open_what_they_name_and_no_more(void **state)
{
	struct sandbox_plan reader = { .calls = CALLS_READ, .paths = { { "/", false } } };
	struct sandbox_plan half = { .calls = CALLS_READ | CALLS_WRITE, .paths = { { "/tmp", true } } };
	struct sandbox_plan writer = { .calls = CALLS_READ | CALLS_WRITE, .paths = { { "/", true } } };
	struct sandbox_plan unlisted = { .calls = CALLS_READ | CALLS_WRITE };

	(void)state;
	assert_int_equal(run_caged(reader, probe_open), ALLOWED);
	assert_int_equal(run_caged(reader, probe_create), DENIED);
	assert_int_equal(run_caged(half, probe_open), DENIED);
	assert_int_equal(run_caged(half, probe_rename), DENIED);
	assert_int_equal(run_caged(writer, probe_rename), ALLOWED);
	assert_int_equal(run_caged(writer, probe_exec), 128 + SIGSYS);
	assert_int_equal(run_caged(unlisted, probe_open), DENIED);
}

/* The suite below a home of mode 0700: the role has the path, not the way to it. */
static void
a_path_below_a_closed_directory(void **state)
{
	struct sandbox_plan plan = { .calls = CALLS_READ, .paths = { { "/closed/inner", false } } };

	(void)state;
	assert_int_equal(run_caged(plan, probe_nothing), ALLOWED);
}

static void
fchdir_is_a_group_of_its_own(void **state)
{
	struct sandbox_plan all = { .calls = CALLS_READ | CALLS_WRITE | CALLS_LOCK | CALLS_FORK };
	struct sandbox_plan mover = { .calls = CALLS_READ | CALLS_FCHDIR };

	(void)state;
	assert_int_equal(run_caged(all, probe_fchdir), DENIED);
	assert_int_equal(run_caged(mover, probe_fchdir), ALLOWED);
}

static void
network_is_for_those_who_ask(void **state)
{
	struct sandbox_plan net = { .calls = CALLS_IPC | CALLS_NET };
	struct sandbox_plan front = { .calls = CALLS_IPC | CALLS_ACCEPT };

	(void)state;
	assert_int_equal(run_caged(net, probe_inet), ALLOWED);
	tcp_pair = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(tcp_pair >= 0);
	assert_int_equal(run_caged(front, probe_reconnect), DENIED);
	close(tcp_pair);
}

static void
root_is_refused(void **state)
{
	struct sandbox_plan plan = { .role = "test", .uid = 0, .gid = 0, .calls = CALLS_BASE };
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		struct err err;

		_exit(sandbox_enter(&plan, &err) < 0 ? 0 : 1);
	}
	assert_true(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int
make_root(void **state)
{
	char path[100];
	int fd;

	(void)state;
	if (geteuid() != 0) {
		fputs("1..0 # skipped: the cage is closed by root\n", stderr);
		exit(0);
	}
	if (mkdtemp(root) == NULL || chown(root, NOBODY, NOBODY) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/file", root);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	close(fd);
	snprintf(path, sizeof path, "%s/tmp", root);
	if (mkdir(path, 0777) < 0 || chmod(path, 0777) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/closed", root);
	if (mkdir(path, 0700) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/closed/inner", root);
	if (mkdir(path, 0755) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/new", root);
	return mkdir(path, 0777) < 0 || chmod(path, 0777) < 0 ? -1 : fd < 0;
}

static int
remove_root(void **state)
{
	static const char *const names[] = { "/new/x", "/new", "/tmp/x", "/tmp", "/file", "/closed/inner", "/closed",
		"" };
	char path[100];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(path, sizeof path, "%s%s", root, names[i]);
		remove(path);
	}
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_empty_cage_holds),
		cmocka_unit_test(paths_open_what_they_name_and_no_more),
		cmocka_unit_test(a_path_below_a_closed_directory),
		cmocka_unit_test(fchdir_is_a_group_of_its_own),
		cmocka_unit_test(network_is_for_those_who_ask),
		cmocka_unit_test(root_is_refused),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
