#include "common/ipc/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

static struct recipient rcpts[] = {
	{ .address = "bob@example.test",
	    .orig = "",
	    .orcpt = "rfc822;b",
	    .nexthop = "",
	    .notify = 0,
	    .transport = TRANSPORT_VIRTUAL,
	    .uid = 5000,
	    .gid = 5001 },
	{ .address = "carol@remote.test",
	    .orig = "alias@example.test",
	    .orcpt = "",
	    .nexthop = "[192.0.2.1]:25",
	    .notify = NOTIFY_SUCCESS | NOTIFY_FAILURE,
	    .transport = TRANSPORT_SMTP },
};
static struct envelope sample = { .sender = "alice@example.test",
	.flags = ENVELOPE_8BIT | ENVELOPE_TLS,
	.client_port = "4711",
	.filter = "smtp:[127.0.0.1]:10025",
	.arrival_ms = 1795419943123,
	.size = 4242,
	.envid = "QQ",
	.client_name = "c.test",
	.client_address = "192.0.2.9",
	.helo = "c",
	.protocol = "ESMTPSA",
	.sasl_method = "PLAIN",
	.sasl_username = "alice@example.test",
	.rcpts = rcpts,
	.nrcpts = 2 };

struct decoded {
	struct arena arena;
	struct envelope e;
	struct err err;
};

static int
decode(struct view v, struct decoded *d)
{
	int r;

	arena_init(&d->arena, 1 << 20);
	r = envelope_decode(v, &d->arena, &d->e, &d->err);
	if (r < 0)
		arena_clear(&d->arena);
	return r;
}

static void
test_round_trip(void **state)
{
	struct decoded d;
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	assert_int_equal(envelope_encode(&sample, &b), 0);
	assert_int_equal(decode(buf_view(&b), &d), 0);
	assert_string_equal(d.e.sender, sample.sender);
	assert_int_equal(d.e.flags, sample.flags);
	assert_int_equal(d.e.arrival_ms, sample.arrival_ms);
	assert_int_equal(d.e.size, sample.size);
	assert_string_equal(d.e.protocol, "ESMTPSA");
	assert_string_equal(d.e.client_port, "4711");
	assert_string_equal(d.e.filter, "smtp:[127.0.0.1]:10025");
	assert_string_equal(d.e.sasl_username, "alice@example.test");
	assert_int_equal(d.e.nrcpts, 2);
	assert_string_equal(d.e.rcpts[0].address, "bob@example.test");
	assert_string_equal(d.e.rcpts[0].orcpt, "rfc822;b");
	assert_int_equal(d.e.rcpts[0].gid, 5001);
	assert_string_equal(d.e.rcpts[1].nexthop, "[192.0.2.1]:25");
	assert_int_equal(d.e.rcpts[1].notify, NOTIFY_SUCCESS | NOTIFY_FAILURE);
	arena_clear(&d.arena);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(decode(view_make(b.p, len), &d), -1);
	buf_append_byte(&b, 0);
	assert_int_equal(decode(buf_view(&b), &d), -1);
	buf_clear(&b);
}

/* The encoder takes what it is given; the decoder must not. */
static void
refuses(struct envelope *e)
{
	struct decoded d;
	struct buf b;

	buf_init(&b, 100000);
	assert_int_equal(envelope_encode(e, &b), 0);
	assert_int_equal(decode(buf_view(&b), &d), -1);
	buf_clear(&b);
}

