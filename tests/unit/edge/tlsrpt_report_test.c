/* TLSRPT: records and reports as RFC 8460 3, 4.4 and 5.3 have them. */
#include "edge/tlsrpt_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void
records_are_read(void **state)
{
	static const struct {
		const char *text, *addresses; /* NULL: no such record */
	} cases[] = {
		{ "v=TLSRPTv1; rua=mailto:reports@example.com", "reports@example.com\n" },
		{ "v=TLSRPTv1;rua=mailto:a@b.example,https://x.example/y , mailto:c@d.example;",
		    "a@b.example\nc@d.example\n" },
		{ "v=TLSRPTv1; rua=MAILTO:a%2Bb@c.example?subject=x", "a+b@c.example\n" },
		{ "v=TLSRPTv1; x=y; rua=https://x.example/", "" },
		{ "v=TLSRPTv1; rua=mailto:a@b.example; rua=mailto:c@d.example", "a@b.example\n" },
		{ "v=TLSRPTv1; rua=mailto:nobody,mailto:a@b.example", "a@b.example\n" },
		{ "v=TLSRPTv1; rua=mailto:a%0D%0ABcc:x@b.example", "" },
		{ "v=TLSRPTv1; rua=mailto: x@y.example", "" },
		{ "v=TLSRPTv1; rua=mailto:a%4@b.example", NULL },
		{ "v=TLSRPTv1; rua=mailto:a@b.example%4", NULL },
		{ "v=TLSRPTv1;", NULL },
		{ "v=TLSRPTv1", NULL },
		{ "v=TLSRPTv2; rua=mailto:a@b.example", NULL },
		{ "v=TLSRPTv10; rua=mailto:a@b.example", NULL },
		{ "rua=mailto:a@b.example", NULL },
	};
	struct buf addresses;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool is_one;

		buf_init(&addresses, TLSRPT_RUA_BYTES);
		is_one = tlsrpt_record_read(view_of(cases[i].text), &addresses);
		if (is_one != (cases[i].addresses != NULL))
			fail_msg("%s", cases[i].text);
		if (is_one)
			assert_string_equal(buf_cstr(&addresses), cases[i].addresses);
		buf_clear(&addresses);
	}
}

static void
long_lists_are_refused(void **state)
{
	struct buf text, addresses;

	(void)state;
	buf_init(&text, 1 << 16);
	buf_init(&addresses, TLSRPT_RUA_BYTES);
	buf_append_str(&text, "v=TLSRPTv1; rua=");
	while (text.len < 2 * TLSRPT_RUA_BYTES)
		buf_append_str(&text, "mailto:a@b.example,");
	assert_false(tlsrpt_record_read(buf_view(&text), &addresses));
	buf_clear(&addresses);
	buf_clear(&text);
}

static void
reports_are_written(void **state)
{
	json_t *policies = json_pack("[{s:{s:s}}]", "policy", "policy-type", "no-policy-found");
	struct tlsrpt_report r = { .domain = "example.net",
		.organization = "Example",
		.contact = "abuse@example.com",
		.from = "tls@mail.example.com",
		.addresses = "a@b.example\nc@d.example\n",
		.id = "1@example.com",
		.start = 1013644800,
		.end = 1013731200,
		.policies = policies };
	static const char *const parts[] = { "From: tls@mail.example.com\n",
		"\nTo: a@b.example,\n\tc@d.example\n",
		"\nSubject: Report Domain: example.net\n\tSubmitter: example.com\n\tReport-ID: <1@example.com>\n",
		"\nTLS-Report-Domain: example.net\nTLS-Report-Submitter: example.com\nTLS-Required: No\n",
		"filename=\"example.com!example.net!1013644800!1013731199.json.gz\"\n\nH4sI" };
	struct buf out;
	struct err err;

	(void)state;
	buf_init(&out, TLSRPT_MESSAGE_BYTES);
	assert_int_equal(tlsrpt_message_write(&r, &out, &err), 0);
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (strstr(buf_cstr(&out), parts[i]) == NULL)
			fail_msg("%s not in\n%s", parts[i], buf_cstr(&out));
	buf_clear(&out);
	buf_init(&out, 100);
	assert_int_equal(tlsrpt_message_write(&r, &out, &err), -1);
	buf_clear(&out);
	json_decref(policies);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_read),
		cmocka_unit_test(long_lists_are_refused),
		cmocka_unit_test(reports_are_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
