/* Who is told what, and when: NOTIFY, RET, delay warnings, senders that cannot be reached. */
#include "tests/unit/qmgr/fixture.h"

#include "common/ipc/msg/authd.h"
#include "qmgr/report.h"

static const struct fix_mail plain = { .sender = "alice@example.test",
	.headers = "Received: x\r\n",
	.body = "Subject: hi\r\n\r\nhello\r\n",
	.rcpts = { "bob@example.test" } };

static size_t
count_notices(const struct fixture *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->njobs; i++)
		n += f->jobs[i].sender[0] == '\0';
	return n;
}

/* Sends m, answers for all recipients, answers notices with success; how many notices were there? */
static size_t
notices_for(struct fixture *f, const struct fix_mail *m, enum delivery_status status)
{
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;
	size_t n;

	fix_forget_jobs(f);
	fix_send(f, m, id);
	j = fix_next_job(f);
	for (size_t i = 0; i < j->nrcpts; i++)
		fix_answer(j, i, status, status == DELIVERY_SENT ? "2.0.0" : "5.0.0", "reason");
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; !fix_is_empty(f);) {
		assert_true(clock_mono_ms() < end);
		fix_turn(f, 1);
		fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	}
	n = count_notices(f);
	return n;
}

static void
test_notify(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;

	fix_start(f);
	assert_int_equal(notices_for(f, &m, DELIVERY_BOUNCED), 1);
	assert_int_equal(notices_for(f, &m, DELIVERY_SENT), 0);
	m.notify = NOTIFY_NEVER;
	assert_int_equal(notices_for(f, &m, DELIVERY_BOUNCED), 0);
	m.notify = NOTIFY_SUCCESS;
	assert_int_equal(notices_for(f, &m, DELIVERY_BOUNCED), 0);
	assert_int_equal(notices_for(f, &m, DELIVERY_SENT), 1);
	assert_non_null(strstr(f->jobs[1].text, "Action: delivered\r\n"));
	m.notify = NOTIFY_FAILURE | NOTIFY_SUCCESS;
	assert_int_equal(notices_for(f, &m, DELIVERY_BOUNCED), 1);
	/* RFC 3461 5.2.1, 5.2.2: a relayed message takes its NOTIFY with it, or the sender hears of it here */
	m.rcpts[0] = "smtp:bob@remote.test";
	fix_relay_flags = RELAY_TOOK_DSN;
	assert_int_equal(notices_for(f, &m, DELIVERY_SENT), 0);
	fix_relay_flags = 0;
	assert_int_equal(notices_for(f, &m, DELIVERY_SENT), 1);
	assert_non_null(strstr(f->jobs[1].text, "Action: relayed\r\n"));
	m.notify = 0;
	assert_int_equal(notices_for(f, &m, DELIVERY_SENT), 0);
	/* nobody to tell */
	m = plain;
	m.sender = "";
	assert_int_equal(
	    notices_for(f, &m, DELIVERY_BOUNCED), 1); /* the message itself has no sender */
	assert_int_equal(f->njobs, 1);
}

static void
test_mixed_outcomes(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	m.notify = NOTIFY_SUCCESS | NOTIFY_FAILURE;
	m.rcpts[1] = "carol@example.test";
	m.rcpts[2] = "dave@example.test";
	fix_start(f);
	fix_send(f, &m, id);
	j = fix_next_job(f);
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_answer(j, 1, DELIVERY_BOUNCED, "5.0.0", "no");
	fix_answer(j, 2, DELIVERY_DEFERRED, "4.0.0", "later");
	fix_next_job(f)->is_answered = true;
	fix_next_job(f);
	assert_int_equal(count_notices(f), 2);
	for (size_t i = 1; i < 3; i++) {
		bool is_success = strstr(f->jobs[i].text, "Action: delivered") != NULL;

		assert_non_null(strstr(f->jobs[i].text, is_success ? "bob@" : "carol@"));
		assert_null(strstr(f->jobs[i].text, is_success ? "carol@" : "bob@"));
		assert_null(strstr(f->jobs[i].text, "dave@"));
	}
	fix_restart(f); /* nobody is told twice, dave still waits */
	assert_int_equal(queue_count(f->queue), 3);
}

