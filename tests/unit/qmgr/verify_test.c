/* Questions of smtpd about addresses: who is answered at once, who waits for the one probe, what a probe is on its way, and what
 * is kept over a restart. */
#include "tests/unit/qmgr/fixture.h"

static void
ask(struct fixture *f, const char *address, const char *client, uint32_t patience_ms,
    struct fix_reply *r)
{
	struct ipc_out o;

	*r = (struct fix_reply){ .fd = -1 };
	ipc_out_init(&o, QMGR_VERIFY);
	ipc_put_str(&o, address);
	ipc_put_str(&o, client);
	ipc_put_u32(&o, patience_ms);
	ipc_conn_call(f->smtpd, &o, QMGR_VERIFIED_SIG, FIX_TIMEOUT_MS, fix_on_status, r);
}

static void
expect_reply(struct fixture *f, struct fix_reply *r, enum qmgr_verified status, const char *text)
{
	fix_wait(f, r);
	assert_false(r->is_null);
	assert_int_equal(r->status, status);
	assert_string_equal(r->text, text);
}

static void
wait_jobs(struct fixture *f, size_t n)
{
	int64_t deadline = clock_mono_ms() + FIX_TIMEOUT_MS;

	while (f->njobs < n && clock_mono_ms() < deadline)
		fix_turn(f, 1);
	assert_int_equal(f->njobs, n);
	fix_turn(f, 20);
	assert_int_equal(f->njobs, n);
}

static void
answer_job(struct fix_job *j, enum delivery_status status, const char *text, uint32_t code)
{
	struct ipc_out o;

	assert_true(j->is_probe);
	ipc_out_init(&o, RELAY_RESULT);
	ipc_put_u32(&o, j->number);
	ipc_put_u32(&o, 0);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, status == DELIVERY_SENT      ? "2.1.5"
			: status == DELIVERY_BOUNCED ? "5.1.1"
						     : "4.4.1");
	ipc_put_str(&o, text);
	ipc_put_str(&o, code != 0 ? "mx.far.test[192.0.2.1]:25" : "none");
	ipc_put_u32(&o, code);
	for (int k = 0; k < 3; k++)
		ipc_put_u32(&o, 0);
	ipc_put_u32(&o, code == 0 ? RELAY_UNREACHABLE : 0);
	ipc_put_str(&o, "");
	assert_int_equal(ipc_conn_send(j->conn, &o), 0);
	j->is_answered = true;
}

/* Somebody serves relay's connection, and takes more than one job at a time. */
static void
be_ready(struct fixture *f)
{
	struct ipc_out o;

	ipc_out_init(&o, RELAY_READY);
	ipc_conn_send(f->relay, &o);
}

static struct fixture *
start(void **state)
{
	struct fixture *f = *state;

	f->resolve_transport = TRANSPORT_SMTP;
	fix_start(f);
	be_ready(f);
	return f;
}

static void
test_one_probe_for_all(void **state)
{
	struct fixture *f = start(state);
	struct fix_reply r[20];

	for (size_t i = 0; i < 20; i++)
		ask(f, "a@far.test", i % 2 == 0 ? "192.0.2.1" : "192.0.2.2", 10000, &r[i]);
	wait_jobs(f, 1);
	assert_int_equal(f->resolved, 1);
	assert_string_equal(f->jobs[0].nexthop, "far.test");
	assert_string_equal(f->jobs[0].sender, "double-bounce@example.test");
	assert_string_equal(f->jobs[0].rcpts[0].address, "a@far.test");
	assert_int_equal(queue_count(f->queue), 0);
	answer_job(&f->jobs[0], DELIVERY_SENT, "250 2.1.5 fine", 250);
	for (size_t i = 0; i < 20; i++)
		expect_reply(f, &r[i], QMGR_DELIVERABLE, "250 2.1.5 fine");
	ask(f, "a@far.test", "192.0.2.1", 0, &r[0]);
	expect_reply(f, &r[0], QMGR_DELIVERABLE, "250 2.1.5 fine");
	assert_int_equal(f->njobs, 1);
	assert_int_equal(queue_count(f->queue), 0);
	assert_int_equal(schedule_flying(f->schedule), 0);
}

