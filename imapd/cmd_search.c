/* SEARCH (RFC 3501 6.4.4). */
#include "imapd/command.h"
#include "imapd/imap_search.h"

enum { BATCH = 64 };

struct search_run {
	struct imap_search_work work;
	struct message_info batch[BATCH];
	size_t nbatch, at;
	uint32_t next_uid; /* the next batch begins there; 0: the last was had */
	uint32_t *found;   /* sequence numbers or UIDs */
	size_t nfound, told;
	bool is_told; /* the response has begun */
};

struct search_message {
	struct mailbox *box;
	uint32_t uid;
};

bool
imapd_parse_search(struct imapd_command *c)
{
	struct imap_search *search = c->data = imapd_command_alloc(c, sizeof *search);

	if (imap_args_space(&c->args) && imap_search_parse(&c->args, search) &&
	    imap_args_end(&c->args))
		return true;
	if (search->has_bad_charset)
		imapd_no(c, "BADCHARSET (US-ASCII UTF-8)", "Unknown charset");
	return false;
}

static int
read_header(void *arg, struct buf *out)
{
	struct search_message *m = arg;
	struct err err;

	return mailbox_read_header(m->box, m->uid, out, &err);
}

static int
read_whole(void *arg, struct buf *out)
{
	struct search_message *m = arg;
	struct err err;

	return mailbox_read(m->box, m->uid, out, &err);
}

static void
cleanup(struct imapd_command *c)
{
	struct search_run *run = c->work;

	imap_search_work_clear(&run->work);
}

static void
begin(struct imapd_command *c)
{
	struct imapd_selected *sel = &c->session->selected;
	struct imap_search *search = c->data;
	struct search_run *run = c->work = imapd_command_alloc(c, sizeof *run);

	imap_search_work_init(&run->work);
	c->cleanup = cleanup;
	run->found = imapd_command_alloc(c, (sel->snapshot.count + 1) * sizeof run->found[0]);
	run->next_uid = sel->snapshot.count ? sel->snapshot.uids[0] : 0;
	imap_search_resolve(search->root, (uint32_t)sel->snapshot.count,
	    imap_snapshot_last_uid(&sel->snapshot), sel->box);
}

/* Copies: the store must not be read from inside its own walk. */
static bool
on_message(void *arg, const struct message_info *info)
{
	struct search_run *run = arg;

	if (run->nbatch == BATCH)
		return false;
	run->batch[run->nbatch++] = *info;
	return true;
}

static int
next_batch(struct imapd_command *c, struct search_run *run)
{
	struct imapd_selected *sel = &c->session->selected;
	uint32_t last = imap_snapshot_last_uid(&sel->snapshot);
	const struct imap_search *search = c->data;
	struct err err = { 0 };
	bool is_last;

	run->nbatch = run->at = 0;
	if (run->next_uid == 0)
		return 0;
	if (mailbox_each(sel->box, run->next_uid, last, on_message, run, &err) != 0) {
		imapd_failed(c, &err);
		return -1;
	}
	is_last = run->nbatch < BATCH || run->batch[BATCH - 1].uid >= last;
	run->next_uid = is_last ? 0 : run->batch[BATCH - 1].uid + 1;
	if (search->needs_sizes && run->nbatch > 0) {
		size_t done = mailbox_measure(sel->box, run->batch, run->nbatch);

		if (done < run->nbatch)
			run->next_uid = run->batch[done].uid;
		run->nbatch = done;
	}
	return 0;
}

static void
look_at(struct imapd_command *c, struct search_run *run, const struct message_info *info)
{
	struct imapd_selected *sel = &c->session->selected;
	const struct imap_search *search = c->data;
	struct search_message m = { sel->box, info->uid };
	uint32_t seq = imap_snapshot_seq(&sel->snapshot, info->uid);
	struct imap_search_source src = { .read_header = read_header,
		.read_whole = read_whole,
		.arg = &m,
		.seq = seq,
		.info = info };

	if (seq == 0 || (sel->snapshot.states[seq - 1] & SNAPSHOT_GONE))
		return;
	src.is_recent = sel->snapshot.states[seq - 1] & SNAPSHOT_RECENT;
	if (imap_search_match(search->root, &src, &run->work) == 1)
		run->found[run->nfound++] = c->row->flags & CMD_UID ? info->uid : seq;
}

static enum imapd_result
tell(struct imapd_command *c, struct search_run *run)
{
	struct imapd_session *s = c->session;
	enum { NUMBERS_PER_STEP = 2000 };

	if (!run->is_told)
		imapd_send(s, "* SEARCH");
	run->is_told = true;
	for (int i = 0; i < NUMBERS_PER_STEP && run->told < run->nfound; i++)
		imapd_send(s, " %u", run->found[run->told++]);
	if (run->told < run->nfound)
		return IMAPD_MORE;
	imapd_send(s, "\r\n");
	return imapd_ok(c, NULL, "Search completed.");
}

/* One message a step where it has to be opened, a batch where the index decides. */
enum imapd_result
imapd_cmd_search(struct imapd_command *c)
{
	const struct imap_search *search = c->data;
	struct search_run *run = c->work;
	bool is_cheap = search->root->cost < 100;

	if (run == NULL) {
		begin(c);
		run = c->work;
	}
	if (run->is_told)
		return tell(c, run);
	if (run->at == run->nbatch && next_batch(c, run) != 0)
		return IMAPD_DONE;
	if (run->nbatch == 0)
		return tell(c, run);
	do
		look_at(c, run, &run->batch[run->at++]);
	while (is_cheap && run->at < run->nbatch);
	return IMAPD_MORE;
}
