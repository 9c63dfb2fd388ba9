#include "tests/unit/common/store/store_fixture.h"

static const char mail[] = "Subject: one\n\nbody\nline 2\n";
static const char mail_crlf[] = "Subject: one\r\n\r\nbody\r\nline 2\r\n";

static void
read_is(struct fixture *f, struct mailbox *m, uint32_t uid, const char *want)
{
	struct buf b;

	buf_init(&b, 64 << 20);
	ok(f, mailbox_read(m, uid, &b, &f->err));
	assert_string_equal(buf_cstr(&b), want);
	buf_clear(&b);
}

static void
test_empty(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m = fixture_mailbox(f, "inbox", true);
	struct mailbox_status st;
	uint32_t *uids;
	size_t n;

	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.messages, 0);
	assert_int_equal(st.uidnext, 1);
	assert_true(st.uidvalidity > 1000000000);
	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	assert_int_equal(n, 0);
	mailbox_close(m);
	assert_non_null(strstr(fixture_read(f, "dovecot-uidlist"), "3 V"));
	assert_int_equal(mailbox_open(f->s, "Nothing", false, &m, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_GONE);
}

static void
test_append_and_read(void **state)
{
	struct fixture *f = *state;
	const char *keywords[] = { "$Label1", "Work", NULL };
	uint32_t uid = fixture_append(f, "INBOX", mail_crlf, FLAG_SEEN | FLAG_DRAFT, keywords);
	struct mailbox *m = fixture_mailbox(f, "INBOX", true);
	struct message_info i = fixture_get(f, m, uid);
	struct buf b;

	assert_int_equal(uid, 1);
	assert_int_equal(i.flags, FLAG_SEEN | FLAG_DRAFT | FLAG_RECENT);
	assert_int_equal(i.size, strlen(mail_crlf));
	assert_int_equal(i.internal_date, 1000000000);
	assert_string_equal(mailbox_keyword(m, 1), "Work");
	assert_int_equal(i.keywords.bits[0], 3);
	read_is(f, m, 1, mail_crlf);
	buf_init(&b, 1 << 20);
	ok(f, mailbox_read_header(m, 1, &b, &f->err));
	assert_string_equal(buf_cstr(&b), "Subject: one\r\n\r\n");
	buf_clear(&b);
	mailbox_close(m);
	/* the file is what a Maildir tool expects */
	assert_non_null(strstr(fixture_only_file(f, "cur"), ",S=26,W=30:2,DSab"));
	assert_int_equal(fixture_count_files(f, "tmp"), 0);
	assert_string_equal(fixture_read(f, "dovecot-keywords"), "0 $Label1\n1 Work\n");
	assert_non_null(strstr(fixture_read(f, "dovecot-uidlist"), "\n1 :"));
}

static void
test_append_in_pieces(void **state)
{
	struct fixture *f = *state;
	static const char text[] = "A: b\r\n\r\nx\r\r\n\ny\rz\n\r\n.\r\nlast\r";

	/* However it is cut, the same comes back: every LF as CRLF, all else as it was. */
	for (size_t cut = 1; cut < sizeof text - 1; cut++) {
		struct save_options o = { .internal_date = -1 };
		uint32_t uid, validity;
		struct save *v;
		struct mailbox *m;
		struct message_info i;
		struct buf b;

		ok(f, save_begin(f->s, "INBOX", &v, &f->err));
		ok(f, save_write(v, text, cut, &f->err));
		ok(f, save_write(v, text + cut, sizeof text - 1 - cut, &f->err));
		ok(f, save_finish(v, &o, &validity, &uid, &f->err));
		m = fixture_mailbox(f, "INBOX", false);
		i = fixture_get(f, m, uid);
		buf_init(&b, 1 << 20);
		ok(f, mailbox_read(m, uid, &b, &f->err));
		assert_int_equal(i.size, b.len);
		assert_int_equal(fixture_get(f, m, uid).size, b.len);
		if (cut == 1)
			assert_string_equal(
			    buf_cstr(&b), "A: b\r\n\r\nx\r\n\r\ny\rz\r\n\r\n.\r\nlast\r");
		buf_clear(&b);
		mailbox_close(m);
	}
}

static void
test_delivery(void **state)
{
	struct fixture *f = *state;
	struct mailbox *a = fixture_mailbox(f, "INBOX", true), *b;
	struct mailbox_status st;

	fixture_deliver(f, "new", "1700000002.M5P1.h", "B: 2\n\nx\n");
	fixture_deliver(f, "new", "1700000001.M9P1.h", "B: 1\n\nx\n");
	fixture_deliver(f, "new", "1700000002.M3P1.h", "B: 3\n\nx\n");
	ok(f, mailbox_refresh(a, true, &f->err));
	read_is(f, a, 1, "B: 1\r\n\r\nx\r\n");
	read_is(f, a, 2, "B: 3\r\n\r\nx\r\n");
	read_is(f, a, 3, "B: 2\r\n\r\nx\r\n");
	ok(f, mailbox_get_status(a, &st, &f->err));
	assert_int_equal(st.recent, 3);
	assert_int_equal(st.unseen, 3);
	assert_int_equal(fixture_count_files(f, "new"), 0);
	assert_int_equal(fixture_count_files(f, "cur"), 3);
	/* \Recent in one session only */
	b = fixture_mailbox(f, "INBOX", true);
	assert_false(mailbox_is_recent(b, 1));
	assert_true(mailbox_is_recent(a, 1));
	/* a session that does not claim leaves new mail in new/ */
	mailbox_close(a);
	a = fixture_mailbox(f, "INBOX", false);
	fixture_deliver(f, "new", "1700000009.M5P1.h", "B: 4\n\nx\n");
	ok(f, mailbox_refresh(a, false, &f->err));
	assert_int_equal(fixture_count_files(f, "new"), 1);
	ok(f, store_status(f->s, "INBOX", &st, &f->err));
	assert_int_equal(st.recent, 1);
	assert_int_equal(st.messages, 4);
	assert_false(mailbox_is_recent(a, 4));
	ok(f, mailbox_refresh(b, false, &f->err));
	assert_true(mailbox_is_recent(b, 4));
	mailbox_close(a);
	mailbox_close(b);
}

