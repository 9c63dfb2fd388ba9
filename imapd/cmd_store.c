/* STORE (RFC 3501 6.4.6). */
#include "imapd/command.h"

enum { MESSAGES_PER_STEP = 500 };

struct store_args {
	struct imap_seqset set;
	enum store_mode mode;
	bool is_silent;
	struct imap_flags flags;
};

struct store_run {
	uint32_t *seqs;
	size_t count, at; /* at: stored up to here */
	size_t told;      /* reported up to here */
	struct keyword_set keywords;
	uint32_t uids[MESSAGES_PER_STEP];
	struct imapd_infos infos;
};

static bool
parse_mode(struct imapd_command *c, struct store_args *a)
{
	struct view word;

	a->mode = imap_args_try(&c->args, '+')   ? STORE_ADD
		  : imap_args_try(&c->args, '-') ? STORE_REMOVE
						 : STORE_REPLACE;
	if (!imap_args_word(&c->args, &word))
		return false;
	a->is_silent = view_case_eq_str(word, "FLAGS.SILENT");
	return a->is_silent || view_case_eq_str(word, "FLAGS") ||
	       imap_args_fail(&c->args, "Invalid item");
}

bool
imapd_parse_store(struct imapd_command *c)
{
	struct store_args *a = c->data = imapd_command_alloc(c, sizeof *a);

	if (!imap_args_space(&c->args) || !imap_args_seqset(&c->args, &a->set) ||
	    !imap_args_space(&c->args) || !parse_mode(c, a) || !imap_args_space(&c->args))
		return false;
	if (imap_args_next_is(&c->args, '('))
		return imap_args_flag_list(&c->args, &a->flags) && imap_args_end(&c->args);
	do {
		if (!imap_args_flag(&c->args, &a->flags))
			return false;
	} while (imap_args_try(&c->args, ' '));
	return imap_args_end(&c->args);
}

static void
set_keyword(struct keyword_set *set, int number)
{
	set->bits[number / 64] |= (uint64_t)1 << (number % 64);
}

/* Names to numbers; a keyword that is only to be removed is not made for it. */
static bool
resolve_keywords(struct imapd_command *c, const struct store_args *a, struct keyword_set *out)
{
	struct mailbox *box = c->session->selected.box;
	struct err err = { 0 };

	for (size_t i = 0; i < a->flags.nkeywords; i++) {
		int n = mailbox_keyword_number(
		    box, a->flags.keywords[i], a->mode != STORE_REMOVE, &err);

		if (n >= 0) {
			set_keyword(out, n);
		} else if (a->mode != STORE_REMOVE) {
			if (n == -2)
				imapd_no(c, "LIMIT", "Too many keywords in this mailbox");
			else
				imapd_failed(c, &err);
			return false;
		}
	}
	/* $Forwarded may also stand in an imported keyword table */
	if ((a->flags.flags & FLAG_PASSED) && a->mode == STORE_REMOVE) {
		int n = mailbox_keyword_number(box, "$Forwarded", false, &err);

		if (n >= 0)
			set_keyword(out, n);
	}
	return true;
}

static bool
begin(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	struct store_args *a = c->data;
	struct store_run *run = c->work = imapd_command_alloc(c, sizeof *run);

	if (s->selected.is_read_only) {
		imapd_no(c, "READ-ONLY", "Mailbox is read-only");
		return false;
	}
	/* the set means what the client knows of: before new messages come in */
	if (!imapd_select_messages(c, &a->set, &run->seqs, &run->count))
		return false;
	/* what others did until now is told; what comes of this STORE is not (6.4.6: .SILENT) */
	imapd_selected_collect(s);
	return !s->is_ending && resolve_keywords(c, a, &run->keywords);
}

static bool
store_some(struct imapd_command *c, struct store_run *run)
{
	struct imapd_selected *sel = &c->session->selected;
	const struct store_args *a = c->data;
	struct err err = { 0 };
	uint32_t *refused;
	size_t n = 0, nrefused;

	for (; run->at < run->count && n < MESSAGES_PER_STEP; run->at++)
		if (!(sel->snapshot.states[run->seqs[run->at] - 1] & SNAPSHOT_GONE))
			run->uids[n++] = sel->snapshot.uids[run->seqs[run->at] - 1];
	if (n == 0 || mailbox_store_flags(sel->box, run->uids, n, a->mode, a->flags.flags,
			  &run->keywords, 0, &c->arena, &refused, &nrefused, &err) == 0)
		return true;
	imapd_failed(c, &err);
	return false;
}

/* The new flags, as a FETCH would show them; they are no news any more then. */
static void
tell(struct imapd_command *c, struct store_run *run)
{
	struct imapd_session *s = c->session;
	struct imapd_selected *sel = &s->selected;
	const struct store_args *a = c->data;
	const uint32_t *seqs = run->seqs + run->told;
	uint32_t seq = seqs[0];
	struct message_info info;
	struct err err;

	if ((sel->snapshot.states[seq - 1] & SNAPSHOT_GONE) ||
	    imapd_infos_get(s, &run->infos, seqs, run->at - run->told, &info, &err) != 0)
		return;
	imapd_selected_own(s, info.uid, info.modseq);
	if ((a->flags.flags & FLAG_DELETED) && a->mode != STORE_REMOVE)
		s->counts.deleted++;
	imapd_tell_keywords(s, false);
	if (a->is_silent)
		return;
	imapd_send(s, "* %u FETCH (", seq);
	if (c->row->flags & CMD_UID)
		imapd_send(s, "UID %u ", info.uid);
	buf_append_str(&s->out, "FLAGS ");
	imapd_write_flags(s, &s->out, &info, sel->snapshot.states[seq - 1] & SNAPSHOT_RECENT);
	imapd_send(s, ")\r\n");
}

enum imapd_result
imapd_cmd_store(struct imapd_command *c)
{
	struct store_run *run = c->work;

	if (run == NULL) {
		if (!begin(c))
			return IMAPD_DONE;
		run = c->work;
	}
	if (run->told == run->at && run->at < run->count && !store_some(c, run))
		return IMAPD_DONE;
	run->infos.count = run->infos.at = 0; /* what was read ahead before is no longer so */
	for (; run->told < run->at; run->told++)
		tell(c, run);
	return run->at < run->count ? IMAPD_MORE : imapd_ok(c, NULL, "Store completed.");
}
