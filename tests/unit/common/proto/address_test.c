#include "common/proto/address.h"
#include "common/base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- paths: RFC 5321 4.1.2 ------------------------------------------------------------------------ */

struct path_case {
	const char *input;
	unsigned options;
	const char *text; /* NULL: refused */
	size_t used;      /* 0: not looked at */
};

enum {
	STRICT = ADDRESS_STRICT,
	NUL_OK = ADDRESS_ALLOW_NULL,
	BARE = ADDRESS_ALLOW_BARE,
	UTF8 = ADDRESS_ALLOW_UTF8
};

static const struct path_case path_cases[] = {
	{ "<a@b.example>", STRICT, "a@b.example", 13 },
	{ "<a@b.example> SIZE=1", STRICT, "a@b.example", 13 },
	{ "<A.B+c@B.Example>", STRICT, "A.B+c@b.example", 0 },
	{ "<>", STRICT | NUL_OK, "", 2 },
	{ "<>", STRICT, NULL, 0 },
	{ "< >", NUL_OK, "", 3 },
	{ "< a@b >", 0, "a@b", 7 },
	{ "< a@b >", STRICT, NULL, 0 },
	{ "a@b", 0, "a@b", 3 },
	{ "a@b SIZE=1", 0, "a@b", 3 },
	{ "a@b", STRICT, NULL, 0 },
	{ "a@b>", 0, NULL, 0 },
	{ "<a@b", 0, NULL, 0 },
	{ "", 0, NULL, 0 },
	{ "<postmaster>", STRICT | BARE, "postmaster", 0 },
	{ "<postmaster>", STRICT, NULL, 0 },
	{ "<\"a b\"@c>", STRICT, "\"a b\"@c", 0 },
	{ "<\"ab\"@c>", STRICT, "ab@c", 0 },
	{ "<\"a.b\"@c>", STRICT, "a.b@c", 0 },
	{ "<\"a..b\"@c>", STRICT, "\"a..b\"@c", 0 },
	{ "<\"\\a\\\"\"@c>", STRICT, "\"a\\\"\"@c", 0 },
	{ "<\"a@b\"@c>", STRICT, "\"a@b\"@c", 0 },
	{ "<\"a>b\"@c>", STRICT, "\"a>b\"@c", 0 },
	{ "<\"\"@c>", STRICT, NULL, 0 },
	{ "<\"a\"b@c>", STRICT, NULL, 0 },
	{ "<\"a@c>", STRICT, NULL, 0 },
	{ "<\"a\\", STRICT, NULL, 0 },
	{ "<@x.example:a@b>", STRICT, "a@b", 16 },
	{ "<@x.example,@y.example:a@b>", STRICT, "a@b", 0 },
	{ "<@x.example,a@b>", STRICT, NULL, 0 },
	{ "<@:a@b>", STRICT, NULL, 0 },
	{ "<@x a@b>", 0, NULL, 0 },
	{ "<a@[192.0.2.1]>", STRICT, "a@[192.0.2.1]", 0 },
	{ "<a@[IPv6:2001:DB8::1]>", STRICT, "a@[ipv6:2001:db8::1]", 0 },
	{ "<a@[2001:db8::1]>", STRICT, NULL, 0 },
	{ "<a@[x-tag:anything]>", STRICT, NULL, 0 },
	{ "<a@[192.0.2.1>", STRICT, NULL, 0 },
	{ "<a@192.0.2.1>", STRICT, NULL, 0 },
	{ "<a@b.example.>", STRICT, NULL, 0 },
	{ "<a@>", STRICT, NULL, 0 },
	{ "<@b>", STRICT, NULL, 0 },
	{ "<a@b@c>", STRICT, NULL, 0 },
	{ "<a b@c>", STRICT, NULL, 0 },
	{ "<.a@c>", STRICT, NULL, 0 },
	{ "<a.@c>", STRICT, NULL, 0 },
	{ "<a..b@c>", STRICT, NULL, 0 },
	{ "<a@-b>", STRICT, NULL, 0 },
	{ "<a@b-.c>", STRICT, NULL, 0 },
	{ "<a@b_c.d>", STRICT, "a@b_c.d", 0 },
	{ "<a%b@c>", STRICT, "a%b@c", 0 },
	{ "<a!b@c>", STRICT, "a!b@c", 0 },
	{ "<|cmd@c>", STRICT, "|cmd@c", 0 },
	{ "<\"|cmd x\"@c>", STRICT, "\"|cmd x\"@c", 0 },
	{ "</file@c>", STRICT, "/file@c", 0 },
	{ "<-opt@c>", STRICT, "-opt@c", 0 },
	{ "<a;b@c>", STRICT, NULL, 0 },
	{ "<a(comment)@c>", STRICT, NULL, 0 },
	{ "<a\tb@c>", STRICT, NULL, 0 },
	{ "<\xc3\xa4@c>", STRICT, NULL, 0 },
	{ "<\xc3\xa4@c>", STRICT | UTF8, "\xc3\xa4@c", 0 },
	{ "<a@\xc3\xa4.example>", STRICT | UTF8, "a@\xc3\xa4.example", 0 },
	{ "<\xc3@c>", STRICT | UTF8, NULL, 0 },
	{ "<\"\xc3\xa4 b\"@c>", STRICT | UTF8, "\"\xc3\xa4 b\"@c", 0 },
};

