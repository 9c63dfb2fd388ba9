/* Where mail goes is decided for every attempt: a new relayhost, domains that come and go. */
#include "tests/unit/qmgr/fixture.h"

static struct fix_mail
mail_to(const char *rcpt)
{
	return (struct fix_mail){ .sender = "x@example.test",
		.headers = "Received: x\r\n",
		.body = "Subject: hi\r\n\r\nhello\r\n",
		.rcpts = { rcpt } };
}

/* Deferred with the routes of before; then the configuration is another. */
static void
defer_and_restart(struct fixture *f, const struct fix_mail *m, char id[QUEUE_ID_TEXT])
{
	char path[64];

	fix_start(f);
	fix_send(f, m, id);
	fix_next_job(f);
	fix_answer_all(f, DELIVERY_DEFERRED, "4.4.1", "not now");
	fix_turn(f, 50);
	fix_run(f, fix_is_quiet);
	fix_deferred_path(id, path);
	assert_true(fix_exists(f, path));
	fix_stop(f);
}

static struct message *
find(struct fixture *f, const char *text)
{
	struct queue_id id;

	assert_true(queue_id_parse(view_of(text), &id));
	return queue_find(f->queue, id);
}

static void
flush(struct fixture *f, const char *id)
{
	queue_flush(f->queue, find(f, id));
}

static void
test_relayhost(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];

	f->rc.relayhost = "[Smart.host]:587";
	fix_start(f);
	fix_send(f, &m, id);
	assert_string_equal(fix_next_job(f)->nexthop, "[smart.host]:587");
}

static void
test_relayhost_corrected(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];

	f->rc.relayhost = m.nexthop = "foo bar";
	defer_and_restart(f, &m, id);
	f->rc.relayhost = "[192.0.2.1]:2525";
	fix_start(f);
	flush(f, id);
	assert_string_equal(fix_next_job(f)->nexthop, "[192.0.2.1]:2525");
	fix_answer_all(f, DELIVERY_DEFERRED, "4.4.1", "not now");
	fix_turn(f, 50);
	fix_stop(f);
	f->rc.relayhost = "";
	fix_start(f);
	flush(f, id);
	assert_string_equal(fix_next_job(f)->nexthop, "remote.test");
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* The journal is not read otherwise than a deferred file: accepted, never tried, then a reload. */
static void
test_relayhost_corrected_before_the_first_attempt(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];

	f->rc.relayhost = m.nexthop = "foo bar";
	fix_start(f);
	fix_send(f, &m, id);
	f->rc.relayhost = "new.host";
	fix_restart(f);
	assert_string_equal(fix_next_job(f)->nexthop, "new.host");
}

static void
test_domain_has_become_ours(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:A@Remote.test");
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	defer_and_restart(f, &m, id);
	f->rc.destination = "here.test, REMOTE.test";
	fix_start(f);
	flush(f, id);
	j = fix_next_job(f);
	assert_false(j->is_relay);
	assert_string_equal(j->rcpts[0].address, "A@Remote.test");
	assert_int_equal(f->resolved, 1);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

static void
test_domain_has_gone_away(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("bob@example.test");
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	defer_and_restart(f, &m, id);
	f->rc.mailbox_domains = "";
	fix_start(f);
	flush(f, id);
	j = fix_next_job(f);
	assert_true(j->is_relay);
	assert_string_equal(j->nexthop, "example.test");
}

/* The domain came to us, this user did not: his mail is returned, the others' is delivered. */
static void
test_unknown_here(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	m.rcpts[1] = "bob@example.test";
	fix_start(f);
	fix_send(f, &m, id);
	fix_turn(f, 50);
	assert_int_equal(f->njobs, 2);
	fix_answer_all(f, DELIVERY_DEFERRED, "4.4.1", "not now");
	fix_turn(f, 300);
	fix_stop(f);
	f->rc.mailbox_domains = "example.test remote.test";
	f->resolve_status = AUTHD_NO;
	fix_start(f);
	flush(f, id);
	j = fix_next_job(f);
	assert_false(j->is_relay);
	assert_string_equal(j->rcpts[0].address, "bob@example.test");
	assert_int_equal(j->nrcpts, 1);
	f->resolve_status = AUTHD_OK; /* for the notice to the sender */
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_forget_jobs(f);
	j = fix_next_job(f);
	assert_string_equal(j->sender, "");
	assert_non_null(strstr(j->text, "unknown user: \"a@remote.test\""));
	assert_null(strstr(j->text, "Final-Recipient: rfc822; bob"));
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* Not knowing is never a verdict; and authd that is down is asked once a round. */
static void
test_authd_cannot_tell(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@remote.test");
	struct deferred_file file;
	char id[QUEUE_ID_TEXT];

	m.rcpts[1] = "smtp:b@remote.test";
	defer_and_restart(f, &m, id);
	f->rc.mailbox_domains = "remote.test";
	f->resolve_status = AUTHD_TEMP;
	fix_start(f);
	flush(f, id);
	fix_turn(f, 300);
	fix_run(f, fix_is_quiet);
	assert_int_equal(f->njobs, 0);
	assert_int_equal(f->resolved, 1);
	assert_int_equal(deferred_load(f->root_fd, find(f, id)->id, &file, NULL), 0);
	assert_int_equal(file.summary.left, 2);
	assert_string_equal(file.slots[1].reason, "mail system: address lookup failed");
	deferred_file_clear(&file);
	f->resolve_status = AUTHD_OK;
	flush(f, id);
	assert_int_equal(fix_next_job(f)->nrcpts, 2);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

static void
on_deleted(void *arg, bool ok)
{
	*(bool *)arg = ok;
}

static void
test_deleted_while_asked(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];
	bool deleted = false;

	defer_and_restart(f, &m, id);
	f->rc.mailbox_domains = "remote.test";
	fix_start(f);
	flush(f, id);
	while (find(f, id)->state != MESSAGE_ACTIVE)
		loop_run_once(f->loop, false);
	queue_want(f->queue, find(f, id), WANT_DELETE, on_deleted, &deleted);
	fix_run(f, fix_is_empty);
	assert_true(deleted);
	assert_int_equal(f->njobs, 0);
}

static void
test_stopped_while_asked(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];

	defer_and_restart(f, &m, id);
	f->rc.mailbox_domains = "remote.test";
	fix_start(f);
	flush(f, id);
	while (find(f, id)->state != MESSAGE_ACTIVE)
		loop_run_once(f->loop, false);
	fix_restart(f);
	assert_non_null(find(f, id));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_relayhost, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_relayhost_corrected, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_relayhost_corrected_before_the_first_attempt, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_domain_has_become_ours, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_domain_has_gone_away, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_unknown_here, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_authd_cannot_tell, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_deleted_while_asked, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_stopped_while_asked, fix_setup, fix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
