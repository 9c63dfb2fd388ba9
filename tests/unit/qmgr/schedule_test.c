/* Concurrency, feedback, dead destinations, turns of destinations and senders, lost peers. */
#include "qmgr/schedule_private.h"
#include "tests/unit/qmgr/fixture.h"

#include <sys/socket.h>

static struct fix_mail
mail_to(const char *sender, const char *rcpt)
{
	return (struct fix_mail){ .sender = sender,
		.headers = "Received: x\r\n",
		.body = "Subject: hi\r\n\r\nhello\r\n",
		.rcpts = { rcpt } };
}

static size_t
open_jobs(struct fixture *f, const char *nexthop)
{
	size_t n = 0;

	for (size_t i = 0; i < f->njobs; i++)
		n += !f->jobs[i].is_answered &&
		     (nexthop == NULL || strcmp(f->jobs[i].nexthop, nexthop) == 0);
	return n;
}

static const char *answer_site = "";
static uint32_t answer_code;

static void
answer_relay(
    struct fix_job *j, enum delivery_status status, const char *dsn, const char *text, bool dead)
{
	for (size_t i = 0; i < j->nrcpts; i++) {
		struct ipc_out o;

		ipc_out_init(&o, RELAY_RESULT);
		ipc_put_u32(&o, j->number);
		ipc_put_u32(&o, j->rcpts[i].number);
		ipc_put_u32(&o, status);
		ipc_put_str(&o, dsn);
		ipc_put_str(&o, text);
		ipc_put_str(&o, dead ? "none" : "mx.remote.test[192.0.2.1]:25");
		ipc_put_u32(&o, answer_code);
		for (int k = 0; k < 3; k++)
			ipc_put_u32(&o, 0);
		ipc_put_u32(&o, dead ? 1 : 0);
		ipc_put_str(&o, answer_site);
		assert_int_equal(ipc_conn_send(j->conn, &o), 0);
	}
	j->is_answered = true;
}

/* A first job, answered: the connection has proved that somebody serves it. */
static void
prove_relay(struct fixture *f)
{
	struct fix_mail m = mail_to("x@example.test", "smtp:a@first.test");
	char id[QUEUE_ID_TEXT];

	fix_send(f, &m, id);
	answer_relay(fix_next_job(f), DELIVERY_SENT, "2.0.0", "ok", false);
	fix_run(f, fix_is_empty);
	fix_forget_jobs(f);
}

static void
test_window(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];

	fix_start(f);
	prove_relay(f);
	for (int i = 0; i < 60; i++)
		fix_send(f, &m, id);
	fix_turn(f, 30);
	assert_int_equal(open_jobs(f, NULL), 5); /* at first contact */
	for (int round = 0; round < 8; round++) {
		size_t had = f->njobs;

		for (size_t i = 0; i < had; i++)
			if (!f->jobs[i].is_answered)
				answer_relay(&f->jobs[i], DELIVERY_SENT, "2.0.0", "ok", false);
		fix_turn(f, 30);
		assert_true(open_jobs(f, NULL) <= 20);
	}
	assert_int_equal(f->njobs, 60);
	fix_run(f, fix_is_empty);
}

/* An unproved relay connection gets one job: it may sit in a backlog that nobody serves. */
static void
test_unproved(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], to[64];

	fix_start(f);
	for (int i = 0; i < 10; i++) {
		struct fix_mail m;

		snprintf(to, sizeof to, "smtp:a@d%d.test", i);
		m = mail_to("x@example.test", to);
		fix_send(f, &m, id);
	}
	fix_turn(f, 30);
	assert_int_equal(f->njobs, 1);
	answer_relay(&f->jobs[0], DELIVERY_SENT, "2.0.0", "ok", false);
	fix_turn(f, 30);
	assert_int_equal(f->njobs, 10);
}

/* One that says that it serves us gets more, though its first job is never answered. */
static void
test_ready(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], to[64];
	struct ipc_out o;

	fix_start(f);
	for (int i = 0; i < 10; i++) {
		struct fix_mail m;

		snprintf(to, sizeof to, "smtp:a@d%d.test", i);
		m = mail_to("x@example.test", to);
		fix_send(f, &m, id);
	}
	fix_turn(f, 30);
	assert_int_equal(f->njobs, 1);
	ipc_out_init(&o, RELAY_READY);
	assert_int_equal(ipc_conn_send(f->relay, &o), 0);
	fix_turn(f, 30);
	assert_int_equal(f->njobs, 10);
}