static void
store_flags(struct fixture *f, struct mailbox *m, uint32_t uid, enum store_mode mode,
    uint16_t flags, const char *keyword)
{
	struct keyword_set k = { 0 };
	uint32_t *refused;
	size_t n;

	if (keyword != NULL) {
		int number = mailbox_keyword_number(m, keyword, true, &f->err);

		assert_true(number >= 0);
		k.bits[number / 64] |= UINT64_C(1) << (number % 64);
	}
	ok(f, mailbox_store_flags(m, &uid, 1, mode, flags, &k, 0, &f->a, &refused, &n, &f->err));
	assert_int_equal(n, 0);
}

static void
test_flags(void **state)
{
	struct fixture *f = *state;
	uint32_t uid, *refused;
	struct mailbox *m;
	struct message_info i, j;
	struct mailbox_status st;
	uint64_t modseq;
	size_t n;

	fixture_deliver(f, "new", "1700000001.M1P1.h", mail);
	m = fixture_mailbox(f, "INBOX", false);
	uid = 1;
	i = fixture_get(f, m, uid);
	store_flags(f, m, 1, STORE_ADD, FLAG_SEEN | FLAG_FLAGGED, "$Junk");
	assert_string_equal(fixture_only_file(f, "cur"), "1700000001.M1P1.h:2,FSa");
	j = fixture_get(f, m, uid);
	assert_int_equal(j.flags, FLAG_SEEN | FLAG_FLAGGED);
	assert_true(j.modseq > i.modseq);
	store_flags(f, m, 1, STORE_ADD, FLAG_SEEN, NULL); /* nothing to do: no new modseq */
	assert_int_equal(fixture_get(f, m, uid).modseq, j.modseq);
	store_flags(f, m, 1, STORE_REMOVE, FLAG_FLAGGED, "$Junk");
	assert_string_equal(fixture_only_file(f, "cur"), "1700000001.M1P1.h:2,S");
	store_flags(f, m, 1, STORE_REPLACE, FLAG_DELETED | FLAG_PASSED, NULL);
	assert_string_equal(fixture_only_file(f, "cur"), "1700000001.M1P1.h:2,PT");
	modseq = fixture_get(f, m, uid).modseq;
	ok(f, mailbox_store_flags(m, &uid, 1, STORE_ADD, FLAG_SEEN, NULL, modseq - 1, &f->a,
		  &refused, &n, &f->err));
	assert_int_equal(n, 1);
	assert_int_equal(refused[0], 1);
	ok(f, mailbox_store_flags(
		  m, &uid, 1, STORE_ADD, FLAG_SEEN, NULL, modseq, &f->a, &refused, &n, &f->err));
	assert_int_equal(n, 0);
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.deleted, 1);
	assert_int_equal(st.unseen, 0);
	mailbox_close(m);
}

static void
test_expunge(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m;
	uint32_t uids[] = { 1, 2, 3, 77 }, *gone;
	struct mailbox_status st;
	struct message_info info;
	size_t n;

	for (int i = 0; i < 3; i++)
		fixture_append(f, "INBOX", mail, i == 1 ? FLAG_DELETED : 0, NULL);
	m = fixture_mailbox(f, "INBOX", false);
	ok(f, mailbox_expunge(m, uids, 4, true, &f->a, &gone, &n, &f->err));
	assert_int_equal(n, 1);
	assert_int_equal(gone[0], 2);
	assert_int_equal(mailbox_get(m, 2, &info, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_GONE);
	ok(f, mailbox_expunge(m, uids, 4, false, &f->a, &gone, &n, &f->err));
	assert_int_equal(n, 2);
	assert_int_equal(fixture_count_files(f, "cur"), 0);
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.uidnext, 4);
	assert_int_equal(st.size, 0);
	mailbox_close(m);
	assert_int_equal(fixture_append(f, "INBOX", mail, 0, NULL), 4);
}

struct events {
	char text[4096];
};
static bool
note_event(void *arg, uint32_t uid, const struct message_info *info)
{
	struct events *e = arg;
	size_t len = strlen(e->text);

	if (info == NULL)
		snprintf(e->text + len, sizeof e->text - len, "-%u ", uid);
	else
		snprintf(e->text + len, sizeof e->text - len, "%u:%x ", uid, info->flags);
	return true;
}

