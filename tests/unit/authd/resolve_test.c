#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "authd/resolve.h"

#include <stdio.h>

/* clang-format off */
static const struct { const char *key, *value; } aliases[] = {
	{ "list@example.test", "alice@example.test, bob@example.test far@elsewhere.test" },
	{ "nested@example.test", "list@example.test alice@example.test" },
	{ "self@example.test", "self@example.test, alice@example.test" },
	{ "loop1@example.test", "loop2@example.test" },
	{ "loop2@example.test", "loop1@example.test" },
	{ "partly@example.test", "alice@example.test ghost@example.test" },
	{ "broken@example.test", "ghost@example.test" },
	{ "moved@example.test", "alice@example.test" },
	{ "@catch.test", "bob@example.test" },
	{ "@old.test", "@example.test" },
	{ "postmaster", "bob@example.test" },
	{ "bare@example.test", "alice" },
	{ "fail@example.test", "!" },
	{ "chain0@example.test", "" },
	{ "bad@example.test", "@" },
	{ "chef@b\xc3\xbc" "cher.test", "alice@example.test" },
};
static const struct { const char *address; uint32_t uid; } users[] = {
	{ "alice@example.test", 0 }, { "bob@example.test", 2001 }, { "self@example.test", 0 }, { "a+b@example.test", 0 },
	{ "alice@mail.example.test", 0 }, { "dead@example.test", 666 }, { "user9@example.test", 0 },
	{ "j\xc3\xb6rg@xn--bcher-kva.test", 0 },
};
/* clang-format on */

static unsigned chain_length;

static int
fake_alias(void *arg, struct lookup_key key, struct buf *value, struct err *err)
{
	unsigned n, count;

	(void)arg;
	if (key.text.p[0] == '@' || memchr(key.text.p, '@', key.text.len) == NULL)
		assert_true(key.is_partial); /* tables of patterns see whole addresses only */
	for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
		if (!view_eq_str(key.text, aliases[i].key))
			continue;
		if (aliases[i].value[0] == '!')
			return err_set(err, ERR_TEMP, "table does not answer");
		buf_append_str(value, aliases[i].value);
		return 0;
	}
	if (sscanf(key.text.p, "deep%u@", &n) == 1 && n < chain_length) {
		buf_printf(value, "deep%u@example.test", n + 1);
		return 0;
	}
	if (sscanf(key.text.p, "wide%u@", &count) == 1) {
		for (unsigned i = 0; i < count; i++)
			buf_printf(value, "u%u@far.test ", i);
		return 0;
	}
	return 1;
}

static int
fake_user(void *arg, const char *address, struct user_record *out, struct err *err)
{
	(void)arg;
	*out = (struct user_record){ 0 };
	for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
		if (strcmp(users[i].address, address) != 0)
			continue;
		if (users[i].uid == 666)
			return err_set(err, ERR_TEMP, "database does not answer");
		out->uid = users[i].uid;
		return 0;
	}
	return 1;
}

static const struct resolve_source source = { fake_alias, fake_user, NULL };
static struct resolve_conf conf;

static int
setup(void **state)
{
	(void)state;
	resolve_conf_init(&conf, "example.test, Catch.test old.test B\xc3\xbc" "cher.test", "mail.example.test");
	conf.origin = "mail.example.test";
	conf.relayhost = "[smart.test]";
	conf.delimiter = "+-";
	conf.owner_uid = conf.owner_gid = 500;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	resolve_conf_clear(&conf);
	return 0;
}

/* "TEMP", "NO", "NO (foreign)" ... or "v:address:uid s:address:nexthop ..." */
static const char *
resolve(const char *address)
{
	static char text[8192];
	struct resolution r;
	struct err e;
	size_t at = 0;

	if (resolve_address(&conf, &source, address, &r, &e) < 0)
		return e.kind == ERR_TEMP ? "TEMP" : "SYNTAX";
	text[0] = '\0';
	if (!r.is_known)
		snprintf(text, sizeof text, "NO");
	if (!r.is_local)
		at += (size_t)snprintf(text, sizeof text, "foreign ");
	for (size_t i = 0; i < r.count && at < sizeof text - 100; i++) {
		const struct resolved *one = &r.results[i];

		if (one->transport == TRANSPORT_VIRTUAL)
			at += (size_t)snprintf(text + at, sizeof text - at, "v:%s:%u ",
			    one->address, (unsigned)one->uid);
		else
			at += (size_t)snprintf(
			    text + at, sizeof text - at, "s:%s:%s ", one->address, one->nexthop);
	}
	resolution_clear(&r);
	return text;
}

