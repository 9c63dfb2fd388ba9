/* start, stop, reload, status: the life of the suite from the outside. */
#include "tools/tool.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/master.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { START_TIMEOUT_MS = 60000, STOP_TIMEOUT_MS = 30000, ASK_TIMEOUT_MS = 30000 };

_Noreturn static void
become_master(struct tool *t, int report_fd)
{
	char *program = x_asprintf("%s/master", t->libexec), fd[16];
	const char *log_file = conf_str(&t->conf, "log_file");
	int null = open("/dev/null", O_RDWR), log = open(log_file, O_WRONLY | O_APPEND | O_CREAT, 0640);

	snprintf(fd, sizeof fd, "%d", report_fd);
	setsid();
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log >= 0 ? log : null, 2) < 0)
		_exit(EX_OSERR);
	execl(program, program, "-c", t->config_directory, "-r", fd, (char *)NULL);
	_exit(EX_UNAVAILABLE);
}

/* What master says on the pipe until it closes it: "ok", or the reason why not. */
static int
wait_for_word(int fd, char *text, size_t size)
{
	int64_t deadline = clock_mono_ms() + START_TIMEOUT_MS;
	size_t len = 0;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - clock_mono_ms();
		ssize_t n;

		if (left <= 0 || poll(&pfd, 1, (int)left) == 0) {
			snprintf(text, size, "not all services answer after %d seconds; see the log",
			    START_TIMEOUT_MS / 1000);
			return -1;
		}
		n = read(fd, text + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	if (len == 0)
		snprintf(text, size, "master ended; see the log");
	return strcmp(text, "ok") == 0 ? 0 : -1;
}

static void
end_master(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

int
tool_cmd_start(struct tool *t, int argc, char **argv)
{
	int pair[2], r;
	char text[1024];
	pid_t pid;

	if (argc != 1)
		return tool_usage(t);
	if (geteuid() != 0) {
		tool_complain("start: must be root: master binds ports and starts each worker as its own user");
		return EX_NOPERM;
	}
	r = tool_cmd_check(t, argc, argv);
	if (r != EX_OK)
		return r;
	if (pipe(pair) < 0 || (pid = fork()) < 0) {
		tool_complain("start: %s", strerrordesc_np(errno));
		return EX_OSERR;
	}
	if (pid == 0) {
		close(pair[0]);
		become_master(t, pair[1]);
	}
	close(pair[1]);
	r = wait_for_word(pair[0], text, sizeof text);
	close(pair[0]);
	if (r == 0)
		return EX_OK;
	tool_complain("start: %s; see %s", text, conf_str(&t->conf, "log_file"));
	end_master(pid);
	return EX_UNAVAILABLE;
}

/* One question to master; the answer's text is left in packet.  Exit status, or -1 when it does not run. */
static int
ask(struct tool *t, uint16_t type, int timeout_ms, const char **text, struct err *err)
{
	static unsigned char packet[IPC_MAX_PACKET];
	struct ipc_out o;
	struct ipc_in in;
	int fd = tool_connect(t, ROLE_MASTER, err), r;

	if (fd < 0)
		return -1;
	ipc_out_init(&o, type);
	r = ipc_call_blocking(fd, &o, "us", timeout_ms, packet, &in, err);
	close(fd);
	if (r < 0)
		return -1;
	r = (int)ipc_get_u32(&in);
	*text = ipc_get_str(&in);
	return r;
}

static int
simple_question(struct tool *t, uint16_t type, int timeout_ms, const char *verb)
{
	const char *text;
	struct err err;
	int r = ask(t, type, timeout_ms, &text, &err);

	if (r < 0) {
		tool_complain("%s: %s", verb, err.text);
		return err.kind == ERR_GONE ? 1 : EX_UNAVAILABLE;
	}
	if (r != EX_OK)
		tool_complain("%s: %s", verb, text);
	return r;
}

int
tool_cmd_stop(struct tool *t, int argc, char **argv)
{
	(void)argv;
	return argc != 1 ? tool_usage(t)
			 : simple_question(t, MASTER_CTL_STOP, STOP_TIMEOUT_MS, "stop");
}

int
tool_cmd_rotate(struct tool *t, int argc, char **argv)
{
	(void)argv;
	return argc != 1 ? tool_usage(t)
			 : simple_question(t, MASTER_CTL_ROTATE, ASK_TIMEOUT_MS, "rotate");
}

int
tool_cmd_reload(struct tool *t, int argc, char **argv)
{
	int r;

	if (argc != 1)
		return tool_usage(t);
	r = tool_cmd_check(t, argc, argv);
	return r != EX_OK ? r : simple_question(t, MASTER_CTL_RELOAD, ASK_TIMEOUT_MS, "reload");
}

static void
print_service(json_t *s)
{
	json_t *list = json_object_get(s, "processes"), *p;
	size_t i;

	printf("%-24s %-12s %lld process%s", json_string_value(json_object_get(s, "service")),
	    json_string_value(json_object_get(s, "program")),
	    (long long)json_integer_value(json_object_get(s, "count")),
	    json_integer_value(json_object_get(s, "count")) == 1 ? "" : "es");
	json_array_foreach(list, i, p)
	{
		printf("%s%lld%s", i == 0 ? ": " : ", ",
		    (long long)json_integer_value(json_object_get(p, "pid")),
		    json_is_true(json_object_get(p, "draining")) ? " (finishing)" :
			json_is_true(json_object_get(p, "ready")) ? "" : " (starting)");
	}
	putchar('\n');
}

static void
print_status(const char *text)
{
	struct view rest = view_of(text), line;

	while (rest.len > 0) {
		json_t *s;

		view_cut(rest, '\n', &line, &rest);
		s = json_loadb(line.p, line.len, 0, NULL);
		if (s != NULL)
			print_service(s);
		json_decref(s);
	}
}

/* JSON or a table: what is asked for by both. */
static int
show(struct tool *t, int argc, char **argv, uint16_t type, void (*print)(const char *text))
{
	bool json = argc == 2 && strcmp(argv[1], "-j") == 0;
	const char *text = "";
	struct err err;
	int r;

	if (argc > 2 || (argc == 2 && !json))
		return tool_usage(t);
	r = ask(t, type, ASK_TIMEOUT_MS, &text, &err);
	if (r < 0) {
		tool_complain("%s: %s", argv[0], err.text);
		return err.kind == ERR_GONE ? 1 : EX_UNAVAILABLE;
	}
	if (json)
		fputs(text, stdout);
	else
		print(text);
	return r;
}

static void
print_counters(const char *text)
{
	json_t *counters = json_loads(text, 0, NULL), *n;
	const char *name;

	json_object_foreach(counters, name, n)
	{
		printf("%-16s %12lld\n", name, (long long)json_integer_value(n));
	}
	json_decref(counters);
}

int
tool_cmd_counters(struct tool *t, int argc, char **argv)
{
	return show(t, argc, argv, MASTER_CTL_COUNTERS, print_counters);
}

int
tool_cmd_status(struct tool *t, int argc, char **argv)
{
	return show(t, argc, argv, MASTER_CTL_STATUS, print_status);
}