static void
test_ret_and_size(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	char *big = x_malloc(70001);

	fix_start(f);
	notices_for(f, &m, DELIVERY_BOUNCED);
	assert_non_null(strstr(f->jobs[1].text, "Content-Type: message/rfc822"));
	assert_non_null(strstr(f->jobs[1].text, "\r\nhello\r\n"));
	m.flags = ENVELOPE_RET_HDRS;
	notices_for(f, &m, DELIVERY_BOUNCED);
	assert_non_null(strstr(f->jobs[1].text, "Content-Type: text/rfc822-headers"));
	assert_non_null(strstr(f->jobs[1].text, "Received: x\r\nSubject: hi\r\n"));
	assert_null(strstr(f->jobs[1].text, "\r\nhello\r\n"));
	memset(big, 'y', 70000);
	big[70000] = '\0';
	memcpy(big, "A: b\r\n\r\n", 8);
	m.flags = 0;
	m.body = big;
	notices_for(f, &m, DELIVERY_BOUNCED);
	assert_non_null(strstr(f->jobs[1].text, "Content-Type: text/rfc822-headers"));
	assert_true(strlen(f->jobs[1].text) < 5000);
	free(big);
}

static bool
is_settled(struct fixture *f)
{
	struct message *m = NULL;

	while ((m = queue_next(f->queue, m)) != NULL) {
		if (!m->is_bounce && (m->state != MESSAGE_WAITING || m->is_busy))
			return false;
	}
	return queue_is_quiet(f->queue);
}

static void
test_delay_warning(void **state)
{
	struct fixture *f = *state;
	struct queue_id q;
	char id[QUEUE_ID_TEXT];

	f->qc.delay_warning_ms = 4 * 3600 * 1000;
	fix_start(f);
	fix_send(f, &plain, id);
	queue_id_parse(view_of(id), &q);
	fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.4.1", "no route");
	fix_run(f, is_settled);
	assert_int_equal(count_notices(f), 0);
	for (int i = 0; i < 3; i++) {
		queue_find(f->queue, q)->born_ms -= 4 * 3600 * 1000;
		queue_flush(f->queue, queue_find(f->queue, q));
		fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.4.1", "no route");
		fix_run(f, is_settled);
		fix_turn(f, 20);
		fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
		assert_int_equal(count_notices(f), i < 2 ? 1 : 0);
		if (i == 1)
			fix_restart(f); /* it is remembered on disk */
	}
}

/* The notice of a message that has a file waits until the file says it, too: whoever looks at the queue meanwhile and flushes or
 * deletes all that waits, meets it.  Returns how many notices were delivered. */
static size_t
meddled_with(struct fixture *f, void (*meddle)(struct fixture *f, struct message *notice))
{
	struct queue_id q;
	char id[QUEUE_ID_TEXT];

	fix_forget_jobs(f);
	fix_send(f, &plain, id);
	queue_id_parse(view_of(id), &q);
	fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.4.1", "no route");
	fix_run(f, is_settled);
	queue_flush(f->queue, queue_find(f->queue, q));
	fix_answer(fix_next_job(f), 0, DELIVERY_BOUNCED, "5.1.1", "unknown user");
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; !fix_is_empty(f);) {
		struct message *m = NULL;

		assert_true(clock_mono_ms() < end);
		loop_run_once(f->loop, false);
		while ((m = queue_next(f->queue, m)) != NULL) {
			if (m->is_bounce && m->state == MESSAGE_WAITING && m->wants == 0)
				meddle(f, m);
		}
		fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	}
	fix_turn(f, 20);
	return count_notices(f);
}

static void
flush_it(struct fixture *f, struct message *notice)
{
	queue_flush(f->queue, notice);
}

static void
delete_it(struct fixture *f, struct message *notice)
{
	queue_want(f->queue, notice, WANT_DELETE, NULL, NULL);
}

static void
test_a_notice_that_waits_for_its_message(void **state)
{
	struct fixture *f = *state;

	fix_start(f);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(meddled_with(f, flush_it), 1);
		assert_int_equal(meddled_with(f, delete_it), 0);
	}
}

/* authd does not answer: the failure waits with its notice; the sender does not exist: it is dropped. */
static void
test_unreachable_sender(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];

	fix_start(f);
	f->resolve_status = AUTHD_TEMP;
	fix_send(f, &plain, id);
	fix_answer(fix_next_job(f), 0, DELIVERY_BOUNCED, "5.1.1", "no");
	while (f->resolved == 0)
		fix_turn(f, 1);
	fix_turn(f, 20);
	assert_int_equal(queue_count(f->queue), 1);
	f->resolve_status = AUTHD_NO;
	fix_restart(f); /* it was not durable: bob is tried once more */
	fix_answer(fix_next_job(f), 0, DELIVERY_BOUNCED, "5.1.1", "no");
	fix_run(f, fix_is_empty);
	assert_int_equal(f->njobs, 1);
}