static bool
all_wait(struct fixture *f)
{
	struct message *m = NULL;

	while ((m = queue_next(f->queue, m)) != NULL)
		if (m->state != MESSAGE_WAITING)
			return false;
	return queue_is_quiet(f->queue);
}

/* A window's worth of failures in a row: the rest is deferred unattempted, and so is what comes later. */
static void
test_dead_destination(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "smtp:a@remote.test");
	struct fix_mail other = mail_to("x@example.test", "smtp:a@other.test");
	char id[QUEUE_ID_TEXT];
	size_t tried;
	struct message *waiting = NULL;

	fix_start(f);
	prove_relay(f);
	for (int i = 0; i < 40; i++)
		fix_send(f, &m, id);
	for (int i = 0; i < 10 && open_jobs(f, NULL) > 0; i++) {
		size_t had = f->njobs;

		for (size_t k = 0; k < had; k++)
			if (!f->jobs[k].is_answered)
				answer_relay(&f->jobs[k], DELIVERY_DEFERRED, "4.4.1",
				    "connect to mx.remote.test: Connection refused", true);
		fix_turn(f, 30);
	}
	fix_run(f, all_wait);
	tried = f->njobs;
	assert_in_range(tried, 5, 12);
	assert_int_equal(queue_count(f->queue), 40);
	fix_send(f, &m, id);
	fix_run(f, all_wait);
	assert_int_equal(f->njobs, tried);
	while ((waiting = queue_next(f->queue, waiting)) != NULL) {
		struct deferred_file file;

		assert_int_equal(deferred_load(f->root_fd, waiting->id, &file, NULL), 0);
		assert_non_null(strstr(file.slots[0].reason, "Connection refused"));
		deferred_file_clear(&file);
	}
	/* nobody else suffers */
	fix_send(f, &other, id);
	assert_string_equal(fix_next_job(f)->nexthop, "other.test");
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	/* forgiven, it is tried with one job at first */
	fix_forget_jobs(f);
	schedule_forgive(f->schedule);
	while ((waiting = queue_next(f->queue, waiting)) != NULL)
		queue_flush(f->queue, waiting);
	fix_turn(f, 100);
	assert_int_equal(open_jobs(f, "remote.test"), 1);
	for (int i = 0; i < 200 && queue_count(f->queue) > 0; i++) {
		for (size_t k = 0; k < f->njobs; k++)
			if (!f->jobs[k].is_answered)
				answer_relay(&f->jobs[k], DELIVERY_SENT, "2.0.0", "ok", false);
		fix_turn(f, 20);
	}
	fix_run(f, fix_is_empty);
}

/* Many messages to one destination, one to another: the other does not wait for the many; and of two
 * senders to one destination, one does not wait for the other's flood. */
static void
test_turns(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], small[QUEUE_ID_TEXT];
	struct fix_mail flood = mail_to("spam@example.test", "smtp:a@busy.test");
	struct fix_mail one = mail_to("nice@example.test", "smtp:a@busy.test");
	struct fix_mail other = mail_to("nice@example.test", "smtp:a@quiet.test");
	size_t at = 0;

	fix_start(f);
	prove_relay(f);
	for (int i = 0; i < 50; i++)
		fix_send(f, &flood, id);
	fix_send(f, &one, small);
	fix_send(f, &other, id);
	fix_turn(f, 50);
	assert_int_equal(open_jobs(f, "quiet.test"), 1);
	for (int i = 0; i < 100 && queue_count(f->queue) > 0; i++) {
		for (size_t k = 0; k < f->njobs; k++) {
			if (f->jobs[k].is_answered)
				continue;
			answer_relay(&f->jobs[k], DELIVERY_SENT, "2.0.0", "ok", false);
			break;
		}
		fix_turn(f, 5);
	}
	while (strcmp(f->jobs[at].id, small) != 0)
		at++;
	assert_true(at < 15);
	for (int i = 0; i < 300 && queue_count(f->queue) > 0; i++) {
		for (size_t k = 0; k < f->njobs; k++)
			if (!f->jobs[k].is_answered)
				answer_relay(&f->jobs[k], DELIVERY_SENT, "2.0.0", "ok", false);
		fix_turn(f, 5);
	}
	fix_run(f, fix_is_empty);
}

