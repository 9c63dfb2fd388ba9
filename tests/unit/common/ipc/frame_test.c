#include "common/ipc/frame.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

/* The packet of a message, as the send calls make it. */
static size_t
pack(struct ipc_out *o, unsigned char *p, uint32_t id)
{
	size_t len = o->body.len;

	memset(p, 0, IPC_HEADER);
	p[0] = (unsigned char)o->type;
	p[1] = (unsigned char)(o->type >> 8);
	for (size_t i = 0; i < 4; i++) {
		p[4 + i] = (unsigned char)(id >> 8 * i);
		p[8 + i] = (unsigned char)(len >> 8 * i);
	}
	if (len > 0)
		memcpy(p + IPC_HEADER, o->body.p, len);
	ipc_out_clear(o);
	return IPC_HEADER + len;
}

static void
test_round_trip(void **state)
{
	static unsigned char p[IPC_MAX_PACKET];
	struct ipc_in in = { 0 };
	struct ipc_out o;
	struct view b;
	size_t len;

	(void)state;
	ipc_out_init(&o, 300);
	ipc_put_u32(&o, 0xfffffffe);
	ipc_put_u64(&o, 1ULL << 63);
	ipc_put_str(&o, "text");
	ipc_put_str(&o, NULL);
	ipc_put_bytes(&o, "a\0b", 3);
	assert_false(o.failed);
	len = pack(&o, p, 77);
	assert_int_equal(ipc_in_parse(&in, p, len, NULL), 0);
	assert_int_equal(ipc_in_check(&in, "uqssb", NULL), 0);
	assert_int_equal(in.type, 300);
	assert_int_equal(in.id, 77);
	assert_int_equal(ipc_get_u32(&in), 0xfffffffe);
	assert_true(ipc_get_u64(&in) == 1ULL << 63);
	assert_string_equal(ipc_get_str(&in), "text");
	assert_string_equal(ipc_get_str(&in), "");
	b = ipc_get_bytes(&in);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.p, "a\0b", 3);
	assert_false(ipc_in_more(&in));
	/* any other signature, any other length */
	assert_int_equal(ipc_in_check(&in, "uqss", NULL), -1);
	assert_int_equal(ipc_in_check(&in, "uqssbu", NULL), -1);
	assert_int_equal(ipc_in_check(&in, "uqsbs", NULL), -1);
	assert_int_equal(ipc_in_check(&in, "", NULL), -1);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(ipc_in_parse(&in, p, cut, NULL), -1);
	for (size_t inner = 0; inner < len - IPC_HEADER; inner++) {
		in = (struct ipc_in){ .p = p + IPC_HEADER, .len = inner };
		assert_int_equal(ipc_in_check(&in, "uqssb", NULL), -1);
	}
}

static void
test_groups(void **state)
{
	static unsigned char p[IPC_MAX_PACKET];
	struct ipc_in in = { 0 };
	struct ipc_out o;

	(void)state;
	for (uint32_t n = 0; n < 4; n++) {
		uint32_t seen = 0;

		ipc_out_init(&o, 1);
		ipc_put_str(&o, "x");
		for (uint32_t i = 0; i < n; i++) {
			ipc_put_u32(&o, i);
			ipc_put_str(&o, "g");
		}
		assert_int_equal(ipc_in_parse(&in, p, pack(&o, p, 1), NULL), 0);
		assert_int_equal(ipc_in_check(&in, "s(us)", NULL), 0);
		ipc_get_str(&in);
		while (ipc_in_more(&in)) {
			assert_int_equal(ipc_get_u32(&in), seen++);
			ipc_get_str(&in);
		}
		assert_int_equal(seen, n);
	}
	ipc_out_init(&o, 1); /* half a group */
	ipc_put_str(&o, "x");
	ipc_put_u32(&o, 1);
	assert_int_equal(ipc_in_parse(&in, p, pack(&o, p, 1), NULL), 0);
	assert_int_equal(ipc_in_check(&in, "s(us)", NULL), -1);
}

static void
test_descriptors(void **state)
{
	static unsigned char p[IPC_MAX_PACKET];
	struct ipc_in in = { 0 };
	struct ipc_out o;
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	ipc_out_init(&o, 1);
	ipc_put_fd(&o, fd);
	assert_int_equal(o.nfds, 1);
	assert_int_equal(ipc_in_parse(&in, p, pack(&o, p, 1), NULL), 0);
	assert_int_equal(ipc_in_check(&in, "h", NULL), -1); /* the letter alone, no descriptor */
	in.nfds = 2;
	assert_int_equal(ipc_in_check(&in, "h", NULL), -1); /* more than it has letters */
	in.nfds = 1;
	in.fds[0] = fd;
	assert_int_equal(ipc_in_check(&in, "h", NULL), 0);
	assert_int_equal(ipc_get_fd(&in), fd);
	ipc_in_close_fds(&in); /* what was taken stays open */
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	in = (struct ipc_in){ .nfds = 1, .fds = { fd } };
	ipc_in_close_fds(&in);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	ipc_out_init(&o, 1);
	for (int i = 0; i < IPC_MAX_FDS; i++)
		ipc_put_fd(&o, 0);
	assert_false(o.failed);
	ipc_put_fd(&o, 0);
	assert_true(o.failed);
	ipc_out_clear(&o);
}

static void
test_too_much(void **state)
{
	static char big[IPC_MAX_PACKET + 1];
	struct ipc_out o;

	(void)state;
	ipc_out_init(&o, 1);
	ipc_put_bytes(&o, big, IPC_MAX_PACKET - IPC_HEADER - 5);
	assert_false(o.failed);
	ipc_put_u32(&o, 1);
	assert_true(o.failed);
	ipc_out_clear(&o);
	ipc_out_init(&o, 1);
	ipc_put_bytes(&o, big, sizeof big);
	assert_true(o.failed);
	ipc_out_clear(&o);
	ipc_out_init(&o, 1);
	ipc_put_view_str(&o, view_make("a\0b", 3));
	assert_true(o.failed);
	ipc_out_clear(&o);
}

static void
test_bad_fields(void **state)
{
	/* string without NUL behind it, with NUL inside, length beyond the end, unknown letter */
	static const struct {
		const char *bytes;
		size_t len;
		const char *signature;
	} cases[] = {
		{ "s\1\0\0\0ab", 7, "s" },
		{ "s\2\0\0\0\0a\0", 8, "s" },
		{ "s\xff\xff\xff\xff"
		  "a",
		    6, "s" },
		{ "b\5\0\0\0abcd", 9, "b" },
		{ "b\xff\xff\xff\xff", 5, "b" },
		{ "x\1\0\0\0", 5, "u" },
		{ "u\1\0\0", 4, "u" },
		{ "q\1\0\0\0\0\0\0", 8, "q" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ipc_in in = { .p = (const unsigned char *)cases[i].bytes,
			.len = cases[i].len };

		assert_int_equal(ipc_in_check(&in, cases[i].signature, NULL), -1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_bad_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