/* --- what the postmaster gets (notify_classes) --- */
static const char postmaster[] = "double-bounce@example.test";

/* The job of a notice to this recipient, among those of the last round; NULL: there is none. */
static const struct fix_job *
notice_to(const struct fixture *f, const char *address)
{
	for (size_t i = 1; i < f->njobs; i++)
		if (strcmp(f->jobs[i].rcpts[0].address, address) == 0)
			return &f->jobs[i];
	return NULL;
}

static void
test_bounce_copies(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	const struct fix_job *copy;

	f->qc.has_bounce_copies = f->qc.has_double_bounces = true;
	f->qc.double_bounce = postmaster;
	fix_start(f);
	notices_for(f, &m, DELIVERY_BOUNCED);
	assert_int_equal(f->njobs, 3);
	assert_non_null(notice_to(f, "alice@example.test"));
	copy = notice_to(f, "copies@example.test");
	assert_non_null(copy);
	assert_string_equal(copy->sender, postmaster);
	assert_non_null(strstr(copy->text, "Subject: Postmaster Copy: Undelivered Mail\r\n"));
	assert_non_null(strstr(copy->text, "Content-Type: text/rfc822-headers\r\n"));
	assert_null(strstr(copy->text, "\r\nhello\r\n"));
	/* NOTIFY is the sender's wish */
	m.notify = NOTIFY_NEVER;
	notices_for(f, &m, DELIVERY_BOUNCED);
	assert_int_equal(f->njobs, 2);
	assert_non_null(notice_to(f, "copies@example.test"));
	notices_for(f, &m, DELIVERY_SENT);
	assert_int_equal(f->njobs, 1);
}

/* RFC 5321 6.1: what has no sender, or one that does not exist here, is the postmaster's; and what goes to him nobody's. */
static void
test_double_bounces(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	const struct fix_job *copy;
	char id[QUEUE_ID_TEXT];

	f->qc.has_double_bounces = true;
	f->qc.double_bounce = postmaster;
	fix_start(f);
	m.sender = "";
	notices_for(f, &m, DELIVERY_BOUNCED);
	copy = notice_to(f, "doubles@example.test");
	assert_int_equal(f->njobs, 2);
	assert_non_null(copy);
	assert_string_equal(copy->sender, postmaster);
	assert_non_null(strstr(copy->text, "\r\nhello\r\n"));
	m.sender = "nobody@example.test";
	notices_for(f, &m, DELIVERY_BOUNCED);
	copy = notice_to(f, "doubles@example.test");
	assert_int_equal(f->njobs, 2);
	assert_non_null(copy);
	assert_non_null(strstr(copy->text, "X-Estafeta-Sender: rfc822; nobody@example.test\r\n"));
	assert_non_null(strstr(copy->text, "Subject: Postmaster Copy: Undelivered Mail\r\n"));
	m.sender = "Double-Bounce@example.test";
	notices_for(f, &m, DELIVERY_BOUNCED);
	assert_int_equal(f->njobs, 1);
	/* a chain of failures ends */
	fix_forget_jobs(f);
	fix_send(f, &plain, id);
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; !fix_is_empty(f);) {
		assert_true(clock_mono_ms() < end);
		fix_turn(f, 1);
		fix_answer_all(f, DELIVERY_BOUNCED, "5.1.1", "no");
	}
	assert_int_equal(f->njobs, 3); /* the message, the bounce, the double bounce */
}

static void
deferred_once(struct fixture *f, struct message *m)
{
	m->born_ms -= 4 * 3600 * 1000;
	queue_flush(f->queue, m);
	fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.4.1", "no route");
	fix_run(f, is_settled);
	fix_turn(f, 20);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_turn(f, 20);
}

static void
test_delay_copies(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	struct queue_id q;
	char id[QUEUE_ID_TEXT];

	f->qc.delay_warning_ms = 3600 * 1000;
	f->qc.has_delay_copies = true;
	fix_start(f);
	for (int with_notify = 0; with_notify < 2; with_notify++) {
		fix_forget_jobs(f);
		m.notify = with_notify ? NOTIFY_FAILURE : 0;
		fix_send(f, &m, id);
		queue_id_parse(view_of(id), &q);
		fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.4.1", "no route");
		fix_run(f, is_settled);
		deferred_once(f, queue_find(f->queue, q));
		assert_non_null(notice_to(f, "delays@example.test"));
		assert_int_equal(notice_to(f, "alice@example.test") != NULL, !with_notify);
		fix_forget_jobs(f);
		deferred_once(f, queue_find(f->queue, q));
		assert_int_equal(f->njobs, 1); /* once */
	}
}