static void
test_changes(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m = fixture_mailbox(f, "INBOX", false);
	struct mailbox_status st;
	struct events e = { "" };
	uint32_t uid, *gone;
	uint64_t start;
	size_t n;

	for (int i = 0; i < 4; i++)
		fixture_append(f, "INBOX", mail, 0, NULL);
	ok(f, mailbox_get_status(m, &st, &f->err));
	start = st.highest_modseq;
	store_flags(f, m, 3, STORE_ADD, FLAG_SEEN, NULL);
	uid = 2;
	ok(f, mailbox_expunge(m, &uid, 1, false, &f->a, &gone, &n, &f->err));
	store_flags(f, m, 1, STORE_ADD, FLAG_DELETED, NULL);
	store_flags(f, m, 3, STORE_ADD, FLAG_ANSWERED, NULL);
	fixture_append(f, "INBOX", mail, FLAG_DRAFT, NULL);
	ok(f, mailbox_changes(m, start, note_event, &e, &f->err));
	assert_string_equal(e.text, "-2 1:8 3:3 5:10 ");
	ok(f, mailbox_get_status(m, &st, &f->err));
	e.text[0] = '\0';
	ok(f, mailbox_changes(m, st.highest_modseq, note_event, &e, &f->err));
	assert_string_equal(e.text, "");
	mailbox_close(m);
}

static void
test_changes_bounded(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m;
	struct mailbox_status st;
	struct events e = { "" };
	uint32_t uids[40], *gone;
	uint64_t start;
	size_t n;

	fixture_close(f);
	f->changes_kept = 10;
	fixture_open(f);
	for (uint32_t i = 0; i < 40; i++)
		uids[i] = fixture_append(f, "INBOX", mail, 0, NULL);
	m = fixture_mailbox(f, "INBOX", false);
	ok(f, mailbox_get_status(m, &st, &f->err));
	start = st.highest_modseq;
	for (int i = 0; i < 40; i++)
		ok(f, mailbox_expunge(m, &uids[i], 1, false, &f->a, &gone, &n, &f->err));
	assert_int_equal(mailbox_changes(m, start, note_event, &e, &f->err), 1);
	assert_int_equal(mailbox_changes(m, start + 29, note_event, &e, &f->err), 1);
	assert_int_equal(mailbox_changes(m, start + 35, note_event, &e, &f->err), 0);
	assert_string_equal(e.text, "-36 -37 -38 -39 -40 ");
	mailbox_close(m);
}

static void
test_copy(void **state)
{
	struct fixture *f = *state;
	const char *keywords[] = { "K1", "K2", NULL };
	uint32_t uids[] = { 1, 2, 9 };
	struct copy_result r;
	struct mailbox *m, *t;
	struct message_info a, b;

	ok(f, store_create(f->s, "Target", &f->err));
	fixture_append(f, "Target", mail, 0, (const char *const[]){ "Other", NULL });
	fixture_append(f, "INBOX", mail_crlf, FLAG_SEEN, keywords);
	fixture_append(f, "INBOX", mail_crlf, FLAG_FLAGGED, NULL);
	m = fixture_mailbox(f, "INBOX", false);
	ok(f, mailbox_copy(m, uids, 3, "Target", false, &f->a, &r, &f->err));
	assert_int_equal(r.count, 2);
	assert_int_equal(r.old_uids[1], 2);
	assert_int_equal(r.new_uids[0], 2);
	assert_int_equal(r.new_uids[1], 3);
	t = fixture_mailbox(f, "Target", false);
	a = fixture_get(f, m, 1);
	b = fixture_get(f, t, 2);
	assert_string_equal(a.guid, b.guid);
	assert_int_equal(b.flags, FLAG_SEEN);
	assert_int_equal(b.internal_date, 1000000000);
	assert_int_equal(b.keywords.bits[0], 6); /* numbered after "Other" */
	read_is(f, t, 2, mail_crlf);
	/* again, and within one mailbox: names of their own, same GUID */
	ok(f, mailbox_copy(m, uids, 1, "Target", false, &f->a, &r, &f->err));
	assert_int_equal(r.new_uids[0], 4);
	ok(f, mailbox_copy(m, uids, 1, "INBOX", false, &f->a, &r, &f->err));
	assert_int_equal(r.new_uids[0], 3);
	b = fixture_get(f, m, 3);
	assert_string_equal(a.guid, b.guid);
	assert_int_equal(mailbox_copy(m, uids, 1, "Nowhere", false, &f->a, &r, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_GONE);
	mailbox_close(m);
	mailbox_close(t);
}

static void
test_move(void **state)
{
	struct fixture *f = *state;
	uint32_t uids[] = { 1, 2 };
	struct copy_result r;
	struct mailbox *m, *t;
	struct events e = { "" };
	struct mailbox_status st;
	char *guid;

	ok(f, store_create(f->s, "Target", &f->err));
	fixture_append(f, "INBOX", mail, 0, NULL);
	fixture_append(f, "INBOX", mail, 0, NULL);
	fixture_append(f, "INBOX", mail, 0, NULL);
	m = fixture_mailbox(f, "INBOX", false);
	t = fixture_mailbox(f, "Target", false);
	guid = arena_strdup(&f->a, fixture_get(f, m, 1).guid);
	ok(f, mailbox_get_status(m, &st, &f->err));
	ok(f, mailbox_copy(m, uids, 2, "Target", true, &f->a, &r, &f->err));
	assert_int_equal(r.count, 2);
	ok(f, mailbox_changes(m, st.highest_modseq, note_event, &e, &f->err));
	assert_string_equal(e.text, "-1 -2 ");
	assert_string_equal(fixture_get(f, t, 1).guid, guid);
	assert_int_equal(fixture_count_files(f, "cur"), 1);
	assert_int_equal(fixture_count_files(f, ".Target/cur"), 2);
	/* back again: new UIDs, never the old ones */
	ok(f, mailbox_copy(t, uids, 2, "INBOX", true, &f->a, &r, &f->err));
	assert_int_equal(r.new_uids[0], 4);
	assert_int_equal(r.new_uids[1], 5);
	/* and to where it is */
	ok(f, mailbox_copy(m, (uint32_t[]){ 4 }, 1, "INBOX", true, &f->a, &r, &f->err));
	assert_int_equal(r.new_uids[0], 6);
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.messages, 3);
	mailbox_close(m);
	mailbox_close(t);
	f->err.text[0] = '\0';
	fixture_reopen(f);
	remove_all(fixture_path(f, "estafeta.index"));
	fixture_reopen(f);
	m = fixture_mailbox(f, "INBOX", false);
	assert_string_equal(fixture_get(f, m, 6).guid, guid); /* by its G field */
	mailbox_close(m);
}

