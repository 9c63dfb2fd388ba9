/* fd.h - descriptors: whole reads and writes, sealed memfds, safe opens. */
#ifndef COMMON_BASE_FD_H
#define COMMON_BASE_FD_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/view.h"

#include <sys/types.h>

/* Retries EINTR and short transfers.  0 done, -1 *err (ERR_TEMP). */
int fd_write_all(int fd, const void *p, size_t len, struct err *err);
int fd_pwrite_all(int fd, const void *p, size_t len, off_t off, struct err *err);
/* Exactly len bytes, or -1: ERR_GONE if the file ends before. */
int fd_pread_all(int fd, void *p, size_t len, off_t off, struct err *err);
/* Appends all of the file from its offset on.  -1: ERR_TEMP, ERR_LIMIT (the cap of out). */
int fd_read_rest(int fd, struct buf *out, struct err *err);
/* Opens and appends a whole file.  ERR_GONE: there is none. */
int file_read(const char *path, struct buf *out, struct err *err);
/* Closes *fd if it is open and stores -1. */
void fd_close(int *fd);
int fd_set_nonblock(int fd, struct err *err);
int fd_set_cloexec(int fd, bool on, struct err *err);

/* A memfd with this content, sealed WRITE|SHRINK|GROW|SEAL; the caller owns the descriptor.  -1 *err. */
int memfd_sealed(const char *name, const void *p, size_t len, struct err *err);
/* Seals a memfd that was filled by write(2).  0 or -1. */
int memfd_seal(int fd, struct err *err);
/* Is this descriptor a memfd with all four seals and at most max_bytes?  0 and *size, or -1 (ERR_PERM):
 * what a peer hands over is never trusted to keep still (DESIGN 4). */
int memfd_check(int fd, uint64_t max_bytes, uint64_t *size, struct err *err);

/* openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, O_CLOEXEC added.
 * Returns the descriptor or -1 with errno. */
int open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* Creates the directory and, with mode 0755, its missing parents; a new one gets owner and mode whatever the umask,
 * an existing one only if fix.  0 or -1 (ERR_PERM): what stands there is no directory, or may not be changed. */
int fd_make_directory(
    const char *path, mode_t mode, uid_t uid, gid_t gid, bool fix, struct err *err);
/* Locks the whole file for this process, or with take false only looks; waits at most wait_ms.  Closing any descriptor of
 * the file gives the lock up.  0, or -1: *holder is who has it (0: cannot be told), or -1 when it failed with errno. */
int fd_lock(int fd, bool take, int64_t wait_ms, pid_t *holder);
/* fsync of a directory by name below dirfd. */
int dir_fsync(int dirfd, const char *path, struct err *err);

#endif
