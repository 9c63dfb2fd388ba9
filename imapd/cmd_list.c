/* LIST and LSUB (RFC 3501 6.3.8, 6.3.9), CHILDREN (RFC 3348), special uses (RFC 6154 5.1 lets LIST show them). */
#include "imapd/command.h"
#include "imapd/imap_list.h"
#include "imapd/imap_write.h"

#include <stdio.h>

struct list_query {
	struct view reference, pattern; /* UTF-8 */
	bool is_root;                   /* 6.3.8: an empty pattern asks for separator and root */
	bool matches_nothing;
};

struct list_run {
	struct mailbox_info *boxes;
	size_t count, at;
	struct view pattern;     /* reference and pattern in one */
	const char *parent_told; /* LSUB */
};

/* Names that cannot be are no error here: they match nothing. */
static bool
to_utf8(struct imapd_command *c, struct view wire, struct view *out)
{
	struct buf utf8;
	bool ok;

	buf_init(&utf8, STORE_NAME_MAX * 2);
	ok = mutf7_decode(wire, &utf8) == 0 && !utf8.failed;
	if (ok) {
		const char *copy = arena_strndup(&c->arena, utf8.len ? utf8.p : "", utf8.len);

		*out = view_make(copy, utf8.len);
		ok = copy != NULL;
	}
	buf_clear(&utf8);
	return ok;
}

bool
imapd_parse_list(struct imapd_command *c)
{
	struct list_query *q = c->data = imapd_command_alloc(c, sizeof *q);
	struct view reference, pattern;

	if (!imap_args_space(&c->args) || !imap_args_astring(&c->args, &reference) ||
	    !imap_args_space(&c->args) || !imap_args_list_mailbox(&c->args, &pattern) ||
	    !imap_args_end(&c->args))
		return false;
	q->is_root = pattern.len == 0;
	q->matches_nothing =
	    !to_utf8(c, reference, &q->reference) || !to_utf8(c, pattern, &q->pattern);
	return true;
}

static enum imapd_result
begin(struct imapd_command *c, bool subscribed)
{
	const struct list_query *q = c->data;
	struct list_run *run = c->work = imapd_command_alloc(c, sizeof *run);
	struct err err = { 0 };
	char *joined;

	if (q->matches_nothing)
		return IMAPD_MORE;
	joined = arena_printf(&c->arena, "%.*s%.*s", VIEW_ARG(q->reference), VIEW_ARG(q->pattern));
	if (joined == NULL)
		return imapd_no(c, "LIMIT", "Command too large");
	run->pattern = view_of(joined);
	if (store_list(c->session->account->login.store, subscribed, &c->arena, &run->boxes,
		&run->count, &err) != 0)
		return imapd_failed(c, &err);
	return IMAPD_MORE;
}

static void
tell(struct imapd_session *s, const char *response, const char *attributes, const char *name)
{
	imapd_send(s, "* %s (%s) \"/\" ", response, attributes);
	imap_write_mailbox(&s->out, name);
	imapd_send(s, "\r\n");
}

static void
tell_box(struct imapd_session *s, const struct mailbox_info *box)
{
	char attributes[100];

	snprintf(attributes, sizeof attributes, "%s%s%s%s", box->exists ? "" : "\\Noselect ",
	    box->has_children ? "\\HasChildren" : "\\HasNoChildren", box->special_use ? " " : "",
	    box->special_use ? box->special_use : "");
	tell(s, "LIST", attributes, box->name);
}

/* Step by step: a tree of a hundred thousand folders must not stop the others. */
enum { BOXES_PER_STEP = 200 };

enum imapd_result
imapd_cmd_list(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	struct list_query *q = c->data;
	struct list_run *run = c->work;

	if (q->is_root) {
		imapd_send(s, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		return IMAPD_DONE;
	}
	if (run == NULL)
		return begin(c, false);
	for (int i = 0; i < BOXES_PER_STEP && run->at < run->count; i++, run->at++)
		if (imap_list_match(run->pattern, view_of(run->boxes[run->at].name)))
			tell_box(s, &run->boxes[run->at]);
	return run->at < run->count ? IMAPD_MORE : IMAPD_DONE;
}

static bool
is_subscribed(const struct list_run *run, struct view name)
{
	size_t low = 0, high = run->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct view at = view_of(run->boxes[mid].name);
		size_t common = at.len < name.len ? at.len : name.len;
		int order = memcmp(at.p, name.p, common);

		if (order == 0 && at.len == name.len)
			return run->boxes[mid].is_subscribed;
		if (order < 0 || (order == 0 && at.len < name.len))
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* RFC 3501 6.3.9: a "%" that ends above a subscribed name shows the level it ends at, as \Noselect; once. */
static void
tell_parent(struct imapd_command *c, struct list_run *run, const char *name)
{
	for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		struct view parent = view_make(name, (size_t)(slash - name));

		if (!imap_list_match(run->pattern, parent) || is_subscribed(run, parent))
			continue;
		/* the names are sorted: those of one parent follow each other */
		if (run->parent_told != NULL && view_eq_str(parent, run->parent_told))
			continue;
		run->parent_told = arena_strndup(&c->arena, parent.p, parent.len);
		if (run->parent_told != NULL)
			tell(c->session, "LSUB", "\\Noselect", run->parent_told);
	}
}

enum imapd_result
imapd_cmd_lsub(struct imapd_command *c)
{
	struct list_query *q = c->data;
	struct list_run *run = c->work;

	if (q->is_root) {
		imapd_send(c->session, "* LSUB (\\Noselect) \"/\" \"\"\r\n");
		return IMAPD_DONE;
	}
	if (run == NULL)
		return begin(c, true);
	for (int i = 0; i < BOXES_PER_STEP && run->at < run->count; i++, run->at++) {
		const struct mailbox_info *box = &run->boxes[run->at];

		if (!box->is_subscribed)
			continue;
		if (imap_list_match(run->pattern, view_of(box->name)))
			tell(c->session, "LSUB", "", box->name);
		else if (memchr(run->pattern.p, '%', run->pattern.len) != NULL)
			tell_parent(c, run, box->name);
	}
	return run->at < run->count ? IMAPD_MORE : IMAPD_DONE;
}