static void
test_multi_append(void **state)
{
	struct fixture *f = *state;
	struct save_options o[3] = { { .internal_date = 5 }, { .internal_date = 6 },
		{ .internal_date = 7 } };
	const char *bad[] = { "bad keyword", NULL };
	struct mailbox_status st;
	uint32_t uids[3], validity;
	struct save *v[3];

	for (int i = 0; i < 3; i++) {
		ok(f, save_begin(f->s, "INBOX", &v[i], &f->err));
		ok(f, save_write(v[i], mail, strlen(mail), &f->err));
	}
	ok(f, save_finish_many(v, o, 3, &validity, uids, &f->err));
	assert_int_equal(uids[2], 3);
	/* one of them is refused: none comes */
	for (int i = 0; i < 3; i++)
		ok(f, save_begin(f->s, "INBOX", &v[i], &f->err));
	o[2].keywords = bad;
	assert_int_equal(save_finish_many(v, o, 3, &validity, uids, &f->err), -1);
	ok(f, store_status(f->s, "INBOX", &st, &f->err));
	assert_int_equal(st.messages, 3);
	assert_int_equal(fixture_count_files(f, "cur"), 3);
	assert_int_equal(fixture_count_files(f, "tmp"), 0);
	ok(f, save_begin(f->s, "INBOX", &v[0], &f->err));
	save_abort(v[0]);
	assert_int_equal(fixture_count_files(f, "tmp"), 0);
}

static char *
list(struct fixture *f, bool subscribed)
{
	struct mailbox_info *infos;
	struct buf b;
	char *text;
	size_t n;

	buf_init(&b, 1 << 20);
	ok(f, store_list(f->s, subscribed, &f->a, &infos, &n, &f->err));
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%s%s%s%s\n", infos[i].name, infos[i].exists ? "" : " (parent)",
		    infos[i].has_children ? " +" : "", infos[i].is_subscribed ? " subscribed" : "",
		    infos[i].special_use != NULL ? infos[i].special_use : "");
	text = arena_strdup(&f->a, b.len > 0 ? buf_cstr(&b) : "");
	buf_clear(&b);
	return text;
}