static void
test_patience(void **state)
{
	struct fixture *f = start(state);
	struct fix_reply now, soon;

	ask(f, "a@far.test", "192.0.2.1", 0, &now);
	expect_reply(f, &now, QMGR_VERIFYING, "Address verification in progress");
	ask(f, "a@far.test", "192.0.2.1", 30, &soon);
	expect_reply(f, &soon, QMGR_VERIFYING, "Address verification in progress");
	wait_jobs(f, 1);
	answer_job(&f->jobs[0], DELIVERY_BOUNCED, "550 no", 550);
	fix_turn(f, 20);
	ask(f, "a@far.test", "192.0.2.1", 0, &now);
	expect_reply(f, &now, QMGR_UNDELIVERABLE, "550 no");
}

/* What authd knows is not remembered: it may change at any time. */
static void
test_mailboxes_here(void **state)
{
	struct fixture *f = start(state);
	struct fix_reply r;

	f->resolve_transport = TRANSPORT_VIRTUAL;
	ask(f, "a@example.test", "192.0.2.1", 10000, &r);
	expect_reply(f, &r, QMGR_DELIVERABLE, "delivers to maildir");
	ask(f, "nobody@example.test", "192.0.2.1", 10000, &r);
	expect_reply(f, &r, QMGR_UNDELIVERABLE, "user unknown");
	f->resolve_status = AUTHD_TEMP;
	ask(f, "a@example.test", "192.0.2.1", 10000, &r);
	expect_reply(f, &r, QMGR_UNVERIFIED, "mail system: address lookup failed");
	f->resolve_status = AUTHD_FULL;
	ask(f, "a@example.test", "192.0.2.1", 10000, &r);
	expect_reply(f, &r, QMGR_UNVERIFIED, "mailbox is full");
	assert_int_equal(f->njobs, 0);
	assert_int_equal(f->resolved, 4);
	ask(f, "Double-Bounce@example.test", "192.0.2.1", 10000, &r);
	expect_reply(f, &r, QMGR_DELIVERABLE, "the sender of our own probes");
	assert_int_equal(f->resolved, 4);
}

static void
test_lmtp_and_answers_of_routes(void **state)
{
	struct fixture *f = *state;
	struct fix_reply r;

	f->rc.has_rules = true;
	f->resolve_transport = TRANSPORT_LMTP;
	f->route_nexthop = "[192.0.2.9]:24";
	fix_start(f);
	ask(f, "a@far.test", "192.0.2.1", 10000, &r);
	wait_jobs(f, 1);
	assert_true(f->jobs[0].is_lmtp);
	assert_string_equal(f->jobs[0].nexthop, "[192.0.2.9]:24");
	answer_job(&f->jobs[0], DELIVERY_DEFERRED, "450 come again", 450);
	expect_reply(f, &r, QMGR_UNVERIFIED, "450 come again");
	f->resolve_transport = TRANSPORT_ERROR;
	f->route_nexthop = "5.1.2 nobody lives here";
	ask(f, "b@far.test", "192.0.2.1", 10000, &r);
	expect_reply(f, &r, QMGR_UNDELIVERABLE, "nobody lives here");
	f->resolve_transport = TRANSPORT_DISCARD;
	f->route_nexthop = "";
	ask(f, "c@far.test", "192.0.2.1", 10000, &r);
	expect_reply(f, &r, QMGR_DELIVERABLE, "far.test");
	f->resolve_transport = TRANSPORT_RETRY;
	f->route_nexthop = "4.2.1 closed";
	ask(f, "d@far.test", "192.0.2.1", 10000, &r);
	expect_reply(f, &r, QMGR_UNVERIFIED, "closed");
	assert_int_equal(f->njobs, 1);
}

/* A destination that cannot be reached is left alone by probes, too, and nothing is remembered of the addresses there. */
static void
test_dead_destination(void **state)
{
	struct fixture *f = *state;
	struct fix_reply r;

	f->sc.smtp.initial_concurrency = 1;
	start(state);
	ask(f, "a@far.test", "192.0.2.1", 10000, &r);
	wait_jobs(f, 1);
	answer_job(&f->jobs[0], DELIVERY_DEFERRED, "Connection refused", 0);
	expect_reply(f, &r, QMGR_UNVERIFIED, "Connection refused");
	for (int i = 0; i < 2; i++) {
		ask(f, "a@far.test", "192.0.2.1", 10000, &r);
		expect_reply(
		    f, &r, QMGR_UNVERIFIED, "delivery temporarily suspended: Connection refused");
	}
	assert_int_equal(f->njobs, 1);
	schedule_forgive(f->schedule);
	ask(f, "a@far.test", "192.0.2.1", 10000, &r);
	wait_jobs(f, 2);
}

