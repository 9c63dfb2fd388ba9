/* What an smtpd that was taken over may send to anvil: anything, in any order, and it goes at any moment. */
#include "common/base/mem.h"
#include "common/ipc/conn.h"
#include "common/log/log.h"
#include "smtpd/anvil/anvil.h"
#include "tests/unit/remove_all.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned seed = 7;
static unsigned
rnd(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

static void
put_text(struct ipc_out *o)
{
	static char text[20000];
	static const unsigned lengths[] = { 0, 1, 2, 9, 500, 600, 601, 1499, 1500, 1501, 12000 };
	unsigned len = lengths[rnd(11)];

	memset(text, "ab\n:%\xff"[rnd(6)], len);
	text[len] = '\0';
	ipc_put_str(o, text);
}

static const uint64_t numbers[] = { 0, 1, 100, UINT32_MAX, INT64_MAX, UINT64_MAX, 1ULL << 63 };

static void
on_reply(void *arg, struct ipc_in *in)
{
	(void)arg, (void)in;
}

static void
send_one(struct ipc_conn *c)
{
	unsigned type = 1 + rnd(6);
	struct ipc_out o;

	ipc_out_init(&o, type);
	switch (type) {
	case ANVIL_CONNECT:
	case ANVIL_DISCONNECT:
		put_text(&o);
		put_text(&o);
		break;
	case ANVIL_COUNT:
		ipc_put_u32(&o, rnd(12));
		ipc_put_u32(&o, (uint32_t)numbers[rnd(7)]);
		put_text(&o);
		ipc_put_u32(&o, (uint32_t)numbers[rnd(7)]);
		break;
	case ANVIL_GREYLIST:
		for (int i = 0; i < 4; i++)
			put_text(&o);
		break;
	case ANVIL_SCREEN_PUT:
	case ANVIL_SCREEN_GET:
		put_text(&o);
		for (int i = 0; i < 5 && type == ANVIL_SCREEN_PUT; i++)
			ipc_put_u64(&o, numbers[rnd(7)]);
	}
	if (type == ANVIL_DISCONNECT || type == ANVIL_SCREEN_PUT || rnd(2) == 0)
		ipc_conn_send(c, &o);
	else
		ipc_conn_call(c, &o,
		    type == ANVIL_SCREEN_GET ? "qqqqq"
		    : type == ANVIL_COUNT    ? "u"
					     : "uu",
		    100000, on_reply, NULL);
}

static void
on_tick(void *arg)
{
	loop_timer_start(arg, 5);
}

static void
test_anything(void **state)
{
	struct loop *loop = loop_new();
	char directory[] = "/tmp/anvil-test-XXXXXX";
	struct ipc_conn *callers[4] = { NULL };
	static const struct ipc_handler none[] = { { 0, NULL, 0, NULL } };
	static struct ipc_conn_ops ops = { .handlers = none };
	struct loop_timer tick;
	struct anvil *a;
	struct anvil_conf ac;
	struct conf conf;

	(void)state;
	conf_init(&conf);
	anvil_conf_read(&ac, &conf);
	assert_non_null(mkdtemp(directory));
	a = anvil_new(loop, &ac, directory);
	anvil_start(a);
	loop_timer_init(&tick, loop, on_tick, &tick);
	loop_timer_start(&tick, 5);
	for (int i = 0; i < 6000; i++) {
		struct ipc_conn **c = &callers[rnd(4)];

		if (*c == NULL) {
			int fds[2];
			struct ipc_conn *side;

			assert_int_equal(socketpair(AF_UNIX,
					     SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			    0);
			side = ipc_conn_new(loop, fds[1], &anvil_caller_ops, NULL);
			anvil_caller_open(a, side);
			*c = ipc_conn_new(loop, fds[0], &ops, NULL);
		}
		send_one(*c);
		if (rnd(3) == 0)
			loop_run_once(loop, true);
		if (rnd(100) == 0) {
			ipc_conn_close(*c);
			*c = NULL;
		}
	}
	for (int i = 0; i < 4; i++)
		if (callers[i] != NULL)
			ipc_conn_close(callers[i]);
	for (int i = 0; i < 50; i++)
		loop_run_once(loop, true);
	/* not anvil_hand_over: it writes to the root of its cage */
	loop_timer_stop(&tick);
	anvil_free(a);
	remove_all(directory);
	loop_free(loop);
	conf_clear(&conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_anything) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