static void
test_recipient_limit(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", NULL);
	static char to[45][40];
	char id[QUEUE_ID_TEXT];
	size_t rcpts = 0;

	f->sc.local.recipient_limit = 10;
	for (size_t i = 0; i < 45; i++) {
		snprintf(to[i], sizeof to[i], "u%zu@example.test", i);
		m.rcpts[i] = to[i];
	}
	fix_start(f);
	fix_send(f, &m, id);
	fix_turn(f, 50);
	assert_int_equal(f->njobs, 5);
	for (size_t i = 0; i < 5; i++)
		rcpts += f->jobs[i].nrcpts;
	assert_int_equal(rcpts, 45);
	/* some are answered, then a crash: only the others are tried again */
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < f->jobs[i].nrcpts; k++)
			fix_answer(&f->jobs[i], k, DELIVERY_SENT, "2.0.0", "ok");
	fix_turn(f, 300);
	fix_restart(f);
	fix_turn(f, 50);
	rcpts = 0;
	for (size_t i = 0; i < f->njobs; i++)
		rcpts += f->jobs[i].nrcpts;
	assert_int_equal(rcpts, 15);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* A message that kills whoever delivers it is put aside after some tries. */
static void
test_killer_message(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "bob@example.test");
	char id[QUEUE_ID_TEXT];
	int kills = 0;

	fix_start(f);
	fix_send(f, &m, id);
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS;
	     !all_wait(f) && clock_mono_ms() < end;) {
		fix_turn(f, 5);
		if (f->delivery == NULL || !fix_has_open_job(f))
			continue;
		fix_next_job(f)->is_answered = true;
		ipc_conn_close(f->delivery);
		f->delivery = NULL;
		kills++;
	}
	assert_in_range(kills, 2, 5);
	assert_int_equal(queue_count(f->queue), 1);
}

/* Answers nobody asked for cost the peer its connection, and nobody his mail. */
/* A process that goes in the moment in which it is to get more: its end is heard of only when the loop turns. */
static void
test_peer_goes(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "bob@example.test");
	char id[QUEUE_ID_TEXT];

	f->sc.local.concurrency_limit = f->sc.local.initial_concurrency = 1;
	fix_start(f);
	for (int i = 0; i < 3; i++)
		fix_send(f, &m, id);
	fix_next_job(f);
	alarm(20);
	fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	assert_int_equal(shutdown(f->delivery_fd, SHUT_RD), 0);
	for (int i = 0; i < 10; i++) {
		fix_turn(f, 300);
		fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	}
	fix_run(f, fix_is_empty);
	alarm(0);
}

static void
test_lying_peer(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "bob@example.test");
	char id[QUEUE_ID_TEXT];

	fix_start(f);
	fix_send(f, &m, id);
	for (int i = 0; i < 2; i++) {
		struct fix_job *j = fix_next_job(f), lie = *j;

		if (i == 0)
			lie.number += 7;
		else
			lie.rcpts[0].number += 7;
		fix_answer(&lie, 0, DELIVERY_SENT, "2.0.0", "ok");
		j->is_answered = true;
		for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; f->delivery != NULL;) {
			assert_true(clock_mono_ms() < end);
			fix_turn(f, 1);
		}
	}
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

static void
test_no_delivery_process(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "bob@example.test");
	char id[QUEUE_ID_TEXT];

	f->delivery_refused = true;
	fix_start(f);
	fix_send(f, &m, id);
	fix_run(f, all_wait);
	assert_int_equal(queue_count(f->queue), 1);
}

/* Enhanced codes that do not fit the verdict, and texts full of poison. */
static void
test_foreign_text(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];
	struct queue_id q;
	struct deferred_file file;

	fix_start(f);
	fix_send(f, &m, id);
	answer_relay(fix_next_job(f), DELIVERY_DEFERRED, "5.7.1", "no\r\nQUIT\x01\xff % \\", false);
	fix_run(f, all_wait);
	assert_true(queue_id_parse(view_of(id), &q));
	assert_int_equal(deferred_load(f->root_fd, q, &file, NULL), 0);
	assert_string_equal(file.slots[0].dsn, "4.0.0");
	/* quoted twice would be wrong: what is stored is what is shown */
	assert_string_equal(file.slots[0].reason, "no\\015\\012QUIT\\001\\377 % \\134");
	deferred_file_clear(&file);
}

