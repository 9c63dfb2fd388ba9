#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "imapd/imap_list.h"
#include "imapd/imap_snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void
fill(struct imap_snapshot *s)
{
	static const uint32_t uids[] = { 2, 5, 6, 9, 20 };

	imap_snapshot_init(s);
	for (size_t i = 0; i < 5; i++)
		imap_snapshot_add(s, uids[i], i >= 3);
}

static void
test_numbers(void **state)
{
	struct imap_snapshot s;

	(void)state;
	fill(&s);
	assert_int_equal(imap_snapshot_seq(&s, 2), 1);
	assert_int_equal(imap_snapshot_seq(&s, 9), 4);
	assert_int_equal(imap_snapshot_seq(&s, 7), 0);
	assert_int_equal(imap_snapshot_seq(&s, 21), 0);
	assert_int_equal(imap_snapshot_last_uid(&s), 20);
	assert_int_equal(s.recent, 2);
	imap_snapshot_clear(&s);
}

static void
test_expunge(void **state)
{
	struct imap_snapshot s;
	uint32_t seq = 6, order[5];
	int n = 0;

	(void)state;
	fill(&s);
	imap_snapshot_mark_gone(&s, 2);
	imap_snapshot_mark_gone(&s, 4);
	imap_snapshot_mark_gone(&s, 4);
	assert_int_equal(s.gone, 2);
	while ((seq = imap_snapshot_next_gone(&s, seq)) != 0)
		order[n++] = seq;
	assert_int_equal(n, 2);
	assert_int_equal(order[0], 4);
	assert_int_equal(order[1], 2);
	imap_snapshot_compact(&s, 2);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.gone, 0);
	assert_int_equal(s.recent, 1);
	assert_int_equal(imap_snapshot_seq(&s, 6), 2);
	assert_int_equal(imap_snapshot_seq(&s, 20), 3);
	imap_snapshot_clear(&s);
}

static void
test_select(void **state)
{
	static const struct {
		const char *set;
		bool is_uid;
		const char *want;
	} cases[] = {
		{ "1:*", false, "1 2 3 4 5" },
		{ "2,4:3", false, "2 3 4" },
		{ "*", false, "5" },
		{ "5:*", true, "2 3 4 5" },
		{ "1", true, "" },
		{ "7:8", true, "" },
		{ "1:6,20", true, "1 2 3 5" },
		{ "*", true, "5" },
		{ "1000:*", true, "5" },
		{ "4294967295", true, "" },
		{ "1:4294967295", true, "1 2 3 4 5" },
	};
	struct imap_snapshot s;
	struct arena a;

	(void)state;
	fill(&s);
	arena_init(&a, 1 << 20);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view text = view_of(cases[i].set);
		struct imap_seqset set;
		char got[100] = "";
		uint32_t *seqs;
		size_t count;

		assert_int_equal(imap_seqset_parse(&text, &a, &set), 0);
		seqs = imap_snapshot_select(&s, &set, cases[i].is_uid, &a, &count);
		for (size_t k = 0; k < count; k++)
			snprintf(got + strlen(got), sizeof got - strlen(got), "%s%u", k ? " " : "",
			    seqs[k]);
		assert_string_equal(got, cases[i].want);
	}
	imap_snapshot_clear(&s);
	/* an empty mailbox has no UID, whatever "*" is */
	{
		struct view text = view_of("1:*,*");
		struct imap_seqset set;
		size_t count;

		imap_snapshot_init(&s);
		assert_int_equal(imap_seqset_parse(&text, &a, &set), 0);
		assert_non_null(imap_snapshot_select(&s, &set, true, &a, &count));
		assert_int_equal(count, 0);
	}
	arena_clear(&a);
}

static void
test_patterns(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} cases[] = {
		/* RFC 3501 6.3.8 */
		{ "*", "a/b/c", true },
		{ "%", "a", true },
		{ "%", "a/b", false },
		{ "%/%", "a/b", true },
		{ "%/%", "a/b/c", false },
		{ "a/%", "a/b", true },
		{ "a/%", "a", false },
		{ "a*", "a", true },
		{ "a%", "ab", true },
		{ "*c", "a/b/c", true },
		{ "%c", "a/c", false },
		{ "*/%", "a/b/c", true },
		{ "%/*", "a/b/c", true },
		{ "%b*", "a/b", false },
		{ "*b%", "a/b/c", false },
		{ "*b%c", "xbyc", true },
		{ "*b%c", "bx/bc", true },
		{ "", "", true },
		{ "", "a", false },
		{ "A", "a", false },
		{ "inbox", "INBOX", true },
		{ "iN%", "INBOX", true },
		{ "inbox/x", "INBOX/x", true },
		{ "inbox/x", "INBOX/X", false },
		{ "inboxes", "INBOXES", false },
		{ "INBOX", "inbox", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (imap_list_match(view_of(cases[i].pattern), view_of(cases[i].name)) !=
		    cases[i].want)
			fail_msg("%s against %s", cases[i].pattern, cases[i].name);
}

/* Hostile: wildcards that would cost a backtracking matcher the age of the universe. */
static void
test_pattern_bomb(void **state)
{
	char pattern[1001], name[1001];
	clock_t start = clock();

	(void)state;
	for (int i = 0; i < 1000; i += 4)
		memcpy(pattern + i, i % 8 ? "*a%a" : "%a*a", 4);
	pattern[1000] = '\0';
	memset(name, 'a', 1000);
	name[1000] = '\0';
	name[999] = 'b';
	for (int i = 0; i < 20; i++)
		assert_false(imap_list_match(view_of(pattern), view_of(name)));
	assert_true((clock() - start) < 5 * CLOCKS_PER_SEC);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_expunge),
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_pattern_bomb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
