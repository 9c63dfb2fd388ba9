#include "tools/queue_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS = 6 };

static void
test_words(void **state)
{
	static const struct {
		const char *words[WORDS];
		int rest; /* words that remain; -1: refused */
		enum qmgr_filter kind;
		const char *value; /* of the last condition */
	} cases[] = {
		{ { "ALL" }, 1, 0, NULL },
		{ { "--sender", "a@b", "ID" }, 1, QMGR_FILTER_SENDER, "a@b" },
		{ { "ID", "--sender=" }, 1, QMGR_FILTER_SENDER, "" },
		{ { "sender=a@b", "--domain", "c.test" }, 0, QMGR_FILTER_DOMAIN, "c.test" },
		{ { "--recipient=x=y@z" }, 0, QMGR_FILTER_RECIPIENT, "x=y@z" },
		{ { "--reason", "timed out" }, 0, QMGR_FILTER_REASON, "timed out" },
		{ { "--queue", "hold" }, 0, QMGR_FILTER_QUEUE, "hold" },
		{ { "--older", "90" }, 0, QMGR_FILTER_OLDER, "90" },
		{ { "--older", "15m" }, 0, QMGR_FILTER_OLDER, "900" },
		{ { "--younger=2D" }, 0, QMGR_FILTER_YOUNGER, "172800" },
		{ { "--larger", "10k" }, 0, QMGR_FILTER_LARGER, "10240" },
		{ { "--smaller", "99999999g" }, 0, QMGR_FILTER_SMALLER, "107374181326258176" },
		{ { "--older" }, -1, 0, NULL },
		{ { "--older", "" }, -1, 0, NULL },
		{ { "--older", "-5" }, -1, 0, NULL },
		{ { "--older", "5k" }, -1, 0, NULL },
		{ { "--older", "5mm" }, -1, 0, NULL },
		{ { "--larger", "2h" }, -1, 0, NULL },
		{ { "--larger", "100000000" }, -1, 0, NULL },
		{ { "--sender=a", "sender=b" }, -1, 0, NULL },
		{ { "--senders", "a" }, 2, 0, NULL },
		{ { "sender", "a" }, 2, 0, NULL },
		{ { "-j" }, 1, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *argv[WORDS];
		struct queue_filter f;
		struct err err;
		int argc = 0;

		for (; argc < WORDS && cases[i].words[argc] != NULL; argc++)
			argv[argc] = (char *)cases[i].words[argc];
		if (queue_words_read(&argc, argv, &f, &err) < 0)
			argc = -1;
		if (argc != cases[i].rest)
			fail_msg("case %zu: %d words remain", i, argc);
		if (argc < 0)
			continue;
		assert_int_equal(f.count > 0, cases[i].value != NULL);
		if (cases[i].value == NULL)
			continue;
		assert_int_equal(f.conditions[f.count - 1].kind, cases[i].kind);
		assert_string_equal(f.conditions[f.count - 1].value, cases[i].value);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_words) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
