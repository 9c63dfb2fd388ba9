/* COPY (RFC 3501 6.4.7), MOVE (RFC 6851), both with COPYUID (RFC 4315 3). */
#include "imapd/command.h"

struct copy {
	struct imap_seqset set;
	const char *mailbox;
};

bool
imapd_parse_copy(struct imapd_command *c)
{
	struct copy *copy = c->data = imapd_command_alloc(c, sizeof *copy);

	return imap_args_space(&c->args) && imap_args_seqset(&c->args, &copy->set) &&
	       imap_args_space(&c->args) && imap_args_mailbox(&c->args, &copy->mailbox) &&
	       imap_args_end(&c->args);
}

/* "COPYUID 38505 304,319:320 3956:3958" */
static const char *
copyuid(struct imapd_command *c, const struct copy_result *r)
{
	struct buf code;
	const char *text = NULL;

	buf_init(&code, (size_t)1 << 30);
	buf_printf(&code, "COPYUID %u ", r->uidvalidity);
	imap_seqset_write(&code, r->old_uids, r->count);
	buf_append_byte(&code, ' ');
	if (imap_seqset_write(&code, r->new_uids, r->count) == 0)
		text = arena_strndup(&c->arena, code.p, code.len);
	buf_clear(&code);
	return text;
}

enum imapd_result
imapd_cmd_copy(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	struct imapd_selected *sel = &s->selected;
	struct copy *copy = c->data;
	bool is_move = c->row->flags & CMD_VARIANT;
	struct copy_result result = { 0 };
	struct err err = { 0 };
	const char *code;
	uint32_t *seqs;
	size_t count;

	if (is_move && sel->is_read_only)
		return imapd_no(c, "READ-ONLY", "Mailbox is read-only");
	if (!imapd_select_messages(c, &copy->set, &seqs, &count))
		return IMAPD_DONE;
	for (size_t i = 0; i < count; i++)
		seqs[i] = sel->snapshot.uids[seqs[i] - 1];
	if (mailbox_copy(sel->box, seqs, count, copy->mailbox, is_move, &c->arena, &result, &err) !=
	    0)
		return imapd_failed_target(c, &err);
	if (result.count == 0)
		return imapd_ok(c, NULL, count == 0 ? "No messages found." : "Messages are gone.");
	code = copyuid(c, &result);
	if (!is_move)
		return imapd_ok(c, code, "Copy completed.");
	/* RFC 6851 4.3: before the EXPUNGE responses, so that the client can follow its messages */
	if (code != NULL)
		imapd_send(s, "* OK [%s] Moved UIDs.\r\n", code);
	s->counts.expunged += result.count;
	return imapd_ok(c, NULL, "Move completed.");
}
