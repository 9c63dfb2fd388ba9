#include "tools/mailq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void
check(const char *const *entries, const char *want)
{
	char *got = NULL;
	size_t len;
	struct mailq q = { .out = open_memstream(&got, &len) };

	for (; *entries != NULL; entries++) {
		json_t *e = json_loads(*entries, 0, NULL);

		assert_non_null(e);
		mailq_entry(&q, e);
		json_decref(e);
	}
	mailq_summary(&q);
	fclose(q.out);
	if (strcmp(got, want) != 0)
		fail_msg("got\n%s\nwant\n%s", got, want);
	free(got);
}

static void
test_empty(void **state)
{
	static const char *const none[] = { NULL };

	(void)state;
	check(none, "Mail queue is empty\n");
}

/* Golden: what Postfix 3.7's postqueue -p prints with enable_long_queue_ids = yes. */
static void
test_queue(void **state)
{
	static const char *const entries[] = {
		"{\"queue_name\": \"deferred\", \"queue_id\": \"4kFzAb12Cdz9\", \"arrival_time\": 1795409323,"
		" \"message_size\": 1234, \"forced_expire\": false, \"sender\": \"alice@example.test\", \"recipients\":"
		" [{\"address\": \"bob@far.example\", \"delay_reason\": \"connect to mx.far.example[192.0.2.1]:25: Connection timed out\"},"
		" {\"address\": \"carol@far.example\", \"delay_reason\": \"connect to mx.far.example[192.0.2.1]:25: Connection timed out\"},"
		" {\"address\": \"dave@far.example\"}]}",
		"{\"queue_name\": \"active\", \"queue_id\": \"4kFzAb22Cdz9\", \"arrival_time\": 1793836800,"
		" \"message_size\": 100000, \"forced_expire\": false, \"sender\": \"\", \"recipients\": [{\"address\": \"x@y\"}]}",
		"{\"queue_name\": \"hold\", \"queue_id\": \"4kFzAb32Cdz9\", \"arrival_time\": 1795409323,"
		" \"message_size\": 5, \"forced_expire\": true, \"sender\": \"MAILER-DAEMON\", \"recipients\": [],"
		" \"recipients_omitted\": 9}",
		NULL,
	};

	(void)state;
	check(entries,
	    "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
	    "4kFzAb12Cdz9          1234 Mon Nov 23 04:48:43 alice@example.test\n"
	    "               (connect to mx.far.example[192.0.2.1]:25: Connection timed out)\n"
	    "                                               bob@far.example\n"
	    "                                               carol@far.example\n"
	    "                                                          (reason unavailable)\n"
	    "                                               dave@far.example\n"
	    "\n"
	    "4kFzAb22Cdz9*       100000 Thu Nov  5 00:00:00 MAILER-DAEMON\n"
	    "                                               x@y\n"
	    "\n"
	    "4kFzAb32Cdz9!#           5 Mon Nov 23 04:48:43 MAILER-DAEMON\n"
	    "                                               (and 9 more)\n"
	    "\n"
	    "-- 98 Kbytes in 3 Requests.\n");
}

static void
test_one_with_long_reason(void **state)
{
	static const char *const entries[] = {
		"{\"queue_name\": \"deferred\", \"queue_id\": \"4kFzAb12Cdz9\", \"arrival_time\": 0,"
		" \"message_size\": 1023, \"forced_expire\": false, \"sender\": \"a@b\", \"recipients\":"
		" [{\"address\": \"c@d\", \"delay_reason\":"
		" \"host mx.example[192.0.2.1] said: 450 4.7.1 a reason that is longer than the columns of the screen\"}]}",
		NULL,
	};

	(void)state;
	check(entries,
	    "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
	    "4kFzAb12Cdz9          1023 Thu Jan  1 00:00:00 a@b\n"
	    "(host mx.example[192.0.2.1] said: 450 4.7.1 a reason that is longer than the columns of the screen)\n"
	    "                                               c@d\n"
	    "\n"
	    "-- 0 Kbytes in 1 Request.\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_one_with_long_reason),
	};

	setenv("TZ", "UTC0", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
