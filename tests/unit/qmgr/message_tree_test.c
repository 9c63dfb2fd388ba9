/* The tree of all messages against a sorted array. */
#include "qmgr/message_tree.h"
#include "common/base/mem.h"
#include "qmgr/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MESSAGES = 5000 };

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
	return *x;
}

static void
check(const struct message_tree *t, struct message *all, const bool *is_in)
{
	struct queue_id id = { 0 };

	for (size_t i = 0; i < MESSAGES; i++) {
		if (!is_in[i])
			continue;
		assert_ptr_equal(message_tree_from(t, id), &all[i]);
		assert_ptr_equal(message_tree_from(t, all[i].id), &all[i]);
		id = queue_id_after(all[i].id);
	}
	assert_null(message_tree_from(t, id));
}

static unsigned
depth(const struct message *m)
{
	unsigned a, b;

	if (m == NULL)
		return 0;
	a = depth(m->earlier);
	b = depth(m->later);
	return 1 + (a > b ? a : b);
}

static void
test_order(void **state)
{
	struct message *all = x_calloc(MESSAGES, sizeof *all);
	bool *is_in = x_calloc(MESSAGES, sizeof *is_in);
	struct message_tree t = { 0 };
	uint64_t x = 88172645463325252ULL;

	(void)state;
	for (size_t i = 0; i < MESSAGES; i++)
		all[i].id = (struct queue_id){ 1700000000000000 + i / 3, (uint32_t)(i % 3) };
	for (size_t i = 0; i < MESSAGES; i++) { /* as they come: the latest at the end */
		message_tree_put(&t, &all[i]);
		is_in[i] = true;
	}
	check(&t, all, is_in);
	assert_true(depth(t.root) < 60); /* of 13 at best, 5000 at worst */
	for (int round = 0; round < 4; round++) {
		for (size_t n = 0; n < MESSAGES; n++) {
			size_t i = next_random(&x) % MESSAGES;

			if (is_in[i])
				message_tree_remove(&t, &all[i]);
			else
				message_tree_put(&t, &all[i]);
			is_in[i] = !is_in[i];
		}
		check(&t, all, is_in);
	}
	for (size_t i = 0; i < MESSAGES; i++)
		if (is_in[i])
			message_tree_remove(&t, &all[i]);
	assert_null(t.root);
	assert_int_equal(t.count, 0);
	free(all);
	free(is_in);
}

/* What a million of them take in memory, beside eight bytes in the heap and malloc's own. */
static void
test_size(void **state)
{
	(void)state;
	assert_in_range(sizeof(struct message), 1, 176);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_order),
		cmocka_unit_test(test_size) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