static void
test_path(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof path_cases / sizeof path_cases[0]; i++) {
		const struct path_case *c = &path_cases[i];
		struct address a;
		struct err err;
		size_t used = 0;
		int r = address_parse_path(view_of(c->input), c->options, &a, &used, &err);

		if ((r == 0) != (c->text != NULL))
			fail_msg("%s: %s", c->input, r == 0 ? a.text : err.text);
		if (r < 0) {
			assert_string_equal(a.text, "");
			continue;
		}
		assert_string_equal(a.text, c->text);
		if (c->used != 0)
			assert_int_equal(used, c->used);
		if (a.domain[0] != '\0')
			assert_ptr_equal(a.domain, a.text + a.local_len + 1);
	}
}

/* What was accepted is accepted again, and comes out the same. */
static void
test_normal_form_is_stable(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof path_cases / sizeof path_cases[0]; i++) {
		const struct path_case *c = &path_cases[i];
		struct address a, b;
		struct err err;
		size_t used;

		if (address_parse_path(view_of(c->input), c->options, &a, &used, &err) < 0)
			continue;
		assert_int_equal(address_parse(view_of(a.text), c->options, &b, &err), 0);
		assert_string_equal(a.text, b.text);
		assert_int_equal(a.local_len, b.local_len);
	}
}

static void
test_control_bytes(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char quoted[] = "<\"a?b\"@c>", plain[] = "<a?b@c>", domain[] = "<a@b?c>";
		struct address a;
		struct err err;
		size_t used;
		bool is_printable = byte >= ' ' && byte < 127;

		quoted[3] = plain[2] = domain[4] = (char)byte;
		if (byte == '"' || byte == '\\')
			continue;
		assert_int_equal(
		    address_parse_path(view_make(quoted, 9), STRICT, &a, &used, &err) == 0,
		    is_printable);
		if (!is_printable) {
			assert_int_equal(
			    address_parse_path(view_make(plain, 7), STRICT, &a, &used, &err), -1);
			assert_int_equal(
			    address_parse_path(view_make(domain, 7), STRICT, &a, &used, &err), -1);
		}
	}
}

