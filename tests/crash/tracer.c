/* tracer.c - what a crash test does to running daemons, from outside: ptrace of all their threads.
 *
 *   tracer kill N PID...              kills that one which makes the Nth system call from now on, at its entry
 *   tracer fault CALL N ERRNO PID...  lets the Nth CALL from now on fail with ERRNO (a number)
 *   tracer record FILE PID...         writes what PIDs and their threads do to files to FILE, and the bytes to FILE.data
 *
 * Prints "ready" once every thread is held by it.  kill and fault end with the call's name, or "none N" at SIGTERM,
 * N calls having been seen.  record ends at SIGTERM.  A system call's line is written when the call returns, but a
 * flush has a line for each end: it covers what had returned before it began.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/openat2.h>
#include <linux/ptrace.h>

enum { THREADS_MAX = 1024, ACK_LOOK = 4096 };
enum mode { MODE_KILL, MODE_FAULT, MODE_RECORD };

struct call {
	long nr;
	const char *name;
};
static const struct call calls[] = {
	{ SYS_openat, "openat" },
	{ SYS_openat2, "openat2" },
	{ SYS_write, "write" },
	{ SYS_pwrite64, "pwrite64" },
	{ SYS_writev, "writev" },
	{ SYS_pwritev, "pwritev" },
	{ SYS_fsync, "fsync" },
	{ SYS_fdatasync, "fdatasync" },
	{ SYS_rename, "rename" },
	{ SYS_renameat, "renameat" },
	{ SYS_renameat2, "renameat2" },
	{ SYS_linkat, "linkat" },
	{ SYS_unlinkat, "unlinkat" },
	{ SYS_mkdirat, "mkdirat" },
	{ SYS_ftruncate, "ftruncate" },
	{ SYS_fallocate, "fallocate" },
	{ SYS_copy_file_range, "copy_file_range" },
	{ SYS_sendfile, "sendfile" },
	{ SYS_memfd_create, "memfd_create" },
	{ SYS_mmap, "mmap" },
	{ SYS_socket, "socket" },
	{ SYS_connect, "connect" },
	{ SYS_accept4, "accept4" },
	{ SYS_sendmsg, "sendmsg" },
	{ SYS_recvmsg, "recvmsg" },
	{ SYS_sendto, "sendto" },
	{ SYS_recvfrom, "recvfrom" },
	{ SYS_read, "read" },
	{ SYS_pread64, "pread64" },
	{ SYS_close, "close" },
	{ SYS_fstat, "fstat" },
	{ SYS_newfstatat, "newfstatat" },
	{ SYS_getdents64, "getdents64" },
	{ SYS_clone3, "clone3" },
	{ SYS_clone, "clone" },
};

struct thread {
	pid_t tid, pid;
	long nr;
	uint64_t args[6];
	bool is_held, is_flushing, is_faulted;
	unsigned flush;
	char path[PATH_MAX], other[PATH_MAX]; /* of the call under way */
};

static enum mode mode;
static unsigned long wanted, seen;
static long fault_nr;
static int fault_errno;
static struct thread threads[THREADS_MAX];
static size_t nthreads;
static volatile sig_atomic_t is_ending;
static bool is_ready;
static FILE *record;
static int data_fd = -1;
static uint64_t data_len;
static unsigned flushes;

