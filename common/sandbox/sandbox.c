#include "common/sandbox/sandbox.h"
#include "common/log/log.h"
#include "common/sandbox/landlock.h"
#include "common/sandbox/seccomp.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

struct cage {
	const struct sandbox_plan *plan;
	int ruleset; /* -1: there is none */
};

static int
set_limit(int which, uint64_t value, const char *name, struct err *err)
{
	struct rlimit now, want = { value, value };

	if (getrlimit((__rlimit_resource_t)which, &now) < 0)
		return err_sys(err, ERR_PERM, "getrlimit %s", name);
	if (now.rlim_max != RLIM_INFINITY && want.rlim_max > now.rlim_max)
		want.rlim_cur = want.rlim_max = now.rlim_max;
	if (setrlimit((__rlimit_resource_t)which, &want) < 0)
		return err_sys(err, ERR_PERM, "setrlimit %s", name);
	return 0;
}

static int
step_limits(struct cage *c, struct err *err)
{
	const struct sandbox_plan *p = c->plan;

	/* no core: it would hold other people's mail and passwords */
	if (set_limit(RLIMIT_CORE, 0, "core", err) < 0)
		return -1;
	if (p->max_files > 0 && set_limit(RLIMIT_NOFILE, p->max_files, "nofile", err) < 0)
		return -1;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	if (p->max_memory > 0 && set_limit(RLIMIT_AS, p->max_memory, "as", err) < 0)
		return -1;
#endif
	if (p->is_background && sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 }) < 0)
		return err_sys(err, ERR_PERM, "sched_setscheduler");
	if (p->max_file_size > 0) {
		signal(SIGXFSZ, SIG_IGN);
		if (set_limit(RLIMIT_FSIZE, p->max_file_size, "fsize", err) < 0)
			return -1;
	}
	return 0;
}

static int
step_chroot(struct cage *c, struct err *err)
{
	const struct sandbox_plan *p = c->plan;

	if (p->root == NULL && p->root_fd <= 0)
		return 0;
	if (p->root != NULL ? chdir(p->root) < 0 : fchdir(p->root_fd) < 0)
		return err_sys(err, ERR_PERM, "chdir %s", p->root ? p->root : "(descriptor)");
	if (chroot(".") < 0 || chdir("/") < 0)
		return err_sys(err, ERR_PERM, "chroot %s", p->root ? p->root : "(descriptor)");
	if (p->root_fd > 0)
		close(p->root_fd);
	return 0;
}

static int
drop_bounding_set(struct err *err)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(err, ERR_PERM, "drop capability %d", cap);
	return 0;
}

static int
step_identity(struct cage *c, struct err *err)
{
	const struct sandbox_plan *p = c->plan;
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { 0 };

	if (p->uid == 0 || p->gid == 0)
		return err_set(err, ERR_BUG, "a worker never runs as root");
	if (drop_bounding_set(err) < 0)
		return -1;
	if (setgroups(0, NULL) < 0)
		return err_sys(err, ERR_PERM, "setgroups");
	if (setresgid(p->gid, p->gid, p->gid) < 0 || setresuid(p->uid, p->uid, p->uid) < 0)
		return err_sys(err, ERR_PERM, "setresuid %u", (unsigned)p->uid);
	if (syscall(SYS_capset, &head, none) < 0)
		return err_sys(err, ERR_PERM, "capset");
	if (setuid(0) == 0)
		return err_set(err, ERR_BUG, "root came back");
	return 0;
}

static int
step_no_privileges(struct cage *c, struct err *err)
{
	(void)c;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, ERR_PERM, "no_new_privs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, ERR_PERM, "dumpable");
	return 0;
}

/* Still as root: the way to a path may be closed to the role. */
static int
step_paths(struct cage *c, struct err *err)
{
	return landlock_build(c->plan, &c->ruleset, err);
}

static int
step_landlock(struct cage *c, struct err *err)
{
	return c->ruleset < 0 ? 0 : landlock_restrict(c->ruleset, err);
}

static int
step_seccomp(struct cage *c, struct err *err)
{
	return seccomp_apply(c->plan, err);
}

static const struct step {
	int (*run)(struct cage *c, struct err *err);
	bool may_fail; /* under sandbox = permissive */
} steps[] = {
	{ step_limits, false },
	{ step_chroot, false },
	{ step_paths, true },
	{ step_identity, false },
	{ step_no_privileges, false },
	{ step_landlock, true },
	{ step_seccomp, true },
};

int
sandbox_enter(const struct sandbox_plan *plan, struct err *err)
{
	struct cage cage = { plan, -1 };

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		if (steps[i].run(&cage, err) == 0)
			continue;
		if (!plan->permissive || !steps[i].may_fail)
			return err_prefix(err, "%s: sandbox", plan->role);
		log_warn("sandbox = permissive: %s runs without part of its cage: %s", plan->role, err->text);
	}
	return 0;
}
