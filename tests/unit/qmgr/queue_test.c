/* The whole way of a message through qmgr, with fake smtpd, delivery, relay and authd. */
#include "tests/unit/qmgr/fixture.h"

static const struct fix_mail plain = { .sender = "alice@example.test",
	.headers = "Received: x\r\n",
	.body = "Subject: hi\r\n\r\nhello\r\n",
	.rcpts = { "bob@example.test" } };

static struct message *
message_of(struct fixture *f, const char *id)
{
	struct queue_id q;

	assert_true(queue_id_parse(view_of(id), &q));
	return queue_find(f->queue, q);
}

static void
test_sent(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	fix_start(f);
	fix_send(f, &plain, id);
	j = fix_next_job(f);
	assert_string_equal(j->id, id);
	assert_string_equal(j->sender, "alice@example.test");
	assert_string_equal(j->text, "Received: x\r\nSubject: hi\r\n\r\nhello\r\n");
	assert_int_equal(j->nrcpts, 1);
	assert_string_equal(j->rcpts[0].address, "bob@example.test");
	assert_int_equal(j->rcpts[0].flags, 0);
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	fix_run(f, fix_is_empty);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 0);
}

/* Restart before the answer: it is delivered again, and delivery is told to look first. */
static void
test_maybe_done(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	fix_start(f);
	fix_send(f, &plain, id);
	fix_next_job(f);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 1);
	j = fix_next_job(f);
	assert_string_equal(j->id, id);
	assert_string_equal(j->text, "Received: x\r\nSubject: hi\r\n\r\nhello\r\n");
	assert_int_equal(j->rcpts[0].flags, DELIVERY_MAYBE_DONE);
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	fix_run(f, fix_is_empty);
}

static bool
is_deferred(struct fixture *f)
{
	struct message *m = NULL;

	while ((m = queue_next(f->queue, m)) != NULL) {
		if (m->state != MESSAGE_WAITING || m->segment != NULL || m->is_busy)
			return false;
	}
	return queue_is_quiet(f->queue);
}

static void
test_deferred(void **state)
{
	struct fixture *f = *state;
	struct fix_mail two = plain;
	char id[QUEUE_ID_TEXT], path[64];
	struct fix_job *j;
	struct message *m;

	two.rcpts[1] = "carol@example.test";
	fix_start(f);
	fix_send(f, &two, id);
	j = fix_next_job(f);
	assert_int_equal(j->nrcpts, 2);
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	fix_answer(j, 1, DELIVERY_DEFERRED, "4.2.2", "over quota");
	fix_run(f, is_deferred);
	fix_deferred_path(id, path);
	assert_true(fix_exists(f, path));
	/* after a restart it waits, and only carol is left */
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 1);
	fix_turn(f, 50);
	assert_int_equal(f->njobs, 0);
	m = message_of(f, id);
	assert_int_equal(m->left, 1);
	queue_flush(f->queue, m);
	j = fix_next_job(f);
	assert_int_equal(j->nrcpts, 1);
	assert_string_equal(j->rcpts[0].address, "carol@example.test");
	assert_int_equal(j->rcpts[0].flags, DELIVERY_MAYBE_DONE);
	assert_string_equal(j->text, "Received: x\r\nSubject: hi\r\n\r\nhello\r\n");
	assert_string_equal(m->active->rcpts[1].reason, "over quota");
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	fix_run(f, fix_is_empty);
	assert_false(fix_exists(f, path));
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 0);
}

static void
test_bounce(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	fix_start(f);
	fix_send(f, &plain, id);
	j = fix_next_job(f);
	fix_answer(j, 0, DELIVERY_BOUNCED, "5.1.1", "unknown user");
	j = fix_next_job(f);
	assert_string_not_equal(j->id, id);
	assert_string_equal(j->sender, "");
	assert_string_equal(j->rcpts[0].address, "alice@example.test");
	assert_non_null(strstr(j->text, "Undelivered Mail Returned to Sender"));
	assert_non_null(strstr(j->text, "Status: 5.1.1\r\n"));
	assert_non_null(strstr(j->text, "Subject: hi\r\n\r\nhello\r\n"));
	assert_int_equal(queue_count(f->queue), 1);
	/* the notice itself cannot be delivered: it goes nowhere */
	fix_answer(j, 0, DELIVERY_BOUNCED, "5.1.1", "unknown user");
	fix_run(f, fix_is_empty);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 0);
}

/* Expiry of a deferred message: outcome and notice are one, the file goes. */
static void
test_expired(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64];
	struct fix_job *j;

	fix_start(f);
	fix_send(f, &plain, id);
	fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.4.1", "connection refused");
	fix_run(f, is_deferred);
	message_of(f, id)->born_ms -= f->qc.lifetime_ms;
	queue_flush(f->queue, message_of(f, id));
	fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.4.1", "connection refused");
	j = fix_next_job(f);
	assert_string_equal(j->sender, "");
	assert_non_null(strstr(j->text, "connection refused"));
	assert_non_null(strstr(j->text, "Action: failed\r\nStatus: 4.4.1\r\n"));
	fix_deferred_path(id, path);
	assert_false(fix_exists(f, path));
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	fix_run(f, fix_is_empty);
}

