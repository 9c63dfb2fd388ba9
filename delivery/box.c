#include "delivery/box.h"
#include "common/base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	MODE_OWN = 0700,
	MODE_ABOVE =
	    0711, /* domain directories: to be passed through by owners of other mailboxes, not listed */
	TMP_LIFE_SECONDS = 36 * 3600,
	TMP_CLEAN_MAX = 10000, /* names looked at in one go */
	HOST_MAX = 100,
};

bool
box_home_is_valid(const char *home)
{
	struct view rest = view_of(home), part;
	bool more = true;

	while (more) {
		more = view_cut(rest, '/', &part, &rest);
		if (part.len == 0 || view_eq_str(part, ".") || view_eq_str(part, ".."))
			return false;
	}
	return strlen(home) < PATH_MAX;
}

/* Takes a directory just opened (fd < 0: it could not be, errno), if it is ours. */
static int
take_own(int fd, const char *home, const char *shown, struct box_dir *out, struct outcome *why)
{
	struct stat st;

	*out = (struct box_dir){ .fd = fd };
	if (fd < 0) {
		outcome_errno(why, errno, "maildir delivery failed: open %s%s", home, shown);
		return -1;
	}
	if (fstat(fd, &st) < 0) {
		outcome_errno(why, errno, "maildir delivery failed: %s%s", home, shown);
		fd_close(&out->fd);
		return -1;
	}
	if (st.st_uid != geteuid()) {
		outcome_set(why, DELIVERY_DEFERRED, "4.2.0",
		    "maildir delivery failed: %s%s is not owned by uid %u", home, shown,
		    (unsigned)geteuid());
		why->is_alarm = true;
		fd_close(&out->fd);
		return -1;
	}
	out->device = st.st_dev;
	out->inode = st.st_ino;
	return 0;
}

/* Opens a directory below parent_fd, made if it is not there. */
static int
open_or_make(int parent_fd, const char *name, mode_t mode, int flags)
{
	int fd = open_beneath(parent_fd, name, flags | O_DIRECTORY, 0);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	/* someone may be quicker: he is looked at like any other */
	if (mkdirat(parent_fd, name, mode) < 0 && errno != EEXIST)
		return -1;
	return open_beneath(parent_fd, name, flags | O_DIRECTORY, 0);
}

/* The home and what is above it, one component after the other. */
static int
make_home(int base_fd, const char *home)
{
	struct view rest = view_of(home), part;
	int fd = open_beneath(base_fd, ".", O_PATH | O_DIRECTORY, 0);
	bool more = true;

	while (more && fd >= 0) {
		char name[NAME_MAX + 1];
		int next = -1;

		more = view_cut(rest, '/', &part, &rest);
		if (part.len < sizeof name) {
			snprintf(name, sizeof name, "%.*s", VIEW_ARG(part));
			next = open_or_make(
			    fd, name, more ? MODE_ABOVE : MODE_OWN, more ? O_PATH : O_RDONLY);
		} else {
			errno = ENAMETOOLONG;
		}
		close(fd);
		fd = next;
	}
	return fd;
}

static int
open_home(int base_fd, const char *home, struct box_dir *out, struct outcome *why)
{
	int fd = open_beneath(base_fd, home, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 && errno == ENOENT)
		fd = make_home(base_fd, home);
	return take_own(fd, home, "", out, why);
}

static int
open_own(int parent_fd, const char *home, const char *name, const char *shown, struct box_dir *out,
    struct outcome *why)
{
	return take_own(
	    open_or_make(parent_fd, name, MODE_OWN, O_RDONLY), home, shown, out, why);
}

static int
sync_dir(int parent_fd, const char *name)
{
	int fd = open_beneath(parent_fd, name, O_RDONLY | O_DIRECTORY, 0), r;

	if (fd < 0)
		return errno == EACCES
			   ? 0
			   : -1; /* a directory we cannot read, we have made nothing in */
	r = fsync(fd);
	fd_close(&fd);
	return r;
}

/* The names of the home and of all above it. */
static int
sync_above(int base_fd, const char *home)
{
	char path[PATH_MAX];
	int r = sync_dir(base_fd, ".");

	snprintf(path, sizeof path, "%s", home);
	for (char *slash = strchr(path, '/'); slash != NULL && r == 0;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		r = sync_dir(base_fd, path);
		*slash = '/';
	}
	return r == 0 ? sync_dir(base_fd, home) : r;
}

/* Nothing in new/ can be promised before the way to it would survive a power cut.  cur/ is made last, when all
 * above is on disk, and so tells whoever comes later, after a crash too, that it is. */
