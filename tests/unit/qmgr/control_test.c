/* The tools' edge: list, show, delete, hold, release, requeue, flush, submit. */
#include "tests/unit/qmgr/fixture.h"

static const struct fix_mail plain = { .sender = "alice@example.test",
	.headers = "Received: x\r\n",
	.body = "Subject: hi\r\n\r\nhello\r\n",
	.rcpts = { "bob@example.test" } };

struct list {
	bool is_there, has_more;
	size_t count;
	char entries[80][1024];
};

static void
on_list(void *arg, struct ipc_in *in)
{
	struct list *l = arg;

	l->is_there = true;
	assert_non_null(in);
	l->has_more = ipc_get_u32(in) != 0;
	for (l->count = 0; ipc_in_more(in); l->count++) {
		struct view v = ipc_get_bytes(in);

		assert_true(l->count < 80 && v.len < 1024);
		memcpy(l->entries[l->count], v.p, v.len);
		l->entries[l->count][v.len] = '\0';
	}
}

static void
ask_list(struct fixture *f, const char *after, struct list *l)
{
	int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS;
	struct ipc_out o;

	l->is_there = false;
	ipc_out_init(&o, QMGR_CTL_LIST);
	ipc_put_str(&o, after);
	ipc_conn_call(f->tool, &o, "u(b)", FIX_TIMEOUT_MS, on_list, l);
	while (!l->is_there) {
		assert_true(clock_mono_ms() < end);
		loop_run_once(f->loop, false);
	}
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
ask(struct fixture *f, uint16_t verb, const char *what)
{
	struct fix_reply r = { .fd = -1 };
	struct ipc_out o;

	ipc_out_init(&o, verb);
	ipc_put_str(&o, what);
	ipc_conn_call(f->tool, &o, "uus", FIX_TIMEOUT_MS, on_uus, &r);
	fix_wait(f, &r);
	return r;
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
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&f->queue->messages, &w)) != NULL) {
		const struct message *m = e->value;

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
	do {
		ask_list(f, last, &l);
		assert_true(l.count > 0);
		for (size_t i = 0; i < l.count; i++) {
			const char *at = strstr(l.entries[i], "\"queue_id\":\"") + 12;

			assert_true(strncmp(last, at, strcspn(at, "\"")) < 0);
			snprintf(last, sizeof last, "%.*s", (int)strcspn(at, "\""), at);
		}
		seen += l.count;
	} while (l.has_more);
	assert_int_equal(seen, 200);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_list, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_list_pages, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_show, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_delete, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_hold, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_hold_in_journal, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_flush, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_submit, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_submit_refused, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_rude_tool, fix_setup, fix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
