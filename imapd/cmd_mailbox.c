/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7), STATUS (6.3.10). */
#include "imapd/command.h"
#include "imapd/imap_write.h"

static bool
is_inbox(const char *name)
{
	return strcmp(name, "INBOX") == 0;
}

static bool
exists(struct imapd_command *c, const char *name)
{
	struct mailbox_status status;
	struct err err;

	return store_status(c->session->account->login.store, name, &status, &err) == 0;
}

/* What is refused because it is there already says so (RFC 5530). */
static enum imapd_result
failed_at(struct imapd_command *c, const char *target, const struct err *err)
{
	if (err->kind == ERR_PERM && exists(c, target))
		return imapd_no(c, "ALREADYEXISTS", "Mailbox already exists");
	if (err->kind == ERR_LIMIT)
		return imapd_no(c, "CANNOT", "Mailbox name too long or too deep");
	return imapd_failed(c, err);
}

/* RFC 3501 6.3.3: a trailing separator only declares that names below it will follow. */
static char *
without_separator(struct imapd_command *c, const char *name)
{
	size_t len = strlen(name);

	if (len > 1 && name[len - 1] == '/')
		len--;
	return arena_strndup(&c->arena, name, len);
}

enum imapd_result
imapd_cmd_create(struct imapd_command *c)
{
	char *name = without_separator(c, c->data);
	struct err err = { 0 };

	if (is_inbox(name))
		return imapd_no(c, "ALREADYEXISTS", "Mailbox already exists");
	if (store_create(c->session->account->login.store, name, &err) != 0)
		return failed_at(c, name, &err);
	return IMAPD_DONE;
}

/* A mailbox of this very session is left before it goes: the client knows what it does. */
static void
leave(struct imapd_session *s, const char *name)
{
	if (s->selected.box == NULL || strcmp(s->selected.name, name) != 0)
		return;
	imapd_selected_close(s);
	imapd_send(s, "* OK [CLOSED] Selected mailbox was deleted or renamed.\r\n");
}

enum imapd_result
imapd_cmd_delete(struct imapd_command *c)
{
	const char *name = c->data;
	struct err err = { 0 };

	if (is_inbox(name))
		return imapd_no(c, "CANNOT", "INBOX can't be deleted");
	if (store_delete(c->session->account->login.store, name, &err) != 0) {
		if (err.kind == ERR_PERM)
			return imapd_no(
			    c, "HASCHILDREN", "Mailbox has children, delete them first");
		return imapd_failed(c, &err);
	}
	leave(c->session, name);
	return IMAPD_DONE;
}

struct rename {
	const char *from, *to;
};

bool
imapd_parse_rename(struct imapd_command *c)
{
	struct rename *r = c->data = imapd_command_alloc(c, sizeof *r);

	return imap_args_space(&c->args) && imap_args_mailbox(&c->args, &r->from) &&
	       imap_args_space(&c->args) && imap_args_mailbox(&c->args, &r->to) &&
	       imap_args_end(&c->args);
}

static bool
is_below(const char *name, const char *parent)
{
	size_t len = strlen(parent);

	return strncmp(name, parent, len) == 0 && name[len] == '/';
}

enum imapd_result
imapd_cmd_rename(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	const struct rename *r = c->data;
	char *to = without_separator(c, r->to);
	struct err err = { 0 };

	if (is_inbox(to))
		return imapd_no(c, "ALREADYEXISTS", "Mailbox already exists");
	if (store_rename(s->account->login.store, r->from, to, &err) != 0)
		return failed_at(c, to, &err);
	/* 6.3.5: of INBOX only the mail moves; it stays, and so does whoever has it selected */
	if (!is_inbox(r->from) && s->selected.box != NULL &&
	    (strcmp(s->selected.name, r->from) == 0 || is_below(s->selected.name, r->from)))
		leave(s, s->selected.name);
	return IMAPD_DONE;
}

/* 6.3.6: whether the mailbox exists is not asked of UNSUBSCRIBE, and a subscription survives it; to subscribe what has
 * never been is refused, as most servers do. */
enum imapd_result
imapd_cmd_subscribe(struct imapd_command *c)
{
	bool on = !(c->row->flags & CMD_VARIANT);
	char *name = without_separator(c, c->data);
	struct err err = { 0 };

	if (on && !exists(c, name))
		return imapd_no(c, "NONEXISTENT", "Mailbox doesn't exist");
	if (store_subscribe(c->session->account->login.store, name, on, &err) != 0)
		return imapd_failed(c, &err);
	return IMAPD_DONE;
}

/* --- STATUS ----------------------------------------------------------------------------------------------- */
enum status_item {
	STATUS_MESSAGES,
	STATUS_RECENT,
	STATUS_UIDNEXT,
	STATUS_UIDVALIDITY,
	STATUS_UNSEEN,
	STATUS_ITEMS
};
static const char *const status_words[STATUS_ITEMS] = { "MESSAGES", "RECENT", "UIDNEXT",
	"UIDVALIDITY", "UNSEEN" };

struct status_query {
	const char *mailbox;
	enum status_item items[STATUS_ITEMS]; /* each once, in the order asked for */
	size_t count;
};

static bool
parse_status_item(struct imapd_command *c, struct status_query *q)
{
	struct view word;
	size_t i, k;

	if (!imap_args_word(&c->args, &word))
		return false;
	for (i = 0; i < STATUS_ITEMS && !view_case_eq_str(word, status_words[i]); i++)
		;
	if (i == STATUS_ITEMS)
		return imap_args_fail(&c->args, "Unknown status item");
	for (k = 0; k < q->count && q->items[k] != (enum status_item)i; k++)
		;
	if (k == q->count)
		q->items[q->count++] = (enum status_item)i;
	return true;
}

bool
imapd_parse_status(struct imapd_command *c)
{
	struct status_query *q = c->data = imapd_command_alloc(c, sizeof *q);

	if (!imap_args_space(&c->args) || !imap_args_mailbox(&c->args, &q->mailbox) ||
	    !imap_args_space(&c->args) || !imap_args_open(&c->args))
		return false;
	do {
		if (!parse_status_item(c, q))
			return false;
	} while (imap_args_try(&c->args, ' '));
	return imap_args_close(&c->args) && imap_args_end(&c->args);
}

enum imapd_result
imapd_cmd_status(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	const struct status_query *q = c->data;
	struct mailbox_status status;
	struct err err = { 0 };

	if (store_status(s->account->login.store, q->mailbox, &status, &err) != 0)
		return imapd_failed(c, &err);
	buf_append_str(&s->out, "* STATUS ");
	imap_write_mailbox(&s->out, q->mailbox);
	for (size_t i = 0; i < q->count; i++) {
		const uint32_t values[STATUS_ITEMS] = { status.messages, status.recent,
			status.uidnext, status.uidvalidity, status.unseen };

		imapd_send(
		    s, "%s%s %u", i ? " " : " (", status_words[q->items[i]], values[q->items[i]]);
	}
	imapd_send(s, ")\r\n");
	return IMAPD_DONE;
}
