/* Where mail goes is decided for every attempt: a new relayhost, domains that come and go. */
#include "qmgr/schedule_private.h"
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
	assert_int_equal(f->routed, 1);
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
	assert_int_equal(f->routed, 1);
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

/* --- with tables or transports of the admin's: authd knows them ------------------------------------------- */

static char asked_from[100];

/* by the domain: error.test, retry.test, bin.test, temp.test, box.test, gone.test, lmtp.test; else [gw.NAME] */
static void
by_domain(struct fixture *f, const char *sender, const char *address, uint32_t *status,
    uint32_t *transport, const char **nexthop)
{
	const char *domain = strchr(address, '@') + 1;

	(void)f;
	snprintf(asked_from, sizeof asked_from, "%s", sender);
	*status = AUTHD_OK;
	*transport = TRANSPORT_SMTP;
	*nexthop = "[Gw.test]:26";
	if (strcmp(domain, "error.test") == 0) {
		*transport = TRANSPORT_ERROR;
		*nexthop = "5.1.2 no such thing";
	} else if (strcmp(domain, "plain.test") == 0) {
		*transport = TRANSPORT_ERROR;
		*nexthop = "Address is undeliverable";
	} else if (strcmp(domain, "retry.test") == 0) {
		*transport = TRANSPORT_RETRY;
		*nexthop = "come again";
	} else if (strcmp(domain, "bin.test") == 0) {
		*transport = TRANSPORT_DISCARD;
		*nexthop = "";
	} else if (strcmp(domain, "temp.test") == 0) {
		*status = AUTHD_TEMP;
		*transport = 0;
	} else if (strcmp(domain, "box.test") == 0 || strcmp(domain, "gone.test") == 0) {
		*status = domain[0] == 'g' ? AUTHD_NO : AUTHD_OK;
		*transport = TRANSPORT_VIRTUAL;
	} else if (strcmp(domain, "lmtp.test") == 0) {
		*transport = TRANSPORT_LMTP;
		*nexthop = "";
	}
}

static void
test_a_gateway(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];

	f->rc.has_rules = true;
	f->rc.relayhost = "[smart.host]"; /* authd knows it too */
	f->route = by_domain;
	fix_start(f);
	fix_send(f, &m, id);
	assert_string_equal(fix_next_job(f)->nexthop, "[gw.test]:26");
	assert_string_equal(asked_from, "x@example.test");
	fix_answer_all(f, DELIVERY_DEFERRED, "4.4.1", "not now");
	fix_turn(f, 50);
	fix_run(f, fix_is_quiet);
	/* the table has changed, and qmgr has not been told */
	f->route = NULL;
	f->resolve_transport = TRANSPORT_LMTP;
	f->route_nexthop = "[192.0.2.7]:24";
	flush(f, id);
	assert_string_equal(fix_next_job(f)->nexthop, "[192.0.2.7]:24");
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	assert_int_equal(f->routed, 2);
}