/* The login decides about the address to send from; who the client is only XFORWARD tells. */
static void
test_relay_is_told_of_the_client(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	m.rcpts[0] = "smtp:bob@remote.test";
	m.rcpts[1] = NULL;
	m.login = "tenant";
	m.client_address = "192.0.2.1";
	m.helo = "c.test";
	fix_start(f);
	for (int i = 0; i < 2; i++) {
		f->sc.smtp.wants_client = i == 1;
		if (i == 1)
			fix_restart(f);
		fix_send(f, &m, id);
		j = fix_next_job(f);
		assert_string_equal(j->client[0], "tenant");
		assert_string_equal(j->client[2], i == 1 ? "192.0.2.1" : "");
		assert_string_equal(j->client[4], i == 1 ? "c.test" : "");
		fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "250 ok");
		fix_run(f, fix_is_empty);
	}
}

static void
test_relay(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	m.rcpts[0] = "smtp:bob@Remote.test";
	m.rcpts[1] = "smtp:carol@remote.test";
	fix_start(f);
	fix_send(f, &m, id);
	j = fix_next_job(f);
	assert_true(j->is_relay);
	assert_int_equal(j->nrcpts, 2);
	assert_string_equal(j->nexthop, "remote.test");
	fix_answer(j, 1, DELIVERY_SENT, "2.0.0", "250 ok");
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "250 ok");
	fix_run(f, fix_is_empty);
}

static void
test_peer_lost(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	fix_start(f);
	fix_send(f, &plain, id);
	j = fix_next_job(f);
	j->is_answered = true;
	ipc_conn_close(f->delivery);
	f->delivery = NULL;
	j = fix_next_job(f);
	assert_string_equal(j->id, id);
	assert_int_equal(j->rcpts[0].flags, DELIVERY_MAYBE_DONE);
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	fix_run(f, fix_is_empty);
}

static void
test_body_file(void **state)
{
	struct fixture *f = *state;
	char path[64];
	struct fix_reply r, c;
	struct ipc_out o;
	struct buf envelope;
	int headers = memfd_sealed("h", "Received: x\r\n", 13, NULL);
	struct fix_mail m = plain;
	struct fix_job *j;

	fix_start(f);
	fix_begin(f, &r);
	snprintf(path, sizeof path, "bodies/%s", r.id);
	ipc_out_init(&o, QMGR_BODY);
	ipc_put_str(&o, r.id);
	ipc_put_u64(&o, 1000);
	c = (struct fix_reply){ .fd = -1 };
	ipc_conn_call(f->smtpd, &o, QMGR_BODY_SIG, FIX_TIMEOUT_MS, fix_on_fd, &c);
	fix_wait(f, &c);
	assert_int_equal(c.status, QMGR_OK);
	assert_int_equal(write(c.fd, m.body, strlen(m.body)), strlen(m.body));
	close(c.fd);
	buf_init(&envelope, 60000);
	fix_envelope(&m, &envelope);
	fix_send_commit(f, r.id, buf_view(&envelope), 13, strlen(m.body), headers, -1, &c);
	fix_wait(f, &c);
	assert_int_equal(c.status, QMGR_OK);
	assert_true(fix_exists(f, path));
	j = fix_next_job(f);
	assert_string_equal(j->text, "Received: x\r\nSubject: hi\r\n\r\nhello\r\n");
	fix_answer(j, 0, DELIVERY_DEFERRED, "4.2.2", "over quota");
	fix_run(f, is_deferred);
	fix_restart(f);
	assert_true(fix_exists(f, path));
	queue_flush(f->queue, message_of(f, r.id));
	j = fix_next_job(f);
	assert_string_equal(j->text, "Received: x\r\nSubject: hi\r\n\r\nhello\r\n");
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	fix_run(f, fix_is_empty);
	assert_false(fix_exists(f, path));
	buf_clear(&envelope);
	close(headers);
}

/* All old mail is due at once and nobody answers: there is room for what is new. */
static void
test_storm(void **state)
{
	struct fixture *f = *state;
	struct message *m = NULL;
	char id[QUEUE_ID_TEXT];
	bool is_there = false;

	f->qc.active_limit = 8;
	fix_start(f);
	for (int i = 0; i < 20; i++) {
		fix_send(f, &plain, id);
		fix_answer(fix_next_job(f), 0, DELIVERY_DEFERRED, "4.2.2", "over quota");
	}
	fix_run(f, is_deferred);
	fix_restart(f);
	while ((m = queue_next(f->queue, m)) != NULL)
		queue_flush(f->queue, m);
	fix_turn(f, 100);
	assert_int_equal(f->njobs, 6);
	assert_int_equal(f->queue->active, 6);
	fix_send(f, &plain, id);
	fix_turn(f, 100);
	for (size_t i = 0; i < f->njobs; i++)
		is_there = is_there || strcmp(f->jobs[i].id, id) == 0;
	assert_true(is_there);
	while (queue_count(f->queue) > 0) {
		fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
		fix_turn(f, 5);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sent, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_maybe_done, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_deferred, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_bounce, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_expired, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_relay, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_relay_is_told_of_the_client, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_peer_lost, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_body_file, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_storm, fix_setup, fix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