static size_t
place_of(const struct fixture *f, const char *id)
{
	size_t at = 0;

	while (at < f->njobs && strcmp(f->jobs[at].id, id) != 0)
		at++;
	return at;
}

/* Answers one after the other until there are no more. */
static void
answer_in_turn(struct fixture *f)
{
	for (int i = 0; i < 2000 && queue_count(f->queue) > 0; i++) {
		for (size_t k = 0; k < f->njobs; k++) {
			if (f->jobs[k].is_answered)
				continue;
			answer_relay(&f->jobs[k], DELIVERY_SENT, "2.0.0", "ok", false);
			break;
		}
		fix_turn(f, 2);
	}
	fix_run(f, fix_is_empty);
}

/* A window of twenty, and nobody answers: he who has a hundred messages does not have all of it. */
static void
test_window_of_tenants(void **state)
{
	struct fixture *f = *state;
	struct fix_mail flood = mail_to("spam@many.test", "smtp:a@busy.test");
	struct fix_mail one = mail_to("nice@few.test", "smtp:a@quiet.test");
	struct fix_mail notice = mail_to("", "smtp:a@quiet2.test");
	char id[QUEUE_ID_TEXT];

	f->qc.active_limit = 20;
	fix_start(f);
	prove_relay(f);
	for (int i = 0; i < 100; i++)
		fix_send(f, &flood, id);
	fix_turn(f, 30);
	assert_int_equal(f->queue->active, 18);
	fix_send(f, &one, id);
	fix_turn(f, 30);
	assert_int_equal(open_jobs(f, "quiet.test"), 1);
	fix_send(f, &notice, id);
	fix_turn(f, 30);
	assert_int_equal(open_jobs(f, "quiet2.test"), 1);
	answer_in_turn(f);
	assert_int_equal(f->queue->tenants.by_key.count, 0);
}

/* The same after a restart: files say whose they are, and all are due. */
static void
test_deferred_of_tenants(void **state)
{
	struct fixture *f = *state;
	struct fix_mail flood = mail_to("spam@many.test", "smtp:a@busy.test");
	struct fix_mail one = mail_to("nice@few.test", "smtp:a@quiet.test");
	char id[QUEUE_ID_TEXT];
	struct message *m = NULL;

	fix_start(f);
	prove_relay(f);
	for (int i = 0; i < 41; i++) {
		fix_send(f, i < 40 ? &flood : &one, id);
		answer_relay(fix_next_job(f), DELIVERY_DEFERRED, "4.2.2", "full", false);
	}
	fix_run(f, all_wait);
	f->qc.active_limit = 10;
	fix_restart(f);
	assert_int_equal(f->queue->tenants.by_key.count, 2);
	while ((m = queue_next(f->queue, m)) != NULL)
		queue_flush(f->queue, m);
	answer_relay(fix_next_job(f), DELIVERY_SENT, "2.0.0", "ok", false);
	for (int i = 0; i < 100 && f->njobs < 10; i++) {
		for (size_t k = 0; k < f->njobs; k++)
			if (!f->jobs[k].is_answered)
				answer_relay(&f->jobs[k], DELIVERY_SENT, "2.0.0", "ok", false);
		fix_turn(f, 5);
	}
	assert_true(place_of(f, id) < 8);
	answer_in_turn(f);
}

/* Two tenants and one destination: of one a mailing to two thousand and many messages, of the other two messages, and a single
 * mail of the one with the mailing. */
static void
test_preemption(void **state)
{
	struct fixture *f = *state;
	struct fix_mail mailing = mail_to("news@big.test", NULL);
	struct fix_mail own = mail_to("news@big.test", "smtp:a@remote.test");
	struct fix_mail other = mail_to("nice@small.test", "smtp:b@remote.test");
	static char to[60][40];
	char id[QUEUE_ID_TEXT], mine[QUEUE_ID_TEXT], his[QUEUE_ID_TEXT];

	f->sc.smtp.recipient_limit = 2;
	for (int i = 0; i < 60; i++) {
		snprintf(to[i], sizeof to[i], "smtp:u%d@remote.test", i);
		mailing.rcpts[i] = to[i];
	}
	fix_start(f);
	prove_relay(f);
	for (int i = 0; i < 3; i++)
		fix_send(f, &mailing, id);
	fix_send(f, &own, mine);
	fix_send(f, &other, his);
	answer_in_turn(f);
	/* five at first contact, and each answer lets two more go */
	assert_true(place_of(f, his) < 9);
	assert_true(place_of(f, mine) < 16);
	assert_int_equal(f->njobs, 92);
}