/* The process that asks for us dies: another is asked. */
static void
test_lost_relay(void **state)
{
	struct fixture *f = start(state);
	struct fix_reply r;

	ask(f, "a@far.test", "192.0.2.1", 10000, &r);
	wait_jobs(f, 1);
	ipc_conn_close(f->relay);
	f->relay = NULL;
	fix_turn(f, 20);
	assert_false(r.is_there);
	assert_int_equal(schedule_flying(f->schedule), 0);
}

static void
test_shares(void **state)
{
	struct fixture *f = start(state);
	struct fix_reply r;
	char address[40], client[40];
	unsigned taken = 0;

	for (int i = 0; i < 20; i++) { /* one client, many domains */
		snprintf(address, sizeof address, "a@d%d.test", i);
		ask(f, address, "192.0.2.1", 0, &r);
		fix_wait(f, &r);
		taken += r.status == QMGR_VERIFYING;
	}
	assert_int_equal(taken, 8);
	assert_int_equal(r.status, QMGR_UNVERIFIED);
	assert_string_equal(r.text, "Too many address verification requests");
	for (int i = 0; i < 20; i++) { /* many clients, one domain */
		snprintf(address, sizeof address, "u%d@far.test", i);
		snprintf(client, sizeof client, "198.51.100.%d", i);
		ask(f, address, client, 0, &r);
		fix_wait(f, &r);
		taken += r.status == QMGR_VERIFYING;
	}
	assert_int_equal(taken, 15);
	ask(f, "new@other.test", "203.0.113.1", 0, &r);
	fix_wait(f, &r);
	assert_int_equal(r.status, QMGR_VERIFYING);
	/* who is done gives his place back */
	wait_jobs(f, 14); /* of far.test five at a time, initial_concurrency */
	for (size_t i = 0; i < 14; i++)
		answer_job(&f->jobs[i], DELIVERY_SENT, "250 ok", 250);
	fix_turn(f, 20);
	ask(f, "late@far.test", "192.0.2.1", 0, &r);
	fix_wait(f, &r);
	assert_int_equal(r.status, QMGR_VERIFYING);
}

static void
test_hostile_questions(void **state)
{
	struct fixture *f = start(state);
	char longest[5000];
	struct fix_reply r;
	struct ipc_out o;

	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	ask(f, "", "", 0, &r);
	expect_reply(f, &r, QMGR_UNVERIFIED, "address verification problem");
	ask(f, "a\nb@far.test", "x", UINT32_MAX, &r);
	expect_reply(f, &r, QMGR_UNVERIFIED, "address verification problem");
	ask(f, longest, longest, 0, &r);
	expect_reply(f, &r, QMGR_UNVERIFIED, "address verification problem");
	ask(f, "a@far.test", longest, 0, &r);
	expect_reply(f, &r, QMGR_VERIFYING, "Address verification in progress");
	ask(f, "@@@", "", 0, &r);
	expect_reply(f, &r, QMGR_VERIFYING, "Address verification in progress");
	/* who waits, and goes */
	ask(f, "b@far.test", "", UINT32_MAX, &r);
	fix_turn(f, 5);
	ipc_out_init(&o, QMGR_VERIFY); /* too few fields: that ends the connection */
	ipc_put_str(&o, "a@far.test");
	ipc_conn_send(f->smtpd, &o);
	fix_wait(f, &r);
	assert_true(r.is_null);
	for (size_t i = 0; i < f->njobs; i++)
		answer_job(&f->jobs[i], DELIVERY_SENT, "250 ok", 250);
	fix_turn(f, 20);
}

static bool
is_stored(struct fixture *f)
{
	return verify_is_quiet(f->verify);
}

