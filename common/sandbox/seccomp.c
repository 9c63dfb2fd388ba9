#include "common/sandbox/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef F_OFD_SETLK
#error "file description locks are needed"
#endif

struct call_group {
	unsigned group;
	const int *calls; /* ends with -1 */
};

#define CALL(name) SCMP_SYS(name)

/* libseccomp's SCMP_A* macros leave a field out, which -Wextra does not like */
#define ARG(index, op, a, b) ((struct scmp_arg_cmp){ (index), (op), (scmp_datum_t)(a), (scmp_datum_t)(b) })

/* clang-format off */
static const int base_calls[] = {
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(close), CALL(pread64), CALL(preadv), CALL(lseek),
	CALL(fstat), CALL(newfstatat),                  /* glibc's fstat is newfstatat(fd, "") */
	CALL(munmap), CALL(brk), CALL(madvise), CALL(mremap),
	CALL(futex), CALL(clock_gettime), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(time),
	CALL(getrandom), CALL(exit), CALL(exit_group), CALL(restart_syscall),
	CALL(rt_sigreturn), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(sigaltstack), CALL(rt_sigtimedwait),
	CALL(getpid), CALL(gettid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(getppid),
	CALL(sched_yield), CALL(getrusage), CALL(uname), CALL(dup), CALL(dup3), CALL(getcpu), CALL(sysinfo),
	CALL(umask), -1 };
static const int loop_calls[] = {
	CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2),
	CALL(eventfd2), CALL(pipe2), CALL(poll), CALL(ppoll), CALL(timerfd_create), CALL(timerfd_settime), -1 };
static const int ipc_calls[] = {
	CALL(connect), CALL(sendmsg), CALL(recvmsg), CALL(sendto), CALL(recvfrom), CALL(getsockopt),
	CALL(setsockopt), CALL(shutdown), CALL(getsockname), CALL(getpeername), -1 };
static const int accept_calls[] = { CALL(accept4), CALL(accept), -1 };
static const int net_calls[] = { CALL(bind), CALL(sendmmsg), CALL(recvmmsg), -1 };
static const int memfd_calls[] = { CALL(memfd_create), CALL(ftruncate), CALL(pwrite64), CALL(pwritev), -1 };
static const int thread_calls[] = {
	CALL(set_robust_list), CALL(sched_getaffinity), CALL(sched_getparam), CALL(sched_getscheduler),
	CALL(membarrier), CALL(rseq), -1 };
static const int fork_calls[] = { CALL(wait4), CALL(waitid), CALL(set_robust_list), CALL(rseq), CALL(set_tid_address),
	CALL(alarm), /* a helper's watchdog over itself */ -1 };
static const int read_calls[] = {
	CALL(openat2), CALL(getdents64), CALL(readlinkat), CALL(statx), CALL(faccessat), CALL(faccessat2), CALL(access),
	CALL(stat), CALL(lstat), CALL(readlink), CALL(statfs), CALL(fstatfs), CALL(fadvise64), CALL(getcwd), -1 };
static const int write_calls[] = {
	CALL(pwrite64), CALL(pwritev), CALL(pwritev2), CALL(rename), CALL(renameat), CALL(renameat2), CALL(link), CALL(linkat),
	CALL(unlink), CALL(unlinkat), CALL(rmdir), CALL(mkdir), CALL(mkdirat), CALL(fsync), CALL(fdatasync), CALL(syncfs),
	CALL(sync_file_range), CALL(ftruncate), CALL(fallocate), CALL(fchmod), CALL(fchmodat), CALL(chmod), CALL(utimensat),
	CALL(copy_file_range), CALL(sendfile), -1 };
static const int lock_calls[] = { CALL(flock), -1 };
static const int fchdir_calls[] = { CALL(fchdir), -1 }; /* Berkeley DB takes names only, no directory's descriptor */
static const int mmap_file_calls[] = { CALL(msync), CALL(fdatasync), CALL(mincore), -1 };

static const struct call_group groups[] = {
	{ CALLS_BASE, base_calls }, { CALLS_LOOP, loop_calls }, { CALLS_IPC, ipc_calls },
	{ CALLS_ACCEPT, accept_calls }, { CALLS_NET, net_calls }, { CALLS_MEMFD, memfd_calls },
	{ CALLS_THREADS, thread_calls }, { CALLS_FORK, fork_calls }, { CALLS_READ, read_calls },
	{ CALLS_WRITE, write_calls }, { CALLS_LOCK, lock_calls }, { CALLS_MMAP_FILE, mmap_file_calls },
	{ CALLS_FCHDIR, fchdir_calls },
};

/* No role ever needs these: whoever calls one is not our code any more. */
static const int deadly_calls[] = {
	CALL(execve), CALL(execveat), CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev),
	CALL(io_uring_setup), CALL(io_uring_enter), CALL(io_uring_register), CALL(mount), CALL(umount2), CALL(pivot_root),
	CALL(chroot), CALL(setns), CALL(unshare), CALL(init_module), CALL(finit_module), CALL(delete_module),
	CALL(kexec_load), CALL(bpf), CALL(perf_event_open), CALL(keyctl), CALL(add_key), CALL(request_key),
	CALL(userfaultfd), CALL(open_by_handle_at), CALL(setuid), CALL(setgid), CALL(setreuid), CALL(setregid),
	CALL(setresuid), CALL(setresgid), CALL(setgroups), CALL(setfsuid), CALL(setfsgid), CALL(capset), CALL(symlink),
	CALL(symlinkat), CALL(mknod), CALL(mknodat), CALL(pidfd_getfd), CALL(pidfd_send_signal), CALL(tkill), -1 };