static void
test_tree(void **state)
{
	struct fixture *f = *state;
	struct mailbox_status a, b;
	struct mailbox *m;

	ok(f, store_create(f->s, "Work/Projects/2024", &f->err));
	ok(f, store_create(f->s, "Entw\xc3\xbcrfe", &f->err));
	ok(f, store_create(f->s, "Sent", &f->err));
	ok(f, store_subscribe(f->s, "Sent", true, &f->err));
	ok(f, store_subscribe(f->s, "Gone/x", true, &f->err));
	assert_string_equal(list(f, false),
	    "INBOX\nEntw\xc3\xbcrfe\nSent subscribed\\Sent\nWork (parent) +\nWork/Projects (parent) +\nWork/Projects/2024\n");
	assert_string_equal(list(f, true),
	    "INBOX\nEntw\xc3\xbcrfe\nGone/x (parent) subscribed\nSent subscribed\\Sent\nWork (parent) +\nWork/Projects (parent) +\nWork/Projects/2024\n");
	assert_string_equal(fixture_read(f, "subscriptions"), "V\t2\n\nGone\tx\nSent\n");
	assert_int_equal(access(fixture_path(f, ".Entw&APw-rfe/maildirfolder"), F_OK), 0);
	assert_int_equal(store_create(f->s, "Sent", &f->err), -1);
	assert_int_equal(f->err.kind, ERR_PERM);
	assert_int_equal(store_delete(f->s, "Work", &f->err), -1);
	assert_int_equal(store_delete(f->s, "INBOX", &f->err), -1);
	assert_int_equal(store_delete(f->s, "Missing", &f->err), -1);
	assert_int_equal(f->err.kind, ERR_GONE);
	/* with children: the name stays as a parent */
	ok(f, store_create(f->s, "Work", &f->err));
	fixture_append(f, "Work", mail, 0, NULL);
	m = fixture_mailbox(f, "Work", false);
	ok(f, store_status(f->s, "Work", &a, &f->err));
	assert_false(mailbox_is_gone(m));
	ok(f, store_delete(f->s, "Work", &f->err));
	assert_true(mailbox_is_gone(m));
	assert_int_equal(mailbox_refresh(m, false, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_GONE);
	mailbox_close(m);
	assert_non_null(strstr(list(f, false), "Work (parent) +\n"));
	/* made anew: another UIDVALIDITY */
	ok(f, store_create(f->s, "Work", &f->err));
	ok(f, store_status(f->s, "Work", &b, &f->err));
	assert_true(b.uidvalidity > a.uidvalidity);
	assert_int_equal(b.messages, 0);
	ok(f, store_subscribe(f->s, "Sent", false, &f->err));
	assert_null(strstr(list(f, false), "subscribed"));
}

static void
test_rename(void **state)
{
	struct fixture *f = *state;
	struct mailbox_status a, b;
	struct mailbox *m;

	ok(f, store_create(f->s, "A/B", &f->err));
	ok(f, store_create(f->s, "A/B/C", &f->err));
	ok(f, store_create(f->s, "AB", &f->err));
	fixture_append(f, "A/B/C", mail, FLAG_SEEN, NULL);
	ok(f, store_status(f->s, "A/B/C", &a, &f->err));
	m = fixture_mailbox(f, "A/B/C", false);
	assert_int_equal(store_rename(f->s, "A", "AB", &f->err), -1);
	assert_int_equal(store_rename(f->s, "A", "A/x", &f->err), -1);
	assert_int_equal(store_rename(f->s, "None", "X", &f->err), -1);
	assert_int_equal(f->err.kind, ERR_GONE);
	ok(f, store_rename(f->s, "A", "Z/Y", &f->err));
	assert_string_equal(
	    list(f, false), "INBOX\nAB\nZ (parent) +\nZ/Y (parent) +\nZ/Y/B +\nZ/Y/B/C\n");
	assert_true(mailbox_is_gone(m));
	mailbox_close(m);
	ok(f, store_status(f->s, "Z/Y/B/C", &b, &f->err));
	assert_int_equal(a.uidvalidity, b.uidvalidity);
	assert_int_equal(a.highest_modseq, b.highest_modseq);
	assert_string_equal(a.guid, b.guid);
	/* the old name again: not the old mailbox */
	ok(f, store_create(f->s, "A/B/C", &f->err));
	ok(f, store_status(f->s, "A/B/C", &b, &f->err));
	assert_true(b.uidvalidity > a.uidvalidity);
	/* INBOX */
	fixture_append(f, "INBOX", mail, 0, NULL);
	fixture_append(f, "INBOX", mail, 0, NULL);
	ok(f, store_rename(f->s, "INBOX", "Old", &f->err));
	ok(f, store_status(f->s, "Old", &a, &f->err));
	ok(f, store_status(f->s, "INBOX", &b, &f->err));
	assert_int_equal(a.messages, 2);
	assert_int_equal(b.messages, 0);
	assert_int_equal(b.uidnext, 3);
}

static void
test_names(void **state)
{
	static const char *const good[] = { "a", "INBOX/x", "\xe5\x8f\xb0\xe5\x8c\x97", "a b & c",
		"*%", "A/B/C" };
	static const char *const bad[] = { "", "/a", "a/", "a//b", "a.b", "..", ".", "~root",
		"a\nb", "a\x7f", "\xff", "\xc0\x80", "../x", "a/../b" };
	struct fixture *f = *state;
	char longname[300];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(store_name_is_valid(good[i]));
		ok(f, store_create(f->s, good[i], &f->err));
		assert_non_null(strstr(list(f, false), good[i]));
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_false(store_name_is_valid(bad[i]));
		assert_int_equal(store_create(f->s, bad[i], &f->err), -1);
	}
	memset(longname, 'x', sizeof longname);
	longname[299] = '\0';
	assert_int_equal(store_create(f->s, longname, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_LIMIT);
}

static void
test_utf8_folders(void **state)
{
	struct fixture *f = *state;
	struct mailbox_status st;

	mkdir(fixture_path(f, ".Entw\xc3\xbcrfe"), 0700); /* Courier 5 */
	fixture_reopen(f);
	ok(f, store_status(f->s, "Entw\xc3\xbcrfe", &st, &f->err));
	ok(f, store_create(f->s, "\xc3\x84", &f->err));
	assert_int_equal(access(fixture_path(f, ".\xc3\x84"), F_OK), 0);
}

static void
test_many_keywords(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m;
	char name[32], *before;
	int n;

	fixture_append(f, "INBOX", mail, 0, NULL);
	fixture_append(f, "INBOX", mail, 0, NULL);
	m = fixture_mailbox(f, "INBOX", false);
	for (int i = 0; i < STORE_MAX_KEYWORDS; i++) {
		snprintf(name, sizeof name, "key%d", i);
		assert_int_equal(mailbox_keyword_number(m, name, true, &f->err), i);
		assert_int_equal(mailbox_keyword_number(m, name, true, &f->err), i);
	}
	assert_int_equal(mailbox_keyword_number(m, "one-more", true, &f->err), -2);
	assert_int_equal(mailbox_keyword_number(m, "one-more", false, &f->err), -1);
	assert_null(mailbox_keyword(m, STORE_MAX_KEYWORDS));
	for (n = 0; n < STORE_MAX_KEYWORDS; n += 7) {
		snprintf(name, sizeof name, "KEY%d", n); /* without case */
		store_flags(f, m, 1 + (uint32_t)n % 2, STORE_ADD, 0, name);
	}
	store_flags(f, m, 1, STORE_REMOVE, 0, "key98");
	mailbox_close(m);
	before = fixture_describe(f, "INBOX", false);
	assert_non_null(strstr(before, "key126"));
	fixture_reopen(f);
	assert_string_equal(fixture_describe(f, "INBOX", true), fixture_describe(f, "INBOX", true));
	/* the texts alone give the same */
	fixture_close(f);
	remove_all(fixture_path(f, "estafeta.index"));
	fixture_open(f);
	assert_string_equal(fixture_describe(f, "INBOX", false), before);
	/* and the index alone */
	unlink(fixture_path(f, "estafeta-keywords"));
	unlink(fixture_path(f, "dovecot-keywords"));
	assert_string_equal(fixture_describe(f, "INBOX", false), before);
	fixture_close(f);
	remove_all(fixture_path(f, "estafeta.index"));
	fixture_open(f);
	assert_string_equal(fixture_describe(f, "INBOX", false), before);
}

static void
test_foreign_changes(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m;
	struct events e = { "" };
	struct mailbox_status st;
	char *name;

	fixture_append(f, "INBOX", mail, 0, NULL);
	m = fixture_mailbox(f, "INBOX", false);
	ok(f, mailbox_get_status(m, &st, &f->err));
	name = fixture_only_file(f, "cur");
	/* a MUA marks it */
	assert_int_equal(rename(fixture_path(f, arena_printf(&f->a, "cur/%s", name)),
			     fixture_path(f, arena_printf(&f->a, "cur/%sFS", name))),
	    0);
	read_is(f, m, 1, mail_crlf); /* found under its new name */
	ok(f, mailbox_refresh(m, true, &f->err));
	ok(f, mailbox_changes(m, st.highest_modseq, note_event, &e, &f->err));
	assert_string_equal(e.text, "1:5 ");
	/* adds one straight into cur/, with letters nobody has named */
	fixture_deliver(f, "cur", "1800000000.x.h:2,SZc", mail);
	ok(f, mailbox_refresh(m, false, &f->err));
	assert_int_equal(fixture_get(f, m, 2).flags, FLAG_SEEN);
	assert_string_equal(mailbox_keyword(m, 2), "unknown-2");
	store_flags(f, m, 2, STORE_ADD, FLAG_DELETED, NULL);
	assert_int_equal(access(fixture_path(f, "cur/1800000000.x.h:2,STZc"), F_OK), 0);
	/* keeps what is behind a second comma */
	assert_int_equal(rename(fixture_path(f, "cur/1800000000.x.h:2,STZc"),
			     fixture_path(f, "cur/1800000000.x.h:2,STZc,opaque")),
	    0);
	store_flags(f, m, 2, STORE_REMOVE, FLAG_DELETED, NULL);
	assert_int_equal(access(fixture_path(f, "cur/1800000000.x.h:2,SZc,opaque"), F_OK), 0);
	/* removes one */
	ok(f, mailbox_refresh(m, false, &f->err));
	ok(f, mailbox_get_status(m, &st, &f->err));
	e.text[0] = '\0';
	unlink(fixture_path(f, "cur/1800000000.x.h:2,SZc,opaque"));
	ok(f, mailbox_refresh(m, false, &f->err));
	ok(f, mailbox_changes(m, st.highest_modseq, note_event, &e, &f->err));
	assert_string_equal(e.text, "-2 ");
	/* puts it back: a new message */
	fixture_deliver(f, "cur", "1800000000.x.h:2,S", mail);
	ok(f, mailbox_refresh(m, false, &f->err));
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.uidnext, 4);
	/* two files with one base name are two messages */
	fixture_deliver(f, "cur", "1800000000.x.h:2,", "Subject: twin\n\n");
	ok(f, mailbox_refresh(m, false, &f->err));
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.messages, 3);
	assert_int_equal(fixture_count_files(f, "cur"), 3);
	mailbox_close(m);
}

