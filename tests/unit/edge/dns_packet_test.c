/* Hostile answers: what the wire can say that a resolver of good faith would not. */
#include "edge/dns_packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* header of one question and n answers, then "a.test" of type t */
#define HEAD(flags, n, t) "\0\0" flags "\0\1\0" n "\0\0\0\0\1a\4test\0\0" t "\0\1"
#define OK "\201\200"
#define NX "\201\203"
#define RR(owner, t, len) owner "\0" t "\0\1\0\0\0\74\0" len
#define A_TEST "\300\14"

static int
parse(struct dns_packet *p, unsigned type, const char *bytes, size_t len)
{
	return dns_packet_parse(p, view_make(bytes, len), type, NULL);
}
#define PARSE(p, type, bytes) parse(p, type, bytes, sizeof(bytes) - 1)

static void
test_good(void **state)
{
	struct dns_packet p;

	(void)state;
	dns_packet_init(&p);
	assert_int_equal(
	    PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") RR(A_TEST, "\1", "\4") "\177\0\0\1"), 0);
	assert_int_equal(p.status, DNS_OK);
	assert_int_equal(p.count, 1);
	assert_int_equal(p.ttl, 60);
	assert_string_equal(p.canonical, "");
	assert_int_equal(
	    PARSE(&p, DNS_MX, HEAD(OK, "\1", "\17") RR(A_TEST, "\17", "\7") "\0\12\2mx\300\16"), 0);
	assert_int_equal(p.count, 1);
	assert_int_equal(dns_packet_rdata(&p, 0).len, 11);
	assert_memory_equal(dns_packet_rdata(&p, 0).p, "\0\12\2mx\4test\0", 11);
	/* a CNAME and what it leads to; the answer for another owner is not ours */
	assert_int_equal(
	    PARSE(&p, DNS_A,
		HEAD(OK, "\3", "\1") RR(A_TEST, "\5", "\4") "\1b\300\16" RR("\1b\300\16", "\1",
		    "\4") "\177\0\0\2" RR("\1c\300\16", "\1", "\4") "\177\0\0\3"),
	    0);
	assert_int_equal(p.count, 1);
	assert_string_equal(p.canonical, "b.test");
	assert_int_equal(PARSE(&p, DNS_A, HEAD(NX, "\0", "\1")), 0);
	assert_int_equal(p.status, DNS_NXDOMAIN);
	assert_int_equal(PARSE(&p, DNS_A, HEAD(OK, "\0", "\1")), 0);
	assert_int_equal(p.status, DNS_NODATA);
	assert_int_equal(PARSE(&p, DNS_A, HEAD("\201\202", "\0", "\1")), 0);
	assert_int_equal(p.status, DNS_FAIL);
	dns_packet_clear(&p);
}

static void
test_bad(void **state)
{
	struct dns_packet p;

	(void)state;
	dns_packet_init(&p);
	/* another question's answer, two questions, another class */
	assert_int_equal(PARSE(&p, DNS_AAAA, HEAD(OK, "\0", "\1")), -1);
	assert_int_equal(
	    PARSE(&p, DNS_A, "\0\0\201\200\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1"), -1);
	assert_int_equal(PARSE(&p, DNS_A, "\0\0\201\200\0\1\0\0\0\0\0\0\1a\0\0\1\0\3"), -1);
	/* a pointer to itself, forward, into the header's end, a cut one */
	assert_int_equal(
	    PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") RR("\300\30", "\1", "\4") "\177\0\0\1"), -1);
	assert_int_equal(
	    PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") RR("\300\77", "\1", "\4") "\177\0\0\1"), -1);
	assert_int_equal(PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") "\300"), -1);
	/* reserved label types; RDATA longer than the packet; a record too few */
	assert_int_equal(
	    PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") RR("\100", "\1", "\4") "\177\0\0\1"), -1);
	assert_int_equal(
	    PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") RR(A_TEST, "\1", "\5") "\177\0\0\1"), -1);
	assert_int_equal(
	    PARSE(&p, DNS_A, HEAD(OK, "\2", "\1") RR(A_TEST, "\1", "\4") "\177\0\0\1"), -1);
	/* RDATA that is not of its type is left out */
	assert_int_equal(
	    PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") RR(A_TEST, "\1", "\3") "\177\0\0"), 0);
	assert_int_equal(p.status, DNS_NODATA);
	assert_int_equal(
	    PARSE(&p, DNS_MX, HEAD(OK, "\1", "\17") RR(A_TEST, "\17", "\7") "\0\12\2mx\0x"), 0);
	assert_int_equal(p.count, 0);
	/* a CNAME to itself leads nowhere; one to a name that must not get into a log is refused */
	assert_int_equal(PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") RR(A_TEST, "\5", "\2") A_TEST), 0);
	assert_int_equal(p.status, DNS_NODATA);
	assert_int_equal(
	    PARSE(&p, DNS_A, HEAD(OK, "\1", "\1") RR(A_TEST, "\5", "\3") "\1\n\0"), -1);
	dns_packet_clear(&p);
}

/* Every prefix of a good packet is an error, and nothing is read behind it. */
static void
test_cut_at_every_byte(void **state)
{
	static const char good[] = HEAD(OK, "\1", "\17") RR(A_TEST, "\17", "\7") "\0\12\2mx\300\16";
	struct dns_packet p;

	(void)state;
	dns_packet_init(&p);
	for (size_t len = 0; len < sizeof good - 1; len++) {
		char *copy = malloc(len + 1);

		memcpy(copy, good, len);
		assert_int_equal(dns_packet_parse(&p, view_make(copy, len), DNS_MX, NULL), -1);
		free(copy);
	}
	dns_packet_clear(&p);
}

/* Names that expand: 100 records of 255 bytes behind two-byte pointers stay within the bounds. */
static void
test_expansion(void **state)
{
	struct dns_packet p;
	struct buf b;

	(void)state;
	dns_packet_init(&p);
	buf_init(&b, 1 << 20);
	buf_append(&b, "\0\0\201\200\0\1\7\320\0\0\0\0", 12); /* 2000 answers */
	for (int i = 0; i < 3; i++) {
		buf_append_byte(&b, 63);
		for (int n = 0; n < 63; n++)
			buf_append_byte(&b, 'a');
	}
	buf_append(&b, "\0\0\14\0\1", 5);
	for (int i = 0; i < 2000; i++)
		buf_append(&b, "\300\14\0\14\0\1\0\0\0\1\0\2\300\14", 14);
	assert_int_equal(dns_packet_parse(&p, buf_view(&b), DNS_PTR, NULL), 0);
	assert_int_equal(p.count, DNS_MAX_RECORDS);
	assert_int_equal(p.bytes.len, DNS_MAX_RECORDS * 193);
	buf_clear(&b);
	dns_packet_clear(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_cut_at_every_byte), cmocka_unit_test(test_expansion) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