static void
test_over_a_restart(void **state)
{
	struct fixture *f = *state;
	struct fix_reply r;
	char path[100];
	int fd;

	f->vc.is_stored = true;
	start(state);
	ask(f, "a@far.test", "", 10000, &r);
	ask(f, "b@far.test", "", 10000, &r);
	wait_jobs(f, 2);
	answer_job(&f->jobs[0], DELIVERY_SENT, "250 ok", 250);
	answer_job(&f->jobs[1], DELIVERY_BOUNCED, "550 no", 550);
	fix_wait(f, &r);
	verify_drain(f->verify);
	fix_run(f, is_stored);
	fix_restart(f);
	ask(f, "a@far.test", "", 0, &r);
	expect_reply(f, &r, QMGR_DELIVERABLE, "250 ok");
	ask(f, "b@far.test", "", 0, &r);
	expect_reply(f, &r, QMGR_UNDELIVERABLE, "550 no");
	assert_int_equal(f->njobs, 0);
	fix_stop(f);
	snprintf(path, sizeof path, "%s/verify/cache", f->dir);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "half a li", 9), 9);
	close(fd);
	fix_start(f);
	fix_run(f, is_stored); /* written anew: what is appended is not behind half a line */
	ask(f, "c@far.test", "", 10000, &r);
	wait_jobs(f, 1);
	answer_job(&f->jobs[0], DELIVERY_SENT, "250 ok", 250);
	fix_wait(f, &r);
	fix_restart(f);
	for (const char *who = "abc"; *who != '\0'; who++) {
		char address[20];

		snprintf(address, sizeof address, "%c@far.test", *who);
		ask(f, address, "", 0, &r);
		fix_wait(f, &r);
		assert_int_equal(r.status, *who == 'b' ? QMGR_UNDELIVERABLE : QMGR_DELIVERABLE);
	}
	/* no file, but something else in its place: in memory then */
	fix_stop(f);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	fix_start(f);
	ask(f, "a@far.test", "", 0, &r);
	fix_wait(f, &r);
	assert_int_equal(r.status, QMGR_VERIFYING);
}

/* What stands there twice, or has expired, goes. */
static void
test_cleanup(void **state)
{
	struct fixture *f = *state;
	struct verify_cache c;
	struct buf lines, file;
	char path[100];
	int fd;

	f->vc.is_stored = true;
	f->vc.cleanup_ms = 20;
	buf_init(&lines, 1 << 20);
	buf_init(&file, 1 << 20);
	verify_cache_init(&c, &f->vc.times, 10, 1 << 20);
	for (int64_t age = 10; age > 0; age--)
		verify_entry_format(verify_cache_put(&c, "a@far.test", QMGR_DELIVERABLE, "250 ok",
					clock_wall_ms() / 1000 - age),
		    &lines);
	verify_entry_format(verify_cache_put(&c, "b@far.test", QMGR_UNDELIVERABLE, "550 no",
				clock_wall_ms() / 1000 - 4 * 86400),
	    &lines);
	verify_cache_clear(&c);
	snprintf(path, sizeof path, "%s/verify", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/verify/cache", f->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(fd_write_all(fd, lines.p, lines.len, NULL), 0);
	close(fd);
	start(state);
	do {
		fix_turn(f, 20);
		buf_reset(&file);
		assert_int_equal(file_read(path, &file, NULL), 0);
	} while (file.len >= lines.len);
	verify_cache_init(&c, &f->vc.times, 10, 1 << 20);
	assert_int_equal(verify_cache_load(&c, buf_view(&file), clock_wall_ms() / 1000), 0);
	assert_int_equal(c.by_address.count, 1);
	assert_true(file.len < lines.len / 10);
	assert_string_equal(TAILQ_FIRST(&c.entries)->address, "a@far.test");
	verify_cache_clear(&c);
	buf_clear(&lines);
	buf_clear(&file);
}

static void
test_probes_come_before_a_mailing(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = { .sender = "x@example.test",
		.headers = "Received: x\r\n",
		.body = "Subject: hi\r\n\r\nhello\r\n",
		.rcpts = { "smtp:u@far.test" } };
	char id[QUEUE_ID_TEXT];
	struct fix_reply r;

	f->sc.smtp.initial_concurrency = f->sc.smtp.concurrency_limit = 1;
	start(state);
	for (int i = 0; i < 20; i++) {
		char sender[40];

		snprintf(sender, sizeof sender, "x@d%d.test", i);
		m.sender = sender;
		fix_send(f, &m, id);
	}
	wait_jobs(f, 1);
	ask(f, "a@far.test", "", 10000, &r);
	fix_turn(f, 20);
	f->jobs[0].is_probe = true; /* answered like one */
	answer_job(&f->jobs[0], DELIVERY_SENT, "250 ok", 250);
	wait_jobs(f, 2);
	assert_true(f->jobs[1].is_probe);
	answer_job(&f->jobs[1], DELIVERY_SENT, "250 ok", 250);
	expect_reply(f, &r, QMGR_DELIVERABLE, "250 ok");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_probe_for_all, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_patience, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_mailboxes_here, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_lmtp_and_answers_of_routes, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_dead_destination, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_lost_relay, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_shares, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_hostile_questions, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_over_a_restart, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_cleanup, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_probes_come_before_a_mailing, fix_setup, fix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
