#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "authd/trace.h"
#include "common/ipc/msg/authd.h"

#include <stdio.h>

static const char nul[] = "with\0nul";

static int
fake_lookup(
    void *arg, enum resolve_table t, struct lookup_key key, struct buf *value, struct err *err)
{
	(void)arg;
	if (t != RESOLVE_ALIASES)
		return 1;
	if (view_eq_str(key.text, "fail@example.test"))
		return err_set(err, ERR_TEMP, "no answer");
	if (view_eq_str(key.text, "nul@example.test"))
		return buf_append(value, nul, sizeof nul - 1);
	if (view_eq_str(key.text, "long@example.test")) {
		for (int i = 0; i < 1000; i++)
			buf_printf(value, "user%d@elsewhere.test ", i);
		return 0;
	}
	return view_eq_str(key.text, "list@example.test")
		   ? buf_append_str(value, "alice@example.test")
		   : 1;
}

static int
fake_include(void *arg, const char *path, struct buf *text, struct err *err)
{
	(void)arg, (void)path, (void)text;
	return err_set(err, ERR_TEMP, "no file");
}

static int
fake_user(void *arg, const char *address, struct user_record *out, struct err *err)
{
	(void)arg, (void)err;
	*out = (struct user_record){ 0 };
	return strcmp(address, "alice@example.test") == 0 ? 0 : 1;
}

static const struct resolve_source inner = { fake_lookup, fake_include, fake_user, NULL };
static struct resolve_conf conf;

static int
setup(void **state)
{
	(void)state;
	resolve_conf_init(&conf, "example.test", "", "");
	conf.has_table[RESOLVE_ALIASES] = true;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	resolve_conf_clear(&conf);
	return 0;
}

/* "table key status value\n" of what a resolution asked. */
static char *
traced(const char *address, int result)
{
	static char text[1 << 17];
	struct resolution r;
	struct trace t;
	struct err err;
	struct ipc_in in;
	size_t len = 0;

	trace_init(&t, &inner);
	assert_int_equal(resolve_address(&conf, &t.source, address, "", &r, &err), result);
	resolution_clear(&r);
	assert_false(t.steps.failed);
	in = (struct ipc_in){ .p = (const unsigned char *)t.steps.body.p, .len = t.steps.body.len };
	assert_int_equal(ipc_in_check(&in, "(ssus)", &err), 0);
	text[0] = '\0';
	while (ipc_in_more(&in)) {
		const char *table = ipc_get_str(&in), *key = ipc_get_str(&in);
		uint32_t status = ipc_get_u32(&in);

		len += (size_t)snprintf(text + len, sizeof text - len, "%s %s %u %s\n", table, key,
		    status, ipc_get_str(&in));
	}
	trace_clear(&t);
	return text;
}

static void
test_what_was_asked(void **state)
{
	(void)state;
	assert_string_equal(traced("list@example.test", 0),
	    "virtual_alias_maps list@example.test 0 alice@example.test\n"
	    "virtual_alias_maps alice@example.test 1 \n"
	    "virtual_alias_maps @example.test 1 \n"
	    "user_database alice@example.test 0 \n");
	assert_string_equal(
	    traced("fail@example.test", -1), "virtual_alias_maps fail@example.test 2 \n");
	assert_string_equal(traced("x@elsewhere.test", 0), "");
	assert_non_null(strstr(traced("nul@example.test", -1), "nul@example.test 0 with\n"));
}

static void
test_as_much_as_fits(void **state)
{
	const char *text;
	size_t lines = 0;

	(void)state;
	text = traced("long@example.test", -1); /* more than RESOLVE_RESULTS_MAX */
	for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	assert_int_equal(lines, AUTHD_TRACE_STEPS);
	assert_true(strlen(text) < 60000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_asked),
		cmocka_unit_test(test_as_much_as_fits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
