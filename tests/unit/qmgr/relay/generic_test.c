/* The header that leaves, wherever the message is cut between what we wrote and what came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/fd.h"
#include "common/base/mem.h"
#include "qmgr/relay/generic.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
	struct loop *loop;
	struct ipc_edge *edge;
	struct ipc_conn *authd;
	uint32_t status;
	int result; /* of on_done: -1 = not yet */
} w;

/* "in..." becomes "out...". */
static void
on_rewrite(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_out o;

	(void)arg;
	ipc_reply_init(&o);
	ipc_put_u32(&o, w.status);
	while (ipc_in_more(in)) {
		uint32_t class = ipc_get_u32(in);
		const char *address = ipc_get_str(in);
		char to[400] = "";

		assert_int_equal(class, REWRITE_GENERIC);
		if (strncmp(address, "in", 2) == 0)
			snprintf(to, sizeof to, "out%s", address + 2);
		ipc_put_str(&o, to);
	}
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
	(void)arg;
	w.result = ok;
	loop_stop(w.loop);
}

/* The first `ours` bytes in the memfd, the rest in the file, behind something that is not to be sent. */
static struct relay_content
content_of(struct view text, size_t ours)
{
	static const char skipped[] = "an old header\r\n";
	char path[] = "/tmp/generic_test.XXXXXX";
	struct relay_content c;
	struct err e;

	relay_content_init(&c);
	c.header_fd = memfd_sealed("headers", text.p, ours, &e);
	c.body_fd = mkstemp(path);
	assert_true(c.header_fd >= 0 && c.body_fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(write(c.body_fd, skipped, sizeof skipped), sizeof skipped);
	assert_int_equal(
	    write(c.body_fd, text.p + ours, text.len - ours), (ssize_t)(text.len - ours));
	c.body_offset = sizeof skipped;
	c.body_size = sizeof skipped + text.len - ours;
	assert_int_equal(relay_content_check(&c, &e), 0);
	return c;
}

static void
assert_content(const struct relay_content *c, struct view want)
{
	char *got = x_malloc(want.len + 1);
	size_t len = 0;
	int64_t n;

	assert_int_equal(relay_content_size(c), want.len);
	while ((n = relay_content_read(c, len, got + len, want.len + 1 - len, NULL)) > 0)
		len += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(len, want.len);
	assert_memory_equal(got, want.p, want.len);
	free(got);
}

static struct relay_generic *
rewritten(struct relay_content *c)
{
	struct relay_generic *g = relay_generic_new(REWRITE_GENERIC);
	struct err e;

	relay_generic_add(g, "in@a");
	relay_generic_add(g, "");
	assert_int_equal(relay_generic_read(g, c, &e), 0);
	w.result = -1;
	assert_true(relay_generic_ask(g, w.edge, on_done, NULL));
	loop_run(w.loop);
	assert_int_equal(w.result, 1);
	assert_int_equal(relay_generic_apply(g, c, &e), 0);
	assert_int_equal(relay_content_check(c, &e), 0);
	return g;
}

static const struct {
	const char *in, *out;
} messages[] = {
	{ "Received: x\r\nFrom: in@x,\r\n in.2@x\r\nTo: (in@x) b@x\r\n\r\nFrom: in@x\r\n",
	    "Received: x\r\nFrom: out@x,\r\n out.2@x\r\nTo: (in@x) b@x\r\n\r\nFrom: in@x\r\n" },
	{ "Cc: in@x\r\n\r\n", "Cc: out@x\r\n\r\n" },
	{ "Cc: in@x\r\n", "Cc: out@x\r\n" },
	{ "Cc: in@x", "Cc: out@x" },
	{ "Subject: a\r\nno field\r\nTo: in@x\r\n", "Subject: a\r\nno field\r\nTo: in@x\r\n" },
	{ "\r\nTo: in@x\r\n", "\r\nTo: in@x\r\n" },
	{ "", "" },
};

static void
cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
		struct view in = view_of(messages[i].in);

		for (size_t ours = 0; ours <= in.len; ours++) {
			struct relay_content c = content_of(in, ours);
			struct relay_generic *g = rewritten(&c);

			assert_content(&c, view_of(messages[i].out));
			assert_string_equal(relay_generic_find(g, "in@a"), "out@a");
			assert_string_equal(relay_generic_find(g, "b@a"), "b@a");
			assert_string_equal(relay_generic_find(g, ""), "");
			relay_generic_free(g);
			relay_content_close(&c);
		}
	}
}

/* Longer than what is read at once, and than what is read at all: what is behind stays. */
static void
long_headers(void **state)
{
	static const size_t fields[] = { 3000, 40000, 80000 };

	(void)state;
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		struct buf in, out;
		struct relay_content c;
		size_t limit = RELAY_GENERIC_HEADER_MAX;

		buf_init(&in, 16 << 20);
		buf_init(&out, 16 << 20);
		for (size_t n = 0; n < fields[i]; n++) {
			size_t before = in.len;

			/* 64 bytes, so that the last of those that are read ends with the limit */
			buf_printf(&in, "To: in@x, u%048zu@yy\r\n", n);
			assert_int_equal(in.len - before, 64);
			buf_printf(
			    &out, "To: %s@x, u%048zu@yy\r\n", in.len < limit ? "out" : "in", n);
		}
		buf_append_str(&in, "\r\nTo: in@x\r\n");
		buf_append_str(&out, "\r\nTo: in@x\r\n");
		c = content_of(buf_view(&in), 100);
		relay_generic_free(rewritten(&c));
		assert_content(&c, buf_view(&out));
		relay_content_close(&c);
		buf_clear(&in);
		buf_clear(&out);
	}
}

static void
no_answer(void **state)
{
	struct relay_content c = content_of(VIEW_LIT("From: in@x\r\n\r\n"), 3);
	struct relay_generic *g = relay_generic_new(REWRITE_GENERIC);
	struct err e;

	(void)state;
	w.status = AUTHD_TEMP;
	assert_int_equal(relay_generic_read(g, &c, &e), 0);
	assert_true(relay_generic_ask(g, w.edge, on_done, NULL));
	loop_run(w.loop);
	assert_int_equal(w.result, 0);
	relay_generic_free(g);
	/* nobody's address: no question */
	relay_content_close(&c);
	c = content_of(VIEW_LIT("Subject: in@x\r\n\r\n"), 3);
	g = relay_generic_new(REWRITE_GENERIC);
	assert_int_equal(relay_generic_read(g, &c, &e), 0);
	assert_false(relay_generic_ask(g, w.edge, on_done, NULL));
	relay_generic_free(g);
	relay_content_close(&c);
}

/* A body that was cut short, and a header that no message of ours has. */
static void
what_cannot_be_read(void **state)
{
	struct relay_content c = content_of(VIEW_LIT("From: in@x\r\n\r\n"), 3);
	struct relay_generic *g = relay_generic_new(REWRITE_GENERIC);
	struct err e;

	(void)state;
	assert_int_equal(ftruncate(c.body_fd, 18), 0);
	assert_int_equal(relay_generic_read(g, &c, &e), -1);
	assert_int_equal(e.kind, ERR_TEMP);
	c.header_size = RELAY_GENERIC_HEADER_MAX + 1;
	assert_int_equal(relay_generic_read(g, &c, &e), -1);
	relay_generic_free(g);
	relay_content_close(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cut_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(long_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