static int
complete(const struct box *b, int base_fd, const char *home, struct outcome *why)
{
	struct box_dir cur;
	struct stat st;

	if (fstatat(b->maildir.fd, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
	    st.st_uid == geteuid())
		return 0;
	if (sync_above(base_fd, home) < 0 || fsync(b->maildir.fd) < 0) {
		outcome_errno(why, errno, "maildir delivery failed: sync %s/Maildir", home);
		return -1;
	}
	if (open_own(b->maildir.fd, home, "cur", "/Maildir/cur", &cur, why) < 0)
		return -1;
	fd_close(&cur.fd);
	return 0;
}

int
box_open(int base_fd, const char *home, struct box *out, struct outcome *why)
{
	struct box_dir above;
	int r;

	*out = (struct box){ .maildir = { .fd = -1 },
		.tmp = { .fd = -1 },
		.new = { .fd = -1 },
		.cur_fd = -1 };
	if (!box_home_is_valid(home)) {
		outcome_set(why, DELIVERY_DEFERRED, "4.3.5",
		    "mailbox directory is not beneath the mailbox base");
		why->is_alarm = true;
		return -1;
	}
	if (open_home(base_fd, home, &above, why) < 0)
		return -1;
	r = open_own(above.fd, home, "Maildir", "/Maildir", &out->maildir, why);
	fd_close(&above.fd);
	if (r < 0 || open_own(out->maildir.fd, home, "tmp", "/Maildir/tmp", &out->tmp, why) < 0 ||
	    open_own(out->maildir.fd, home, "new", "/Maildir/new", &out->new, why) < 0 ||
	    complete(out, base_fd, home, why) < 0) {
		box_close(out);
		return -1;
	}
	return 0;
}

/* A name that leads, perhaps through a link, to what was opened without any is as good. */
static bool
stands_at(const struct box_dir *d, int parent_fd, const char *path)
{
	struct stat st;

	return fstatat(parent_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == d->device && st.st_ino == d->inode && st.st_uid == geteuid();
}

bool
box_is_current(const struct box *b, int base_fd, const char *home)
{
	char path[PATH_MAX];

	return (size_t)snprintf(path, sizeof path, "%s/Maildir", home) < sizeof path &&
	       stands_at(&b->maildir, base_fd, path) && stands_at(&b->tmp, b->maildir.fd, "tmp") &&
	       stands_at(&b->new, b->maildir.fd, "new");
}

int
box_open_cur(struct box *b, struct outcome *why)
{
	struct box_dir cur;

	if (b->cur_fd >= 0)
		return 0;
	if (open_own(b->maildir.fd, "", "cur", "Maildir/cur", &cur, why) < 0)
		return -1;
	b->cur_fd = cur.fd;
	return 0;
}

void
box_close(struct box *b)
{
	fd_close(&b->maildir.fd);
	fd_close(&b->tmp.fd);
	fd_close(&b->new.fd);
	fd_close(&b->cur_fd);
}

/* The host part may hold neither '/' nor what separates sizes and flags; Maildir's own escapes for them. */
static void
safe_host(const char *host, char out[HOST_MAX + 5])
{
	size_t n = 0;

	for (; *host != '\0' && n < HOST_MAX; host++) {
		if (*host == '/' || *host == ':' || *host == ',' || *host <= ' ' || *host > '~')
			n += (size_t)snprintf(out + n, 5, "\\%03o", (unsigned)(unsigned char)*host);
		else
			out[n++] = *host;
	}
	out[n] = '\0';
}

void
box_base_name(char out[BOX_NAME_MAX], int64_t arrival_ms, const char *queue_id, uint32_t number,
    const char *host)
{
	char safe[HOST_MAX + 5];

	safe_host(host, safe);
	snprintf(out, BOX_NAME_MAX, "%lld.Q%.40sR%u.%s", (long long)(arrival_ms / 1000), queue_id,
	    (unsigned)number, safe);
}

size_t
box_base_length(const char *name)
{
	return strcspn(name, ",:");
}

int
box_each_name(int dir_fd, bool (*fn)(void *arg, int dir_fd, const char *name), void *arg)
{
	int fd = open_beneath(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0), error;
	struct dirent *e;
	DIR *dir;

	if (fd < 0)
		return -1;
	dir = fdopendir(fd);
	if (dir == NULL) {
		fd_close(&fd);
		return -1;
	}
	do {
		errno = 0;
		e = readdir(dir);
		error = errno;
	} while (e != NULL && fn(arg, dir_fd, e->d_name));
	closedir(dir);
	errno = error;
	return e == NULL && error != 0 ? -1 : 0;
}

int
box_publish(const struct box *b, const char *from, const char *to)
{
	if (renameat2(b->tmp.fd, from, b->new.fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	/* a file system without RENAME_NOREPLACE: a link does not replace either */
	if (linkat(b->tmp.fd, from, b->new.fd, to, 0) < 0)
		return -1;
	return unlinkat(b->tmp.fd, from, 0);
}

struct cleaning {
	int64_t before;
	unsigned looked_at;
};

static bool
clean_one(void *arg, int dir_fd, const char *name)
{
	struct cleaning *c = arg;
	struct stat st;

	if (name[0] != '.' && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) && st.st_mtim.tv_sec < c->before && st.st_ctim.tv_sec < c->before)
		unlinkat(dir_fd, name, 0);
	return ++c->looked_at < TMP_CLEAN_MAX;
}

void
box_clean_tmp(const struct box *b, int64_t now_seconds)
{
	struct cleaning c = { .before = now_seconds - TMP_LIFE_SECONDS };

	box_each_name(b->tmp.fd, clean_one, &c); /* what fails now is tried again another day */
}