__attribute__((noreturn)) static void
die(const char *what)
{
	fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const char *
call_name(long nr)
{
	static char number[32];

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (calls[i].nr == nr)
			return calls[i].name;
	snprintf(number, sizeof number, "call-%ld", nr);
	return number;
}

/* --- the threads ------------------------------------------------------------------------------------------------ */
static struct thread *
thread_find(pid_t tid)
{
	for (size_t i = 0; i < nthreads; i++)
		if (threads[i].tid == tid)
			return &threads[i];
	return NULL;
}

static struct thread *
thread_add(pid_t tid, pid_t pid)
{
	struct thread *t = thread_find(tid);

	if (t == NULL) {
		if (nthreads == THREADS_MAX)
			die("too many threads");
		t = &threads[nthreads++];
	}
	memset(t, 0, sizeof *t);
	t->tid = tid;
	t->pid = pid;
	t->nr = -1;
	return t;
}

static void
thread_remove(pid_t tid)
{
	struct thread *t = thread_find(tid);

	if (t != NULL)
		*t = threads[--nthreads];
}

static bool
seize(pid_t tid, pid_t pid)
{
	if (thread_find(tid) != NULL)
		return false;
	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE) < 0) {
		if (errno == ESRCH || errno == EPERM) /* ended, or taken along with who made it */
			return false;
		die("seize");
	}
	thread_add(tid, pid);
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 && errno != ESRCH)
		die("interrupt");
	return true;
}

/* All threads of pid: again until no new one has appeared. */
static void
seize_all(pid_t pid)
{
	char path[64];
	bool found = true;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	while (found) {
		DIR *d = opendir(path);
		struct dirent *e;

		if (d == NULL)
			die(path);
		found = false;
		while ((e = readdir(d)) != NULL)
			if (e->d_name[0] != '.' && seize((pid_t)atoi(e->d_name), pid))
				found = true;
		closedir(d);
	}
}

/* --- looking at a call ------------------------------------------------------------------------------------------- */
static size_t
peek(const struct thread *t, uint64_t from, void *to, size_t len)
{
	struct iovec local = { to, len }, remote = { (void *)(uintptr_t)from, len };
	ssize_t n = process_vm_readv(t->pid, &local, 1, &remote, 1, 0);

	return n < 0 ? 0 : (size_t)n;
}

/* The part up to the end of a page first: what lies behind it need not be there. */
static void
peek_string(const struct thread *t, uint64_t from, char *to, size_t size)
{
	size_t len = 0;

	while (len < size - 1) {
		size_t step = 4096 - (from + len) % 4096;

		if (step > size - 1 - len)
			step = size - 1 - len;
		step = peek(t, from + len, to + len, step);
		if (step == 0 || memchr(to + len, '\0', step) != NULL)
			break;
		len += step;
	}
	to[size - 1] = '\0';
}

/* As seen from the root directory of the machine, whatever the thread's own root is. */
static void
absolute(const struct thread *t, int dirfd, uint64_t name, char *out)
{
	char given[PATH_MAX] = "", link[64], base[PATH_MAX];
	ssize_t n;

	peek_string(t, name, given, sizeof given);
	if (given[0] == '/')
		snprintf(link, sizeof link, "/proc/%d/root", (int)t->pid);
	else if (dirfd == AT_FDCWD)
		snprintf(link, sizeof link, "/proc/%d/cwd", (int)t->pid);
	else
		snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)t->pid, dirfd);
	n = readlink(link, base, sizeof base - 1);
	base[n < 0 ? 0 : n] = '\0';
	if (given[0] == '\0')
		snprintf(out, PATH_MAX, "%s", base);
	else
		snprintf(out, PATH_MAX, "%.2000s%s%.2000s", strcmp(base, "/") == 0 ? "" : base,
		    given[0] == '/' ? "" : "/", given);
}

static bool
stat_fd(const struct thread *t, int fd, struct stat *st)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)t->pid, fd);
	return stat(path, st) == 0 && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) &&
	       st->st_nlink > 0;
}

static uint64_t
position(const struct thread *t, int fd)
{
	char path[64], line[128];
	unsigned long long pos = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)t->pid, fd);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	if (fgets(line, sizeof line, f) != NULL)
		sscanf(line, "pos: %llu", &pos);
	fclose(f);
	return pos;
}

static void
line(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(record, format, ap);
	va_end(ap);
	fputc('\n', record);
}