static void
cases(void **state)
{
	static const struct {
		const char *address, *want;
	} table[] = {
		{ "alice@example.test", "v:alice@example.test:500 " },
		{ "ALICE@Example.Test", "v:alice@example.test:500 " },
		{ "bob@example.test", "v:bob@example.test:2001 " },
		{ "ghost@example.test", "NO" },
		{ "x@elsewhere.test", "foreign s:x@elsewhere.test:[smart.test] " },
		{ "list@example.test",
		    "v:alice@example.test:500 v:bob@example.test:2001 s:far@elsewhere.test:[smart.test] " },
		{ "nested@example.test",
		    "v:alice@example.test:500 v:bob@example.test:2001 s:far@elsewhere.test:[smart.test] " },
		{ "self@example.test", "v:self@example.test:500 v:alice@example.test:500 " },
		{ "loop1@example.test", "TEMP" },
		{ "partly@example.test", "v:alice@example.test:500 v:ghost@example.test:500 " },
		{ "broken@example.test", "NO" },
		{ "anything@catch.test", "v:bob@example.test:2001 " },
		{ "alice@old.test", "v:alice@example.test:500 " },
		{ "ghost@old.test", "NO" },
		{ "alice+ext@example.test", "v:alice+ext@example.test:500 " },
		{ "alice-x+y@example.test", "v:alice-x+y@example.test:500 " },
		{ "a+b@example.test", "v:a+b@example.test:500 " },
		{ "moved+ext@example.test", "v:alice+ext@example.test:500 " },
		{ "+alice@example.test", "NO" },
		{ "postmaster", "v:bob@example.test:2001 " },
		{ "postmaster@mail.example.test", "v:bob@example.test:2001 " },
		{ "PostMaster", "v:bob@example.test:2001 " },
		{ "postmaster@example.test", "v:bob@example.test:2001 " },
		{ "POSTMASTER@OLD.test", "v:bob@example.test:2001 " },
		{ "\"postmaster\"@b\xc3\xbc"
		  "cher.test",
		    "v:bob@example.test:2001 " },
		{ "postmaster@catch.test", "v:bob@example.test:2001 " },
		{ "postmaster@elsewhere.test",
		    "foreign s:postmaster@elsewhere.test:[smart.test] " },
		{ "postmaster2@example.test", "NO" },
		{ "abuse@example.test", "NO" },
		{ "alice", "v:alice@mail.example.test:500 " },
		{ "bare@example.test", "v:alice@mail.example.test:500 " },
		{ "\"alice\"@example.test", "v:alice@example.test:500 " },
		{ "fail@example.test", "TEMP" },
		{ "dead@example.test", "TEMP" },
		{ "bad@example.test", "SYNTAX" },
		{ "chain0@example.test", "NO" },
		{ "", "SYNTAX" },
		{ "@example.test", "SYNTAX" },
		{ "a@", "SYNTAX" },
		/* RFC 6531: one mailbox, whether the domain comes in U-labels or A-labels, the name composed or not */
		{ "j\xc3\xb6rg@b\xc3\xbc"
		  "cher.test",
		    "v:j\xc3\xb6rg@xn--bcher-kva.test:500 " },
		{ "J\xc3\xb6rg@XN--BCHER-KVA.TEST", "v:j\xc3\xb6rg@xn--bcher-kva.test:500 " },
		{ "jo\xcc\x88rg@bu\xcc\x88"
		  "cher.test",
		    "v:j\xc3\xb6rg@xn--bcher-kva.test:500 " },
		{ "j\xc3\xb6rg+x@b\xc3\xbc"
		  "cher.test",
		    "v:j\xc3\xb6rg+x@xn--bcher-kva.test:500 " },
		{ "chef@xn--bcher-kva.test", "v:alice@example.test:500 " },
		{ "chef@b\xc3\xbc"
		  "cher.test",
		    "v:alice@example.test:500 " },
		{ "\xc3\xb6@stra\xc3\x9f"
		  "e.test",
		    "foreign s:\xc3\xb6@xn--strae-oqa.test:[smart.test] " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const char *got = resolve(table[i].address);

		if (strcmp(got, table[i].want) != 0)
			fail_msg(
			    "%s: got \"%s\", wanted \"%s\"", table[i].address, got, table[i].want);
	}
}

/* RFC 5321 4.5.1: also where the origin is no domain of ours. */
static void
bare_names_are_ours(void **state)
{
	const char *origin = conf.origin;
	struct resolution r;
	struct err e;

	(void)state;
	conf.origin = "elsewhere.test";
	assert_string_equal(resolve("postmaster"), "v:bob@example.test:2001 ");
	assert_string_equal(resolve("somebody"), "NO");
	assert_int_equal(resolve_address(&conf, &source, "somebody", &r, &e), 0);
	assert_true(r.is_local);
	resolution_clear(&r);
	conf.origin = origin;
}

static void
bounds(void **state)
{
	char lng[400];
	struct resolution r;
	struct err e;

	(void)state;
	chain_length = 90;
	assert_string_equal(
	    resolve("deep0@example.test"), "NO"); /* the end of the chain is nobody */
	chain_length = 120;
	assert_string_equal(resolve("deep0@example.test"), "TEMP");
	assert_int_equal(resolve_address(&conf, &source, "wide900@example.test", &r, &e), 0);
	assert_int_equal(r.count, 900);
	resolution_clear(&r);
	assert_string_equal(resolve("wide1100@example.test"), "TEMP");
	memset(lng, 'a', sizeof lng);
	memcpy(lng + sizeof lng - 10, "@far.test", 10);
	assert_string_equal(resolve(lng), "SYNTAX");
}

static void
mailboxes(void **state)
{
	char account[USER_ADDRESS_MAX + 1];
	struct user_record user;
	struct err e;

	(void)state;
	assert_int_equal(
	    resolve_mailbox(&conf, &source, "Alice+x@example.test", account, &user, &e), 0);
	assert_string_equal(account, "alice@example.test");
	assert_int_equal(user.uid, 500);
	assert_int_equal(
	    resolve_mailbox(&conf, &source, "ghost@example.test", account, &user, &e), 1);
	assert_int_equal(resolve_mailbox(&conf, &source, "nodomain", account, &user, &e), 1);
	assert_int_equal(
	    resolve_mailbox(&conf, &source, "dead@example.test", account, &user, &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cases, setup, teardown),
		cmocka_unit_test_setup_teardown(bare_names_are_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(mailboxes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