static void
test_lengths(void **state)
{
	char text[1000];
	struct address a;
	struct err err;

	(void)state;
	for (int local = 1; local < 400; local++) {
		snprintf(text, sizeof text, "%0*d@b", local, 0);
		assert_int_equal(
		    address_parse(view_of(text), 0, &a, &err) == 0, local <= ADDRESS_LOCAL_MAX);
	}
	for (int label = 1; label < 100; label++) {
		snprintf(text, sizeof text, "a@b%0*d.example", label - 1, 0);
		assert_int_equal(address_parse(view_of(text), 0, &a, &err) == 0, label <= 63);
	}
	/* both at their longest: more than the whole may have */
	snprintf(text, sizeof text, "%0254d@%060d.%060d.%060d.%060d.x", 0, 0, 0, 0, 0);
	assert_int_equal(address_parse(view_of(text), 0, &a, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	/* every quoted length, each byte escaped */
	for (int len = 1; len < 400; len++) {
		size_t n = 0;

		text[n++] = '"';
		for (int i = 0; i < len; i++) {
			text[n++] = '\\';
			text[n++] = '"';
		}
		n += (size_t)snprintf(text + n, sizeof text - n, "\"@b");
		if (address_parse(view_make(text, n), 0, &a, &err) == 0)
			assert_in_range(a.local_len, 1, ADDRESS_LOCAL_MAX + 1);
	}
}

static void
test_local_plain(void **state)
{
	static const struct {
		const char *in, *plain;
	} cases[] = { { "a@b", "a" }, { "\"a b\"@c", "a b" }, { "\"a\\\"b\"@c", "a\"b" },
		{ "\"a\\\\\"@c", "a\\" }, { "a.b+c@d", "a.b+c" } };
	char out[ADDRESS_MAX];
	struct address a;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(address_parse(view_of(cases[i].in), 0, &a, &err), 0);
		assert_int_equal(address_local_plain(&a, out, sizeof out), strlen(cases[i].plain));
		assert_string_equal(out, cases[i].plain);
		assert_int_equal(address_local_plain(&a, out, strlen(cases[i].plain)), -1);
	}
}

static void
test_hostname(void **state)
{
	static const struct {
		const char *name;
		bool strict, lax;
	} cases[] = { { "a", true, true }, { "a.b", true, true }, { "a_b.c", false, true },
		{ "1.example", true, true }, { "192.0.2.1", false, false }, { "a.1", false, false },
		{ "", false, false }, { ".", false, false }, { "a.", false, false },
		{ ".a", false, false }, { "a..b", false, false }, { "-a", false, false },
		{ "a-", false, false }, { "xn--4ca.example", true, true }, { "a b", false, false },
		{ "a\xc3\xa4", false, false }, { "[192.0.2.1]", true, true },
		{ "[IPv6:::1]", true, true }, { "[::1]", false, false }, { "[]", false, false },
		{ "[", false, false } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(hostname_is_valid(view_of(cases[i].name), false), cases[i].strict);
		assert_int_equal(hostname_is_valid(view_of(cases[i].name), true), cases[i].lax);
	}
}

static void
test_utf8(void **state)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = { { "", true }, { "abc", true }, { "\xc3\xa4", true }, { "\xe2\x82\xac", true },
		{ "\xf0\x9f\x98\x80", true }, { "\xf4\x8f\xbf\xbf", true },
		{ "\xf4\x90\x80\x80", false }, { "\xc0\x80", false }, { "\xc1\xbf", false },
		{ "\xe0\x9f\xbf", false }, { "\xed\xa0\x80", false }, { "\xed\x9f\xbf", true },
		{ "\xf0\x8f\xbf\xbf", false }, { "\x80", false }, { "\xc3", false },
		{ "\xe2\x82", false }, { "\xf0\x9f\x98", false }, { "\xf5\x80\x80\x80", false },
		{ "\xff", false }, { "a\xc3(", false } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(utf8_is_valid(view_of(cases[i].text)), cases[i].ok);
}

/* --- Dominic Sayers' test set ------------------------------------------------------------------------ */

static char *
read_test_file(const char *name)
{
	const char *dir = getenv("ESTAFETA_TESTDATA");
	char path[500], *text = NULL;
	FILE *f;
	long size;

	snprintf(path, sizeof path, "%s/%s", dir != NULL ? dir : "../shared/testdata", name);
	f = fopen(path, "r");
	if (f == NULL)
		return NULL;
	if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0 &&
	    (text = malloc((size_t)size + 1)) != NULL) {
		rewind(f);
		text[fread(text, 1, (size_t)size, f)] = '\0';
	}
	fclose(f);
	return text;
}

