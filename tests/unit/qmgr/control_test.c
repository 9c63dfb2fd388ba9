/* The tools' edge: list, show, delete, hold, release, requeue, flush, submit. */
#include "tests/unit/qmgr/fixture.h"

#include <pwd.h>
#include <sys/socket.h>

static const struct fix_mail plain = { .sender = "alice@example.test",
	.headers = "Received: x\r\n",
	.body = "Subject: hi\r\n\r\nhello\r\n",
	.rcpts = { "bob@example.test" } };

struct list {
	bool is_there;
	enum qmgr_list has_more;
	size_t count;
	char next[QUEUE_ID_TEXT];
	char entries[80][1024];
};

static void
on_list(void *arg, struct ipc_in *in)
{
	struct list *l = arg;

	l->is_there = true;
	assert_non_null(in);
	l->has_more = ipc_get_u32(in);
	snprintf(l->next, sizeof l->next, "%s", ipc_get_str(in));
	for (l->count = 0; ipc_in_more(in); l->count++) {
		struct view v = ipc_get_bytes(in);

		assert_true(l->count < 80 && v.len < 1024);
		memcpy(l->entries[l->count], v.p, v.len);
		l->entries[l->count][v.len] = '\0';
	}
}

static void
ask_list_of(struct fixture *f, const char *from, uint32_t kind, const char *value, struct list *l)
{
	int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS;
	struct ipc_out o;

	l->is_there = false;
	ipc_out_init(&o, QMGR_CTL_LIST);
	ipc_put_str(&o, from);
	if (kind != 0) {
		ipc_put_u32(&o, kind);
		ipc_put_str(&o, value);
	}
	ipc_conn_call(f->tool, &o, QMGR_LIST_SIG, FIX_TIMEOUT_MS, on_list, l);
	while (!l->is_there) {
		assert_true(clock_mono_ms() < end);
		loop_run_once(f->loop, false);
	}
}

static void
ask_list(struct fixture *f, const char *from, struct list *l)
{
	ask_list_of(f, from, 0, NULL, l);
}

static void
on_uus(void *arg, struct ipc_in *in)
{
	struct fix_reply *r = arg;

	r->is_there = true;
	r->is_null = in == NULL;
	if (in == NULL)
		return;
	r->status = ipc_get_u32(in);
	r->count = ipc_get_u32(in);
	snprintf(r->text, sizeof r->text, "%s", ipc_get_str(in));
}

static struct fix_reply
ask_of(struct fixture *f, uint16_t verb, const char *what, uint32_t kind, const char *value)
{
	struct fix_reply r = { .fd = -1 };
	struct ipc_out o;

	ipc_out_init(&o, verb);
	ipc_put_str(&o, what);
	if (kind != 0) {
		ipc_put_u32(&o, kind);
		ipc_put_str(&o, value);
	}
	ipc_conn_call(f->tool, &o, "uus", FIX_TIMEOUT_MS, on_uus, &r);
	fix_wait(f, &r);
	return r;
}

static struct fix_reply
ask(struct fixture *f, uint16_t verb, const char *what)
{
	return ask_of(f, verb, what, 0, NULL);
}

static struct message *
message_of(struct fixture *f, const char *id)
{
	struct queue_id q;

	assert_true(queue_id_parse(view_of(id), &q));
	return queue_find(f->queue, q);
}

static bool
all_wait_in_files(struct fixture *f)
{
	struct message *m = NULL;

	while ((m = queue_next(f->queue, m)) != NULL) {
		if (m->state != MESSAGE_WAITING || m->segment != NULL || m->is_busy)
			return false;
	}
	return queue_is_quiet(f->queue);
}

static void
defer_one(struct fixture *f, const struct fix_mail *m, char id[QUEUE_ID_TEXT])
{
	struct fix_job *j;

	fix_send(f, m, id);
	j = fix_next_job(f);
	for (size_t i = 0; i < j->nrcpts; i++)
		fix_answer(j, i, DELIVERY_DEFERRED, "4.2.2", "mailbox \"full\"");
	fix_run(f, all_wait_in_files);
}

