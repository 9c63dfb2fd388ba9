#include "common/store/courier.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/store/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

enum { MESSAGE_FILE_MAX = 65536 };

static int
name_number(struct courier_keywords *c, struct view name)
{
	for (unsigned i = 0; i < c->nnames; i++)
		if (view_case_eq_str(name, c->names[i]))
			return (int)i;
	if (c->nnames == COURIER_MAX_NAMES || !keyword_is_valid(name))
		return -1;
	c->names[c->nnames] = x_strndup(name.p, name.len);
	return (int)c->nnames++;
}

static struct courier_message *
message_of(struct courier_keywords *c, struct view base)
{
	struct courier_message *m = map_get(&c->by_base, base);

	if (m != NULL || c->count == COURIER_MAX_MESSAGES)
		return m;
	m = x_calloc(1, sizeof *m);
	m->next = c->messages;
	c->messages = m;
	c->count++;
	map_put(&c->by_base, base, m);
	return m;
}

static void
take_name(void *arg, unsigned number, struct view name)
{
	(void)number; /* rising by one, as ours */
	name_number(arg, name);
}

static void
take_message(void *arg, struct view base, const struct keyword_set *set)
{
	struct courier_message *m = message_of(arg, base);

	if (m != NULL)
		memcpy(m->bits, set->bits, sizeof set->bits);
}

static void
take_message_file(struct courier_keywords *c, struct view base, uint64_t version, struct view text)
{
	struct courier_message *m = message_of(c, base);
	struct view line;

	if (m == NULL || version < m->version)
		return;
	m->version = version;
	memset(m->bits, 0, sizeof m->bits);
	while (text.len > 0) {
		int n;

		view_cut(text, '\n', &line, &text);
		n = name_number(c, line);
		if (n >= 0)
			m->bits[n / 64] |= UINT64_C(1) << (n % 64);
	}
}

/* "<base>": version 1; ".<N>.<base>": N + 1 */
static bool
parse_file_name(struct view name, struct view *base, uint64_t *version)
{
	struct view number;

	*base = name;
	*version = 1;
	if (name.p[0] != '.')
		return name.p[0] != ':';
	if (!view_cut(view_make(name.p + 1, name.len - 1), '.', &number, base) || base->len == 0 ||
	    !view_u64(number, UINT64_MAX - 1, version))
		return false;
	++*version;
	return true;
}

static int
load_files(DIR *d, struct courier_keywords *c, struct err *err)
{
	struct file_id id;
	struct dirent *e;
	struct buf text;
	int r = 0;

	buf_init(&text, MESSAGE_FILE_MAX);
	while (r >= 0 && (e = readdir(d)) != NULL) {
		struct view base;
		uint64_t version;

		if (!parse_file_name(view_of(e->d_name), &base, &version))
			continue;
		buf_reset(&text);
		r = text_load(dirfd(d), e->d_name, &text, &id, err);
		if (r == 0)
			take_message_file(c, base, version, buf_view(&text));
		else if (r < 0 && err->kind == ERR_LIMIT)
			r = 0; /* no keyword file of that size: not Courier's */
	}
	buf_clear(&text);
	return r < 0 ? -1 : 0;
}

int
courier_load(int dir_fd, struct courier_keywords *out, struct err *err)
{
	int fd = open_beneath(dir_fd, "courierimapkeywords", O_RDONLY | O_DIRECTORY, 0), r;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct file_id id;
	struct buf text;

	*out = (struct courier_keywords){ 0 };
	map_init(&out->by_base);
	if (d == NULL) {
		fd_close(&fd);
		return 0;
	}
	buf_init(&text, TEXT_MAX);
	r = text_load(dirfd(d), ":list", &text, &id, err);
	if (r == 0)
		keyword_courier_parse(buf_view(&text), take_name, take_message, out);
	buf_clear(&text);
	if (r >= 0)
		r = load_files(d, out, err);
	closedir(d);
	return r;
}

void
courier_clear(struct courier_keywords *c)
{
	for (unsigned i = 0; i < c->nnames; i++)
		free(c->names[i]);
	for (struct courier_message *m = c->messages, *next; m != NULL; m = next) {
		next = m->next;
		free(m);
	}
	map_clear(&c->by_base);
	c->nnames = 0;
	c->messages = NULL;
}
