#include "qmgr/notice_texts.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/proto/address.h"
#include "common/table/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

struct notice_texts {
	struct bounce_templates templates;
	char *language;          /* owned */
	struct table_list *maps; /* owned; NULL = none */
};

/* --- $parameters ------------------------------------------------------------------------------------------- */

/* "delay_warning_time_hours": the parameter in that unit, as bounce(5) has it. */
static bool
expand_time(const struct conf *conf, struct view name, struct buf *out)
{
	static const char *const parameters[] = { "delay_warning_time", "maximal_queue_lifetime" };
	static const struct {
		const char *suffix;
		int seconds;
	} units[] = { { "_seconds", 1 }, { "_minutes", 60 }, { "_hours", 3600 }, { "_days", 86400 },
		{ "_weeks", 604800 } };

	for (size_t p = 0; p < sizeof parameters / sizeof parameters[0]; p++) {
		size_t len = strlen(parameters[p]);

		for (size_t u = 0; u < sizeof units / sizeof units[0]; u++)
			if (view_starts(name, parameters[p]) &&
			    view_eq_str(view_make(name.p + len, name.len - len), units[u].suffix)) {
				buf_printf(out, "%lld",
				    (long long)conf_seconds(conf, parameters[p]) /
					units[u].seconds);
				return true;
			}
	}
	return false;
}

static bool
expand(void *arg, struct view name, struct buf *out)
{
	const struct conf *conf = arg;
	char *s = x_strndup(name.p, name.len);
	const char *value = NULL;

	if (conf_param_find(s) != NULL)
		value = conf_str(conf, s);
	else if (conf_place(conf, s) != NULL)
		value = conf_own_str(conf, s, NULL);
	free(s);
	if (value != NULL)
		buf_append_str(out, value);
	return value != NULL || expand_time(conf, name, out);
}

/* --- what is configured ---------------------------------------------------------------------------------------- */

static int
read_file(const char *path, struct buf *out, struct err *err)
{
	/* neither a pipe nor a device may hold up the start */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r = -1;
	struct stat st;

	if (fd < 0)
		return err_sys(err, ERR_GONE, "open %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		err_set(err, ERR_PERM, "%s is not a file", path);
	else if (st.st_size > TEMPLATE_FILE_MAX)
		err_set(err, ERR_LIMIT, "%s is too large", path);
	else
		r = fd_read_rest(fd, out, err);
	fd_close(&fd);
	return r;
}

static void
read_templates(struct notice_texts *t, const struct conf *conf, const char *path)
{
	struct buf text, faults;
	struct err err;

	buf_init(&text, TEMPLATE_FILE_MAX);
	buf_init(&faults, 1 << 16);
	if (read_file(path, &text, &err) < 0)
		log_warn("bounce_template_file: %s", err.text);
	else
		bounce_templates_parse(
		    &t->templates, buf_view(&text), path, expand, (void *)(uintptr_t)conf, &faults);
	for (struct view rest = buf_view(&faults), line; rest.len > 0;) {
		view_cut(rest, '\n', &line, &rest);
		log_warn("%.*s", VIEW_ARG(line));
	}
	buf_clear(&text);
	buf_clear(&faults);
}

/* In memory only: a notice does not wait for a lookup. */
static void
open_maps(struct notice_texts *t, const char *specs)
{
	struct err err;
	int r = table_list_new(specs, &t->maps, &err);

	if (r == 0 && !table_list_is_resident(t->maps))
		r = err_set(&err, ERR_SYNTAX,
		    "only tables that are read at start: texthash:, inline:, static:, pcre:, regexp:");
	if (r == 0)
		r = table_list_refresh(t->maps, &err);
	if (r == 0)
		return;
	log_warn("bounce_language_maps: %s", err.text);
	table_list_close(t->maps);
	t->maps = NULL;
}

struct notice_texts *
notice_texts_new(const struct conf *conf)
{
	struct notice_texts *t = x_calloc(1, sizeof *t);
	const char *file = conf_str(conf, "bounce_template_file");
	const char *maps = conf_str(conf, "bounce_language_maps");

	bounce_templates_init(&t->templates, expand, (void *)(uintptr_t)conf);
	if (file[0] != '\0')
		read_templates(t, conf, file);
	t->language = x_strdup(conf_str(conf, "bounce_language"));
	if (t->language[0] != '\0' && !bounce_templates_have(&t->templates, view_of(t->language)))
		log_warn("bounce_language: there are no templates for \"%s\"", lqs(t->language));
	if (maps[0] != '\0')
		open_maps(t, maps);
	return t;
}

void
notice_texts_free(struct notice_texts *t)
{
	if (t == NULL)
		return;
	bounce_templates_clear(&t->templates);
	table_list_close(t->maps);
	free(t->language);
	free(t);
}

/* --- whose language ---------------------------------------------------------------------------------------------- */

/* user@domain, @domain, domain: the first that the tables know. */
static bool
find_language(struct notice_texts *t, const char *address, struct buf *out)
{
	struct lookup_key keys[3];
	char *lower = x_strdup(address), *at = strrchr(lower, '@');
	size_t which, count = 1;
	struct err err;
	int r;

	ascii_lower_str(lower);
	keys[0] = (struct lookup_key){ view_of(lower), false };
	if (at != NULL) {
		keys[count++] = (struct lookup_key){ view_of(at), true };
		keys[count++] = (struct lookup_key){ view_of(at + 1), true };
	}
	r = table_list_find(t->maps, keys, count, out, &which, &err);
	if (r < 0)
		log_warn("bounce_language_maps: %s", err.text);
	free(lower);
	return r == 0;
}

const struct bounce_template *
notice_texts_find(struct notice_texts *t, enum template_kind kind, const char *address)
{
	struct view language = view_of(t->language);
	const struct bounce_template *found;
	struct buf own;

	buf_init(&own, 256);
	if (t->maps != NULL && find_language(t, address, &own))
		language = view_trim(buf_view(&own));
	found = bounce_template_find(&t->templates, kind, language);
	buf_clear(&own);
	return found;
}
