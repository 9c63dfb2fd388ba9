/* sandbox.h - the cage of a role, stated as data and closed in one call (DESIGN 3).
 *
 * Order: rlimits, chroot, the plan's paths opened, setgroups/setgid/setuid, capabilities dropped, no_new_privs,
 * not dumpable, Landlock, seccomp allow-list.  Everything that a library loads lazily is loaded before.  Threads start
 * after it.  A worker that cannot close its cage does not start, unless `permissive` is set, which warns.
 */
#ifndef COMMON_SANDBOX_SANDBOX_H
#define COMMON_SANDBOX_SANDBOX_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Groups of system calls; each is a list in sandbox/seccomp.c with the reason beside every call. */
enum sandbox_calls {
	CALLS_BASE = 1 << 0,    /* memory, time, exit, signals to itself, reading and writing descriptors */
	CALLS_LOOP = 1 << 1,    /* epoll, eventfd, signal mask */
	CALLS_IPC = 1 << 2,     /* socket(AF_UNIX), connect, sendmsg, recvmsg, fcntl, getsockopt */
	CALLS_ACCEPT = 1 << 3,  /* accept4, getpeername, setsockopt on accepted sockets */
	CALLS_NET = 1 << 4,     /* socket(AF_INET, AF_INET6), connect, bind: dnsd and relay only */
	CALLS_MEMFD = 1 << 5,   /* memfd_create, F_ADD_SEALS, F_GET_SEALS, fstat, pread, ftruncate */
	CALLS_THREADS = 1 << 6, /* clone(CLONE_THREAD), futex, sched_* */
	CALLS_FORK = 1 << 7,    /* clone as fork, wait4: authd's workers; never execve */
	CALLS_READ = 1 << 8,    /* openat and openat2 for reading, getdents64, stat */
	CALLS_WRITE = 1 << 9,   /* create, write, rename, link, unlink, mkdir, fsync, fallocate, ftruncate */
	CALLS_LOCK = 1 << 10,   /* flock, fcntl locks and leases */
	CALLS_MMAP_FILE = 1 << 11, /* msync, mremap, fdatasync on mapped files: LMDB, Berkeley DB */
	CALLS_FCHDIR = 1 << 12, /* fchdir: authd's database worker, which keeps "/" as its root anyway; dialer, to Unix sockets outside its root */
};

enum { SANDBOX_MAX_PATHS = 16 };
struct sandbox_path {
	/* Directory or file, as seen inside the new root; NULL ends the list.  Opened before root is dropped:
	 * uid needs no search permission on what lies above it. */
	const char *path;
	bool is_writable; /* else read-only */
};

struct sandbox_plan {
	const char *role;  /* for messages */
	const char *root;  /* directory to chroot to; NULL: an open descriptor is in root_fd, or no chroot */
	int root_fd;       /* used when root is NULL and this is > 0 */
	uid_t uid;         /* 0 is refused */
	gid_t gid;
	unsigned calls;    /* enum sandbox_calls */
	struct sandbox_path paths[SANDBOX_MAX_PATHS]; /* what Landlock leaves open; none = no path at all */
	uint64_t max_files;   /* RLIMIT_NOFILE; 0 = leave */
	uint64_t max_memory;  /* RLIMIT_AS bytes; 0 = leave (always left alone under a sanitizer) */
	uint64_t max_file_size; /* RLIMIT_FSIZE bytes; 0 = leave.  SIGXFSZ is ignored: writes give EFBIG */
	bool is_background;   /* nobody waits for it: SCHED_BATCH, it gets its share of the CPU but preempts no one to have it */
	bool permissive;      /* sandbox = permissive: a failure warns instead of ending the worker */
};

/* Closes the cage for this process.  0 or -1 (*err says which step). */
int sandbox_enter(const struct sandbox_plan *plan, struct err *err);

#endif
