#include "tools/log_reader.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STAMP = 15, LINE_MAX_BYTES = 16384 };

bool
log_event_parse(struct view line, struct log_event *out)
{
	const char *at;
	struct view rest, host;

	if (line.len < STAMP + 2 || line.p[3] != ' ' || line.p[STAMP] != ' ' || line.p[9] != ':')
		return false;
	rest = view_make(line.p + STAMP + 1, line.len - STAMP - 1);
	if (!view_cut(rest, ' ', &host, &rest) || (at = view_find(rest, VIEW_LIT(": "))) == NULL)
		return false;
	out->line = line;
	out->stamp = view_make(line.p, STAMP);
	out->tag = view_make(rest.p, (size_t)(at - rest.p));
	out->text = view_make(at + 2, (size_t)(rest.p + rest.len - at - 2));
	return true;
}

/* --- which files ------------------------------------------------------------------------------------------- */
struct file {
	char *path; /* owned */
	struct timespec changed;
};
struct files {
	struct file *list; /* owned */
	size_t count;
};

static int
compare_files(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	if (x->changed.tv_sec != y->changed.tv_sec)
		return x->changed.tv_sec < y->changed.tv_sec ? -1 : 1;
	return (x->changed.tv_nsec > y->changed.tv_nsec) -
	       (x->changed.tv_nsec < y->changed.tv_nsec);
}

/* "log.1", "log-20261124", either with ".gz". */
static bool
is_rotated(struct view name, struct view base)
{
	size_t digits = 0;

	if (name.len < base.len + 2 || !view_eq(view_make(name.p, base.len), base) ||
	    (name.p[base.len] != '.' && name.p[base.len] != '-'))
		return false;
	name = view_make(name.p + base.len + 1, name.len - base.len - 1);
	while (digits < name.len && name.p[digits] >= '0' && name.p[digits] <= '9')
		digits++;
	name = view_make(name.p + digits, name.len - digits);
	return digits > 0 && (name.len == 0 || view_eq(name, VIEW_LIT(".gz")));
}

static void
add_rotated(struct files *f, const char *path)
{
	char *for_dir = x_strdup(path), *for_base = x_strdup(path);
	const char *dir = dirname(for_dir), *base = basename(for_base);
	DIR *d = opendir(dir);
	struct dirent *de;

	while (d != NULL && (de = readdir(d)) != NULL) {
		char *whole;
		struct stat st;

		if (!is_rotated(view_of(de->d_name), view_of(base)))
			continue;
		whole = x_asprintf("%s/%s", dir, de->d_name);
		if (lstat(whole, &st) < 0 || !S_ISREG(st.st_mode)) {
			free(whole);
			continue;
		}
		f->list = x_realloc(f->list, f->count + 1, sizeof *f->list);
		f->list[f->count++] = (struct file){ whole, st.st_mtim };
	}
	if (d != NULL)
		closedir(d);
	if (f->count > 0)
		qsort(f->list, f->count, sizeof *f->list, compare_files);
	free(for_dir);
	free(for_base);
}

/* --- reading -------------------------------------------------------------------------------------------------- */
/* Like fopen, of what gzip makes of the file. */
static FILE *
open_compressed(int fd, pid_t *child)
{
	int pipe_fds[2];
	FILE *f;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return NULL;
	*child = fork();
	if (*child == 0) {
		if (dup2(fd, 0) < 0 || dup2(pipe_fds[1], 1) < 0)
			_exit(127);
		execlp("gzip", "gzip", "-dc", (char *)NULL);
		_exit(127);
	}
	close(pipe_fds[1]);
	f = *child > 0 ? fdopen(pipe_fds[0], "r") : NULL;
	if (f == NULL)
		close(pipe_fds[0]);
	return f;
}

static void
read_lines(FILE *f, void (*fn)(void *arg, const struct log_event *e), void *arg)
{
	char line[LINE_MAX_BYTES];
	bool is_rest = false; /* of a line that was too long */

	while (fgets(line, sizeof line, f) != NULL) {
		struct view v = view_of(line);
		bool is_whole = view_ends(v, "\n");
		struct log_event e;

		if (is_whole)
			v.len--;
		if (!is_rest && log_event_parse(v, &e))
			fn(arg, &e);
		is_rest = !is_whole;
	}
}

static int
read_one(
    const char *path, void (*fn)(void *arg, const struct log_event *e), void *arg, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	bool is_compressed = view_ends(view_of(path), ".gz");
	pid_t child = -1;
	FILE *f;

	if (fd < 0)
		return err_sys(err, ERR_GONE, "%s", path);
	f = is_compressed ? open_compressed(fd, &child) : fdopen(fd, "r");
	if (f == NULL) {
		close(fd);
		return err_sys(err, ERR_TEMP, "%s", path);
	}
	read_lines(f, fn, arg);
	fclose(f);
	if (is_compressed)
		close(fd);
	if (child > 0)
		waitpid(child, NULL, 0);
	return 0;
}

int
log_read(
    const char *path, void (*fn)(void *arg, const struct log_event *e), void *arg, struct err *err)
{
	struct files f = { 0 };
	struct err ignored;

	add_rotated(&f, path);
	for (size_t i = 0; i < f.count; i++) {
		read_one(f.list[i].path, fn, arg, &ignored); /* it may be removed just now */
		free(f.list[i].path);
	}
	free(f.list);
	return read_one(path, fn, arg, err);
}