static void
test_list(void **state)
{
	struct fixture *f = *state;
	static struct list l;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT], want[1000];

	fix_start(f);
	ask_list(f, "", &l);
	assert_int_equal(l.count, 0);
	defer_one(f, &plain, a);
	fix_send(f, &plain, b);
	fix_next_job(f);
	ask_list(f, "", &l);
	assert_int_equal(l.count, 2);
	assert_false(l.has_more);
	snprintf(want, sizeof want,
	    "{\"queue_name\":\"deferred\",\"queue_id\":\"%s\",\"arrival_time\":%lld,"
	    "\"message_size\":35,\"forced_expire\":false,\"sender\":\"alice@example.test\","
	    "\"recipients\":[{\"address\":\"bob@example.test\","
	    "\"delay_reason\":\"mailbox \\\"full\\\"\"}]}",
	    a, (long long)message_of(f, a)->arrival_ms / 1000);
	assert_string_equal(l.entries[0], want);
	assert_non_null(strstr(l.entries[1], "\"queue_name\":\"active\""));
	assert_non_null(strstr(l.entries[1], b));
	/* from disk, after a restart */
	fix_restart(f);
	ask_list(f, "", &l);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.entries[0], want);
}

static void
test_list_pages(void **state)
{
	struct fixture *f = *state;
	static struct list l;
	char id[QUEUE_ID_TEXT], last[QUEUE_ID_TEXT] = "";
	size_t seen = 0;

	f->qc.active_limit = 10;
	fix_start(f);
	for (int i = 0; i < 200; i++)
		fix_send(f, &plain, id);
	l.next[0] = '\0';
	do {
		char from[QUEUE_ID_TEXT];

		memcpy(from, l.next, sizeof from);
		ask_list(f, from, &l);
		assert_true(l.count > 0);
		fix_send(f, &plain, id); /* what comes meanwhile is not listed: it has an end */
		for (size_t i = 0; i < l.count; i++) {
			const char *at = strstr(l.entries[i], "\"queue_id\":\"") + 12;

			assert_true(strncmp(last, at, strcspn(at, "\"")) < 0);
			snprintf(last, sizeof last, "%.*s", (int)strcspn(at, "\""), at);
		}
		seen += l.count;
	} while (l.has_more);
	assert_int_equal(seen, 200);
}

