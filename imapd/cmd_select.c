/* SELECT, EXAMINE (RFC 3501 6.3.1, 6.3.2), CLOSE (6.4.2), UNSELECT (RFC 3691). */
#include "imapd/command.h"

struct first_unseen {
	uint32_t uid;
};

static bool
on_message(void *arg, const struct message_info *info)
{
	struct first_unseen *first = arg;

	if (info->flags & FLAG_SEEN)
		return true;
	first->uid = info->uid;
	return false;
}

static void
tell_unseen(struct imapd_session *s, const struct mailbox_status *status)
{
	struct imapd_selected *sel = &s->selected;
	struct first_unseen first = { 0 };
	struct err err;
	uint32_t seq;

	if (status->unseen == 0 ||
	    mailbox_each(sel->box, 1, UINT32_MAX, on_message, &first, &err) != 0)
		return;
	seq = imap_snapshot_seq(&sel->snapshot, first.uid);
	if (seq != 0)
		imapd_send(s, "* OK [UNSEEN %u] First unseen.\r\n", seq);
}

static void
tell_mailbox(struct imapd_session *s, const struct mailbox_status *status)
{
	imapd_tell_keywords(s, true);
	imapd_send(s, "* %zu EXISTS\r\n", s->selected.snapshot.count);
	imapd_send(s, "* %zu RECENT\r\n", s->selected.snapshot.recent);
	tell_unseen(s, status);
	imapd_send(s, "* OK [UIDVALIDITY %u] UIDs valid\r\n", status->uidvalidity);
	imapd_send(s, "* OK [UIDNEXT %u] Predicted next UID\r\n", status->uidnext);
}

enum imapd_result
imapd_cmd_select(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	bool is_read_only = c->row->flags & CMD_VARIANT;
	struct mailbox_status status;
	struct err err = { 0 };

	/* RFC 3501 6.3.1: a failed SELECT leaves none selected */
	if (s->selected.box != NULL) {
		imapd_selected_close(s);
		imapd_send(s, "* OK [CLOSED] Previous mailbox closed.\r\n");
	}
	if (imapd_selected_open(s, c->data, is_read_only, &err) != 0)
		return imapd_failed(c, &err);
	if (mailbox_get_status(s->selected.box, &status, &err) != 0) {
		imapd_selected_close(s);
		return imapd_failed(c, &err);
	}
	tell_mailbox(s, &status);
	return is_read_only ? imapd_ok(c, "READ-ONLY", "Examine completed.")
			    : imapd_ok(c, "READ-WRITE", "Select completed.");
}

/* CLOSE removes what is marked \Deleted and says nothing of it; after EXAMINE, and by UNSELECT, nothing is removed. */
enum imapd_result
imapd_cmd_close(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	struct imapd_selected *sel = &s->selected;
	struct err err = { 0 };
	uint32_t *gone;
	size_t ngone;

	if (!(c->row->flags & CMD_VARIANT) && !sel->is_read_only && sel->snapshot.count > 0) {
		if (mailbox_expunge(sel->box, sel->snapshot.uids, sel->snapshot.count, true,
			&c->arena, &gone, &ngone, &err) != 0)
			return imapd_failed(c, &err);
		s->counts.expunged += ngone;
	}
	imapd_selected_close(s);
	return IMAPD_DONE;
}
