#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "authd/tickets.h"

static struct tickets table;

static int
setup(void **state)
{
	(void)state;
	tickets_init(&table);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	tickets_clear(&table);
	return 0;
}

static struct view
issue(int64_t now, uint8_t copy[TICKET_BYTES])
{
	const struct ticket *t = ticket_issue(&table, now, "alice@example.test", "imap", 100, 7);

	assert_non_null(t);
	memcpy(copy, t->bytes, TICKET_BYTES);
	return view_make(copy, TICKET_BYTES);
}

static void
a_ticket_is_good_once(void **state)
{
	uint8_t bytes[TICKET_BYTES];
	struct view v = issue(1000, bytes);
	struct ticket *t = ticket_take(&table, 1001, v, "imap", 100, 7);

	(void)state;
	assert_non_null(t);
	assert_string_equal(t->account, "alice@example.test");
	assert_true(ticket_matches(t, 1002, v));
	assert_false(ticket_matches(t, 1000 + TICKET_LIFE_MS, v));
	assert_null(ticket_take(&table, 1001, v, "imap", 100, 7));
	bytes[3] ^= 1;
	assert_false(ticket_matches(t, 1002, v));
	ticket_free(&t);
	assert_false(ticket_matches(NULL, 0, v));
}

static void
a_ticket_of_another_binding_is_destroyed(void **state)
{
	static const struct {
		const char *service;
		pid_t front;
		uint32_t session;
	} wrong[] = { { "pop3", 100, 7 }, { "imap", 101, 7 }, { "imap", 100, 8 } };
	uint8_t bytes[TICKET_BYTES];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct view v = issue(0, bytes);

		assert_null(
		    ticket_take(&table, 1, v, wrong[i].service, wrong[i].front, wrong[i].session));
		assert_null(ticket_take(&table, 1, v, "imap", 100, 7));
	}
}

static void
forged_and_expired_tickets_give_nothing(void **state)
{
	uint8_t bytes[TICKET_BYTES], forged[TICKET_BYTES] = { 0 };
	struct view v = issue(0, bytes);

	(void)state;
	assert_null(ticket_take(&table, 1, view_make(forged, sizeof forged), "imap", 100, 7));
	assert_null(ticket_take(&table, 1, view_make(bytes, 15), "imap", 100, 7));
	assert_null(ticket_take(&table, 1, view_make(NULL, 0), "imap", 100, 7));
	assert_null(ticket_take(&table, TICKET_LIFE_MS, v, "imap", 100, 7));
	assert_int_equal(table.by_bytes.count, 0);
}

static void
tickets_are_bounded_and_go_with_their_front(void **state)
{
	(void)state;
	for (size_t i = 0; i < TICKETS_MAX; i++)
		assert_non_null(
		    ticket_issue(&table, 0, "a@b.test", "imap", i % 2 ? 1 : 2, (uint32_t)i));
	assert_null(ticket_issue(&table, 0, "a@b.test", "imap", 1, 1));
	tickets_drop_front(&table, 1);
	assert_int_equal(table.by_bytes.count, TICKETS_MAX / 2);
	assert_non_null(ticket_issue(&table, TICKET_LIFE_MS, "a@b.test", "imap", 1, 1));
	assert_int_equal(table.by_bytes.count, 1);
	assert_null(ticket_issue(&table, 0, "a@b.test", "a service with a long name", 1, 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_ticket_is_good_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_ticket_of_another_binding_is_destroyed, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    forged_and_expired_tickets_give_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    tickets_are_bounded_and_go_with_their_front, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