/* Each condition alone, on a waiting message and on one that is being delivered. */
static void
test_conditions(void **state)
{
	static const struct {
		enum qmgr_filter kind;
		const char *value;
		bool first, second; /* are meant */
	} cases[] = {
		{ QMGR_FILTER_SENDER, "ALICE@example.test", true, false },
		{ QMGR_FILTER_SENDER, "", false, true },
		{ QMGR_FILTER_SENDER, "alice", false, false },
		{ QMGR_FILTER_RECIPIENT, "bob@example.test", true, false },
		{ QMGR_FILTER_RECIPIENT, "carol@example.test", false, false }, /* she has it */
		{ QMGR_FILTER_RECIPIENT, "Dave@remote.test", false, true },
		{ QMGR_FILTER_DOMAIN, "Remote.test", false, true },
		{ QMGR_FILTER_DOMAIN, "test", false, false },
		{ QMGR_FILTER_REASON, "IS full", true, false },
		{ QMGR_FILTER_REASON, "", true, true },
		{ QMGR_FILTER_QUEUE, "deferred", true, false },
		{ QMGR_FILTER_QUEUE, "active", false, true },
		{ QMGR_FILTER_OLDER, "0", true, true },
		{ QMGR_FILTER_OLDER, "3600", false, false },
		{ QMGR_FILTER_YOUNGER, "3600", true, true },
		{ QMGR_FILTER_LARGER, "35", false, true },
		{ QMGR_FILTER_SMALLER, "36", true, false },
	};
	struct fixture *f = *state;
	struct fix_mail first = plain, second = plain;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT];
	static struct list l;
	struct fix_job *j;

	first.rcpts[1] = "carol@example.test";
	second.sender = "";
	second.body = "Subject: longer\r\n\r\nhello\r\n";
	second.rcpts[0] = "smtp:dave@remote.test";
	fix_start(f);
	fix_send(f, &first, a);
	j = fix_next_job(f);
	fix_answer(j, 0, DELIVERY_DEFERRED, "4.2.2", "mailbox is full");
	fix_answer(j, 1, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, all_wait_in_files);
	fix_send(f, &second, b);
	fix_next_job(f);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ask_list_of(f, "", cases[i].kind, cases[i].value, &l);
		if (l.count != (size_t)cases[i].first + cases[i].second)
			fail_msg("case %zu: %zu messages", i, l.count);
		if (l.count == 1)
			assert_non_null(strstr(l.entries[0], cases[i].first ? a : b));
	}
	/* the same for actions; one that makes no sense changes nothing */
	assert_int_equal(ask_of(f, QMGR_CTL_DELETE, "ALL", 99, "x").status, QMGR_BAD);
	assert_int_equal(
	    ask_of(f, QMGR_CTL_DELETE, "ALL", QMGR_FILTER_OLDER, "-1").status, QMGR_BAD);
	assert_int_equal(
	    ask_of(f, QMGR_CTL_HOLD, "ALL", QMGR_FILTER_DOMAIN, "remote.test").count, 1);
	assert_true(message_of(f, b)->is_held);
	assert_int_equal(ask_of(f, QMGR_CTL_DELETE, b, QMGR_FILTER_REASON, "full").count, 0);
	assert_int_equal(ask_of(f, QMGR_CTL_DELETE, "ALL", QMGR_FILTER_REASON, "full").count, 1);
	assert_null(message_of(f, a));
	assert_int_equal(queue_count(f->queue), 1);
}

/* What the admin gives up on is tried once more and returned, also after a restart. */
static void
test_expire(void **state)
{
	struct fixture *f = *state;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT], c[QUEUE_ID_TEXT];
	static struct list l;
	size_t notices = 0;

	fix_start(f);
	defer_one(f, &plain, a);
	defer_one(f, &plain, b);
	assert_int_equal(ask(f, QMGR_CTL_HOLD, b).count, 1);
	fix_send(f, &plain, c);
	fix_next_job(f); /* c's, still in the journal */
	assert_int_equal(ask(f, QMGR_CTL_EXPIRE, "ALL").count, 3);
	assert_int_equal(ask(f, QMGR_CTL_EXPIRE, "ALL").count, 0);
	fix_restart(f);
	ask_list(f, "", &l);
	assert_int_equal(l.count, 3);
	for (size_t i = 0; i < l.count; i++)
		assert_non_null(strstr(l.entries[i], "\"forced_expire\":true"));
	for (int i = 0; i < 2; i++)
		fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.2.2", "still full");
	for (; notices < 2; notices++) {
		struct fix_job *j = fix_next_job(f);

		assert_string_equal(j->sender, "");
		assert_non_null(strstr(j->text, "Action: failed"));
		fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	}
	fix_run(f, all_wait_in_files);
	assert_int_equal(queue_count(f->queue), 1); /* the held one waits for its release */
	assert_int_equal(ask(f, QMGR_CTL_RELEASE, b).count, 1);
	fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.2.2", "still full");
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

static void
on_wish(void *arg, bool ok)
{
	*(int *)arg += ok;
}

/* A second wish that comes while the first is on its way to disk is met for itself. */
static void
test_wishes_overtake(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64];
	struct message *m;

	fix_start(f);
	defer_one(f, &plain, id);
	fix_deferred_path(id, path);
	m = message_of(f, id);
	queue_want(f->queue, m, WANT_HOLD, NULL, NULL);
	while (!m->is_busy)
		loop_run_once(f->loop, false);
	queue_want(f->queue, m, WANT_DELETE, NULL, NULL);
	fix_run(f, fix_is_empty);
	assert_false(fix_exists(f, path));
}

