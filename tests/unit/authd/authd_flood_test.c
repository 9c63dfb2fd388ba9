/* Many logins at once, and many that fail. */
#include "common/base/clock.h"
#include "tests/unit/authd/authd_world.h"

/* Passwords take their time. */
static int
slow_instance_start(void **state)
{
	int r;

	password_cost = 50000;
	r = instance_start(state);
	password_cost = 1000;
	return r;
}

static void
start_plain(struct client *cl, const char *from, struct view initial, struct answer *a)
{
	struct ipc_out o;

	client_ip = from;
	put_start(&o, ++cl->last_number, "imap", "PLAIN", TLS | INITIAL, initial);
	client_ip = NULL;
	ipc_conn_call(cl->ours, &o, AUTHD_STEP_SIG, deadline_ms(), on_answer, a);
}

static void
a_crowd_from_one_address_delays_others_by_one(void **state)
{
	enum { CROWD = ORIGIN_EXCHANGES_MAX };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct answer *a = x_calloc(CROWD + 2, sizeof *a);
	unsigned before = 0, meanwhile = 0;

	(void)state;
	for (int i = 0; i < CROWD + 1; i++)
		start_plain(cl, "192.0.2.1", PLAIN("\0ghost@example.test\0wrong"), &a[i]);
	start_plain(cl, "192.0.2.2", PLAIN("\0alice@example.test\0secret-a"), &a[CROWD + 1]);
	while (authd->next_exchange < CROWD + 1)
		loop_run_once(loop, true);
	for (int i = 0; i < CROWD; i++)
		before += a[i].is_done;
	await(&a[CROWD].is_done); /* one too many: refused at once */
	assert_int_equal(step_of(&a[CROWD]).state, AUTHD_STEP_TEMP);
	await(&a[CROWD + 1].is_done);
	assert_int_equal(step_of(&a[CROWD + 1]).state, AUTHD_STEP_DONE);
	for (int i = 0; i < CROWD; i++)
		meanwhile += a[i].is_done;
	assert_true(meanwhile - before <= 4); /* two workers, two turns */
	for (int i = 0; i < CROWD; i++) {
		await(&a[i].is_done);
		assert_int_equal(step_of(&a[i]).state, AUTHD_STEP_FAILED);
	}
	free(a);
	client_free(cl);
}

static void
failure_or_leaving_delays_the_next_of_its_address(void **state)
{
	static const char *const from[] = { "192.0.2.1", "192.0.2.3", "192.0.2.1", "192.0.2.3",
		"192.0.2.2" };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct answer *a = x_calloc(5, sizeof *a);
	int64_t begin = clock_mono_ms();
	struct ipc_out o;

	(void)state;
	start_plain(cl, from[0], PLAIN("\0alice@example.test\0wrong"), &a[0]);
	await(&a[0].is_done);
	start_plain(cl, from[1], PLAIN("\0alice@example.test\0secret-a"), &a[1]);
	ipc_out_init(&o, AUTHD_SASL_ABORT);
	ipc_put_u32(&o, cl->last_number);
	ipc_conn_send(cl->ours, &o);
	for (int i = 2; i < 5; i++)
		start_plain(cl, from[i], PLAIN("\0alice@example.test\0secret-a"), &a[i]);
	await(&a[4].is_done); /* others do not wait */
	assert_false(a[2].is_done || a[3].is_done);
	for (int i = 2; i < 5; i++) {
		await(&a[i].is_done);
		assert_int_equal(step_of(&a[i]).state, AUTHD_STEP_DONE);
	}
	assert_true(clock_mono_ms() - begin >= 2000);
	client_free(cl);
	free(a);
}

/* Turns that were not used are not held against those who share the address. */
static void
leaving_the_queue_gives_the_turn_back(void **state)
{
	enum { TRIES = 2000 };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct answer *a = x_calloc(1, sizeof *a);
	struct origin *from;
	struct ipc_out o;

	(void)state;
	from = origin_take(&authd->origins, "192.0.2.1", 0); /* so that it is not forgotten */
	for (int i = 0; i < TRIES; i++) {
		put_start(&o, ++cl->last_number, "imap", "PLAIN", TLS, VIEW_LIT(""));
		ipc_conn_send(cl->ours, &o);
		client_ip = "192.0.2.1";
		put_start(&o, ++cl->last_number, "imap", "PLAIN", TLS | INITIAL,
		    PLAIN("\0ghost@example.test\0x"));
		client_ip = NULL;
		ipc_conn_send(cl->ours, &o);
		ipc_out_init(&o, AUTHD_SASL_ABORT);
		ipc_put_u32(&o, cl->last_number);
		ipc_conn_send(cl->ours, &o);
		loop_run_once(loop, false);
		from->until = 0;
	}
	start_plain(cl, "192.0.2.9", PLAIN("\0alice@example.test\0secret-a"), a);
	await(&a->is_done);
	assert_true(from->turn <= workers_turn(authd->workers, 0) + ORIGIN_EXCHANGES_MAX);
	origin_release(&authd->origins, from, 0);
	client_free(cl);
	free(a);
}

static void
the_oldest_waiting_client_makes_room(void **state)
{
	enum { OF_PEER = 4096 };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct view good = PLAIN("\0alice@example.test\0secret-a");
	uint32_t n = 1;

	(void)state;
	client_ip = "192.0.2.1";
	for (; n <= ORIGIN_EXCHANGES_MAX + 1; n++)
		assert_int_equal(
		    sasl_start(cl, n, "PLAIN", TLS, VIEW_LIT("")).state, AUTHD_STEP_MORE);
	assert_int_equal(authd->exchanges, ORIGIN_EXCHANGES_MAX);
	assert_int_equal(sasl_step(cl, 1, good).state, AUTHD_STEP_TEMP);
	client_ip = NULL;
	for (; n <= OF_PEER + 2; n++)
		assert_int_equal(
		    sasl_start(cl, n, "PLAIN", TLS, VIEW_LIT("")).state, AUTHD_STEP_MORE);
	assert_int_equal(authd->exchanges, OF_PEER);
	assert_int_equal(sasl_step(cl, 2, good).state, AUTHD_STEP_TEMP);
	assert_int_equal(sasl_step(cl, 3, good).state, AUTHD_STEP_DONE);
	assert_int_equal(sasl_step(cl, OF_PEER + 2, good).state, AUTHD_STEP_DONE);
	client_free(cl);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_crowd_from_one_address_delays_others_by_one,
		    slow_instance_start, instance_stop),
		TEST(failure_or_leaving_delays_the_next_of_its_address),
		TEST(leaving_the_queue_gives_the_turn_back),
		TEST(the_oldest_waiting_client_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