static void
test_many_recipients_are_few_questions(void **state)
{
	static char text[60][32];
	struct fixture *f = *state;
	struct fix_mail m = mail_to(NULL);
	char id[QUEUE_ID_TEXT];

	for (size_t i = 0; i < 60; i++) {
		snprintf(text[i], sizeof text[i], "smtp:u%zu@remote.test", i);
		m.rcpts[i] = text[i];
	}
	f->rc.has_rules = true;
	f->route = by_domain;
	fix_start(f);
	fix_send(f, &m, id);
	fix_next_job(f);
	assert_int_equal(f->routed, 2);
	fix_turn(f, 50);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_turn(f, 50);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* These need no process; and each recipient has its own. */
static void
test_answers_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@error.test");
	struct deferred_file file;
	char id[QUEUE_ID_TEXT];
	struct fix_job *j;

	m.rcpts[1] = "smtp:b@plain.test";
	m.rcpts[2] = "smtp:c@retry.test";
	m.rcpts[3] = "smtp:d@bin.test";
	m.rcpts[4] = "smtp:e@temp.test";
	m.rcpts[5] = "gone@gone.test";
	m.rcpts[6] = "smtp:f@box.test";
	f->rc.has_rules = true;
	f->route = by_domain;
	fix_start(f);
	fix_send(f, &m, id);
	j = fix_next_job(f);
	assert_false(j->is_relay);
	assert_string_equal(j->rcpts[0].address, "f@box.test");
	assert_int_equal(j->nrcpts, 1);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_forget_jobs(f);
	j = fix_next_job(f); /* the notice: to a sender who is elsewhere, says authd */
	assert_string_equal(j->sender, "");
	assert_non_null(strstr(j->text, "a@error.test"));
	assert_non_null(strstr(j->text, "Status: 5.1.2"));
	assert_non_null(strstr(j->text, "no such thing"));
	assert_non_null(strstr(j->text, "Status: 5.0.0"));
	assert_non_null(strstr(j->text, "Address is undeliverable"));
	assert_non_null(strstr(j->text, "unknown user: \"gone@gone.test\""));
	assert_null(strstr(j->text, "bin.test"));
	assert_null(strstr(j->text, "retry.test"));
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_turn(f, 50);
	fix_run(f, fix_is_quiet);
	assert_int_equal(deferred_load(f->root_fd, find(f, id)->id, &file, NULL), 0);
	assert_int_equal(file.summary.left, 2);
	for (uint32_t i = 0; i < file.head.nslots; i++) {
		if (file.slots[i].rcpt == 2) {
			assert_string_equal(file.slots[i].reason, "come again");
			assert_string_equal(file.slots[i].dsn, "4.0.0");
		}
		if (file.slots[i].rcpt == 4)
			assert_string_equal(
			    file.slots[i].reason, "mail system: address lookup failed");
	}
	deferred_file_clear(&file);
}

static void
test_lmtp(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("smtp:a@lmtp.test");
	char id[QUEUE_ID_TEXT];

	f->rc.has_rules = true;
	f->route = by_domain;
	fix_start(f);
	fix_send(f, &m, id);
	assert_string_equal(fix_next_job(f)->nexthop, "lmtp.test");
	assert_non_null(map_get(&f->schedule->dests, VIEW_LIT("l:lmtp.test")));
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

static void
test_filters(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("bob@example.test");
	char id[QUEUE_ID_TEXT];

	f->rc.has_rules = true;
	fix_start(f);
	m.filter = "lmtp-filter:inet:[127.0.0.1]:10024";
	fix_send(f, &m, id);
	assert_string_equal(fix_next_job(f)->nexthop, "[127.0.0.1]:10024");
	assert_non_null(map_get(&f->schedule->dests, VIEW_LIT("l:[127.0.0.1]:10024")));
	assert_int_equal(f->routed, 0);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	fix_forget_jobs(f);
	m.filter = "smtp-amavis:[127.0.0.1]:10025";
	fix_send(f, &m, id);
	assert_string_equal(fix_next_job(f)->nexthop, "[127.0.0.1]:10025");
	assert_non_null(map_get(&f->schedule->dests, VIEW_LIT("r:[127.0.0.1]:10025")));
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	fix_forget_jobs(f);
	m.filter = "lmtp:unix:private/x";
	fix_send(f, &m, id);
	fix_turn(f, 50);
	fix_run(f, fix_is_quiet);
	assert_int_equal(f->njobs, 0);
	assert_int_equal(queue_count(f->queue), 1);
}

/* Nothing but relayhost and domains: authd is not asked at all. */
static void
test_what_has_rules(void **state)
{
	static const struct {
		const char *name, *value;
		bool has_rules;
	} rows[] = {
		{ "relayhost", "[x]", false }, { "relay_domains", "a.test", false },
		{ "transport_maps", "inline:{a=b}", true },
		{ "sender_dependent_relayhost_maps", "inline:{a=b}", true },
		{ "sender_dependent_default_transport_maps", "inline:{a=b}", true },
		{ "default_transport", "smtp:[x]", true },
		{ "virtual_transport", "lmtp:[x]", true },
		{ "relay_transport", "smtp:[x]", false }, /* of no domain */
	};
	struct route_conf rc;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct conf c;

		conf_init(&c);
		conf_set(&c, rows[i].name, rows[i].value, "main.cf", 1, NULL);
		route_conf_read(&c, &rc);
		assert_int_equal(rc.has_rules, rows[i].has_rules);
		conf_clear(&c);
	}
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
		cmocka_unit_test_setup_teardown(test_a_gateway, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_many_recipients_are_few_questions, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_answers_of_its_own, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_lmtp, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_filters, fix_setup, fix_teardown),
		cmocka_unit_test(test_what_has_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