/* One that comes while the message is moved to a file of its own is met behind that, and who asked hears of it. */
static void
test_wishes_wait_for_the_file(void **state)
{
	static const unsigned wishes[] = { WANT_HOLD, WANT_DELETE };
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];

	fix_start(f);
	for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
		int told = 0;
		struct message *m;

		fix_send(f, &plain, id);
		m = message_of(f, id);
		fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.0.0", "later");
		while (!m->is_written)
			loop_run_once(f->loop, false);
		queue_want(f->queue, m, wishes[i], on_wish, &told);
		fix_run(f, fix_is_quiet);
		fix_turn(f, 200);
		assert_int_equal(told, 1);
		assert_true(wishes[i] == WANT_DELETE || m->is_held);
	}
}

static void
on_show(void *arg, struct ipc_in *in)
{
	struct fix_reply *r = arg;

	r->is_there = true;
	assert_non_null(in);
	r->status = ipc_get_u32(in);
	ipc_get_str(in);
	r->count = (uint32_t)ipc_get_bytes(in).len;
	r->fd = ipc_get_fd(in);
}

static void
test_show(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], *text;

	fix_start(f);
	fix_send(f, &plain, id);
	for (int i = 0; i < 3; i++) {
		struct fix_reply r = { .fd = -1 };
		struct ipc_out o;

		if (i == 1) {
			fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.0.0", "later");
			fix_run(f, all_wait_in_files);
		}
		ipc_out_init(&o, QMGR_CTL_SHOW);
		ipc_put_str(&o, i == 2 ? "0000100011z1" : id);
		ipc_conn_call(f->tool, &o, "usbh", FIX_TIMEOUT_MS, on_show, &r);
		fix_wait(f, &r);
		assert_int_equal(r.status, i == 2 ? QMGR_BAD : QMGR_OK);
		text = fix_read_fd(r.fd, 0);
		assert_string_equal(
		    text, i == 2 ? "" : "Received: x\r\nSubject: hi\r\n\r\nhello\r\n");
		assert_true(i == 2 || r.count > 0);
		free(text);
		close(r.fd);
	}
}

static void
test_delete(void **state)
{
	struct fixture *f = *state;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT], c[QUEUE_ID_TEXT], path[64];
	struct fix_reply r;

	fix_start(f);
	defer_one(f, &plain, a);
	r = ask(f, QMGR_CTL_DELETE, a);
	assert_int_equal(r.status, QMGR_OK);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.text, "Deleted: 1 message");
	fix_deferred_path(a, path);
	assert_false(fix_exists(f, path));
	fix_run(f, fix_is_empty);
	/* one that is being delivered: durable at once, forgotten when the answer is in */
	fix_send(f, &plain, b);
	fix_next_job(f);
	r = ask(f, QMGR_CTL_DELETE, b);
	assert_int_equal(r.count, 1);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 0);
	fix_send(f, &plain, b);
	fix_next_job(f);
	r = ask(f, QMGR_CTL_DELETE, b);
	assert_int_equal(r.count, 1);
	assert_int_equal(ask(f, QMGR_CTL_DELETE, b).status, QMGR_BAD);
	fix_answer(fix_next_job(f), 0, DELIVERY_BOUNCED, "5.1.1", "no");
	fix_run(f, fix_is_empty);
	/* ALL */
	for (int i = 0; i < 10; i++)
		defer_one(f, &plain, c);
	for (int i = 0; i < 10; i++)
		fix_send(f, &plain, c);
	r = ask(f, QMGR_CTL_DELETE, "ALL");
	assert_int_equal(r.count, 20);
	fix_answer_all(f, DELIVERY_DEFERRED, "4.0.0", "x");
	fix_run(f, fix_is_empty);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 0);
	assert_int_equal(ask(f, QMGR_CTL_DELETE, "nonsense").status, QMGR_BAD);
}

