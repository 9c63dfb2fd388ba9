/* openat2.c - preloaded under valgrind, which does not know openat2(2): the same walk, beneath the directory and through
 * no link, one component at a time. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

long syscall(long number, ...);

static int
walk(int dirfd, char *path, const struct open_how *how)
{
	int dir = dirfd == AT_FDCWD ? open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)
				    : fcntl(dirfd, F_DUPFD_CLOEXEC, 3),
	    next;
	char *save, *part = strtok_r(path, "/", &save);

	while (dir >= 0 && part != NULL) {
		char *rest = strtok_r(NULL, "/", &save);

		if (strcmp(part, "..") == 0) {
			next = -1;
			errno = EXDEV;
		} else if (rest != NULL)
			next = openat(dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		else
			next = openat(dir, part, (int)how->flags | O_NOFOLLOW, (mode_t)how->mode);
		close(dir);
		dir = next;
		part = rest;
	}
	return dir;
}

static long
open_beneath(int dirfd, const char *path, const struct open_how *how)
{
	char *copy;
	int fd;

	if (path[0] == '/') {
		errno = EXDEV;
		return -1;
	}
	copy = strdup(path);
	if (copy == NULL)
		return -1;
	fd = walk(dirfd, copy, how);
	free(copy);
	return fd;
}

long
syscall(long number, ...)
{
	long a[6], r;
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_openat2)
		return open_beneath((int)a[0], (const char *)a[1], (const struct open_how *)a[2]);
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (r < 0 && r > -4096) {
		errno = (int)-r;
		return -1;
	}
	return r;
}