/* --- recording ------------------------------------------------------------------------------------------------------ */
/* The bytes are taken from the file: whichever call wrote them, there they are. */
static void
record_write(const struct thread *t, int fd, uint64_t off, uint64_t len)
{
	struct stat st;
	char path[64], bytes[65536];
	int from;

	if (len == 0 || !stat_fd(t, fd, &st))
		return;
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)t->pid, fd);
	if ((from = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		die("open a written file");
	line("write\t%llu\t%llu\t%llu\t%llu", (unsigned long long)st.st_ino,
	    (unsigned long long)off, (unsigned long long)len, (unsigned long long)data_len);
	while (len > 0) {
		ssize_t n = pread(from, bytes, len < sizeof bytes ? len : sizeof bytes, (off_t)off);

		if (n <= 0) { /* cut meanwhile by another thread */
			memset(bytes, 0, sizeof bytes);
			n = (ssize_t)(len < sizeof bytes ? len : sizeof bytes);
		}
		if (write(data_fd, bytes, (size_t)n) != n)
			die("write data");
		data_len += (uint64_t)n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	close(from);
}

/* A reply that takes a message is an event of the record: from its sending on, the message is promised. */
static void
record_reply(const struct thread *t, uint64_t from)
{
	char text[ACK_LOOK + 1] = "", *at;

	peek(t, from, text, ACK_LOOK);
	for (at = strstr(text, "Ok: queued as "); at != NULL; at = strstr(at + 1, "Ok: queued as "))
		line("ack\t%.*s", (int)strcspn(at + 14, "\r\n"), at + 14);
}

static void
record_entry(struct thread *t)
{
	struct open_how how;
	struct iovec v;
	uint64_t at;
	struct stat st;

	switch (t->nr) {
	case SYS_openat2:
		if (peek(t, t->args[2], &how, sizeof how) == sizeof how)
			t->args[2] = how.flags;
		absolute(t, (int)t->args[0], t->args[1], t->path);
		break;
	case SYS_openat:
	case SYS_unlinkat:
	case SYS_mkdirat:
		absolute(t, (int)t->args[0], t->args[1], t->path);
		break;
	case SYS_renameat:
	case SYS_renameat2:
	case SYS_linkat:
		absolute(t, (int)t->args[0], t->args[1], t->path);
		absolute(t, (int)t->args[2], t->args[3], t->other);
		break;
	case SYS_unlink:
	case SYS_mkdir:
		absolute(t, AT_FDCWD, t->args[0], t->path);
		break;
	case SYS_link:
	case SYS_rename:
		absolute(t, AT_FDCWD, t->args[0], t->path);
		absolute(t, AT_FDCWD, t->args[1], t->other);
		break;
	case SYS_fsync:
	case SYS_fdatasync:
		if ((t->is_flushing = stat_fd(t, (int)t->args[0], &st))) {
			t->flush = ++flushes;
			line("flush\t%u\t%llu\t%s", t->flush, (unsigned long long)st.st_ino,
			    t->nr == SYS_fsync ? "all" : "data");
		}
		break;
	case SYS_write:
	case SYS_sendto:
		record_reply(t, t->args[1]);
		break;
	case SYS_writev:
		if (peek(t, t->args[1], &v, sizeof v) == sizeof v)
			record_reply(t, (uint64_t)(uintptr_t)v.iov_base);
		break;
	case SYS_sendmsg: /* struct msghdr: msg_iov is the third word */
		if (peek(t, t->args[1] + 16, &at, sizeof at) == sizeof at &&
		    peek(t, at, &v, sizeof v) == sizeof v)
			record_reply(t, (uint64_t)(uintptr_t)v.iov_base);
		break;
	}
}

static void
record_return(struct thread *t, int64_t value)
{
	struct stat st;
	int fd = (int)t->args[0];

	switch (t->nr) {
	case SYS_openat:
	case SYS_openat2:
		if (stat_fd(t, (int)value, &st) &&
		    (t->args[2] & (O_CREAT | O_TRUNC) || S_ISDIR(st.st_mode)))
			line("open\t%s\t%llu\t%s", t->path, (unsigned long long)st.st_ino,
			    S_ISDIR(st.st_mode)    ? "directory"
			    : t->args[2] & O_TRUNC ? "truncate"
						   : "keep");
		break;
	case SYS_write:
	case SYS_writev:
	case SYS_sendfile:
		record_write(t, fd, position(t, fd) - (uint64_t)value, (uint64_t)value);
		break;
	case SYS_copy_file_range:
		fd = (int)t->args[2];
		record_write(t, fd, position(t, fd) - (uint64_t)value, (uint64_t)value);
		break;
	case SYS_pwrite64:
	case SYS_pwritev:
		record_write(t, fd, t->args[3], (uint64_t)value);
		break;
	case SYS_ftruncate:
		if (stat_fd(t, fd, &st))
			line("truncate\t%llu\t%llu", (unsigned long long)st.st_ino,
			    (unsigned long long)t->args[1]);
		break;
	case SYS_fallocate:
		if (stat_fd(t, fd, &st) && t->args[1] == 0)
			line("allocate\t%llu\t%llu", (unsigned long long)st.st_ino,
			    (unsigned long long)(t->args[2] + t->args[3]));
		break;
	case SYS_rename:
	case SYS_renameat:
	case SYS_renameat2:
		line("rename\t%s\t%s", t->path, t->other);
		break;
	case SYS_link:
	case SYS_linkat:
		line("link\t%s\t%s", t->path, t->other);
		break;
	case SYS_unlink:
	case SYS_unlinkat:
		line("unlink\t%s", t->path);
		break;
	case SYS_mkdir:
	case SYS_mkdirat:
		line("mkdir\t%s", t->path);
		break;
	}
}

/* --- stops --------------------------------------------------------------------------------------------------------- */
/* Waiting changes nothing: dying there is dying before the next call. */
static bool
is_waiting(long nr)
{
	return nr == SYS_futex || nr == SYS_epoll_wait || nr == SYS_epoll_pwait || nr == SYS_poll ||
	       nr == SYS_restart_syscall;
}

__attribute__((noreturn)) static void
finish(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
	exit(0);
}

static void
on_entry(struct thread *t)
{
	struct user_regs_struct r;

	if (mode == MODE_RECORD) {
		record_entry(t);
		return;
	}
	if (mode == MODE_FAULT ? t->nr != fault_nr : is_waiting(t->nr))
		return;
	if (++seen != wanted)
		return;
	if (mode == MODE_KILL) {
		if (kill(t->pid, SIGKILL) < 0)
			die("kill");
		finish(call_name(t->nr));
	}
	if (ptrace(PTRACE_GETREGS, t->tid, 0, &r) < 0)
		die("get registers");
	r.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, t->tid, 0, &r) < 0)
		die("set registers");
	t->is_faulted = true;
}

