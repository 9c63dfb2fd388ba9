/* EXPUNGE (RFC 3501 6.4.3), UID EXPUNGE (RFC 4315 2.1).  The EXPUNGE responses are news like any other. */
#include "imapd/command.h"

bool
imapd_parse_uid_expunge(struct imapd_command *c)
{
	struct imap_seqset *set = c->data = imapd_command_alloc(c, sizeof *set);

	return imap_args_space(&c->args) && imap_args_seqset(&c->args, set) &&
	       imap_args_end(&c->args);
}

enum imapd_result
imapd_cmd_expunge(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	struct imapd_selected *sel = &s->selected;
	uint32_t *uids = sel->snapshot.uids, *gone, *seqs;
	size_t count = sel->snapshot.count, ngone;
	struct err err = { 0 };

	if (sel->is_read_only)
		return imapd_no(c, "READ-ONLY", "Mailbox is read-only");
	if (c->data != NULL) {
		if (!imapd_select_messages(c, c->data, &seqs, &count))
			return IMAPD_DONE;
		uids = seqs;
		for (size_t i = 0; i < count; i++)
			uids[i] = sel->snapshot.uids[seqs[i] - 1];
	}
	if (count == 0)
		return IMAPD_DONE;
	if (mailbox_expunge(sel->box, uids, count, true, &c->arena, &gone, &ngone, &err) != 0)
		return imapd_failed(c, &err);
	s->counts.expunged += ngone;
	return IMAPD_DONE;
}