/* Text of the next <tag>...</tag> before end; entities and the control pictures (U+2400...) decoded. */
static size_t
xml_text(const char *p, const char *end, const char *tag, char *out, size_t size)
{
	char open[40];
	size_t n = 0;

	snprintf(open, sizeof open, "<%s>", tag);
	p = strstr(p, open);
	if (p == NULL || p > end)
		return 0;
	for (p += strlen(open); *p != '<' && n + 1 < size;) {
		unsigned code;
		int len = 0;

		if (sscanf(p, "&#x%x;%n", &code, &len) == 1 && len > 0) {
			out[n++] = (char)(code & 0xff); /* U+2407 stands for 7 */
			p += len;
		} else if (strncmp(p, "&amp;", 5) == 0) {
			out[n++] = '&';
			p += 5;
		} else if (strncmp(p, "&lt;", 4) == 0 || strncmp(p, "&gt;", 4) == 0) {
			out[n++] = p[1] == 'l' ? '<' : '>';
			p += 4;
		} else {
			out[n++] = *p++;
		}
	}
	out[n] = '\0';
	return n;
}

/* isemail's diagnoses in our terms.  Stricter than it: no comments, no folding, nothing obsolete, no empty quoted
 * local part, no numeric top-level domain.  More lenient: local parts and addresses longer than RFC 5321's least. */
static bool
should_accept(const char *category, const char *diagnosis, const char *address)
{
	if (strcmp(diagnosis, "ISEMAIL_RFC5321_TLDNUMERIC") == 0 ||
	    strncmp(address, "\"\"@", 3) == 0)
		return false;
	if (strcmp(diagnosis, "ISEMAIL_RFC5322_LOCAL_TOOLONG") == 0 ||
	    strcmp(diagnosis, "ISEMAIL_RFC5322_TOOLONG") == 0 ||
	    strcmp(diagnosis, "ISEMAIL_RFC5321_IPV6DEPRECATED") == 0)
		return true;
	return strcmp(category, "ISEMAIL_VALID_CATEGORY") == 0 ||
	       strcmp(category, "ISEMAIL_DNSWARN") == 0 || strcmp(category, "ISEMAIL_RFC5321") == 0;
}

static void
test_isemail(void **state)
{
	char *text = read_test_file("names/isemail/tests.xml"), *p;
	unsigned count = 0;

	(void)state;
	if (text == NULL)
		skip();
	for (p = text; (p = strstr(p, "<test id=")) != NULL; p++) {
		const char *end = strstr(p, "</test>");
		char address[600], category[100], diagnosis[100];
		size_t len = xml_text(p, end, "address", address, sizeof address);
		struct address a;
		struct err err;
		bool ok;

		xml_text(p, end, "category", category, sizeof category);
		xml_text(p, end, "diagnosis", diagnosis, sizeof diagnosis);
		ok = address_parse(view_make(address, len), 0, &a, &err) == 0;
		if (ok != should_accept(category, diagnosis, len > 0 ? address : ""))
			fail_msg("%s (%s): %s", address, diagnosis, ok ? "accepted" : err.text);
		count++;
	}
	free(text);
	assert_in_range(count, 100, 1000);
}

static void
test_parts_of_text(void **state)
{
	static const struct {
		const char *address, *domain;
		size_t local, base;
	} rows[] = {
		{ "user+ext@d.test", "d.test", 8, 4 },
		{ "user@d.test", "d.test", 4, 4 },
		{ "a-b+c@d.test", "d.test", 5, 1 },
		{ "+ext@d.test", "d.test", 4, 4 },
		{ "\"a@b+c\"@d.test", "d.test", 7, 4 },
		{ "postmaster+x", "", 12, 10 },
		{ "user@d+e.test", "d+e.test", 4, 4 },
		{ "@d.test", "d.test", 0, 0 },
		{ "", "", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_string_equal(address_domain(rows[i].address), rows[i].domain);
		assert_int_equal(address_local_length(rows[i].address), rows[i].local);
		assert_int_equal(address_base_length(rows[i].address, "+-"), rows[i].base);
		assert_int_equal(address_base_length(rows[i].address, ""), rows[i].local);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_normal_form_is_stable),
		cmocka_unit_test(test_control_bytes),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_local_plain),
		cmocka_unit_test(test_hostname),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_isemail),
		cmocka_unit_test(test_parts_of_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
