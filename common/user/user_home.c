#include "common/user/user_home.h"

#include "common/base/fd.h"
#include "common/base/view.h"
#include "common/user/user_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_DIR = O_RDONLY | O_DIRECTORY | O_NOFOLLOW };

/* The directory at once: 0700 and root's until fchown has given it away, so that nobody enters
 * in between. */
static int
give(int fd, uid_t uid, gid_t gid, mode_t mode, const char *name, struct err *err)
{
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return err_sys(err, ERR_TEMP, "%s", name);
	return 0;
}

static int
open_base(const struct user_home *h, struct err *err)
{
	bool is_new = mkdir(h->base, 0700) == 0;
	int fd;

	if (!is_new && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir %s", h->base);
	fd = open(h->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open %s", h->base);
	if (is_new && give(fd, h->base_uid, h->base_gid, 0755, h->base, err) < 0)
		fd_close(&fd);
	return fd;
}

/* The owner of the directory above may have swapped what was just made for another: only what cannot be anything but a
 * new directory of ours is given away. */
static bool
is_just_made(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct stat st;
	size_t entries = 0;

	if (d == NULL) {
		fd_close(&copy);
		return false;
	}
	while (entries < 3 && readdir(d) != NULL)
		entries++; /* . and .. */
	closedir(d);
	return entries < 3 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
	       (st.st_mode & 07777) == 0700;
}

/* One step down: closes parent, returns the child. */
static int
step_down(const struct user_home *h, int parent, const char *name, bool is_last, struct err *err)
{
	int fd = open_beneath(parent, name, OPEN_DIR, 0), r = 0;
	bool is_new = fd < 0 && errno == ENOENT && mkdirat(parent, name, 0700) == 0;
	struct stat st;

	if (fd < 0 && (is_new || errno == EEXIST))
		fd = open_beneath(parent, name, OPEN_DIR, 0);
	if (fd < 0)
		r = err_sys(err, ERR_PERM, "%s", name);
	else if (is_new && !is_just_made(fd))
		r = err_set(err, ERR_PERM, "%s was replaced while it was made", name);
	else if (is_new)
		r = give(fd, is_last ? h->uid : h->base_uid, is_last ? h->gid : h->base_gid,
		    is_last ? 0700 : 0755, name, err);
	else if (is_last && (fstat(fd, &st) < 0 || st.st_uid != h->uid))
		r = err_set(err, ERR_PERM, "the home directory exists and is another's");
	if (r == 0 && is_new && fsync(parent) < 0)
		r = err_sys(err, ERR_TEMP, "fsync");
	if (r < 0)
		fd_close(&fd);
	close(parent);
	return fd;
}

int
user_home_open(const struct user_home *h, const char *path, struct err *err)
{
	const char *below = user_home_beneath(path, h->base);
	struct view rest, part;
	int fd;

	if (below == NULL)
		return err_set(
		    err, ERR_PERM, "%s is not beneath virtual_mailbox_base: make it by hand", path);
	fd = open_base(h, err);
	rest = view_of(below);
	while (fd >= 0 && view_token(&rest, "/", &part)) {
		char name[256];
		struct view ahead = rest, next;

		if (part.len >= sizeof name || view_eq_str(part, "..") || view_eq_str(part, ".")) {
			fd_close(&fd);
			return err_set(err, ERR_PERM, "%s: not a path for a home", path);
		}
		snprintf(name, sizeof name, "%.*s", VIEW_ARG(part));
		fd = step_down(h, fd, name, !view_token(&ahead, "/", &next), err);
	}
	return fd < 0 ? err_prefix(err, "home %s", path) : fd;
}