static void
on_return(struct thread *t, int64_t value)
{
	struct user_regs_struct r;

	if (t->is_faulted) {
		if (ptrace(PTRACE_GETREGS, t->tid, 0, &r) < 0)
			die("get registers");
		r.rax = (unsigned long long)-fault_errno;
		if (ptrace(PTRACE_SETREGS, t->tid, 0, &r) < 0)
			die("set registers");
		finish(call_name(t->nr)); /* the end of the tracer lets it go on */
	}
	if (mode == MODE_RECORD && t->is_flushing && value == 0)
		line("flushed\t%u", t->flush);
	else if (mode == MODE_RECORD && value >= 0)
		record_return(t, value);
	t->is_flushing = false;
	t->nr = -1;
}

static void
on_call_stop(struct thread *t)
{
	struct ptrace_syscall_info i;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof i, &i) < 0)
		return;
	if (i.op == PTRACE_SYSCALL_INFO_ENTRY) {
		t->nr = (long)i.entry.nr;
		memcpy(t->args, i.entry.args, sizeof t->args);
		on_entry(t);
	} else if (i.op == PTRACE_SYSCALL_INFO_EXIT && t->nr >= 0) {
		on_return(t, i.exit.rval);
	}
}

static pid_t
process_of(pid_t tid)
{
	char path[64], row[256];
	int pid = (int)tid;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
	if ((f = fopen(path, "re")) == NULL)
		return tid;
	while (fgets(row, sizeof row, f) != NULL)
		if (sscanf(row, "Tgid: %d", &pid) == 1)
			break;
	fclose(f);
	return (pid_t)pid;
}

