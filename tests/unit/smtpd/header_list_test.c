/* The header section as a list: round trip, search, changes, and what is refused. */
#include "smtpd/header_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* in tables */
#define ROW(s)                                                                                     \
	{                                                                                          \
		(s), sizeof(s) - 1                                                                 \
	}

struct round_trip {
	const char *content;
	size_t fields, body;
};

static void
test_round_trip(void **state)
{
	static const struct round_trip cases[] = {
		{ "A: b\r\n\r\nbody\r\n", 1, 8 }, { "A: b\r\n c\r\n\td\r\nB:\r\n\r\nx", 2, 20 },
		{ "A : b\r\nB\t:c\r\n\r\n", 2, 15 }, /* RFC 5322 4.5 */
		{ "\r\nbody\r\n", 0, 2 }, { "", 0, 0 }, { "A: b\r\nno field\r\n\r\n", 1, 6 },
		{ "A: b\r\n", 1, 6 }, { "A: b\r\nB: cut", 1, 6 }, { "A: \n bare\r\n\r\n", 1, 13 },
		{ "A: b\r\n \r\nC: d\r\n\r\n", 2, 17 }, /* a line of white space is folding */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct round_trip *c = &cases[i];
		struct header_list l;
		struct buf out;
		size_t body;

		header_list_init(&l);
		buf_init(&out, 1000);
		assert_int_equal(header_list_parse(&l, view_of(c->content), &body, NULL), 0);
		assert_int_equal(l.count, c->fields);
		assert_int_equal(body, c->body);
		assert_int_equal(header_list_write(&l, &out), 0);
		assert_int_equal(out.len, body);
		if (body > 0)
			assert_memory_equal(out.p, c->content, body);
		buf_clear(&out);
		header_list_clear(&l);
	}
}

static void
test_no_section(void **state)
{
	static const char *const cases[] = { "no field\r\n\r\n", ": x\r\n",
		"From a b\r\nA: b\r\n\r\n", " fold\r\nA: b\r\n\r\n", "A: cut" };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct header_list l;
		struct err err;
		size_t body = 1;

		header_list_init(&l);
		assert_int_equal(header_list_parse(&l, view_of(cases[i]), &body, &err), -1);
		assert_int_equal(err.kind, ERR_SYNTAX);
		assert_int_equal(body, 0);
		assert_int_equal(l.count, 0);
		header_list_clear(&l);
	}
}

static void
assert_written(const struct header_list *l, const char *text)
{
	struct buf out;

	buf_init(&out, 10000);
	assert_int_equal(header_list_write(l, &out), 0);
	assert_string_equal(buf_cstr(&out), text);
	buf_clear(&out);
}

static void
test_changes(void **state)
{
	struct header_list l;
	size_t body;
	struct view x = VIEW_LIT("X");

	(void)state;
	header_list_init(&l);
	assert_int_equal(
	    header_list_parse(&l, VIEW_LIT("A: 1\r\nB : 2\r\na: 3\r\nrest"), &body, NULL), 0);
	assert_int_equal(header_list_find(&l, VIEW_LIT("a"), 1), 0);
	assert_int_equal(header_list_find(&l, VIEW_LIT("A"), 2), 2);
	assert_int_equal(header_list_find(&l, VIEW_LIT("b"), 1), 1);
	assert_int_equal(header_list_find(&l, VIEW_LIT("A"), 3), 3);
	assert_int_equal(header_list_insert(&l, 0, x, VIEW_LIT(" top"), NULL), 0);
	assert_int_equal(
	    header_list_insert(&l, 99, x, VIEW_LIT(" end\nfold\r\n\tkept\n\n"), NULL), 0);
	assert_int_equal(header_list_replace(&l, 2, VIEW_LIT("B"), VIEW_LIT(" new"), NULL), 0);
	header_list_remove(&l, 1);
	assert_written(&l, "X: top\r\nB: new\r\na: 3\r\nX: end\r\n\tfold\r\n\tkept\r\n\r\n");
	header_list_clear(&l);
}

static void
test_refused(void **state)
{
	static const struct {
		struct view name, value;
	} cases[] = { { ROW(""), ROW("x") }, { ROW("A B"), ROW("x") }, { ROW("A:"), ROW("x") },
		{ ROW("A\n"), ROW("x") }, { ROW("A\xc3\xa4"), ROW("x") }, { ROW("A"), ROW("x\ry") },
		{ ROW("A"), ROW("x\0y") }, { ROW("A"), ROW("x\r") } };
	struct header_list l;
	struct err err;

	(void)state;
	header_list_init(&l);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(
		    header_list_insert(&l, 0, cases[i].name, cases[i].value, &err), -1);
		assert_int_equal(err.kind, ERR_SYNTAX);
	}
	assert_int_equal(l.count, 0);
	assert_false(l.is_changed);
	for (int i = 0; i < HEADER_LIST_MAX_FIELDS; i++)
		assert_int_equal(header_list_insert(&l, 0, VIEW_LIT("A"), VIEW_LIT(" b"), &err), 0);
	assert_int_equal(header_list_insert(&l, 0, VIEW_LIT("A"), VIEW_LIT(" b"), &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	header_list_clear(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_no_section), cmocka_unit_test(test_changes),
		cmocka_unit_test(test_refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
