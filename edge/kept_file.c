#include "edge/kept_file.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct change {
	char *path, *fresh; /* owned; fresh NULL: the file is deleted */
	struct buf text;
	struct err err;
};

static int
write_new(const char *path, struct view text, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open");
	r = fd_write_all(fd, text.p, text.len, err);
	if (r == 0 && fsync(fd) < 0)
		r = err_sys(err, ERR_TEMP, "fsync");
	if (close(fd) < 0 && r == 0)
		r = err_sys(err, ERR_TEMP, "close");
	return r;
}

static void
run_change(void *arg)
{
	struct change *c = arg;

	if (c->fresh == NULL) {
		if (unlink(c->path) < 0 && errno != ENOENT)
			err_sys(&c->err, ERR_TEMP, "unlink");
	} else if (write_new(c->fresh, buf_view(&c->text), &c->err) < 0) {
		unlink(c->fresh);
	} else if (rename(c->fresh, c->path) < 0) {
		err_sys(&c->err, ERR_TEMP, "rename");
	}
}

static void
change_done(void *arg)
{
	struct change *c = arg;

	if (c->err.kind != ERR_NONE)
		log_warn("file %s: %s", c->path, lqs(c->err.text));
	buf_clear(&c->text);
	free(c->path);
	free(c->fresh);
	free(c);
}

void
kept_file_write(struct work_pool *pool, const char *path, const char *fresh, struct buf *text)
{
	struct change *c = x_calloc(1, sizeof *c);

	c->path = x_strdup(path);
	c->fresh = x_strdup(fresh);
	c->text = *text;
	buf_init(text, 0);
	work_submit(pool, run_change, change_done, c);
}

void
kept_file_remove(struct work_pool *pool, const char *path)
{
	struct change *c = x_calloc(1, sizeof *c);

	c->path = x_strdup(path);
	work_submit(pool, run_change, change_done, c);
}