static void
test_refused(void **state)
{
	char longer[ENVELOPE_MAX_STRING + 2] = { 0 };
	struct recipient one = rcpts[0];
	struct envelope e = sample;

	(void)state;
	e.rcpts = &one;
	e.nrcpts = 0;
	refuses(&e);
	e.nrcpts = 1;
	e.sender = "a@b\r\nRCPT TO:<x@y>";
	refuses(&e);
	e.sender = "a\xff@b";
	refuses(&e);
	memset(longer, 'a', sizeof longer - 1);
	e.sender = longer;
	refuses(&e);
	e.sender = "";
	e.flags = 1 << 20;
	refuses(&e);
	e.flags = 0;
	one.transport = 0;
	refuses(&e);
	one.transport = TRANSPORT_COUNT;
	refuses(&e);
	one.transport = TRANSPORT_SMTP;
	one.notify = NOTIFY_NEVER | NOTIFY_SUCCESS;
	refuses(&e);
	one.notify = 64;
	refuses(&e);
	one.notify = 0;
	one.address = "";
	refuses(&e);
}

static void
test_limits(void **state)
{
	static struct recipient many[5000];
	struct envelope e = sample;
	struct decoded d;
	struct buf b;

	(void)state;
	for (size_t i = 0; i < 5000; i++)
		many[i] = rcpts[1];
	e.rcpts = many;
	e.nrcpts = 5000;
	buf_init(&b, ENVELOPE_MAX_BYTES);
	assert_int_equal(envelope_encode(&e, &b), 0);
	arena_init(&d.arena, 64 << 20);
	assert_int_equal(envelope_decode(buf_view(&b), &d.arena, &d.e, &d.err), 0);
	assert_int_equal(d.e.nrcpts, 5000);
	arena_clear(&d.arena);
	arena_init(&d.arena, 10000); /* a full arena is an error, not a crash */
	assert_int_equal(envelope_decode(buf_view(&b), &d.arena, &d.e, &d.err), -1);
	assert_int_equal(d.err.kind, ERR_LIMIT);
	arena_clear(&d.arena);
	buf_clear(&b);
	buf_init(&b, 100);
	assert_int_equal(envelope_encode(&e, &b), -1);
	buf_clear(&b);
}

/* Only where a recipient has a sender of its own is there a place for it; the queue's form is what it was. */
static void
test_senders(void **state)
{
	char names[ENVELOPE_MAX_SENDERS + 1][8];
	struct recipient many[ENVELOPE_MAX_SENDERS + 1];
	struct envelope e = sample;
	struct decoded d;
	struct buf b;

	(void)state;
	for (size_t i = 0; i <= ENVELOPE_MAX_SENDERS; i++) {
		snprintf(names[i], sizeof names[i], "%zu@x", i);
		many[i] = rcpts[1];
	}
	e.rcpts = many;
	e.nrcpts = ENVELOPE_MAX_SENDERS;
	buf_init(&b, ENVELOPE_MAX_BYTES);
	assert_int_equal(envelope_encode(&e, &b), 0);
	assert_int_equal(b.p[0], 2);
	assert_int_equal(envelope_count_senders(&e), 1);
	many[3].sender = "owner@x";
	buf_reset(&b);
	assert_int_equal(envelope_encode(&e, &b), 0);
	assert_int_equal(b.p[0], 3);
	assert_int_equal(decode(buf_view(&b), &d), 0);
	assert_int_equal(envelope_count_senders(&d.e), 2);
	assert_string_equal(d.e.rcpts[3].sender, "owner@x");
	assert_string_equal(envelope_sender_of(&d.e, &d.e.rcpts[3]), "owner@x");
	assert_string_equal(envelope_sender_of(&d.e, &d.e.rcpts[2]), e.sender);
	arena_clear(&d.arena);
	for (size_t i = 0; i <= ENVELOPE_MAX_SENDERS; i++)
		many[i].sender = names[i];
	for (; e.nrcpts <= ENVELOPE_MAX_SENDERS + 1; e.nrcpts++) {
		buf_reset(&b);
		assert_int_equal(envelope_encode(&e, &b), 0);
		assert_int_equal(
		    decode(buf_view(&b), &d), e.nrcpts > ENVELOPE_MAX_SENDERS ? -1 : 0);
		arena_clear(&d.arena);
	}
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_senders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
