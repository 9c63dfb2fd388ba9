#include "tools/user_home.h"

#include "common/base/fd.h"
#include "common/base/view.h"
#include "common/user/user_record.h"

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

/* One step down: closes parent, returns the child. */
static int
step_down(const struct user_home *h, int parent, const char *name, bool is_last, struct err *err)
{
	bool is_new = mkdirat(parent, name, 0700) == 0;
	struct stat st;
	int fd = -1, r = 0;

	if (!is_new && errno != EEXIST)
		r = err_sys(err, ERR_TEMP, "mkdir %s", name);
	else if ((fd = open_beneath(parent, name, OPEN_DIR, 0)) < 0)
		r = err_sys(err, ERR_PERM, "open %s", name);
	else if (is_new && (fstat(fd, &st) < 0 || st.st_uid != geteuid()))
		/* swapped by the owner of the directory above, in the moment between */
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
user_home_make(const struct user_home *h, const char *path, struct err *err)
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
	if (fd < 0)
		return err_prefix(err, "home %s", path);
	close(fd);
	return 0;
}