static void
test_hold(void **state)
{
	struct fixture *f = *state;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT];
	static struct list l;

	fix_start(f);
	defer_one(f, &plain, a);
	fix_send(f, &plain, b); /* in flight */
	fix_next_job(f);
	assert_int_equal(ask(f, QMGR_CTL_HOLD, "ALL").count, 2);
	assert_int_equal(ask(f, QMGR_CTL_HOLD, "ALL").count, 0);
	fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.0.0", "later");
	fix_run(f, all_wait_in_files);
	for (int i = 0; i < 2; i++) {
		ask_list(f, "", &l);
		assert_int_equal(l.count, 2);
		assert_non_null(strstr(l.entries[0], "\"hold\""));
		assert_non_null(strstr(l.entries[1], "\"hold\""));
		assert_int_equal(ask(f, QMGR_CTL_FLUSH, "").count, 0);
		fix_turn(f, 30);
		assert_false(fix_has_open_job(f));
		fix_restart(f);
	}
	assert_int_equal(ask(f, QMGR_CTL_RELEASE, a).count, 1);
	assert_string_equal(fix_next_job(f)->id, a);
	fix_restart(f); /* released for good */
	assert_string_equal(fix_next_job(f)->id, a);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	assert_int_equal(ask(f, QMGR_CTL_REQUEUE, b).count, 1);
	assert_string_equal(fix_next_job(f)->id, b);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* Held while still in the journal: it must not keep its segment for ever. */
static void
test_hold_in_journal(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];

	f->delivery_refused = true;
	fix_start(f);
	fix_send(f, &plain, id);
	assert_int_equal(ask(f, QMGR_CTL_HOLD, id).count, 1);
	fix_run(f, all_wait_in_files);
	assert_true(message_of(f, id)->is_held);
	fix_restart(f);
	assert_true(message_of(f, id)->is_held);
}

static void
test_flush(void **state)
{
	struct fixture *f = *state;
	struct fix_mail other = plain;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT];

	other.rcpts[0] = "smtp:carol@Remote.test";
	fix_start(f);
	defer_one(f, &plain, a);
	defer_one(f, &other, b);
	assert_int_equal(ask(f, QMGR_CTL_FLUSH, "nowhere.test").count, 0);
	assert_int_equal(ask(f, QMGR_CTL_FLUSH, "remote.test").count, 1);
	assert_string_equal(fix_next_job(f)->id, b);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	assert_int_equal(ask(f, QMGR_CTL_FLUSH, "").count, 1);
	assert_string_equal(fix_next_job(f)->id, a);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* --- submit --------------------------------------------------------------------------------------------------- */
static struct fix_reply
submit(struct fixture *f, const char *sender, const char *text, const char *rcpts, size_t rcpts_len)
{
	struct fix_reply r = { .fd = -1 };
	int content = memfd_sealed("c", text, strlen(text), NULL);
	int to = memfd_sealed("r", rcpts, rcpts_len, NULL);
	struct ipc_out o;

	ipc_out_init(&o, QMGR_CTL_SUBMIT);
	ipc_put_str(&o, sender);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, "Charlie \"Root\"");
	ipc_put_fd(&o, content);
	ipc_put_fd(&o, to);
	ipc_conn_call(f->tool, &o, "uss", FIX_TIMEOUT_MS, fix_on_begun, &r);
	fix_wait(f, &r);
	close(content);
	close(to);
	return r;
}

