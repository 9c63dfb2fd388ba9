#include "common/sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The distribution's header is older than the kernels we run on: the ABI is stated here (landlock(7)). */
enum { CREATE_RULESET_VERSION = 1 << 0, RULE_PATH_BENEATH = 1 };
enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8,
	FS_ABI1_ALL = (1 << 13) - 1,
	FS_REFER = 1 << 13,     /* ABI 2 */
	FS_TRUNCATE = 1 << 14,  /* ABI 3 */
	FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
	NET_ALL = 3,            /* bind and connect TCP, ABI 4 */
	SCOPE_ALL = 3,          /* abstract sockets and signals, ABI 6 */
};
struct ruleset_attr {
	uint64_t handled_access_fs, handled_access_net, scoped;
};
struct path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

enum { NEEDED_ABI = 2 };
static const uint64_t read_access = FS_READ_FILE | FS_READ_DIR;
static const uint64_t write_access = FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_REMOVE_DIR |
    FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_REFER | FS_TRUNCATE;

static const uint64_t file_access = FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE;

static int
add_path(int ruleset, const struct sandbox_path *p, uint64_t handled, struct err *err)
{
	struct path_beneath_attr rule = {
		.allowed_access = (p->is_writable ? write_access : read_access) & handled,
		.parent_fd = open(p->path, O_PATH | O_CLOEXEC),
	};
	struct stat st;
	int r = 0;

	if (rule.parent_fd < 0)
		return err_sys(err, ERR_PERM, "landlock: open %s", p->path);
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= file_access; /* the kernel refuses directory rights on a file */
	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0)
		r = err_sys(err, ERR_PERM, "landlock: add %s", p->path);
	close(rule.parent_fd);
	return r;
}

int
landlock_build(const struct sandbox_plan *plan, int *out, struct err *err)
{
	struct ruleset_attr attr = { .handled_access_fs = FS_ABI1_ALL | FS_REFER };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
	size_t size = sizeof attr.handled_access_fs;
	int ruleset, r = 0;

	if (abi < NEEDED_ABI)
		return err_set(err, ERR_PERM, "landlock: ABI %ld, but %d is needed", abi, NEEDED_ABI);
	if (abi >= 3)
		attr.handled_access_fs |= FS_TRUNCATE;
	if (abi >= 5)
		attr.handled_access_fs |= FS_IOCTL_DEV;
	if (abi >= 4) {
		attr.handled_access_net = plan->calls & CALLS_NET ? 0 : NET_ALL;
		size = offsetof(struct ruleset_attr, scoped);
	}
	if (abi >= 6) {
		attr.scoped = SCOPE_ALL;
		size = sizeof attr;
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0)
		return err_sys(err, ERR_PERM, "landlock: create ruleset");
	for (size_t i = 0; i < SANDBOX_MAX_PATHS && plan->paths[i].path != NULL && r == 0; i++)
		r = add_path(ruleset, &plan->paths[i], attr.handled_access_fs, err);
	if (r < 0)
		close(ruleset);
	else
		*out = ruleset;
	return r;
}

int
landlock_restrict(int ruleset, struct err *err)
{
	int r = 0;

	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = err_sys(err, ERR_PERM, "landlock: restrict self");
	close(ruleset);
	return r;
}