/* Many that stall do not take all room from one that answers, nor from the next one. */
static void
test_stalled(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], to[64];
	struct fix_mail good = mail_to("x@example.test", "smtp:a@good.test");
	struct fix_mail late = mail_to("x@example.test", "smtp:a@late.test");

	f->sc.relay_jobs = 40;
	fix_start(f);
	prove_relay(f);
	fix_send(f, &good, id);
	answer_relay(fix_next_job(f), DELIVERY_SENT, "2.0.0", "ok", false);
	fix_run(f, fix_is_empty);
	fix_forget_jobs(f);
	for (int i = 0; i < 15 * 6; i++) {
		struct fix_mail m;

		snprintf(to, sizeof to, "smtp:a@d%d.test", i % 15);
		m = mail_to("x@example.test", to);
		fix_send(f, &m, id);
	}
	fix_turn(f, 50);
	assert_true(f->njobs <= 30);
	fix_send(f, &late, id);
	for (int i = 0; i < 10; i++)
		fix_send(f, &good, id);
	fix_turn(f, 50);
	assert_true(open_jobs(f, "good.test") >= 5);
	assert_int_equal(open_jobs(f, "late.test"), 1);
	answer_in_turn(f);
}

static void
test_rate_delay(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "smtp:a@remote.test");
	int64_t began;
	char id[QUEUE_ID_TEXT];

	f->sc.smtp.rate_delay_ms = 100;
	fix_start(f);
	for (int i = 0; i < 4; i++)
		fix_send(f, &m, id);
	began = clock_mono_ms();
	while (queue_count(f->queue) > 0) {
		assert_true(open_jobs(f, NULL) <= 1);
		for (size_t k = 0; k < f->njobs; k++)
			if (!f->jobs[k].is_answered)
				answer_relay(&f->jobs[k], DELIVERY_SENT, "2.0.0", "ok", false);
		fix_turn(f, 2);
	}
	assert_true(clock_mono_ms() - began >= 300);
}

/* postconf(5): a recipient limit of 1 makes each recipient a destination. */
static void
test_destination_by_recipient(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];

	f->sc.smtp.recipient_limit = 1;
	f->sc.smtp.concurrency_limit = 1;
	m.rcpts[1] = "smtp:b@remote.test";
	m.rcpts[2] = "smtp:A@Remote.test";
	fix_start(f);
	prove_relay(f);
	fix_send(f, &m, id);
	fix_turn(f, 30);
	assert_int_equal(open_jobs(f, "remote.test"), 2);
	answer_in_turn(f);
	assert_int_equal(f->njobs, 3);
}

/* 1/concurrency: a window's worth of answers adds one; cohorts: so many windows' worth of failures before it is dead. */
static void
test_slow_feedback(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = mail_to("x@example.test", "smtp:a@remote.test");
	char id[QUEUE_ID_TEXT];

	f->sc.smtp.positive.by = FEEDBACK_WINDOW;
	f->sc.smtp.negative.by = FEEDBACK_WINDOW;
	f->sc.smtp.failed_cohort_limit = 3;
	fix_start(f);
	prove_relay(f);
	for (int i = 0; i < 60; i++)
		fix_send(f, &m, id);
	fix_turn(f, 30);
	assert_int_equal(open_jobs(f, NULL), 5);
	for (size_t i = 0; i < 5; i++)
		answer_relay(&f->jobs[i], DELIVERY_SENT, "2.0.0", "ok", false);
	fix_turn(f, 30);
	assert_int_equal(open_jobs(f, NULL), 6);
	for (size_t i = 5; i < 11; i++)
		answer_relay(&f->jobs[i], DELIVERY_DEFERRED, "4.4.1", "refused", true);
	fix_turn(f, 30);
	assert_in_range(open_jobs(f, NULL), 4, 5); /* fewer, and not dead */
	for (int i = 0; i < 10 && open_jobs(f, NULL) > 0; i++) {
		for (size_t k = 0; k < f->njobs; k++)
			if (!f->jobs[k].is_answered)
				answer_relay(
				    &f->jobs[k], DELIVERY_DEFERRED, "4.4.1", "refused", true);
		fix_turn(f, 30);
	}
	fix_run(f, all_wait);
	assert_in_range(f->njobs, 11 + 6, 11 + 20);
}