static void
test_hostile_files(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m;
	struct mailbox_status st;
	struct buf b;

	fixture_write(f, "../secret", "Subject: secret\n\n");
	fixture_append(f, "INBOX", mail, 0, NULL);
	assert_int_equal(symlink("../../secret", fixture_path(f, "cur/1.link.h:2,")), 0);
	assert_int_equal(mkfifo(fixture_path(f, "cur/1.fifo.h:2,"), 0600), 0);
	assert_int_equal(mkdir(fixture_path(f, "cur/1.dir.h:2,"), 0700), 0);
	m = fixture_mailbox(f, "INBOX", true);
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.messages, 1);
	/* swapped under us */
	buf_init(&b, 1 << 20);
	{
		DIR *d = opendir(fixture_path(f, "cur"));
		struct dirent *e;

		while ((e = readdir(d)) != NULL)
			if (strstr(e->d_name, "test.host") != NULL) {
				char *path =
				    fixture_path(f, arena_printf(&f->a, "cur/%s", e->d_name));

				unlink(path);
				assert_int_equal(symlink("../../secret", path), 0);
				break;
			}
		closedir(d);
	}
	assert_int_equal(mailbox_read(m, 1, &b, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_GONE);
	buf_clear(&b);
	mailbox_close(m);
	/* folders and texts that are links, FIFOs, directories */
	assert_int_equal(symlink("..", fixture_path(f, ".Evil")), 0);
	assert_int_equal(mailbox_open(f->s, "Evil", false, &m, &f->err), -1);
	assert_null(strstr(list(f, false), "Evil"));
	unlink(fixture_path(f, "dovecot-uidlist"));
	assert_int_equal(symlink("../secret", fixture_path(f, "dovecot-uidlist")), 0);
	m = fixture_mailbox(f, "INBOX", true);
	mailbox_close(m);
	assert_string_equal(fixture_read(f, "../secret"), "Subject: secret\n\n");
	assert_int_equal(strncmp(fixture_read(f, "dovecot-uidlist"), "3 V", 3), 0);
	unlink(fixture_path(f, "dovecot-keywords"));
	assert_int_equal(mkfifo(fixture_path(f, "dovecot-keywords"), 0600), 0);
	fixture_append(f, "INBOX", mail, 0, (const char *const[]){ "K", NULL });
	assert_string_equal(fixture_read(f, "dovecot-keywords"), "0 K\n");
	/* the index itself as a link */
	fixture_close(f);
	remove_all(fixture_path(f, "estafeta.index"));
	assert_int_equal(symlink("..", fixture_path(f, "estafeta.index")), 0);
	fixture_open(f);
	m = fixture_mailbox(f, "INBOX", true);
	mailbox_close(m);
}

