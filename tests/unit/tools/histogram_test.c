#include "tools/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
add(struct histogram *h, long long age_s, const char *sender, const char *a, const char *b)
{
	json_t *e = json_pack("{s:I, s:s, s:[{s:s}, {s:s}]}", "arrival_time",
	    (json_int_t)(h->now_s - age_s), "sender", sender, "recipients", "address", a, "address",
	    b);

	assert_non_null(e);
	histogram_add(h, e);
	json_decref(e);
}

static void
check(bool by_sender, const char *want)
{
	struct histogram h;
	char *got = NULL;
	size_t len;
	FILE *out = open_memstream(&got, &len);

	histogram_init(&h, by_sender, 2000000000);
	add(&h, 300, "a@Example.test", "x@far.test", "y@FAR.test");
	add(&h, 301, "", "x@far.test", "x@a-rather-long-domain-of-theirs.test");
	for (int i = 0; i < 50; i++)
		add(&h, 76801, "a@example.test", "x@far.test", "root");
	add(&h, -5, "b@example.test", "x@near.test", "z@near.test");
	histogram_print(&h, out);
	fclose(out);
	if (strcmp(got, want) != 0)
		fail_msg("got\n%s\nwant\n%s", got, want);
	free(got);
	histogram_clear(&h);
}

static void
test_recipients(void **state)
{
	(void)state;
	check(false,
	    "                                      T 5 10 20 40 80 160 320 640 1280 1280+\n"
	    "                              TOTAL 106 4  2  0  0  0   0   0   0    0   100\n"
	    "                           far.test  53 2  1  0  0  0   0   0   0    0    50\n"
	    "                               root  50 0  0  0  0  0   0   0   0    0    50\n"
	    "                          near.test   2 2  0  0  0  0   0   0   0    0     0\n"
	    "a-rather-long-domain-of-theirs.test   1 0  1  0  0  0   0   0   0    0     0\n");
}

static void
test_senders(void **state)
{
	(void)state;
	check(true, "                        T 5 10 20 40 80 160 320 640 1280 1280+\n"
		    "                 TOTAL 53 2  1  0  0  0   0   0   0    0    50\n"
		    "          example.test 52 2  0  0  0  0   0   0   0    0    50\n"
		    "         MAILER-DAEMON  1 0  1  0  0  0   0   0   0    0     0\n");
}

static void
test_nothing(void **state)
{
	struct histogram h;
	char *got = NULL;
	size_t len;
	FILE *out = open_memstream(&got, &len);

	(void)state;
	histogram_init(&h, false, 0);
	histogram_print(&h, out);
	fclose(out);
	assert_string_equal(got, "                       T 5 10 20 40 80 160 320 640 1280 1280+\n"
				 "                 TOTAL 0 0  0  0  0  0   0   0   0    0     0\n");
	free(got);
	histogram_clear(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_senders), cmocka_unit_test(test_nothing) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
