/* The selected mailbox: what the client was told of it, and the news it is still to be told. */
#include "common/base/mem.h"
#include "common/log/log.h"
#include "imapd/command.h"
#include "imapd/imap_write.h"

#include <stdlib.h>

enum { NEWS_OFF, NEWS_EXPUNGE, NEWS_EXISTS, NEWS_FLAGS };

/* --- open and close --------------------------------------------------------------------------------------- */
/* EXAMINE sees what is \Recent and takes it from nobody (RFC 3501 6.3.2): the newest so many that no session has claimed.
 * Of the snapshot from index `from` on. */
static int
mark_unclaimed(struct imapd_session *s, size_t from, struct err *err)
{
	struct imapd_selected *sel = &s->selected;
	struct mailbox_status status;
	size_t at = sel->snapshot.count;

	if (!sel->is_read_only || from == at)
		return 0;
	if (store_status(s->account->login.store, sel->name, &status, err) != 0)
		return -1;
	while (at > from && status.recent-- > 0)
		imap_snapshot_mark_recent(&sel->snapshot, (uint32_t)at--);
	return 0;
}

static int
fill_snapshot(struct imapd_session *s, struct err *err)
{
	struct imapd_selected *sel = &s->selected;
	struct arena arena;
	uint32_t *uids;
	size_t count;
	int r;

	arena_init(&arena, (size_t)1 << 30);
	r = mailbox_uids(sel->box, &arena, &uids, &count, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		imap_snapshot_add(&sel->snapshot, uids[i], mailbox_is_recent(sel->box, uids[i]));
	arena_clear(&arena);
	return r != 0 ? r : mark_unclaimed(s, 0, err);
}

int
imapd_selected_open(struct imapd_session *s, const char *name, bool is_read_only, struct err *err)
{
	struct imapd_selected *sel = &s->selected;
	struct mailbox_status status;

	if (mailbox_open(s->account->login.store, name, !is_read_only, &sel->box, err) != 0) {
		sel->box = NULL;
		return -1;
	}
	sel->name = x_strdup(name);
	sel->is_read_only = is_read_only;
	if (mailbox_get_status(sel->box, &status, err) != 0 || fill_snapshot(s, err) != 0) {
		imapd_selected_close(s);
		return -1;
	}
	sel->uidvalidity = status.uidvalidity;
	sel->modseq = status.highest_modseq;
	sel->exists_told = sel->snapshot.count;
	sel->recent_told = sel->snapshot.recent;
	imapd_session_set_state(s, IMAPD_SELECTED);
	return 0;
}

void
imapd_selected_close(struct imapd_session *s)
{
	struct imapd_selected *sel = &s->selected;

	if (sel->box != NULL)
		mailbox_close(sel->box);
	free(sel->name);
	free(sel->changed);
	free(sel->own);
	imap_snapshot_clear(&sel->snapshot);
	*sel = (struct imapd_selected){ 0 };
	s->news = (struct imapd_news){ 0 };
	s->content_uid = 0;
	buf_clear(&s->content);
	if (s->state == IMAPD_SELECTED)
		imapd_session_set_state(s, IMAPD_AUTHENTICATED);
}

/* --- taking in changes -------------------------------------------------------------------------------------- */
void
imapd_selected_own(struct imapd_session *s, uint32_t uid, uint64_t modseq)
{
	struct imapd_selected *sel = &s->selected;

	if (modseq <= sel->modseq)
		return;
	if (sel->nown == sel->own_cap) {
		sel->own_cap = sel->own_cap ? sel->own_cap * 2 : 16;
		sel->own = x_realloc(sel->own, sel->own_cap, sizeof sel->own[0]);
	}
	sel->own[sel->nown++] = (struct imapd_own_change){ uid, modseq };
}

static int
by_uid_and_modseq(const void *a, const void *b)
{
	const struct imapd_own_change *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return x->modseq < y->modseq ? -1 : x->modseq > y->modseq;
}

static bool
is_own(const struct imapd_selected *sel, uint32_t uid, uint64_t modseq)
{
	struct imapd_own_change key = { uid, modseq };

	return sel->nown > 0 && bsearch(&key, sel->own, sel->nown, sizeof key, by_uid_and_modseq);
}

static void
add_changed(struct imapd_selected *sel, uint32_t uid)
{
	if (sel->nchanged == sel->changed_cap) {
		sel->changed_cap = sel->changed_cap ? sel->changed_cap * 2 : 16;
		sel->changed = x_realloc(sel->changed, sel->changed_cap, sizeof sel->changed[0]);
	}
	sel->changed[sel->nchanged++] = uid;
}

static bool
on_change(void *arg, uint32_t uid, const struct message_info *info)
{
	struct imapd_selected *sel = arg;
	uint32_t seq = imap_snapshot_seq(&sel->snapshot, uid);

	if (seq == 0)
		return true; /* came after the snapshot: see on_arrival */
	if (info == NULL)
		imap_snapshot_mark_gone(&sel->snapshot, seq);
	else if (!is_own(sel, uid, info->modseq))
		add_changed(sel, uid);
	return true;
}

static bool
on_arrival(void *arg, const struct message_info *info)
{
	struct imapd_selected *sel = arg;

	imap_snapshot_add(&sel->snapshot, info->uid, mailbox_is_recent(sel->box, info->uid));
	return true;
}

struct comparison {
	struct imapd_selected *sel;
	size_t at;
	uint64_t since;
};

/* Both sides in UID order: what the snapshot has and the store has not is gone. */
static bool
on_compare(void *arg, const struct message_info *info)
{
	struct comparison *c = arg;
	struct imap_snapshot *snapshot = &c->sel->snapshot;

	while (c->at < snapshot->count && snapshot->uids[c->at] < info->uid)
		imap_snapshot_mark_gone(snapshot, (uint32_t)++c->at);
	if (c->at == snapshot->count)
		return false;
	if (snapshot->uids[c->at] != info->uid)
		return true;
	c->at++;
	if (info->modseq > c->since && !is_own(c->sel, info->uid, info->modseq))
		add_changed(c->sel, info->uid);
	return true;
}

static int
compare_all(struct imapd_selected *sel, struct err *err)
{
	struct comparison c = { sel, 0, sel->modseq };

	if (mailbox_each(
		sel->box, 1, imap_snapshot_last_uid(&sel->snapshot), on_compare, &c, err) != 0)
		return -1;
	while (c.at < sel->snapshot.count)
		imap_snapshot_mark_gone(&sel->snapshot, (uint32_t)++c.at);
	return 0;
}

static int
take_in(struct imapd_session *s, struct err *err)
{
	struct imapd_selected *sel = &s->selected;
	struct mailbox_status status;
	size_t count = sel->snapshot.count;
	uint32_t last = imap_snapshot_last_uid(&sel->snapshot);
	int r;

	if (mailbox_refresh(sel->box, sel->force_refresh, err) != 0 ||
	    mailbox_get_status(sel->box, &status, err) != 0)
		return -1;
	sel->force_refresh = false;
	if (status.uidvalidity != sel->uidvalidity)
		return err_set(err, ERR_GONE, "UIDVALIDITY changed");
	if (status.highest_modseq == sel->modseq)
		return 0;
	if (sel->nown > 1)
		qsort(sel->own, sel->nown, sizeof sel->own[0], by_uid_and_modseq);
	r = mailbox_changes(sel->box, sel->modseq, on_change, sel, err);
	if (r == 1)
		r = compare_all(sel, err);
	if (r == 0 && last < UINT32_MAX)
		r = mailbox_each(sel->box, last + 1, UINT32_MAX, on_arrival, sel, err);
	if (r != 0 || mark_unclaimed(s, count, err) != 0)
		return -1;
	sel->modseq = status.highest_modseq;
	sel->nown = 0;
	return 0;
}

void
imapd_selected_collect(struct imapd_session *s)
{
	struct imapd_selected *sel = &s->selected;
	struct err err = { 0 };

	if (sel->box == NULL || s->is_ending)
		return;
	if (mailbox_is_gone(sel->box)) {
		imapd_session_bye(s, "Selected mailbox was deleted, have to disconnect.",
		    "Selected mailbox was deleted");
		return;
	}
	if (take_in(s, &err) == 0)
		return;
	log_as(s->login.log_tag, LOG_LEVEL_ERROR, "%s: %s", sel->name, err.text);
	/* with ERR_TEMP the next command tries again; what it was told so far still holds */
	if (err.kind == ERR_GONE || err.kind == ERR_BUG)
		imapd_session_bye(s, "IMAP session state is inconsistent, please relogin.",
		    "Mailbox is inconsistent");
}

/* --- infos ---------------------------------------------------------------------------------------------- */
static bool
on_info(void *arg, const struct message_info *info)
{
	struct imapd_infos *infos = arg;

	infos->ahead[infos->count++] = *info;
	return infos->count < IMAPD_INFOS;
}

static int
read_ahead(struct imapd_session *s, struct imapd_infos *infos, const uint32_t *seqs, size_t count,
    struct err *err)
{
	const uint32_t *uids = s->selected.snapshot.uids;
	size_t run = 1;

	while (run < count && run < IMAPD_INFOS && seqs[run] == seqs[run - 1] + 1)
		run++;
	infos->count = infos->at = 0;
	if (mailbox_each(s->selected.box, uids[seqs[0] - 1], uids[seqs[run - 1] - 1], on_info,
		infos, err) != 0)
		return -1;
	if (infos->need_sizes)
		infos->count = mailbox_measure(s->selected.box, infos->ahead, infos->count);
	return 0;
}

int
imapd_infos_get(struct imapd_session *s, struct imapd_infos *infos, const uint32_t *seqs,
    size_t count, struct message_info *out, struct err *err)
{
	uint32_t uid = s->selected.snapshot.uids[seqs[0] - 1];

	while (infos->at < infos->count && infos->ahead[infos->at].uid < uid)
		infos->at++;
	if (infos->at == infos->count && read_ahead(s, infos, seqs, count, err) != 0)
		return -1;
	if (infos->at == infos->count || infos->ahead[infos->at].uid != uid)
		return err_set(err, ERR_GONE, "no message %u", uid);
	*out = infos->ahead[infos->at++];
	return 0;
}

/* --- telling them -------------------------------------------------------------------------------------------- */
/* clang-format off */
static const struct { uint16_t flag; const char *name; } flag_names[] = {
	{ FLAG_ANSWERED, "\\Answered" }, { FLAG_FLAGGED, "\\Flagged" }, { FLAG_DELETED, "\\Deleted" },
	{ FLAG_SEEN, "\\Seen" }, { FLAG_DRAFT, "\\Draft" }, { FLAG_PASSED, "$Forwarded" },
};
/* clang-format on */

static void
write_word(struct buf *out, bool *any, const char *word)
{
	buf_append_str(out, *any ? " " : "");
	buf_append_str(out, word);
	*any = true;
}

static bool
is_forwarded(const char *keyword)
{
	return view_case_eq_str(view_of(keyword), "$Forwarded");
}

static void
write_keywords(struct imapd_session *s, struct buf *out, bool *any, const struct message_info *info)
{
	const char *name;

	for (unsigned word = 0; word < STORE_MAX_KEYWORDS / 64; word++) {
		uint64_t bits = info->keywords.bits[word];

		for (unsigned i = word * 64; bits != 0; bits >>= 1, i++) {
			if (!(bits & 1) || (name = mailbox_keyword(s->selected.box, i)) == NULL)
				continue;
			/* the letter P says it already */
			if (!(info->flags & FLAG_PASSED) || !is_forwarded(name))
				write_word(out, any, name);
		}
	}
}

void
imapd_write_flags(
    struct imapd_session *s, struct buf *out, const struct message_info *info, bool is_recent)
{
	bool any = false;

	buf_append_byte(out, '(');
	for (size_t i = 0; i < sizeof flag_names / sizeof flag_names[0]; i++)
		if (info->flags & flag_names[i].flag)
			write_word(out, &any, flag_names[i].name);
	if (is_recent)
		write_word(out, &any, "\\Recent");
	write_keywords(s, out, &any, info);
	buf_append_byte(out, ')');
}

static void
write_known_flags(struct imapd_session *s, struct buf *out, unsigned *count)
{
	bool any = false;
	const char *name;

	for (size_t i = 0; i < sizeof flag_names / sizeof flag_names[0]; i++)
		write_word(out, &any, flag_names[i].name);
	for (*count = 0; (name = mailbox_keyword(s->selected.box, *count)) != NULL; ++*count)
		if (!is_forwarded(name))
			write_word(out, &any, name);
}

void
imapd_tell_keywords(struct imapd_session *s, bool always)
{
	struct imapd_selected *sel = &s->selected;
	struct buf flags;
	unsigned count;

	if (!always && mailbox_keyword(sel->box, sel->keywords_told) == NULL)
		return;
	buf_init(&flags, 1 << 20);
	write_known_flags(s, &flags, &count);
	imapd_send(s, "* FLAGS (%s)\r\n", buf_cstr(&flags));
	if (sel->is_read_only)
		imapd_send(s, "* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n");
	else
		imapd_send(s, "* OK [PERMANENTFLAGS (%s%s)] Flags permitted.\r\n", buf_cstr(&flags),
		    count < STORE_MAX_KEYWORDS ? " \\*" : "");
	sel->keywords_told = count;
	buf_clear(&flags);
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void
imapd_news_start(struct imapd_session *s, bool with_expunge, bool with_uid)
{
	struct imapd_selected *sel = &s->selected;

	imapd_selected_collect(s);
	if (sel->nchanged > 1)
		qsort(sel->changed, sel->nchanged, sizeof sel->changed[0], by_number);
	s->news = (struct imapd_news){
		.phase = with_expunge && sel->snapshot.gone > 0 ? NEWS_EXPUNGE : NEWS_EXISTS,
		.with_expunge = with_expunge,
		.with_uid = with_uid,
		.below = (uint32_t)sel->snapshot.count + 1,
	};
}

static void
tell_expunge(struct imapd_session *s)
{
	struct imapd_selected *sel = &s->selected;
	uint32_t seq = imap_snapshot_next_gone(&sel->snapshot, s->news.below);

	if (seq == 0) {
		imap_snapshot_compact(&sel->snapshot, s->news.below);
		s->news.phase = NEWS_EXISTS;
		return;
	}
	s->news.below = seq;
	/* one that came and went before its EXISTS never was there for the client */
	if (seq <= sel->exists_told) {
		imapd_send(s, "* %u EXPUNGE\r\n", seq);
		sel->exists_told--;
	}
}

static void
tell_exists(struct imapd_session *s)
{
	struct imapd_selected *sel = &s->selected;

	if (sel->snapshot.count != sel->exists_told)
		imapd_send(s, "* %zu EXISTS\r\n", sel->snapshot.count);
	if (sel->snapshot.count != sel->exists_told || sel->snapshot.recent != sel->recent_told)
		imapd_send(s, "* %zu RECENT\r\n", sel->snapshot.recent);
	sel->exists_told = sel->snapshot.count;
	sel->recent_told = sel->snapshot.recent;
	s->news.phase = NEWS_FLAGS;
}

static void
tell_flags(struct imapd_session *s, uint32_t uid)
{
	struct imapd_selected *sel = &s->selected;
	uint32_t seq = imap_snapshot_seq(&sel->snapshot, uid);
	struct message_info info;
	struct err err;

	if (seq == 0 || (sel->snapshot.states[seq - 1] & SNAPSHOT_GONE) ||
	    mailbox_get(sel->box, uid, &info, &err) != 0)
		return;
	imapd_tell_keywords(s, false);
	imapd_send(s, "* %u FETCH (", seq);
	if (s->news.with_uid)
		imapd_send(s, "UID %u ", uid);
	buf_append_str(&s->out, "FLAGS ");
	imapd_write_flags(s, &s->out, &info, sel->snapshot.states[seq - 1] & SNAPSHOT_RECENT);
	buf_append_str(&s->out, ")\r\n");
}

bool
imapd_news_step(struct imapd_session *s)
{
	struct imapd_selected *sel = &s->selected;
	enum { LINES_PER_STEP = 100 };

	for (int i = 0; i < LINES_PER_STEP; i++) {
		switch (s->news.phase) {
		case NEWS_EXPUNGE:
			tell_expunge(s);
			break;
		case NEWS_EXISTS:
			tell_exists(s);
			break;
		case NEWS_FLAGS:
			if (s->news.at < sel->nchanged) {
				uint32_t uid = sel->changed[s->news.at++];

				if (s->news.at == sel->nchanged || sel->changed[s->news.at] != uid)
					tell_flags(s, uid);
				break;
			}
			sel->nchanged = 0;
			s->news.phase = NEWS_OFF;
			return true;
		default:
			bug("news not started");
		}
	}
	return false;
}
