/* smtpd's lookups, with an authd that answers as it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/ipc/conn.h"
#include "common/ipc/msg/authd.h"
#include "smtpd/lookup.h"
#include "smtpd/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct smtpd_server server;
static struct ipc_conn *authd;
static char asked[2000]; /* "tables|key|~partial key" */
static struct {
	unsigned status, which;
	const char *value;
	bool is_silent;
} answer;

static void
on_lookup(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_out o;
	size_t used = (size_t)snprintf(asked, sizeof asked, "%s", ipc_get_str(in));

	(void)arg;
	while (ipc_in_more(in)) {
		const char *mark = ipc_get_u32(in) ? "~" : "";

		used += (size_t)snprintf(
		    asked + used, sizeof asked - used, "|%s%s", mark, ipc_get_str(in));
	}
	if (answer.is_silent)
		return;
	ipc_reply_init(&o);
	ipc_put_u32(&o, answer.status);
	ipc_put_u32(&o, answer.which);
	ipc_put_str(&o, answer.value);
	ipc_conn_reply(c, in->id, &o);
}

static int
setup(void **state)
{
	static const struct ipc_handler rows[] = {
		{ AUTHD_LOOKUP, "s(us)", IPC_STATE_ANY, on_lookup }, { 0, NULL, 0, NULL }
	};
	static const struct ipc_conn_ops ops = { .handlers = rows };
	int fds[2];

	(void)state;
	loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	server = (struct smtpd_server){ .loop = loop,
		.authd = ipc_edge_new_fd(loop, fds[0], NULL, NULL) };
	authd = ipc_conn_new(loop, fds[1], &ops, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	ipc_edge_free(server.authd);
	ipc_conn_close(authd);
	loop_free(loop);
	return 0;
}

struct outcome {
	unsigned calls;
	enum lookup_result result;
	size_t which;
	char value[100];
};

static void
on_result(void *arg, enum lookup_result r, size_t which, const char *value)
{
	struct outcome *out = arg;

	out->calls++;
	out->result = r;
	out->which = which;
	snprintf(out->value, sizeof out->value, "%s", value);
}

static struct smtpd_tables *
open_ok(const char *specs)
{
	struct smtpd_tables *t;
	struct err e;

	if (smtpd_tables_open(view_of(specs), &t, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(smtpd_tables_name(t), specs);
	return t;
}

static const struct lookup_key keys[] = { { { "Mail.Host.Test", 14 }, false },
	{ { "host.test", 9 }, true } };

static struct outcome
look_up(struct smtpd_tables *t)
{
	struct outcome out = { 0 };
	int64_t deadline = clock_mono_ms() + 10000;

	asked[0] = '\0';
	assert_non_null(smtpd_lookup_start(&server, t, keys, 2, on_result, &out));
	assert_int_equal(out.calls, 0); /* from the loop, always */
	while (out.calls == 0 && clock_mono_ms() < deadline)
		loop_run_once(loop, true);
	for (int i = 0; i < 3; i++)
		loop_run_once(loop, false);
	assert_int_equal(out.calls, 1);
	return out;
}

static void
resident_tables_ask_nobody(void **state)
{
	struct smtpd_tables *t = open_ok("pcre:{{/^host/ no}}, inline:{host.test=REJECT}");
	struct outcome out = look_up(t);
	struct buf value;
	size_t which;
	struct err e;

	(void)state;
	assert_true(smtpd_tables_are_resident(t));
	assert_int_equal(out.result, LOOKUP_FOUND);
	assert_int_equal(out.which, 1);
	assert_string_equal(out.value, "REJECT");
	assert_string_equal(asked, "");
	buf_init(&value, 100);
	assert_int_equal(smtpd_lookup_now(t, keys, 2, &value, &which, &e), LOOKUP_FOUND);
	assert_string_equal(buf_cstr(&value), "REJECT");
	assert_int_equal(which, 1);
	assert_int_equal(smtpd_lookup_now(t, keys, 1, &value, &which, &e), LOOKUP_NONE);
	smtpd_tables_close(t);
	t = open_ok("fail:x");
	assert_int_equal(smtpd_lookup_now(t, keys, 1, &value, &which, &e), LOOKUP_TEMP);
	assert_string_equal(e.text, "table fail:x: fails always");
	assert_int_equal(look_up(t).result, LOOKUP_TEMP);
	smtpd_tables_close(t);
	t = open_ok("inline:{a=b}");
	assert_int_equal(look_up(t).result, LOOKUP_NONE);
	smtpd_tables_close(t);
	buf_clear(&value);
}

static void
the_others_are_authds(void **state)
{
	struct smtpd_tables *t = open_ok("inline:{host.test=x}, hash:/nonexistent/map");
	struct outcome out;
	struct buf value;
	size_t which;
	struct err e;

	(void)state;
	assert_false(smtpd_tables_are_resident(t));
	buf_init(&value, 100);
	assert_int_equal(smtpd_lookup_now(t, keys, 2, &value, &which, &e), LOOKUP_ASK);
	buf_clear(&value);
	answer.status = AUTHD_OK, answer.which = 1, answer.value = "OK fine";
	out = look_up(t);
	assert_int_equal(out.result, LOOKUP_FOUND);
	assert_int_equal(out.which, 1);
	assert_string_equal(out.value, "OK fine");
	assert_string_equal(
	    asked, "inline:{host.test=x}, hash:/nonexistent/map|Mail.Host.Test|~host.test");
	answer.which = 2; /* none of ours */
	assert_int_equal(look_up(t).result, LOOKUP_TEMP);
	answer.which = 0, answer.value = "";
	answer.status = AUTHD_NO;
	assert_int_equal(look_up(t).result, LOOKUP_NONE);
	answer.status = AUTHD_TEMP;
	assert_int_equal(look_up(t).result, LOOKUP_TEMP);
	answer.status = AUTHD_BAD;
	assert_int_equal(look_up(t).result, LOOKUP_TEMP);
	smtpd_tables_close(t);
}

static void
nothing_comes_after_cancel(void **state)
{
	static const char *const specs[] = { "inline:{host.test=x}", "hash:/nonexistent/map" };
	struct outcome out = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct smtpd_tables *t = open_ok(specs[i]);

		smtpd_lookup_cancel(smtpd_lookup_start(&server, t, keys, 2, on_result, &out));
		for (int n = 0; n < 5; n++)
			loop_run_once(loop, false);
		smtpd_tables_close(t);
	}
	assert_int_equal(out.calls, 0);
	smtpd_lookup_cancel(NULL);
}

static void
a_lost_authd_is_a_failure_for_now(void **state)
{
	struct smtpd_tables *t = open_ok("hash:/nonexistent/map");
	struct outcome out = { 0 };
	int64_t deadline = clock_mono_ms() + 10000;

	(void)state;
	answer.is_silent = true;
	smtpd_lookup_start(&server, t, keys, 2, on_result, &out);
	loop_run_once(loop, false);
	ipc_conn_close(authd);
	authd = NULL;
	while (out.calls == 0 && clock_mono_ms() < deadline)
		loop_run_once(loop, true);
	assert_int_equal(out.calls, 1);
	assert_int_equal(out.result, LOOKUP_TEMP);
	smtpd_tables_close(t);
}

static void
faults_are_told_at_open(void **state)
{
	struct smtpd_tables *t;
	struct err e;

	(void)state;
	assert_int_equal(smtpd_tables_open(view_of("nosuch:x"), &t, &e), -1);
	assert_int_equal(e.kind, ERR_SYNTAX);
	assert_null(t);
	assert_int_equal(smtpd_tables_open(view_of("cidr:/nonexistent/map"), &t, &e), -1);
	assert_int_equal(e.kind, ERR_GONE);
	smtpd_tables_close(NULL);
}

static void
a_parameter_names_its_tables(void **state)
{
	struct smtpd_tables *t;
	struct conf c;
	struct err e;

	(void)state;
	conf_init(&c);
	assert_int_equal(smtpd_tables_open_of(&c, "header_checks", &t, &e), 0);
	assert_null(t);
	assert_int_equal(smtpd_tables_need_memory(t, &e), 0);
	assert_int_equal(conf_set(&c, "header_checks", "inline:{a=b}", "main.cf", 1, &e), 0);
	assert_int_equal(
	    conf_set(&c, "body_checks", "static:x, hash:/nonexistent", "main.cf", 2, &e), 0);
	assert_int_equal(
	    conf_set(&c, "mime_header_checks", "cidr:/nonexistent", "main.cf", 3, &e), 0);
	assert_int_equal(smtpd_tables_open_of(&c, "header_checks", &t, &e), 0);
	assert_int_equal(smtpd_tables_need_memory(t, &e), 0);
	smtpd_tables_close(t);
	assert_int_equal(smtpd_tables_open_of(&c, "body_checks", &t, &e), 0);
	assert_int_equal(smtpd_tables_need_memory(t, &e), -1);
	assert_non_null(
	    strstr(e.text, "static:x, hash:/nonexistent: only tables that are read at start"));
	smtpd_tables_close(t);
	assert_int_equal(smtpd_tables_open_of(&c, "mime_header_checks", &t, &e), -1);
	assert_memory_equal(e.text, "mime_header_checks: ", 20);
	assert_null(t);
	conf_clear(&c);
}

static void
keys_of_an_address(void **state)
{
	char stripped[ADDRESS_MAX + 1];
	struct lookup_key k[2];

	(void)state;
	assert_int_equal(lookup_address_keys("user+ext@d.test", "+", stripped, k), 2);
	assert_true(view_eq_str(k[0].text, "user+ext@d.test") && !k[0].is_partial);
	assert_true(view_eq_str(k[1].text, "user@d.test") && k[1].is_partial);
	assert_int_equal(lookup_address_keys("user+ext@d.test", "", stripped, k), 1);
	assert_int_equal(lookup_address_keys("+ext@d.test", "+", stripped, k), 1);
	assert_int_equal(lookup_address_keys("", "+", stripped, k), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resident_tables_ask_nobody),
		cmocka_unit_test(the_others_are_authds),
		cmocka_unit_test(nothing_comes_after_cancel),
		cmocka_unit_test(faults_are_told_at_open),
		cmocka_unit_test(a_parameter_names_its_tables),
		cmocka_unit_test(keys_of_an_address),
		cmocka_unit_test(a_lost_authd_is_a_failure_for_now),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
