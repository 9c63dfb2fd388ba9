/* Whose mail it is, and turns with a bound on what one may hold. */
#include "qmgr/tenant.h"
#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t
key_of(const char *login, const char *sender, uint32_t flags)
{
	struct envelope e = { .sasl_username = login, .sender = sender, .flags = flags };

	return tenant_key(&e);
}

static void
test_key(void **state)
{
	uint64_t example = key_of("", "a@example.test", 0);

	(void)state;
	assert_true(example > TENANT_NOTICES);
	assert_true(example == key_of("", "b@Example.Test", 0));
	assert_true(example != key_of("", "a@example2.test", 0));
	assert_true(example != key_of("example.test", "a@example.test", 0));
	assert_true(key_of("bob", "a@x.test", 0) == key_of("bob", "b@y.test", 0));
	assert_true(key_of("", "root", 0) > TENANT_NOTICES);
	assert_true(key_of("bob", "", 0) == TENANT_NOTICES);
	assert_true(key_of("", "double-bounce@example.test", ENVELOPE_BOUNCE) == TENANT_NOTICES);
}

struct line_up {
	struct loop *loop;
	unsigned rooms;
	struct tenants ts;
	struct message messages[64];
	size_t count;
};

static struct message *
add(struct line_up *l, uint64_t key)
{
	struct message *m = &l->messages[l->count++];

	*m = (struct message){ .tenant = tenant_ref(&l->ts, key) };
	tenant_ready(&l->ts, m, LINE_NEW);
	return m;
}

static struct message *
enter(struct line_up *l, size_t room)
{
	struct message *m = tenant_next(&l->ts, LINE_NEW, room);

	if (m != NULL)
		tenant_enter(m->tenant, LINE_NEW);
	return m;
}

static void
leave(struct line_up *l, struct message *m)
{
	tenant_leave(&l->ts, m->tenant);
	tenant_unref(&l->ts, m->tenant);
}

static void
on_room(void *arg)
{
	((struct line_up *)arg)->rooms++;
}

static void
test_turns(void **state)
{
	struct line_up l = { .loop = loop_new() };
	struct message *first, *second, *m;

	(void)state;
	tenants_init(&l.ts, l.loop, false, on_room, &l);
	first = add(&l, 7);
	second = add(&l, 7);
	for (int i = 0; i < 10; i++)
		add(&l, 7);
	m = add(&l, 8);
	assert_ptr_equal(enter(&l, 100), first);
	assert_ptr_equal(enter(&l, 100), m);
	assert_ptr_equal(enter(&l, 100), second);
	leave(&l, m);
	assert_int_equal(l.ts.by_key.count, 1);
	m = add(&l, 9);
	tenant_unready(&l.ts, m, LINE_NEW); /* deleted, say */
	tenant_unref(&l.ts, m->tenant);
	assert_int_equal(l.ts.by_key.count, 1);
	assert_ptr_equal(enter(&l, 0), NULL);
	tenants_clear(&l.ts);
	loop_free(l.loop);
}

/* He who has his share is set aside until something leaves; who has less goes on. */
static void
test_share(void **state)
{
	struct line_up l = { .loop = loop_new() };
	struct message *in[TENANT_SHARE + 1], *other;

	(void)state;
	tenants_init(&l.ts, l.loop, false, on_room, &l);
	for (int i = 0; i < TENANT_SHARE + 4; i++)
		add(&l, 7);
	for (int i = 0; i < TENANT_SHARE + 1; i++)
		assert_non_null(in[i] = enter(&l, 1));
	assert_null(enter(&l, 1));
	assert_null(enter(&l, 1));
	other = add(&l, 8);
	assert_ptr_equal(enter(&l, 1), other);
	assert_null(enter(&l, 1));
	leave(&l, other); /* somebody else's place: he is looked at, and there is more room */
	assert_non_null(enter(&l, 2));
	assert_non_null(enter(&l, 2));
	tenants_clear(&l.ts);
	loop_free(l.loop);
	assert_ptr_equal(in[0], &l.messages[0]);
}

/* What the admin allows: so many at a time, so many in a while; who waits for his rate is woken. */
static void
test_limits(void **state)
{
	struct line_up l = { .loop = loop_new() };
	struct message *m, *in;
	struct tenant *t;

	(void)state;
	tenants_init(&l.ts, l.loop, false, on_room, &l);
	for (int i = 0; i < 5; i++)
		m = add(&l, 7);
	t = m->tenant;
	t->concurrency = 1;
	assert_non_null(in = enter(&l, 10));
	assert_null(enter(&l, 10));
	leave(&l, in);
	assert_non_null(in = enter(&l, 10));
	leave(&l, in);
	t->concurrency = 0;
	t->rate.count = 2;
	t->rate.span_ms = 50;
	assert_non_null(enter(&l, 10));
	assert_non_null(enter(&l, 10));
	assert_null(enter(&l, 10));
	assert_true(tenant_may_enter(t, LINE_OLD, 10)); /* what has been tried was counted then */
	while (l.rooms == 0)
		loop_run_once(l.loop, true);
	assert_non_null(enter(&l, 10));
	tenants_clear(&l.ts);
	loop_free(l.loop);
}

/* A tenant is not known before the admin's limits are; his rate outlives his last message. */
static void
test_unknown(void **state)
{
	struct line_up l = { .loop = loop_new() };
	struct message *m;

	(void)state;
	tenants_init(&l.ts, l.loop, true, on_room, &l);
	m = add(&l, 7);
	assert_false(tenant_may_enter(m->tenant, LINE_NEW, 10));
	assert_true(tenant_may_enter(m->tenant, LINE_OLD, 10));
	m->tenant->is_known = true;
	m->tenant->rate.count = 1;
	m->tenant->rate.span_ms = 30;
	assert_ptr_equal(enter(&l, 10), m);
	leave(&l, m);
	assert_int_equal(l.ts.by_key.count, 1);
	while (l.ts.by_key.count > 0)
		loop_run_once(l.loop, true);
	tenants_clear(&l.ts);
	loop_free(l.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