/* glibc asks for these first and does without. */
static const int absent_calls[] = { CALL(clone3), CALL(rseq), CALL(statx), CALL(openat2), CALL(close_range), -1 };

static const int fcntl_commands[] = { F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS, -1 };
static const int fcntl_locks[] = { F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_SETLEASE, F_GETLEASE, -1 };
static const unsigned long ioctl_requests[] = { FIONREAD, FIONBIO, 0x5401 /* TCGETS: stdio asks, gets ENOTTY */, 0 };
/* clang-format on */

struct filter {
	scmp_filter_ctx ctx;
	int status; /* first failure, negative errno */
};

static void
rule(struct filter *f, uint32_t action, int call)
{
	int r = seccomp_rule_add(f->ctx, action, call, 0);

	if (f->status == 0 && r < 0 && r != -EEXIST && r != -EDOM)
		f->status = r;
}

static void
rule_arg(struct filter *f, int call, struct scmp_arg_cmp cmp)
{
	int r = seccomp_rule_add_array(f->ctx, SCMP_ACT_ALLOW, call, 1, &cmp);

	if (f->status == 0 && r < 0 && r != -EEXIST)
		f->status = r;
}

static void
allow_list(struct filter *f, const int *calls)
{
	for (; *calls != -1; calls++)
		rule(f, SCMP_ACT_ALLOW, *calls);
}

/* Calls whose arguments decide. */
static void
allow_bounded(struct filter *f, unsigned calls)
{
	/* memory is never made executable once the cage is closed */
	rule_arg(f, CALL(mmap), ARG(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	rule_arg(f, CALL(mprotect), ARG(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* abort() and raise(): signals to itself only */
	rule_arg(f, CALL(tgkill), ARG(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, getpid()));
	rule_arg(f, CALL(kill), ARG(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, getpid()));
	/* reading limits, never setting them */
	rule_arg(f, CALL(prlimit64), ARG(2, SCMP_CMP_EQ, 0, 0));
	rule_arg(f, CALL(prctl), ARG(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, PR_SET_NAME));
	for (const int *c = fcntl_commands; *c != -1; c++)
		rule_arg(f, CALL(fcntl), ARG(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, *c));
	for (const unsigned long *r = ioctl_requests; *r != 0; r++)
		rule_arg(f, CALL(ioctl), ARG(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, *r));
	if (calls & (CALLS_IPC | CALLS_LOOP)) {
		rule_arg(f, CALL(socket), ARG(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_UNIX));
		rule_arg(f, CALL(socketpair), ARG(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_UNIX));
	}
	if (calls & CALLS_NET) {
		rule_arg(f, CALL(socket), ARG(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_INET));
		rule_arg(f, CALL(socket), ARG(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_INET6));
	}
	if (calls & CALLS_LOCK)
		for (const int *c = fcntl_locks; *c != -1; c++)
			rule_arg(f, CALL(fcntl), ARG(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, *c));
	if (calls & CALLS_WRITE)
		rule(f, SCMP_ACT_ALLOW, CALL(openat));
	else if (calls & CALLS_READ)
		rule_arg(f, CALL(openat),
		    ARG(2, SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
	if (calls & CALLS_FORK)
		rule(f, SCMP_ACT_ALLOW, CALL(clone));
	else if (calls & CALLS_THREADS)
		rule_arg(f, CALL(clone), ARG(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

static void
allow_sanitizer(struct filter *f)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	/* the runtime's own needs, mostly while it prints a report and dies */
	static const int calls[] = { CALL(sched_getaffinity), CALL(readlink), CALL(open), CALL(openat),
		CALL(getdents64), CALL(set_robust_list), CALL(prctl), CALL(pipe), CALL(mincore),
		CALL(mprotect), CALL(mmap), CALL(process_madvise), CALL(stat), CALL(prlimit64), -1 };

	allow_list(f, calls);
#else
	(void)f;
#endif
}

static bool
listed(const int *calls, int call)
{
	for (; *calls != -1; calls++)
		if (*calls == call)
			return true;
	return false;
}

static bool
is_allowed(unsigned calls, int call)
{
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
		if ((calls & groups[i].group) && listed(groups[i].calls, call))
			return true;
	return false;
}

int
seccomp_apply(const struct sandbox_plan *plan, struct err *err)
{
	struct filter f = { .ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM)) };

	if (f.ctx == NULL)
		return err_set(err, ERR_TEMP, "seccomp: no filter");
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
		if (plan->calls & groups[i].group)
			allow_list(&f, groups[i].calls);
	allow_bounded(&f, plan->calls);
	allow_sanitizer(&f);
	for (const int *c = deadly_calls; *c != -1; c++)
		rule(&f, SCMP_ACT_KILL_PROCESS, *c);
	for (const int *c = absent_calls; *c != -1; c++)
		if (!is_allowed(plan->calls, *c))
			rule(&f, SCMP_ACT_ERRNO(ENOSYS), *c);
	if (f.status == 0)
		f.status = seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (f.status == 0)
		f.status = seccomp_load(f.ctx);
	seccomp_release(f.ctx);
	if (f.status < 0) {
		errno = -f.status;
		return err_sys(err, ERR_PERM, "seccomp: load");
	}
	return 0;
}
