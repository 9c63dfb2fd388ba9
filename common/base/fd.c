#include "common/base/fd.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_POLL_MS = 20, ALL_SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

int
fd_write_all(int fd, const void *p, size_t len, struct err *err)
{
	const char *from = p;

	while (len > 0) {
		ssize_t n = write(fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, ERR_TEMP, "write");
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

int
fd_pwrite_all(int fd, const void *p, size_t len, off_t off, struct err *err)
{
	const char *from = p;

	while (len > 0) {
		ssize_t n = pwrite(fd, from, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, ERR_TEMP, "pwrite");
		from += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

int
fd_pread_all(int fd, void *p, size_t len, off_t off, struct err *err)
{
	char *to = p;

	while (len > 0) {
		ssize_t n = pread(fd, to, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, ERR_TEMP, "pread");
		if (n == 0)
			return err_set(err, ERR_GONE, "pread: the file ends early");
		to += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

int
fd_read_rest(int fd, struct buf *out, struct err *err)
{
	enum { PIECE = 16384 };

	for (;;) {
		char *to = buf_reserve(out, PIECE);
		ssize_t n;

		if (to == NULL)
			return err_set(err, ERR_LIMIT, "larger than %zu bytes", out->max);
		n = read(fd, to, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, ERR_TEMP, "read");
		if (n == 0)
			return 0;
		out->len += (size_t)n;
	}
}

int
file_read(const char *path, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s", path);
	r = fd_read_rest(fd, out, err);
	if (r < 0)
		err_prefix(err, "%s", path);
	close(fd);
	return r;
}

void
fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int
fd_set_nonblock(int fd, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(err, ERR_TEMP, "fcntl O_NONBLOCK");
	return 0;
}

int
fd_set_cloexec(int fd, bool on, struct err *err)
{
	if (fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0)
		return err_sys(err, ERR_TEMP, "fcntl FD_CLOEXEC");
	return 0;
}

int
memfd_sealed(const char *name, const void *p, size_t len, struct err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "memfd_create");
	if (fd_write_all(fd, p, len, err) < 0 || memfd_seal(fd, err) < 0)
		fd_close(&fd);
	return fd;
}

int
memfd_seal(int fd, struct err *err)
{
	if (fcntl(fd, F_ADD_SEALS, ALL_SEALS) < 0)
		return err_sys(err, ERR_TEMP, "F_ADD_SEALS");
	return 0;
}

int
memfd_check(int fd, uint64_t max_bytes, uint64_t *size, struct err *err)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & ALL_SEALS) != ALL_SEALS)
		return err_set(err, ERR_PERM, "descriptor is not a sealed memfd");
	if (fstat(fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "fstat");
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size > max_bytes)
		return err_set(err, ERR_PERM, "memfd of wrong type or size");
	*size = (uint64_t)st.st_size;
	return 0;
}

int
open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | O_TMPFILE) & ~O_DIRECTORY ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

/* mkdir -p; *is_new tells whether the last one was made. */
static int
make_parents(char *path, mode_t mode, bool *is_new, struct err *err)
{
	for (char *p = path + 1;; p++) {
		char end = *p;
		int r;

		if (end != '/' && end != '\0')
			continue;
		*p = '\0';
		r = mkdir(path, end == '\0' ? mode : 0755);
		/* a parent is passed through by others, whatever the umask */
		if ((r < 0 && errno != EEXIST) || (r == 0 && end != '\0' && chmod(path, 0755) < 0))
			return err_sys(err, ERR_PERM, "mkdir %s", path);
		*is_new = r == 0;
		*p = end;
		if (end == '\0')
			return 0;
	}
}

int
fd_make_directory(const char *path, mode_t mode, uid_t uid, gid_t gid, bool fix, struct err *err)
{
	char *copy = x_strdup(path);
	bool is_new = false;
	int r = make_parents(copy, mode, &is_new, err);
	struct stat st;

	free(copy);
	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return err_sys(err, ERR_PERM, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_PERM, "%s is not a directory", path);
	if (!is_new && !fix)
		return 0;
	if ((st.st_uid != uid || st.st_gid != gid) && lchown(path, uid, gid) < 0)
		return err_sys(err, ERR_PERM, "chown %s", path);
	if ((st.st_mode & 07777) != mode && chmod(path, mode) < 0)
		return err_sys(err, ERR_PERM, "chmod %s", path);
	return 0;
}

int
fd_lock(int fd, bool take, int64_t wait_ms, pid_t *holder)
{
	const struct timespec pause = { .tv_nsec = LOCK_POLL_MS * 1000000L };
	int64_t deadline = clock_mono_ms() + wait_ms;

	for (;;) {
		struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

		if (take && fcntl(fd, F_SETLK, &l) == 0)
			return 0;
		*holder = -1;
		if ((take && errno != EAGAIN && errno != EACCES) || fcntl(fd, F_GETLK, &l) < 0)
			return -1;
		/* free by now: to be taken with the next try */
		if (l.l_type == F_UNLCK && !take)
			return 0;
		*holder = l.l_type == F_UNLCK || l.l_pid < 0 ? 0 : l.l_pid;
		if (clock_mono_ms() >= deadline)
			return -1;
		nanosleep(&pause, NULL);
	}
}

int
dir_fsync(int dirfd, const char *path, struct err *err)
{
	int fd = open_beneath(dirfd, path, O_RDONLY | O_DIRECTORY, 0);
	int r = 0;

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open directory %s", path);
	if (fsync(fd) < 0)
		r = err_sys(err, ERR_TEMP, "fsync directory %s", path);
	fd_close(&fd);
	return r;
}