/* Says "ready" when all threads that were there have stopped once. */
static void
note_held(struct thread *t)
{
	if (t->is_held)
		return;
	t->is_held = true;
	for (size_t i = 0; i < nthreads; i++)
		if (!threads[i].is_held)
			return;
	if (!is_ready) {
		printf("ready\n");
		fflush(stdout);
	}
	is_ready = true;
}

static void
on_stop(pid_t tid, int status)
{
	struct thread *t = thread_find(tid);
	int sig = WSTOPSIG(status), event = status >> 16;
	unsigned long made;
	long deliver = 0;

	if (t == NULL) /* a new thread, before the stop of who made it */
		t = thread_add(tid, process_of(tid));
	note_held(t);
	if (sig == (SIGTRAP | 0x80))
		on_call_stop(t);
	else if (event == PTRACE_EVENT_CLONE && ptrace(PTRACE_GETEVENTMSG, tid, 0, &made) == 0)
		(void)(thread_find((pid_t)made) != NULL || thread_add((pid_t)made, t->pid) != NULL);
	else if (event == 0)
		deliver = sig;
	if (ptrace(PTRACE_SYSCALL, tid, 0, deliver) < 0 && errno != ESRCH)
		die("go on");
}

static void
on_end_signal(int sig)
{
	(void)sig;
	is_ending = 1;
}

/* Detaching needs each thread stopped; ending does it for all. */
__attribute__((noreturn)) static void
end_politely(void)
{
	char text[64];

	if (mode == MODE_RECORD && (fclose(record) != 0 || close(data_fd) < 0))
		die("close the record");
	snprintf(text, sizeof text, "none %lu", seen);
	finish(text);
}

static void
run(void)
{
	while (!is_ending) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL);

		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			break; /* all have ended */
		if (WIFSTOPPED(status))
			on_stop(tid, status);
		else
			thread_remove(tid);
	}
	end_politely();
}

static long
number_of(const char *name)
{
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].nr;
	errno = EINVAL;
	die(name);
}

static void
open_record(const char *path)
{
	char data[PATH_MAX];

	snprintf(data, sizeof data, "%s.data", path);
	record = fopen(path, "we");
	data_fd = open(data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (record == NULL || data_fd < 0)
		die(path);
}

int
main(int argc, char **argv)
{
	struct sigaction end = { .sa_handler = on_end_signal };
	int first;

	if (argc >= 4 && strcmp(argv[1], "kill") == 0) {
		mode = MODE_KILL;
		wanted = strtoul(argv[2], NULL, 10);
		first = 3;
	} else if (argc >= 6 && strcmp(argv[1], "fault") == 0) {
		mode = MODE_FAULT;
		fault_nr = number_of(argv[2]);
		wanted = strtoul(argv[3], NULL, 10);
		fault_errno = atoi(argv[4]);
		first = 5;
	} else if (argc >= 4 && strcmp(argv[1], "record") == 0) {
		mode = MODE_RECORD;
		open_record(argv[2]);
		first = 3;
	} else {
		fprintf(stderr,
		    "usage: tracer kill N PID... | fault CALL N ERRNO PID... | record FILE PID...\n");
		return 2;
	}
	sigaction(SIGTERM, &end, NULL);
	for (int i = first; i < argc; i++)
		seize_all((pid_t)atoi(argv[i]));
	run();
}