/* The end of a delay is told to whoever was told of its beginning, across a restart. */
static void
test_delay_cleared(void **state)
{
	struct fixture *f = *state;
	struct queue_id q;
	char id[QUEUE_ID_TEXT];

	for (int is_on = 0; is_on < 2; is_on++) {
		f->qc.delay_warning_ms = 3600 * 1000;
		f->qc.confirm_delay_cleared = is_on;
		fix_start(f);
		fix_send(f, &plain, id);
		queue_id_parse(view_of(id), &q);
		fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.4.1", "no route");
		fix_run(f, is_settled);
		deferred_once(f, queue_find(f->queue, q));
		fix_restart(f);
		queue_flush(f->queue, queue_find(f->queue, q));
		for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; !fix_is_empty(f);) {
			assert_true(clock_mono_ms() < end);
			fix_turn(f, 1);
			fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
		}
		assert_int_equal(count_notices(f), is_on);
		if (is_on)
			assert_non_null(strstr(
			    notice_to(f, "alice@example.test")->text, "Action: delivered\r\n"));
		fix_stop(f);
	}
}

static void
test_soft_bounce(void **state)
{
	struct fixture *f = *state;
	struct message *m;
	char id[QUEUE_ID_TEXT];

	f->qc.soft_bounce = true;
	fix_start(f);
	fix_send(f, &plain, id);
	fix_answer(fix_next_job(f), 0, DELIVERY_BOUNCED, "5.1.1", "unknown user");
	fix_run(f, is_settled);
	assert_int_equal(queue_count(f->queue), 1);
	assert_int_equal(f->njobs, 1);
	m = queue_next(f->queue, NULL);
	assert_int_equal(m->left, 1);
	queue_flush(f->queue, m);
	assert_int_equal(fix_next_job(f)->is_answered, false);
}

static void
test_delays(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = { { -5, "0" }, { 0, "0" }, { 4, "0" }, { 5, "0.01" }, { 10, "0.01" },
		{ 123, "0.12" }, { 100, "0.1" }, { 999, "1" }, { 1000, "1" }, { 1230, "1.2" },
		{ 1250, "1.3" }, { 9960, "10" }, { 12345, "12" }, { 432000000, "432000" } };
	char out[REPORT_DELAY];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(report_delay(cases[i].ms, out), cases[i].text);
}

/* The lines that pflogsumm and people's greps read. */
static void
test_log_lines(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	char id[QUEUE_ID_TEXT], path[96], *text, want[400];
	int fd, err = dup(STDERR_FILENO);

	snprintf(path, sizeof path, "%s/log", f->dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	fix_start(f);
	dup2(fd, STDERR_FILENO);
	m.rcpts[0] = "smtp:bob@remote.test";
	fix_send(f, &m, id);
	fix_answer(fix_next_job(f), 0, DELIVERY_BOUNCED, "5.1.1", "host said: 550 no");
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	fix_run(f, fix_is_empty);
	dup2(err, STDERR_FILENO);
	close(err);
	text = fix_read_fd(fd, 0);
	close(fd);
	snprintf(want, sizeof want,
	    ": %s: from=<alice@example.test>, size=35, nrcpt=1 (queue active)\n", id);
	assert_non_null(strstr(text, want));
	snprintf(want, sizeof want,
	    "smtp: %s: to=<bob@remote.test>, relay=mx.remote.test[192.0.2.1]:25, delay=", id);
	assert_non_null(strstr(text, want));
	assert_non_null(
	    strstr(text, "/0.02/0.03, dsn=5.1.1, status=bounced (host said: 550 no)\n"));
	snprintf(want, sizeof want, "bounce: %s: sender non-delivery notification: ", id);
	assert_non_null(strstr(text, want));
	snprintf(want, sizeof want, ": %s: removed\n", id);
	assert_non_null(strstr(text, want));
	assert_non_null(strstr(text, ": from=<>, size="));
	assert_non_null(strstr(text, "to=<alice@example.test>, relay=virtual, delay="));
	assert_non_null(strstr(text, "dsn=2.0.0, status=sent (delivered to maildir)\n"));
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_notify, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_mixed_outcomes, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_ret_and_size, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_delay_warning, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_a_notice_that_waits_for_its_message, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_unreachable_sender, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_bounce_copies, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_double_bounces, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_delay_copies, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_delay_cleared, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_soft_bounce, fix_setup, fix_teardown),
		cmocka_unit_test(test_delays),
		cmocka_unit_test_setup_teardown(test_log_lines, fix_setup, fix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