/* A line end in a name would forge a line of dovecot-uidlist: the file gets another name, the mail stays in reach. */
static void
test_control_names(void **state)
{
	struct fixture *f = *state;
	struct mailbox_status st;
	struct mailbox *m;
	char *text;

	fixture_append(f, "INBOX", mail, 0, NULL);
	fixture_deliver(f, "cur", "1.a\n7777 :forged:2,S", "Subject: a\r\n\r\n");
	fixture_deliver(f, "new", "1.b\n8888 :forged", "Subject: b\r\n\r\n");
	fixture_deliver(f, "cur", "1.c:2,FS\n9999", "Subject: c\r\n\r\n");
	fixture_deliver(f, "cur", "1.d\x1b[2J:2,", "Subject: d\r\n\r\n");
	for (int claim = 0; claim < 2; claim++) {
		m = fixture_mailbox(f, "INBOX", claim);
		ok(f, mailbox_get_status(m, &st, &f->err));
		assert_int_equal(st.messages, 5);
		assert_int_equal(st.uidnext, 6);
		mailbox_close(m);
		text = fixture_read(f, "dovecot-uidlist");
		assert_null(strstr(text, "forged"));
		assert_null(strpbrk(text, "\x1b"));
	}
	assert_non_null(strstr(fixture_describe(f, "INBOX", false), "flags=5"));
	/* where no other name can be given, it is left out */
	assert_int_equal(mkdir(fixture_path(f, "cur/2.e\n6666 :forged"), 0700), 0);
	m = fixture_mailbox(f, "INBOX", true);
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.messages, 5);
	mailbox_close(m);
	assert_null(strstr(fixture_read(f, "dovecot-uidlist"), "forged"));
}

static bool
take_size(void *arg, const struct message_info *info)
{
	struct message_info *to = arg;

	to[info->uid - 1] = *info;
	return true;
}

