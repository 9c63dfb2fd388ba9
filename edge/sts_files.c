#include "edge/sts_files.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "edge/kept_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---------------------------------------------------------------- reading */

static int
kept_read(struct view text, struct sts_kept *out, struct err *err)
{
	struct view head, id, number;
	uint64_t fetched;

	view_cut(text, '\n', &head, &text);
	if (!view_cut(head, ' ', &id, &number) || !sts_id_is_valid(id) ||
	    !view_u64(number, INT64_MAX, &fetched))
		return err_set(err, ERR_SYNTAX, "the first line is damaged");
	memcpy(out->id, id.p, id.len);
	out->id[id.len] = '\0';
	out->fetched = (int64_t)fetched;
	return sts_policy_read(text, &out->policy, err);
}

static int
load_file(const char *path, struct sts_kept *out, struct err *err)
{
	struct buf text;
	int r;

	*out = (struct sts_kept){ 0 };
	buf_init(&text, STS_POLICY_BYTES);
	r = file_read(path, &text, err);
	if (r == 0)
		r = kept_read(buf_view(&text), out, err);
	buf_clear(&text);
	if (r < 0)
		sts_policy_clear(&out->policy);
	return r;
}

int
sts_files_load(const char *directory,
    void (*take)(void *arg, const char *domain, struct sts_kept *kept), void *arg, struct err *err)
{
	struct dirent *e;
	struct sts_kept kept;
	struct err why;
	DIR *d;

	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir %s", directory);
	d = opendir(directory);
	if (d == NULL)
		return err_sys(err, ERR_TEMP, "open %s", directory);
	while ((e = readdir(d)) != NULL) {
		char *path = x_asprintf("%s/%s", directory, e->d_name);

		if (e->d_name[0] == '.') {
			/* "." and "..", and what was not renamed: the next one is made over it */
		} else if (load_file(path, &kept, &why) == 0) {
			take(arg, e->d_name, &kept);
		} else {
			log_warn("policy file of %s is deleted: %s", lqs(e->d_name), lqs(why.text));
			unlink(path);
		}
		free(path);
	}
	closedir(d);
	return 0;
}

/* ---------------------------------------------------------------- writing */

void
sts_files_write(
    struct work_pool *pool, const char *directory, const char *domain, const struct sts_kept *kept)
{
	char *path = x_asprintf("%s/%s", directory, domain);
	char *fresh = x_asprintf("%s/.new", directory); /* no domain's name */
	struct buf text;

	buf_init(&text, 2 * STS_POLICY_BYTES);
	buf_printf(&text, "%s %lld\n", kept->id, (long long)kept->fetched);
	sts_policy_write(&kept->policy, &text);
	kept_file_write(pool, path, fresh, &text);
	free(fresh);
	free(path);
}

void
sts_files_remove(struct work_pool *pool, const char *directory, const char *domain)
{
	char *path = x_asprintf("%s/%s", directory, domain);

	kept_file_remove(pool, path);
	free(path);
}