static void
test_submit(void **state)
{
	struct fixture *f = *state;
	struct fix_reply r;
	struct fix_job *j;

	fix_start(f);
	r = submit(f, "root", "Subject: job\n\nout\n", "bob\0carol@example.test\0bob", 26);
	assert_int_equal(r.status, QMGR_OK);
	j = fix_next_job(f);
	assert_string_equal(j->id, r.id);
	assert_string_equal(j->sender, "root@example.test");
	assert_int_equal(j->nrcpts, 2); /* bob once */
	assert_string_equal(j->rcpts[0].address, "bob@example.test");
	assert_memory_equal(
	    j->text, "Received: by mx.example.test (Estafeta, from userid 0)\r\n\tid ", 60);
	assert_non_null(strstr(j->text, "\r\nMessage-Id: <"));
	assert_non_null(strstr(j->text, "\r\nDate: "));
	assert_non_null(strstr(j->text, "\r\nFrom: \"Charlie  Root \" <root@example.test>\r\n"));
	assert_non_null(strstr(j->text, "Subject: job\r\n\r\nout\r\n"));
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	/* its own fields are kept, and a text without header gets an empty line */
	fix_forget_jobs(f);
	submit(f, "", "From: x@y\nMESSAGE-ID: <1@y>\nDate: now\n\nbody", "bob", 3);
	j = fix_next_job(f);
	assert_string_equal(j->sender, "");
	assert_null(strstr(j->text, "Message-Id"));
	assert_null(strstr(j->text, "MAILER-DAEMON"));
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	fix_forget_jobs(f);
	submit(f, "root", "just some text\n", "bob", 3);
	assert_non_null(strstr(fix_next_job(f)->text, "\r\n\r\njust some text\r\n"));
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	/* RFC 5321 2.3.8: a CR that ends no line goes no further */
	fix_forget_jobs(f);
	submit(f, "root", "Subject: 1%\r2%\n\nx\r.\ry\r\r\nz\r\nend\r", "bob", 3);
	assert_non_null(strstr(fix_next_job(f)->text, "Subject: 1% 2%\r\n\r\nx . y \r\nz\r\nend "));
}

static void
test_submit_completes_addresses(void **state)
{
	struct fixture *f = *state;

	fix_start(f);
	submit(f, "root",
	    "From: R\xf6\xf6t (it) <root>\nTo: bob,\n\tcarol@host ,\r\n dave@x.test\nX-To: bob\n"
	    "Cc: \"bob\nno field\nBcc: eve\n\nTo: bob\n",
	    "bob", 3);
	assert_non_null(strstr(fix_next_job(f)->text,
	    "\r\nFrom: R\xf6\xf6t (it) <root@example.test>\r\nTo: bob@example.test,\r\n\tcarol@host.d.test ,\r\n"
	    " dave@x.test\r\nX-To: bob\r\nCc: \"bob\r\nno field\r\nBcc: eve\r\n\r\nTo: bob\r\n"));
}

static void
test_submit_refused(void **state)
{
	struct fixture *f = *state;

	fix_start(f);
	assert_int_equal(submit(f, "root", "x\n", "", 0).status, QMGR_BAD);
	assert_int_equal(submit(f, "root", "x\n", "a b@c d", 7).status, QMGR_BAD);
	assert_int_equal(submit(f, "ro\not@x", "x\n", "bob", 3).status, QMGR_BAD);
	f->resolve_status = AUTHD_NO;
	assert_int_equal(submit(f, "root", "x\n", "bob", 3).status, QMGR_BAD);
	f->resolve_status = AUTHD_TEMP;
	assert_int_equal(submit(f, "root", "x\n", "bob", 3).status, QMGR_TEMP);
	assert_int_equal(queue_count(f->queue), 0);
}

/* A tool that goes away, or asks twice at once, hurts only itself. */
static void
test_rude_tool(void **state)
{
	struct fixture *f = *state;
	struct fix_reply r = { 0 };
	char id[QUEUE_ID_TEXT];
	struct ipc_out o;

	fix_start(f);
	defer_one(f, &plain, id);
	for (int i = 0; i < 2; i++) {
		ipc_out_init(&o, QMGR_CTL_HOLD);
		ipc_put_str(&o, "ALL");
		ipc_conn_call(f->tool, &o, "uus", FIX_TIMEOUT_MS, on_uus, &r);
	}
	fix_wait(f, &r);
	assert_true(r.is_null);
	fix_run(f, fix_is_quiet);
	assert_int_equal(queue_count(f->queue), 1);
}