/* Names say what a message measures: where that can be.  Nothing is read for it before somebody asks. */
static void
test_sizes(void **state)
{
	static const char text[] = "Subject: s\n\nx\n"; /* 14 bytes, 17 with CRLF */
	static const struct {
		const char *name;
		bool is_measured;
		uint64_t size;
	} files[] = {
		{ "1.a,S=14,W=17:2,", true, 17 },
		{ "2.b,W=18:2,", true, 18 }, /* not true, and not to be seen as such */
		{ "3.c:2,", false, 14 },
		{ "4.d,S=99,W=17:2,", false, 14 },
		{ "5.e,S=14,W=13:2,", false, 14 },
		{ "6.f,S=14,W=29:2,", false, 14 },
		{ "7.g,S=14:2,", false, 14 },
	};
	enum { N = sizeof files / sizeof files[0] };
	struct fixture *f = *state;
	struct message_info infos[N + 1];
	struct mailbox_status st;
	struct mailbox *m;
	struct stat big;
	struct buf b;
	int fd;

	for (size_t i = 0; i < N; i++)
		fixture_deliver(f, "cur", files[i].name, text);
	fd = open(fixture_path(f, "cur/8.huge:2,"), O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(fd, text, 14), 14);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	assert_int_equal(fstat(fd, &big), 0);
	close(fd);
	m = fixture_mailbox(f, "INBOX", true);
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.unsized, 5);
	ok(f, mailbox_each(m, 1, UINT32_MAX, take_size, infos, &f->err));
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(infos[i].is_measured, files[i].is_measured);
		assert_int_equal(infos[i].size, files[i].size);
	}
	assert_int_equal(infos[N].size, big.st_size); /* nobody counts its lines */
	assert_true(infos[N].is_measured);
	unlink(fixture_path(f, "cur/7.g,S=14:2,"));
	assert_int_equal(mailbox_measure(m, infos, N + 1), N + 1);
	for (size_t i = 0; i < N - 1; i++)
		assert_int_equal(infos[i].size, i == 1 ? 18 : 17);
	assert_int_equal(infos[N - 1].size, 14); /* gone: what was known */
	ok(f, mailbox_measure_all(m, &f->err));
	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.unsized, 0);
	/* one who reads it knows better */
	buf_init(&b, 1 << 20);
	ok(f, mailbox_read(m, 2, &b, &f->err));
	assert_int_equal(fixture_get(f, m, 2).size, 17);
	/* of the large one the header, and the file for those who stream it; not the whole in memory */
	ok(f, mailbox_read_header(m, N + 1, &b, &f->err));
	assert_string_equal(buf_cstr(&b), "Subject: s\r\n\r\n");
	assert_int_equal(mailbox_read(m, N + 1, &b, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_LIMIT);
	fd = mailbox_open_file(m, N + 1, &infos[0].size, &f->err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(infos[0].size, big.st_size);
	buf_clear(&b);
	mailbox_close(m);
}

static void
test_pop3(void **state)
{
	struct fixture *f = *state;
	struct store_config c = {
		.maildir = f->maildir, .host = "h", .index_map_bytes = 1 << 20, .changes_kept = 10
	};
	struct mailbox_status st;
	struct mailbox *m;
	char uidl[71], want[71];

	ok(f, store_pop3_lock(f->s, &f->err));
	assert_int_equal(store_pop3_lock(f->s, &f->err), 1);
	(void)c;
	store_pop3_unlock(f->s);
	ok(f, store_pop3_lock(f->s, &f->err));
	store_pop3_unlock(f->s);
	fixture_append(f, "INBOX", mail, 0, NULL);
	m = fixture_mailbox(f, "INBOX", false);
	ok(f, mailbox_get_status(m, &st, &f->err));
	ok(f, mailbox_uidl(m, 1, uidl, &f->err));
	snprintf(want, sizeof want, "%08x%08x", 1, st.uidvalidity);
	assert_string_equal(uidl, want);
	mailbox_close(m);
}

static void
test_cache(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m, *t;
	struct copy_result r;
	struct buf b;

	ok(f, store_create(f->s, "T", &f->err));
	fixture_append(f, "INBOX", mail, 0, NULL);
	m = fixture_mailbox(f, "INBOX", false);
	buf_init(&b, 1 << 20);
	assert_int_equal(mailbox_cache_get(m, 1, 'e', &b, &f->err), 1);
	ok(f, mailbox_cache_put(m, 1, 'e', VIEW_LIT("envelope"), &f->err));
	ok(f, mailbox_cache_get(m, 1, 'e', &b, &f->err));
	assert_string_equal(buf_cstr(&b), "envelope");
	assert_int_equal(mailbox_cache_get(m, 1, 'b', &b, &f->err), 1);
	ok(f, mailbox_copy(m, (uint32_t[]){ 1 }, 1, "T", false, &f->a, &r, &f->err));
	mailbox_close(m);
	fixture_reopen(f);
	t = fixture_mailbox(f, "T", false);
	buf_reset(&b);
	ok(f, mailbox_cache_get(
		  t, 1, 'e', &b, &f->err)); /* belongs to the GUID, and outlives the process */
	assert_string_equal(buf_cstr(&b), "envelope");
	buf_clear(&b);
	mailbox_close(t);
}

static void
test_quota(void **state)
{
	struct fixture *f = *state;
	struct save_options o = { 0 };
	uint32_t uid, validity, *gone;
	struct mailbox *m;
	struct save *v;
	size_t n;

	fixture_close(f);
	f->quota = 60;
	fixture_open(f);
	fixture_append(f, "INBOX", mail, 0, NULL);
	fixture_append(f, "INBOX", mail, 0, NULL);
	assert_string_equal(fixture_read(f, "maildirsize"), "60S\n0 0\n26 1\n26 1\n");
	ok(f, save_begin(f->s, "INBOX", &v, &f->err));
	ok(f, save_write(v, mail, strlen(mail), &f->err));
	assert_int_equal(save_finish(v, &o, &validity, &uid, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_LIMIT);
	assert_string_equal(
	    fixture_read(f, "maildirsize"), "60S\n52 2\n"); /* counted anew before refusing */
	m = fixture_mailbox(f, "INBOX", false);
	ok(f, mailbox_expunge(m, (uint32_t[]){ 1 }, 1, false, &f->a, &gone, &n, &f->err));
	mailbox_close(m);
	assert_string_equal(fixture_read(f, "maildirsize"), "60S\n52 2\n-26 -1\n");
	fixture_append(f, "INBOX", mail, 0, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_empty),
		T(test_append_and_read),
		T(test_append_in_pieces),
		T(test_delivery),
		T(test_flags),
		T(test_expunge),
		T(test_changes),
		T(test_changes_bounded),
		T(test_copy),
		T(test_move),
		T(test_multi_append),
		T(test_tree),
		T(test_rename),
		T(test_names),
		T(test_utf8_folders),
		T(test_many_keywords),
		T(test_foreign_changes),
		T(test_hostile_files),
		T(test_control_names),
		T(test_sizes),
		T(test_pop3),
		T(test_cache),
		T(test_quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
