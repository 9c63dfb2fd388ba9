/* The account's use against its limit, in maildirsize. */
#include "common/store/store_internal.h"
#include "common/base/fd.h"
#include "common/log/log.h"
#include "common/store/maildirsize.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
	QUOTA_MAX_FILE = 5120,
	QUOTA_TRUST_S = 15 * 60
}; /* Maildir++: longer or older is counted anew */

static void
count_directory(int dir_fd, const char *path, struct maildirsize *u)
{
	int fd = open_beneath(dir_fd, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	uint64_t size;

	if (d == NULL) {
		fd_close(&fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		struct maildir_name n;

		if (e->d_name[0] == '.')
			continue;
		maildir_name_parse(view_of(e->d_name), &n);
		if (!maildir_name_number(n.base, 'S', &size)) {
			if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			    !S_ISREG(st.st_mode))
				continue;
			size = (uint64_t)st.st_size;
		}
		u->used_bytes += (int64_t)size;
		u->used_count++;
	}
	closedir(d);
}

static void
count_folder(struct store *s, const char *disk, struct maildirsize *u)
{
	char path[MAILDIR_NAME_MAX + 8];

	snprintf(path, sizeof path, "%s/new", disk);
	count_directory(s->root_fd, path, u);
	snprintf(path, sizeof path, "%s/cur", disk);
	count_directory(s->root_fd, path, u);
}

static int
recalculate(struct store *s, struct maildirsize *u, struct err *err)
{
	int fd = open_beneath(s->root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL) {
		err_sys(err, ERR_TEMP, "open %s", s->maildir);
		fd_close(&fd);
		return -1;
	}
	*u = (struct maildirsize){ .is_known = true, .limit_bytes = (int64_t)s->quota_bytes };
	count_folder(s, ".", u);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] == '.' && e->d_name[1] != '\0' && e->d_name[1] != '.')
			count_folder(s, e->d_name, u);
	closedir(d);
	return maildirsize_replace(s->root_fd, u, err);
}

static bool
is_of_this_quota(const struct store *s, const struct maildirsize *u)
{
	return u->is_known && u->size <= QUOTA_MAX_FILE && u->limit_count == 0 &&
	       (uint64_t)u->limit_bytes == s->quota_bytes;
}

/* Over the limit by a sum of many lines, or by an old one: counted anew before anybody is refused (Maildir++). */
int
quota_check(struct store *s, uint64_t bytes, uint32_t messages, struct err *err)
{
	struct maildirsize u;

	(void)messages; /* only bytes are limited */
	if (s->quota_bytes == 0)
		return 0;
	maildirsize_load(s->root_fd, &u);
	if (!is_of_this_quota(s, &u) && recalculate(s, &u, err) < 0)
		return -1;
	if (maildirsize_has_room(&u, bytes))
		return 0;
	if ((u.lines > 1 || wall_ns() / 1000000000 - u.mtime_s > QUOTA_TRUST_S) &&
	    recalculate(s, &u, err) < 0)
		return -1;
	return maildirsize_has_room(&u, bytes) ? 0 : err_set(err, ERR_LIMIT, "quota exceeded");
}

void
quota_add(struct store *s, int64_t bytes, int64_t messages)
{
	struct err err;

	if (maildirsize_append(s->root_fd, bytes, messages, &err) < 0)
		log_warn("%s", err.text);
}