/* --- other local users ------------------------------------------------------------------------------------------ */
enum { ALICE = 64001, BOB = 64002 };

/* The kernel's word on a socket pair is the effective uid of who made it. */
static int
open_as(struct fixture *f, uid_t uid)
{
	int sv[2];

	assert_int_equal(seteuid(uid), 0);
	fix_pair(sv);
	assert_int_equal(seteuid(0), 0);
	control_open(f->control, ipc_conn_new(f->loop, sv[0], &control_ops, NULL));
	return sv[1];
}

static bool
is_shut(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static void
wait_shut(struct fixture *f, int fd)
{
	int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS;

	while (!is_shut(fd)) {
		assert_true(clock_mono_ms() < end);
		loop_run_once(f->loop, false);
	}
}

/* The answer to a request from a tool of this user. */
static struct fix_reply
ask_as(struct fixture *f, uid_t uid, uint16_t verb, const char *what)
{
	struct ipc_conn *mine = f->tool;
	struct fix_reply r;

	f->tool = ipc_conn_new(f->loop, open_as(f, uid), &fix_client_ops, f);
	r = ask(f, verb, what);
	ipc_conn_close(f->tool);
	f->tool = mine;
	fix_turn(f, 1);
	return r;
}

static enum qmgr_list
list_as(struct fixture *f, uid_t uid)
{
	struct ipc_conn *mine = f->tool;
	static struct list l;

	f->tool = ipc_conn_new(f->loop, open_as(f, uid), &fix_client_ops, f);
	ask_list(f, "", &l);
	ipc_conn_close(f->tool);
	f->tool = mine;
	fix_turn(f, 1);
	return l.has_more;
}

static void
test_idle(void **state)
{
	struct fixture *f = *state;
	static struct list l;
	int fd;

	f->cc.idle_ms = 50;
	fix_start(f);
	fd = open_as(f, 0);
	wait_shut(f, fd);
	close(fd);
	/* the time runs between requests too */
	fd = open_as(f, 0);
	ipc_conn_close(f->tool);
	f->tool = ipc_conn_new(f->loop, fd, &fix_client_ops, f);
	ask_list(f, "", &l);
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; f->tool != NULL;) {
		assert_true(clock_mono_ms() < end);
		loop_run_once(f->loop, false);
	}
}

static void
test_crowd(void **state)
{
	struct fixture *f = *state;
	int fds[CONTROL_CONNS + 10], n = 0, late;
	static struct list l;
	struct ipc_conn *mine;

	if (geteuid() != 0)
		skip();
	fix_start(f);
	user_acl_init(&f->cc.mailq_users, "test", "static:anyone");
	/* one user */
	for (int i = 0; i < CONTROL_USER; i++)
		fds[n++] = open_as(f, ALICE);
	late = open_as(f, ALICE);
	assert_true(is_shut(late));
	close(late);
	assert_int_equal(list_as(f, BOB), QMGR_LIST_END);
	/* hers are served as others of hers go, in the order of their coming */
	mine = f->tool;
	f->tool = ipc_conn_new(f->loop, fds[CONTROL_SERVED], &fix_client_ops, f);
	l.is_there = false;
	{
		struct ipc_out o;

		ipc_out_init(&o, QMGR_CTL_LIST);
		ipc_put_str(&o, "");
		ipc_conn_call(f->tool, &o, QMGR_LIST_SIG, FIX_TIMEOUT_MS, on_list, &l);
	}
	fix_turn(f, 20);
	assert_false(l.is_there);
	close(fds[0]);
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; !l.is_there;) {
		assert_true(clock_mono_ms() < end);
		loop_run_once(f->loop, false);
	}
	ipc_conn_close(f->tool);
	f->tool = mine;
	fds[0] = fds[CONTROL_SERVED] = -1;
	fix_turn(f, 5);
	/* many users: root is served none the less */
	for (uid_t u = BOB; n < CONTROL_CONNS; n++)
		fds[n] = open_as(f, u + (uid_t)n / 50);
	assert_true(is_shut(fds[n - 1]));
	ask_list(f, "", &l);
	late = open_as(f, 0);
	fix_turn(f, 5);
	assert_false(is_shut(late));
	close(late);
	while (n > 0)
		if (fds[--n] >= 0)
			close(fds[n]);
	fix_turn(f, 300);
	assert_int_equal(list_as(f, ALICE), QMGR_LIST_END);
	user_acl_clear(&f->cc.mailq_users);
}

