/* LIST and subscriptions. */
#include "common/store/store_internal.h"
#include "common/store/subscription_file.h"
#include "common/base/fd.h"
#include "common/base/map.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define SUBSCRIPTIONS "subscriptions"
#define COURIER_SUBSCRIBED "courierimapsubscribed"
enum { MAX_FOLDERS = 100000, SUBSCRIPTIONS_MAX_BYTES = 32 << 20 };

int
store_each_folder(struct store *s,
    int (*fn)(void *arg, const char *disk, const char *name, struct err *err), void *arg,
    struct err *err)
{
	int fd = open_beneath(s->root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	struct buf name;
	int r = 0;

	if (d == NULL) {
		err_sys(err, ERR_TEMP, "open %s", s->maildir);
		fd_close(&fd);
		return -1;
	}
	buf_init(&name, STORE_NAME_MAX + 1);
	while (r == 0 && (errno = 0, e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.' || !name_from_disk(e->d_name, &name))
			continue;
		if (e->d_type != DT_DIR &&
		    (e->d_type != DT_UNKNOWN ||
			fstatat(s->root_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISDIR(st.st_mode)))
			continue;
		r = fn(arg, e->d_name, buf_cstr(&name), err);
	}
	if (r == 0 && errno != 0)
		r = err_sys(err, ERR_TEMP, "read %s", s->maildir);
	closedir(d);
	buf_clear(&name);
	return r;
}

/* --- LIST ---------------------------------------------------------------------------------------------------------- */

/* RFC 6154 attributes by the names that clients give; several may have the same, as Dovecot's defaults do. */
static const struct {
	const char *name, *attribute;
} special_uses[] = {
	{ "Drafts", "\\Drafts" },
	{ "Sent", "\\Sent" },
	{ "Sent Items", "\\Sent" },
	{ "Sent Messages", "\\Sent" },
	{ "Trash", "\\Trash" },
	{ "Deleted Items", "\\Trash" },
	{ "Deleted Messages", "\\Trash" },
	{ "Junk", "\\Junk" },
	{ "Spam", "\\Junk" },
	{ "Archive", "\\Archive" },
	{ "Archives", "\\Archive" },
};

static const char *
special_use(const char *name)
{
	for (size_t i = 0; i < sizeof special_uses / sizeof special_uses[0]; i++)
		if (view_case_eq_str(view_of(name), special_uses[i].name))
			return special_uses[i].attribute;
	return NULL;
}

struct listing {
	struct arena *a;
	struct map by_name; /* name -> index + 1 */
	struct mailbox_info *infos;
	size_t count, cap;
};

static struct mailbox_info *
listing_get(struct listing *l, const char *name, struct err *err)
{
	struct view key = view_of(name);
	uintptr_t at = (uintptr_t)map_get(&l->by_name, key);

	if (at != 0)
		return &l->infos[at - 1];
	if (l->count == MAX_FOLDERS) {
		err_set(err, ERR_LIMIT, "too many mailboxes");
		return NULL;
	}
	if (l->count == l->cap) {
		l->cap = l->cap < 32 ? 32 : l->cap * 2;
		l->infos = x_realloc(l->infos, l->cap, sizeof *l->infos);
	}
	l->infos[l->count] = (struct mailbox_info){ .name = arena_strdup(l->a, name) };
	if (l->infos[l->count].name == NULL) {
		err_set(err, ERR_LIMIT, "too many mailboxes");
		return NULL;
	}
	map_put(&l->by_name, key, (void *)(uintptr_t)(l->count + 1));
	return &l->infos[l->count++];
}

static int
mark_parents(struct listing *l, const char *name, struct err *err)
{
	char parent[STORE_NAME_MAX + 1];
	struct mailbox_info *info;
	char *slash;

	memcpy(parent, name, strlen(name) + 1);
	while ((slash = strrchr(parent, '/')) != NULL) {
		*slash = '\0';
		info = listing_get(l, parent, err);
		if (info == NULL)
			return -1;
		info->has_children = true;
	}
	return 0;
}

static int
list_folder(void *arg, const char *disk, const char *name, struct err *err)
{
	struct listing *l = arg;
	struct mailbox_info *info = listing_get(l, name, err);

	(void)disk;
	if (info == NULL)
		return -1;
	info->exists = true;
	info->special_use = special_use(info->name);
	return mark_parents(l, name, err);
}

/* '/' sorts before all else, so that children follow their parent; INBOX is first. */
static int
compare_names(const void *pa, const void *pb)
{
	const unsigned char *a = (const unsigned char *)((const struct mailbox_info *)pa)->name;
	const unsigned char *b = (const unsigned char *)((const struct mailbox_info *)pb)->name;
	bool a_inbox = strcmp((const char *)a, "INBOX") == 0,
	     b_inbox = strcmp((const char *)b, "INBOX") == 0;

	if (a_inbox || b_inbox)
		return b_inbox - a_inbox;
	while (*a != '\0' && *a == *b)
		a++, b++;
	if (*a == *b)
		return 0;
	if (*a == '\0' || *b == '\0')
		return *a == '\0' ? -1 : 1;
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return *a < *b ? -1 : 1;
}

/* --- subscriptions ----------------------------------------------------------------------------------------------------- */

struct subscribed {
	struct map names;
	struct listing *listing; /* NULL: only the names are wanted */
	bool failed;
};

static void
take_subscription(void *arg, const char *name)
{
	struct subscribed *s = arg;

	map_put(&s->names, view_of(name), s);
}

/* Dovecot's file, else Courier's, else none. */
static int
load_subscriptions(struct store *s, struct subscribed *subs, struct err *err)
{
	struct file_id id;
	struct buf text;
	int r;

	map_init(&subs->names);
	buf_init(&text, SUBSCRIPTIONS_MAX_BYTES);
	r = text_load(s->root_fd, SUBSCRIPTIONS, &text, &id, err);
	if (r == 0) {
		subscription_file_parse(buf_view(&text), false, take_subscription, subs);
	} else if (r > 0) {
		r = text_load(s->root_fd, COURIER_SUBSCRIBED, &text, &id, err);
		if (r == 0)
			subscription_file_parse(buf_view(&text), true, take_subscription, subs);
	}
	buf_clear(&text);
	return r < 0 ? -1 : 0;
}

static int
compare_strings(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
write_subscriptions(struct store *s, const struct subscribed *subs, struct err *err)
{
	const char **names = x_calloc(subs->names.count, sizeof *names);
	struct map_walk w = { 0 };
	struct map_entry *e;
	struct file_id id;
	struct buf text;
	size_t n = 0;
	int r;

	while ((e = map_next(&subs->names, &w)) != NULL)
		names[n++] = e->key;
	qsort(names, n, sizeof *names, compare_strings);
	buf_init(&text, SUBSCRIPTIONS_MAX_BYTES);
	subscription_format_header(&text);
	for (size_t i = 0; i < n; i++)
		subscription_format_name(&text, names[i]);
	r = text.failed ? err_set(err, ERR_LIMIT, "too many subscriptions")
			: text_replace(s->root_fd, SUBSCRIPTIONS, buf_view(&text), &id, err);
	buf_clear(&text);
	free(names);
	return r;
}

int
store_subscribe(struct store *s, const char *name, bool on, struct err *err)
{
	char canonical[STORE_NAME_MAX + 1];
	struct subscribed subs = { 0 };
	int r = 0;

	if (!store_name_is_valid(name))
		return err_set(err, ERR_PERM, "invalid mailbox name");
	memcpy(canonical, name, strlen(name) + 1);
	if (view_case_eq_str(view_of(name), "INBOX"))
		memcpy(canonical, "INBOX", 6);
	if (store_lock_tree(s, err) < 0)
		return -1;
	if (load_subscriptions(s, &subs, err) < 0) {
		r = -1;
	} else {
		bool is_on = map_get(&subs.names, view_of(canonical)) != NULL;

		if (on && !is_on)
			map_put(&subs.names, view_of(canonical), &subs);
		else if (!on && is_on)
			map_remove(&subs.names, view_of(canonical));
		if (on != is_on)
			r = write_subscriptions(s, &subs, err);
	}
	map_clear(&subs.names);
	store_unlock_tree(s);
	return r;
}

static int
mark_subscribed(struct store *s, struct listing *l, bool add_missing, struct err *err)
{
	struct subscribed subs = { 0 };
	struct map_walk w = { 0 };
	struct map_entry *e;
	int r = load_subscriptions(s, &subs, err);

	while (r == 0 && (e = map_next(&subs.names, &w)) != NULL) {
		struct mailbox_info *info;

		if (!add_missing && map_get(&l->by_name, view_of(e->key)) == NULL)
			continue;
		info = listing_get(l, e->key, err);
		if (info == NULL)
			r = -1;
		else
			info->is_subscribed = true;
	}
	map_clear(&subs.names);
	return r;
}

int
store_list(struct store *s, bool subscribed, struct arena *a, struct mailbox_info **out,
    size_t *count, struct err *err)
{
	struct listing l = { .a = a };
	struct mailbox_info *inbox;
	int r = -1;

	map_init(&l.by_name);
	inbox = listing_get(&l, "INBOX", err);
	if (inbox != NULL)
		inbox->exists = true;
	if (inbox == NULL || store_each_folder(s, list_folder, &l, err) < 0 ||
	    mark_subscribed(s, &l, subscribed, err) < 0)
		goto out;
	qsort(l.infos, l.count, sizeof *l.infos, compare_names);
	*out = arena_alloc(a, l.count * sizeof *l.infos);
	if (*out == NULL) {
		err_set(err, ERR_LIMIT, "too many mailboxes");
		goto out;
	}
	memcpy(*out, l.infos, l.count * sizeof *l.infos);
	*count = l.count;
	r = 0;
out:
	map_clear(&l.by_name);
	free(l.infos);
	return r;
}
