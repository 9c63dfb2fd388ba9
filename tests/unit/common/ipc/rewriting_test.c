#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/ipc/rewriting.h"

#include <stdio.h>
#include <sys/socket.h>

static struct {
	struct loop *loop;
	struct ipc_edge *edge;
	struct ipc_conn *authd;
	unsigned questions, most; /* addresses in one */
	uint32_t status;
	int surplus; /* answers too many */
	int result;  /* of on_done: -1 = not yet */
} w;

/* "x..." becomes "<class>-x...", everything else stays. */
static void
on_rewrite(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_out o;
	unsigned n = 0;

	(void)arg;
	w.questions++;
	ipc_reply_init(&o);
	ipc_put_u32(&o, w.status);
	while (ipc_in_more(in)) {
		uint32_t class = ipc_get_u32(in);
		const char *address = ipc_get_str(in);
		char to[400] = "";

		if (address[0] == 'x')
			snprintf(to, sizeof to, "%u-%s", (unsigned)class, address);
		if (++n > 1 || w.surplus >= 0)
			ipc_put_str(&o, to);
	}
	for (int i = 0; i < w.surplus; i++)
		ipc_put_str(&o, "surplus@a");
	w.most = n > w.most ? n : w.most;
	ipc_conn_reply(c, in->id, &o);
}

static const struct ipc_handler handlers[] = { { AUTHD_REWRITE, "(us)", IPC_STATE_ANY, on_rewrite },
	{ 0 } };
static const struct ipc_conn_ops ops = { .handlers = handlers };

static int
setup(void **state)
{
	int pair[2];

	(void)state;
	memset(&w, 0, sizeof w);
	w.result = -1;
	w.loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	w.authd = ipc_conn_new(w.loop, pair[0], &ops, NULL);
	w.edge = ipc_edge_new_fd(w.loop, pair[1], NULL, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	ipc_edge_free(w.edge);
	ipc_conn_close(w.authd);
	loop_free(w.loop);
	return 0;
}

static void
on_done(void *arg, bool ok)
{
	assert_ptr_equal(arg, &w);
	w.result = ok;
	loop_stop(w.loop);
}

static void
on_late(void *arg)
{
	(void)arg;
	fail_msg("no answer");
}

static void
run(struct rewriting *r)
{
	struct loop_timer late;

	loop_timer_init(&late, w.loop, on_late, NULL);
	loop_timer_start(&late, 10000);
	assert_true(rewriting_ask(r, w.edge, on_done, &w));
	loop_run(w.loop);
	loop_timer_stop(&late);
}

static void
each_once_and_in_pieces(void **state)
{
	struct rewriting *r =
	    rewriting_new(1U << REWRITE_HEADER_SENDER | 1U << REWRITE_HEADER_RECIPIENT);
	char name[32];

	(void)state;
	for (int twice = 0; twice < 2; twice++)
		for (int i = 0; i < 250; i++) {
			snprintf(name, sizeof name, "%s%d@a", i % 2 ? "x" : "y", i);
			rewriting_add(r, REWRITE_HEADER_SENDER, view_of(name));
		}
	rewriting_add(r, REWRITE_HEADER_RECIPIENT, VIEW_LIT("x1@a"));
	rewriting_add(r, REWRITE_ENVELOPE_SENDER, VIEW_LIT("x1@a"));
	rewriting_add(r, REWRITE_HEADER_SENDER, VIEW_LIT(""));
	run(r);
	assert_int_equal(w.result, 1);
	assert_int_equal(w.questions, 3);
	assert_int_equal(w.most, AUTHD_REWRITES);
	assert_string_equal(rewriting_find(r, REWRITE_HEADER_SENDER, VIEW_LIT("x1@a")), "2-x1@a");
	assert_string_equal(
	    rewriting_find(r, REWRITE_HEADER_SENDER, VIEW_LIT("x249@a")), "2-x249@a");
	assert_string_equal(
	    rewriting_find(r, REWRITE_HEADER_RECIPIENT, VIEW_LIT("x1@a")), "3-x1@a");
	assert_null(rewriting_find(r, REWRITE_HEADER_SENDER, VIEW_LIT("y2@a")));
	assert_null(rewriting_find(r, REWRITE_ENVELOPE_SENDER, VIEW_LIT("x1@a")));
	rewriting_free(r);
}

static void
nothing_to_ask(void **state)
{
	struct rewriting *r = rewriting_new(0);

	(void)state;
	rewriting_add(r, REWRITE_HEADER_SENDER, VIEW_LIT("x1@a"));
	assert_false(rewriting_ask(r, w.edge, on_done, &w));
	rewriting_free(r);
	rewriting_free(NULL);
}

static void
bounded(void **state)
{
	struct rewriting *r = rewriting_new(1U << REWRITE_HEADER_SENDER);
	char name[32];

	(void)state;
	for (int i = 0; i < REWRITING_MAX + 10; i++) {
		snprintf(name, sizeof name, "x%d@a", i);
		rewriting_add(r, REWRITE_HEADER_SENDER, view_of(name));
	}
	run(r);
	assert_int_equal(w.questions, REWRITING_MAX / AUTHD_REWRITES);
	assert_non_null(rewriting_find(r, REWRITE_HEADER_SENDER, VIEW_LIT("x9999@a")));
	assert_null(rewriting_find(r, REWRITE_HEADER_SENDER, VIEW_LIT("x10000@a")));
	rewriting_free(r);
}

static void
no_answer_and_odd_answers(void **state)
{
	static const struct {
		uint32_t status;
		int surplus;
	} cases[] = { { AUTHD_TEMP, 0 }, { AUTHD_OK, 1 }, { AUTHD_OK, -1 }, { 77, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rewriting *r = rewriting_new(1U << REWRITE_HEADER_SENDER);

		w.status = cases[i].status;
		w.surplus = cases[i].surplus;
		w.result = -1;
		rewriting_add(r, REWRITE_HEADER_SENDER, VIEW_LIT("x1@a"));
		rewriting_add(r, REWRITE_HEADER_SENDER, VIEW_LIT("x2@a"));
		run(r);
		assert_int_equal(w.result, 0);
		rewriting_free(r);
	}
}

/* Nothing comes after rewriting_free. */
static void
cancelled(void **state)
{
	struct rewriting *r = rewriting_new(1U << REWRITE_HEADER_SENDER);

	(void)state;
	rewriting_add(r, REWRITE_HEADER_SENDER, VIEW_LIT("x1@a"));
	assert_true(rewriting_ask(r, w.edge, on_done, &w));
	rewriting_free(r);
	r = rewriting_new(1U << REWRITE_HEADER_SENDER);
	rewriting_add(r, REWRITE_HEADER_SENDER, VIEW_LIT("x2@a"));
	run(r);
	assert_int_equal(w.result, 1);
	rewriting_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_once_and_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_to_ask, setup, teardown),
		cmocka_unit_test_setup_teardown(bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(no_answer_and_odd_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