static void
test_authorized_users(void **state)
{
	struct fixture *f = *state;
	struct ipc_conn *mine;

	if (geteuid() != 0)
		skip();
	fix_start(f);
	assert_int_equal(list_as(f, ALICE), QMGR_LIST_DENIED);
	assert_int_equal(list_as(f, 0), QMGR_LIST_END);
	assert_int_equal(ask_as(f, ALICE, QMGR_CTL_FLUSH, "").status, QMGR_DENIED);
	assert_int_equal(ask_as(f, 0, QMGR_CTL_FLUSH, "").status, QMGR_OK);
	mine = f->tool;
	f->tool = ipc_conn_new(f->loop, open_as(f, ALICE), &fix_client_ops, f);
	assert_int_equal(submit(f, "a", "x\n", "bob", 3).status, QMGR_DENIED);
	user_acl_init(&f->cc.submit_users, "test", "static:anyone");
	assert_int_equal(submit(f, "a", "x\n", "bob", 3).status, QMGR_OK);
	ipc_conn_close(f->tool);
	f->tool = mine;
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	user_acl_init(&f->cc.flush_users, "test", "static:anyone");
	assert_int_equal(ask_as(f, ALICE, QMGR_CTL_FLUSH, "").status, QMGR_OK);
	assert_int_equal(ask_as(f, BOB, QMGR_CTL_FLUSH, "").status, QMGR_TEMP); /* again */
	assert_int_equal(ask_as(f, 0, QMGR_CTL_FLUSH, "").status, QMGR_OK);
	assert_int_equal(ask_as(f, ALICE, QMGR_CTL_DELETE, "ALL").status, QMGR_BAD); /* root's */
	user_acl_clear(&f->cc.submit_users);
	user_acl_clear(&f->cc.flush_users);
}

static void
test_user_acl(void **state)
{
	static const struct {
		const char *value;
		bool nobody, daemon, other;
	} cases[] = {
		{ "", false, false, false },
		{ "static:anyone", true, true, true },
		{ "nobody", true, false, false },
		{ "nobody daemon", true, true, false },
		{ "!nobody, static:all", false, true, true },
		{ "static:all, !nobody", true, true, true },
		{ "!static:all, nobody", false, false, false },
		{ "!!nobody", true, false, false },
		{ "no-such-user-here, daemon", false, true, false },
		{ "!no-such-user-here", false, false, false },
		{ "hash:/etc/users", false, false, false },
	};
	const uid_t nobody = getpwnam("nobody")->pw_uid, daemon = getpwnam("daemon")->pw_uid;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct user_acl a;

		user_acl_init(&a, "authorized_mailq_users", cases[i].value);
		assert_int_equal(user_acl_allows(&a, nobody), cases[i].nobody);
		assert_int_equal(user_acl_allows(&a, daemon), cases[i].daemon);
		assert_int_equal(user_acl_allows(&a, ALICE), cases[i].other);
		assert_true(user_acl_allows(&a, 0));
		user_acl_clear(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_list, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_list_pages, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_conditions, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_expire, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_wishes_overtake, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_wishes_wait_for_the_file, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_show, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_delete, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_hold, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_hold_in_journal, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_flush, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_submit, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_submit_completes_addresses, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_submit_refused, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_rude_tool, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_idle, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_crowd, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_authorized_users, fix_setup, fix_teardown),
		cmocka_unit_test(test_user_acl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