static void
answer_open(struct fixture *f, enum delivery_status status, const char *dsn)
{
	size_t had = f->njobs;

	for (size_t i = 0; i < had; i++)
		if (!f->jobs[i].is_answered)
			answer_relay(&f->jobs[i], status, dsn, "said", false);
	fix_turn(f, 30);
}

static void
send_to_domains(struct fixture *f, int domains, int each)
{
	char id[QUEUE_ID_TEXT], to[64];

	for (int i = 0; i < domains * each; i++) {
		struct fix_mail m;

		snprintf(to, sizeof to, "smtp:a@d%d.test", i % domains);
		m = mail_to("x@example.test", to);
		fix_send(f, &m, id);
	}
	fix_turn(f, 30);
}

/* Domains with the same mail exchangers share their window, as soon as that is known. */
static void
test_site(void **state)
{
	struct fixture *f = *state;

	f->sc.mx_concurrency_limit = 6;
	f->sc.relay_jobs = 100;
	fix_start(f);
	prove_relay(f);
	answer_site = "mx1.test,mx2.test";
	send_to_domains(f, 8, 4);
	assert_true(open_jobs(f, NULL) > 6); /* nobody knows yet */
	for (int i = 0; i < 40 && queue_count(f->queue) > 0; i++) {
		answer_open(f, DELIVERY_SENT, "2.0.0");
		assert_true(open_jobs(f, NULL) <= 6);
	}
	fix_run(f, fix_is_empty);
	assert_int_equal(f->njobs, 32);
	fix_forget_jobs(f);
	answer_site = "";
	send_to_domains(f, 8, 4); /* still known */
	assert_int_equal(open_jobs(f, NULL), 6);
	for (int i = 0; i < 40 && queue_count(f->queue) > 0; i++)
		answer_open(f, DELIVERY_SENT, "2.0.0");
	fix_run(f, fix_is_empty);
}

/* A provider that wants less gets half as much, in the end one at a time with pauses; and no more than that is lost. */
static void
test_throttled(void **state)
{
	struct fixture *f = *state;
	size_t size[3];

	f->sc.mx_concurrency_limit = 8;
	f->sc.relay_jobs = 100;
	fix_start(f);
	prove_relay(f);
	answer_site = "mx.test";
	send_to_domains(f, 4, 20);
	for (int i = 0; i < 3; i++) {
		struct site *st;

		answer_open(f, DELIVERY_SENT, "2.0.0");
		st = map_get(&f->schedule->sites, VIEW_LIT("mx.test"));
		assert_non_null(st);
		answer_code = 421;
		answer_open(f, DELIVERY_DEFERRED, "4.7.28");
		answer_code = 0;
		size[i] = st->gate.window.size;
		if (i < 2)
			assert_true(open_jobs(f, NULL) <= size[i]);
	}
	assert_int_equal(size[0], 4);
	assert_in_range(size[1], 2, 3);
	assert_in_range(size[2], 1, 2);
	answer_site = "";
}

/* destination_limit_maps: at a time, and in a while. */
static void
test_limits(void **state)
{
	struct fixture *f = *state;

	f->sc.has_limits = true;
	f->sc.relay_jobs = 100;
	f->limits = "concurrency=2 rate=3/1s";
	fix_start(f);
	answer_site = "";
	send_to_domains(f, 1, 6);
	assert_in_range(f->njobs, 1, 2);
	for (int i = 0; i < 3; i++)
		answer_open(f, DELIVERY_SENT, "2.0.0");
	assert_int_equal(f->njobs, 3);
	for (int i = 0; i < 200 && f->njobs < 6; i++)
		answer_open(f, DELIVERY_SENT, "2.0.0");
	assert_int_equal(f->njobs, 6);
	answer_open(f, DELIVERY_SENT, "2.0.0");
	fix_run(f, fix_is_empty);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_window, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_unproved, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_ready, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_dead_destination, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_turns, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_recipient_limit, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_killer_message, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_peer_goes, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_lying_peer, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_no_delivery_process, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_foreign_text, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_window_of_tenants, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_deferred_of_tenants, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_preemption, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_stalled, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_rate_delay, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_destination_by_recipient, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_slow_feedback, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_site, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_throttled, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_limits, fix_setup, fix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
