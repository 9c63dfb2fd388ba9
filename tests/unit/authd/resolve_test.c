#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "authd/resolve.h"
#include "common/base/clock.h"

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
	{ "alias@relay.test", "bob@example.test" },
	{ "lost@relay.test", "nobody@relay.test" },
};
static const struct { const char *address; uint32_t uid; } users[] = {
	{ "alice@example.test", 0 }, { "bob@example.test", 2001 }, { "self@example.test", 0 }, { "a+b@example.test", 0 },
	{ "alice@mail.example.test", 0 }, { "dead@example.test", 666 }, { "user9@example.test", 0 },
	{ "j\xc3\xb6rg@xn--bcher-kva.test", 0 },
};
static const struct { enum resolve_table t; const char *key, *value; } rows[] = {
	/* the order of keys: each is found by what nothing before it fits */
	{ RESOLVE_TRANSPORTS, "user+ext@t.test", "smtp:[whole]" },
	{ RESOLVE_TRANSPORTS, "user@t.test", "smtp:[stripped]" },
	{ RESOLVE_TRANSPORTS, "t.test", "smtp:[domain]:587" },
	{ RESOLVE_TRANSPORTS, ".t.test", "smtp:[parent]" },
	{ RESOLVE_TRANSPORTS, "deep.t.test", "lmtp:inet:[deep]:24" },
	{ RESOLVE_TRANSPORTS, "b\xc3\xbc" "cher.example", "smtp:[unicode]" },
	/* what a value may be */
	{ RESOLVE_TRANSPORTS, "only.test", "relay" },
	{ RESOLVE_TRANSPORTS, "colon.test", "relay:" },
	{ RESOLVE_TRANSPORTS, "nop.test", ":" },
	{ RESOLVE_TRANSPORTS, "hop.test", ":[other]:26" },
	{ RESOLVE_TRANSPORTS, "err.test", "error:5.1.2 no more" },
	{ RESOLVE_TRANSPORTS, "err2.test", "error" },
	{ RESOLVE_TRANSPORTS, "wait.test", "retry:4.2.1 later" },
	{ RESOLVE_TRANSPORTS, "bin.test", "discard:" },
	{ RESOLVE_TRANSPORTS, "odd.test", "slow:[x]" },
	{ RESOLVE_TRANSPORTS, "socket.test", "lmtp:unix:private/x" },
	{ RESOLVE_TRANSPORTS, "ctl.test", "smtp:a\rb" },
	{ RESOLVE_TRANSPORTS, "fail.test", "!" },
	{ RESOLVE_TRANSPORTS, "dora@elsewhere.test", "virtual" },
	{ RESOLVE_TRANSPORTS, "alice@example.test", "lmtp:[mail]" },
	{ RESOLVE_TRANSPORTS, "sub.relay.test", "smtp:[inner]" },
	{ RESOLVE_TRANSPORTS, "here@relay.test", "virtual:" },
	{ RESOLVE_RELAY_RECIPIENTS, "here@relay.test", "x" },
	{ RESOLVE_RELAY_DOMAINS, "tabled.test", "x" },
	{ RESOLVE_RELAY_DOMAINS, "broken.test", "!" },
	{ RESOLVE_RELAY_RECIPIENTS, "known@relay.test", "x" },
	{ RESOLVE_RELAY_RECIPIENTS, "@all.relay.test", "x" },
	{ RESOLVE_RELAY_RECIPIENTS, "fail@relay.test", "!" },
	{ RESOLVE_SENDER_RELAYHOSTS, "anna+x@s.test", "[whole]" },
	{ RESOLVE_SENDER_RELAYHOSTS, "anna@s.test", "[anna]:587" },
	{ RESOLVE_SENDER_RELAYHOSTS, "@s.test", "[s]" },
	{ RESOLVE_SENDER_RELAYHOSTS, "direct@s.test", "DUNNO" },
	{ RESOLVE_SENDER_RELAYHOSTS, "empty@s.test", "" },
	{ RESOLVE_SENDER_RELAYHOSTS, "fail@s.test", "!" },
	{ RESOLVE_SENDER_RELAYHOSTS, "<>", "[bounces]" },
	{ RESOLVE_SENDER_TRANSPORTS, "tina@s.test", "lmtp:[tina]" },
	{ RESOLVE_SENDER_TRANSPORTS, "bare@s.test", "relay:" },
	{ RESOLVE_SENDER_TRANSPORTS, "spam@s.test", "error:5.7.1 not you" },
	{ RESOLVE_SENDER_TRANSPORTS, "dunno@s.test", "dunno" },
	{ RESOLVE_SENDER_TRANSPORTS, "odd@s.test", "slow:" },
	{ RESOLVE_SENDER_TRANSPORTS, "NULL", "retry:null" },
	/* canonical: again and again until there is nothing more */
	{ RESOLVE_CANONICAL, "anna@c.test", "anna.smith@c.test" },
	{ RESOLVE_CANONICAL, "one@c.test", "two@c.test" },
	{ RESOLVE_CANONICAL, "two@c.test", "three@c.test" },
	{ RESOLVE_CANONICAL, "self@c.test", "Self@c.test" },
	{ RESOLVE_CANONICAL, "ping@c.test", "pong@c.test" },
	{ RESOLVE_CANONICAL, "pong@c.test", "ping@c.test" },
	{ RESOLVE_CANONICAL, "grow@c.test", "grow+x@c.test" },
	{ RESOLVE_CANONICAL, "bare", "found@c.test" },
	{ RESOLVE_CANONICAL, "bob@c.test", "robert" },
	{ RESOLVE_CANONICAL, "many@c.test", "first@c.test, second@c.test" },
	{ RESOLVE_CANONICAL, "none@c.test", " " },
	{ RESOLVE_CANONICAL, "at@c.test", "@" },
	{ RESOLVE_CANONICAL, "odd@c.test", "a<b@c.test" },
	{ RESOLVE_CANONICAL, "fail@c.test", "!" },
	{ RESOLVE_CANONICAL, "@moved.test", "@c2.test" },
	{ RESOLVE_CANONICAL, "\xc3\xb6@b\xc3\xbc" "cher.test", "oe@c.test" },
	{ RESOLVE_CANONICAL, "gone@example.test", "alice@example.test" },
	{ RESOLVE_CANONICAL, "away@example.test", "x@elsewhere.test" },
	{ RESOLVE_CANONICAL, "home@elsewhere.test", "moved+y@example.test" },
	{ RESOLVE_CANONICAL, "chain@c.test", "s@c.test" },
	{ RESOLVE_SENDER_CANONICAL, "s@c.test", "sender@c.test" },
	{ RESOLVE_SENDER_CANONICAL, "both@c.test", "one@c.test" },
	{ RESOLVE_RECIPIENT_CANONICAL, "s@c.test", "recipient@c.test" },
	{ RESOLVE_RECIPIENT_CANONICAL, "both@c.test", "anna@c.test" },
	{ RESOLVE_GENERIC, "one@g.test", "two@g.test" },
	{ RESOLVE_GENERIC, "two@g.test", "three@g.test" },
	{ RESOLVE_GENERIC, "bare", "out@g.test" },
	{ RESOLVE_GENERIC, "@inside.test", "@g.test" },
	{ RESOLVE_GENERIC, "fail@g.test", "!" },
	{ RESOLVE_LMTP_GENERIC, "one@g.test", "l@g.test" },
};
/* alias_maps */
static const struct { const char *key, *value; } local_aliases[] = {
	{ "root", "alice, \"bob\"@example.test" },
	{ "team", "root, far@elsewhere.test, (a comment, with a comma) Team Lead <lead@elsewhere.test>" },
	{ "owner-team", "root" },
	{ "sub", "team, other@elsewhere.test" },
	{ "owner-sub", "root@example.test" },
	{ "inner", "deep@elsewhere.test" },
	{ "outer", "inner, plain@elsewhere.test" },
	{ "owner-outer", "alice" },
	{ "alice", "\\alice, copy@elsewhere.test" },
	{ "dora", "dora, copy@elsewhere.test" },
	{ "prog", "\"|/usr/bin/vacation -a, b\", root" },
	{ "onlyprog", "|/usr/bin/procmail" },
	{ "file", "/var/mail/x" },
	{ "news", ":include:/lists/news" },
	{ "owner-news", "news-request" },
	{ "nofile", ":include:/lists/none" },
	{ "incloop", ":include:/lists/loop" },
	{ "ping", "pong" },
	{ "pong", "ping" },
	{ "bad", "a@b, :what:x" },
	{ "ext", "alice" },
	{ "boom", "!" },
	{ "two", "root, sub, \\root" },
};
static const struct { const char *path, *text; } files[] = {
	{ "/lists/news", "# readers\none@elsewhere.test, two@elsewhere.test\n\n :include:/lists/more\n|cmd\n" },
	{ "/lists/more", "three@elsewhere.test\r\nalice" },
	{ "/lists/loop", ":include:/lists/loop" },
};
/* clang-format on */

static unsigned chain_length;
static bool has_wildcard;

static int
fake_route(enum resolve_table t, struct lookup_key key, struct buf *value, struct err *err)
{
	if (t >= RESOLVE_CANONICAL && (key.text.p[0] == '@' || strchr(key.text.p, '@') == NULL))
		assert_true(key.is_partial);
	if (t != RESOLVE_SENDER_RELAYHOSTS && t != RESOLVE_SENDER_TRANSPORTS &&
	    memchr(key.text.p, '@', key.text.len) == NULL)
		assert_true(key.is_partial);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].t != t || !view_eq_str(key.text, rows[i].key))
			continue;
		if (rows[i].value[0] == '!')
			return err_set(err, ERR_TEMP, "table does not answer");
		buf_append_str(value, rows[i].value);
		return 0;
	}
	if (has_wildcard && t == RESOLVE_TRANSPORTS && view_eq_str(key.text, "*")) {
		buf_append_str(value, "smtp:[rest]");
		return 0;
	}
	return 1;
}

static int
fake_lookup(
    void *arg, enum resolve_table t, struct lookup_key key, struct buf *value, struct err *err)
{
	unsigned n, count;

	(void)arg;
	for (size_t i = 0;
	     t == RESOLVE_LOCAL_ALIASES && i < sizeof local_aliases / sizeof local_aliases[0];
	     i++) {
		if (!view_eq_str(key.text, local_aliases[i].key))
			continue;
		if (local_aliases[i].value[0] == '!')
			return err_set(err, ERR_TEMP, "table does not answer");
		return buf_append_str(value, local_aliases[i].value);
	}
	if (t == RESOLVE_LOCAL_ALIASES)
		return 1;
	if (t != RESOLVE_ALIASES)
		return fake_route(t, key, value, err);
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

static int
fake_include(void *arg, const char *path, struct buf *text, struct err *err)
{
	(void)arg;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		if (strcmp(files[i].path, path) == 0)
			return buf_append_str(text, files[i].text);
	return err_set(err, ERR_TEMP, "no such file");
}

static const char *message_sender = "writer@elsewhere.test";
static const struct resolve_source source = { fake_lookup, fake_include, fake_user, NULL };
static struct resolve_conf conf;

static int
setup(void **state)
{
	(void)state;
	resolve_conf_init(&conf,
	    "example.test, Catch.test old.test B\xc3\xbc"
	    "cher.test",
	    "mail.example.test",
	    "relay.test, .sub.test, localhost.test, inline:{tabled.test=x}, J\xc3\xb6rg.test");
	conf.has_table[RESOLVE_ALIASES] = true;
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

	if (resolve_address(&conf, &source, address, message_sender, &r, &e) < 0)
		return e.kind == ERR_TEMP ? "TEMP" : "SYNTAX";
	text[0] = '\0';
	if (!r.is_known)
		snprintf(text, sizeof text, "NO");
	if (r.class == CLASS_FOREIGN)
		at += (size_t)snprintf(text, sizeof text, "foreign ");
	for (size_t i = 0; i < r.count && at < sizeof text - 100; i++) {
		const struct resolved *one = &r.results[i];

		if (one->transport == TRANSPORT_VIRTUAL)
			at += (size_t)snprintf(text + at, sizeof text - at, "v:%s:%u ",
			    one->address, (unsigned)one->uid);
		else
			at += (size_t)snprintf(
			    text + at, sizeof text - at, "s:%s:%s ", one->address, one->nexthop);
		if (one->sender != NULL)
			at += (size_t)snprintf(text + at - 1, sizeof text - at + 1, "<%s%s ",
				  one->sender, one->sender_kind == AUTHD_SENDER_SRS ? "!" : "") -
			      1;
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

/* aliases(5) */
static void
local_names(void **state)
{
	static const struct {
		const char *address, *want;
	} table[] = {
		{ "root@mail.example.test",
		    "v:alice@mail.example.test:500 s:copy@elsewhere.test:[smart.test] v:bob@example.test:2001 " },
		{ "ROOT",
		    "v:alice@mail.example.test:500 s:copy@elsewhere.test:[smart.test] v:bob@example.test:2001 " },
		/* no name of another domain */
		{ "root@example.test", "NO" },
		{ "alice@example.test", "v:alice@example.test:500 " },
		/* the user behind the name, in one way or the other */
		{ "alice", "v:alice@mail.example.test:500 s:copy@elsewhere.test:[smart.test] " },
		{ "dora", "v:dora@mail.example.test:500 s:copy@elsewhere.test:[smart.test] " },
		/* a list with an owner: all that it leads to, but for what a list in it has for itself */
		{ "team", "v:alice@mail.example.test:500<owner-team@mail.example.test "
			  "s:copy@elsewhere.test:[smart.test]<owner-team@mail.example.test "
			  "v:bob@example.test:2001<owner-team@mail.example.test "
			  "s:far@elsewhere.test:[smart.test]<owner-team@mail.example.test "
			  "s:lead@elsewhere.test:[smart.test]<owner-team@mail.example.test " },
		{ "outer", "s:deep@elsewhere.test:[smart.test]<owner-outer@mail.example.test "
			   "s:plain@elsewhere.test:[smart.test]<owner-outer@mail.example.test " },
		/* what is reached twice is reached once */
		{ "two",
		    "v:alice@mail.example.test:500 s:copy@elsewhere.test:[smart.test] v:bob@example.test:2001 "
		    "s:far@elsewhere.test:[smart.test]<owner-team@mail.example.test "
		    "s:lead@elsewhere.test:[smart.test]<owner-team@mail.example.test "
		    "s:other@elsewhere.test:[smart.test]<owner-sub@mail.example.test "
		    "v:root@mail.example.test:500 " },
		{ "prog",
		    "s:|/usr/bin/vacation@mail.example.test:5.7.1 mail to command is restricted "
		    "v:alice@mail.example.test:500 s:copy@elsewhere.test:[smart.test] v:bob@example.test:2001 " },
		{ "onlyprog",
		    "s:|/usr/bin/procmail@mail.example.test:5.7.1 mail to command is restricted " },
		{ "file", "s:/var/mail/x@mail.example.test:5.7.1 mail to file is restricted " },
		{ "news",
		    "s:one@elsewhere.test:[smart.test]<owner-news@mail.example.test "
		    "s:two@elsewhere.test:[smart.test]<owner-news@mail.example.test "
		    "s:three@elsewhere.test:[smart.test]<owner-news@mail.example.test "
		    "v:alice@mail.example.test:500<owner-news@mail.example.test "
		    "s:copy@elsewhere.test:[smart.test]<owner-news@mail.example.test "
		    "s:|cmd@mail.example.test:5.7.1 mail to command is restricted<owner-news@mail.example.test " },
		{ "nofile", "TEMP" },
		{ "incloop", "TEMP" },
		{ "ping", "TEMP" },
		{ "bad", "TEMP" },
		{ "boom", "TEMP" },
		{ "ext+more", "v:alice@mail.example.test:500 s:copy@elsewhere.test:[smart.test] " },
		/* what stands for a command is no address of ours */
		{ "|cmd@mail.example.test", "NO" },
	};

	(void)state;
	conf.has_table[RESOLVE_LOCAL_ALIASES] = true;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const char *got = resolve(table[i].address);

		if (strcmp(got, table[i].want) != 0)
			fail_msg(
			    "%s: got \"%s\", wanted \"%s\"", table[i].address, got, table[i].want);
	}
	/* a bounce has no sender on its way on */
	message_sender = "";
	assert_string_equal(resolve("outer"),
	    "s:deep@elsewhere.test:[smart.test] s:plain@elsewhere.test:[smart.test] ");
	message_sender = "writer@elsewhere.test";
	conf.keeps_alias_extension = true;
	assert_string_equal(resolve("inner+x"), "s:deep+x@elsewhere.test:[smart.test] ");
	conf.owner_is_special = false;
	assert_string_equal(resolve("outer"),
	    "s:deep@elsewhere.test:[smart.test] s:plain@elsewhere.test:[smart.test] ");
	conf.owner_is_special = conf.expand_owner = conf.reset_owner = true;
	assert_string_equal(resolve("outer"),
	    "s:deep@elsewhere.test:[smart.test] "
	    "s:plain@elsewhere.test:[smart.test]<alice@mail.example.test ");
	/* the name is no user with the extension "outer", and no alias is */
	assert_string_equal(resolve("owner-outer"),
	    "v:alice@mail.example.test:500 s:copy@elsewhere.test:[smart.test] ");
}

/* What stands for a command stays refused when it is looked at again; in domains whose mailboxes may have such names it is
 * an address. */
static void
commands_stay_refused(void **state)
{
	struct resolved to;
	struct arena a;
	struct err e;

	(void)state;
	arena_init(&a, 10000);
	assert_int_equal(
	    resolve_route(&conf, &source, "|cmd@mail.example.test", "", &a, &to, &e), 0);
	assert_int_equal(to.transport, TRANSPORT_ERROR);
	assert_string_equal(to.nexthop, "5.7.1 mail to command is restricted");
	assert_int_equal(resolve_route(&conf, &source, "/x@mail.example.test", "", &a, &to, &e), 0);
	assert_string_equal(to.nexthop, "5.7.1 mail to file is restricted");
	assert_int_equal(resolve_route(&conf, &source, "/x@example.test", "", &a, &to, &e), 1);
	assert_int_equal(resolve_route(&conf, &source, "/x@far.test", "", &a, &to, &e), 0);
	assert_int_equal(to.transport, TRANSPORT_SMTP);
	arena_clear(&a);
}

/* Only what an alias of ours sends on for others. */
static void
forwarded_senders(void **state)
{
	char secret[] = "first secret", address[ADDRESS_MAX + 1], text[500];

	(void)state;
	conf.has_table[RESOLVE_LOCAL_ALIASES] = true;
	conf.srs = (struct srs){
		.domain = "srs.test", .max_days = 21, .secrets = { secret }, .nsecrets = 1
	};
	map_put(&conf.local_domains, view_of("srs.test"), &conf);
	assert_int_equal(
	    srs_forward(&conf.srs, message_sender, clock_wall_ms() / 1000, address), 0);
	snprintf(text, sizeof text,
	    "v:alice@example.test:500 v:bob@example.test:2001 s:far@elsewhere.test:[smart.test]<%s! ",
	    address);
	assert_string_equal(resolve("list@example.test"), text);
	snprintf(text, sizeof text,
	    "v:dora@mail.example.test:500 s:copy@elsewhere.test:[smart.test]<%s! ", address);
	assert_string_equal(resolve("dora"), text);
	assert_string_equal(
	    resolve("x@elsewhere.test"), "foreign s:x@elsewhere.test:[smart.test] ");
	assert_string_equal(resolve("outer"),
	    "s:deep@elsewhere.test:[smart.test]<owner-outer@mail.example.test "
	    "s:plain@elsewhere.test:[smart.test]<owner-outer@mail.example.test ");
	message_sender = "";
	assert_string_equal(
	    resolve("dora"), "v:dora@mail.example.test:500 s:copy@elsewhere.test:[smart.test] ");
	assert_string_equal(resolve(address), "s:writer@elsewhere.test:[smart.test] ");
	address[5] = address[5] == 'x' ? 'y' : 'x';
	assert_string_equal(resolve(address), "NO");
	assert_string_equal(resolve("srs0@srs.test"), "NO");
	message_sender = "alice@example.test";
	assert_string_equal(
	    resolve("dora"), "v:dora@mail.example.test:500 s:copy@elsewhere.test:[smart.test] ");
	message_sender = "writer@elsewhere.test";
	/* the way back keeps the case of what is behind it */
	assert_int_equal(
	    srs_forward(&conf.srs, "Some.One@elsewhere.test", clock_wall_ms() / 1000, address), 0);
	message_sender = "";
	assert_string_equal(resolve(address), "s:Some.One@elsewhere.test:[smart.test] ");
	message_sender = "writer@elsewhere.test";
	conf.srs = (struct srs){ 0 };
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
	assert_int_equal(resolve_address(&conf, &source, "somebody", message_sender, &r, &e), 0);
	assert_int_equal(r.class, CLASS_LOCAL);
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
	assert_int_equal(
	    resolve_address(&conf, &source, "wide900@example.test", message_sender, &r, &e), 0);
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

/* --- routes ------------------------------------------------------------------------------------- */

/* "TEMP", "NO", "smtp:nexthop", "virtual:uid" */
static const char *
route(const char *address, const char *sender)
{
	static char text[300];
	struct resolved to;
	struct arena a;
	struct err e;
	int r;

	arena_init(&a, 1 << 20);
	r = resolve_route(&conf, &source, address, sender, &a, &to, &e);
	if (r != 0)
		snprintf(text, sizeof text, "%s",
		    r == 1               ? "NO"
		    : e.kind == ERR_TEMP ? "TEMP"
					 : "SYNTAX");
	else if (to.transport == TRANSPORT_VIRTUAL)
		snprintf(text, sizeof text, "virtual:%u", to.uid);
	else
		snprintf(text, sizeof text, "%s%s:%s", transport_name(to.transport),
		    to.transport == TRANSPORT_RETRY ? " later" : "", to.nexthop);
	arena_clear(&a);
	return text;
}

struct route_case {
	const char *address, *sender, *want;
};

static void
check_routes(const struct route_case *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *got = route(table[i].address, table[i].sender);

		if (strcmp(got, table[i].want) != 0)
			fail_msg("%s from %s: got \"%s\", wanted \"%s\"", table[i].address,
			    table[i].sender, got, table[i].want);
	}
}

static const char unavailable[] = "error later:4.3.0 mail transport unavailable";

static void
keys_of_transport_maps(void **state)
{
	static const struct route_case table[] = {
		{ "user+ext@t.test", "", "smtp:[whole]" },
		{ "User+Ext@T.test", "", "smtp:[whole]" },
		{ "user+other@t.test", "", "smtp:[stripped]" },
		{ "other+ext@t.test", "", "smtp:[domain]:587" },
		{ "x@a.t.test", "", "smtp:[parent]" },
		{ "x@a.b.t.test", "", "smtp:[parent]" },
		{ "x@deep.t.test", "", "lmtp:[deep]:24" },
		{ "x@b\xc3\xbc"
		  "cher.example",
		    "", "smtp:[unicode]" },
		{ "x@none.example", "", "smtp:[smart.test]" },
		{ "x@only.test", "", "smtp:" },
		{ "x@colon.test", "", "smtp:" },
		{ "x@nop.test", "", "smtp:[smart.test]" },
		{ "x@hop.test", "", "smtp:[other]:26" },
		{ "x@err.test", "", "error:5.1.2 no more" },
		{ "x@err2.test", "", "error:Address is undeliverable" },
		{ "x@wait.test", "", "error later:4.2.1 later" },
		{ "x@bin.test", "", "discard:" },
		{ "x@odd.test", "", unavailable },
		{ "x@socket.test", "", unavailable },
		{ "x@ctl.test", "", unavailable },
		{ "x@fail.test", "", "TEMP" },
		/* all classes */
		{ "alice@example.test", "", "lmtp:[mail]" },
		{ "bob@example.test", "", "virtual:2001" },
		{ "ghost@example.test", "", "NO" },
		{ "alice@mail.example.test", "", "virtual:500" },
		{ "dora@elsewhere.test", "", "NO" },
		{ "x@sub.relay.test", "", "smtp:[inner]" },
		{ "dead@example.test", "", "TEMP" },
	};

	(void)state;
	conf.has_table[RESOLVE_TRANSPORTS] = true;
	check_routes(table, sizeof table / sizeof table[0]);
	has_wildcard = true;
	assert_string_equal(route("x@none.example", ""), "smtp:[rest]");
	assert_string_equal(route("bob@example.test", ""), "smtp:[rest]");
	assert_string_equal(route("x@nop.test", ""), "smtp:[smart.test]");
	has_wildcard = false;
	conf.transport_parents = true; /* then .t.test is not looked for */
	assert_string_equal(route("x@a.t.test", ""), "smtp:[domain]:587");
}

static void
classes(void **state)
{
	static const struct route_case table[] = {
		{ "alice@example.test", "", "lmtp:[boxes]:24" },
		{ "alice@mail.example.test", "", "virtual:500" },
		{ "x@relay.test", "", "smtp:[inside]" },
		{ "x@a.b.relay.test", "", "smtp:[inside]" },
		{ "x@tabled.test", "", "smtp:[inside]" },
		{ "x@a.tabled.test", "", "smtp:[inside]" },
		{ "x@j\xc3\xb6rg.test", "", "smtp:[inside]" },
		{ "x@sub.test", "", "error:5.1.2 nobody else" },
		{ "x@elsewhere.test", "", "error:5.1.2 nobody else" },
		{ "x@broken.test", "", "TEMP" },
	};
	struct way w;
	struct err e;

	(void)state;
	conf.has_table[RESOLVE_RELAY_DOMAINS] = true;
	assert_int_equal(way_parse("lmtp:inet:[boxes]:24", &conf.virtual_way, &e), 0);
	assert_int_equal(way_parse("relay:[inside]", &conf.relay_way, &e), 0);
	assert_int_equal(way_parse("error:5.1.2 nobody else", &conf.default_way, &e), 0);
	check_routes(table, sizeof table / sizeof table[0]);
	conf.relay_parents = false;
	assert_string_equal(route("x@relay.test", ""), "smtp:[inside]");
	assert_string_equal(route("x@a.relay.test", ""), "error:5.1.2 nobody else");
	assert_string_equal(route("x@a.sub.test", ""), "smtp:[inside]");
	assert_string_equal(route("x@sub.test", ""), "error:5.1.2 nobody else");
	assert_string_equal(route("x@a.tabled.test", ""), "error:5.1.2 nobody else");
	conf.relay_way =
	    (struct way){ TRANSPORT_SMTP, "" }; /* relayhost counts for what is relayed too */
	assert_string_equal(route("x@relay.test", ""), "smtp:[smart.test]");
	assert_int_equal(way_parse("pipe:x", &w, &e), -1);
	assert_non_null(strstr(e.text, "there is no transport \"pipe\""));
	assert_int_equal(way_parse("", &w, &e), -1);
	assert_int_equal(way_parse(":[x]", &w, &e), -1);
	assert_int_equal(way_parse("lmtp:unix:/x", &w, &e), -1);
}

static void
senders(void **state)
{
	static const struct route_case table[] = {
		{ "x@far.example", "anna+x@s.test", "smtp:[whole]" },
		{ "x@far.example", "Anna+y@S.test", "smtp:[anna]:587" },
		{ "x@far.example", "other@s.test", "smtp:[s]" },
		{ "x@far.example", "direct@s.test", "smtp:" },
		{ "x@far.example", "empty@s.test", "smtp:" },
		{ "x@far.example", "fail@s.test", "TEMP" },
		{ "x@far.example", "", "error later:null" },
		{ "x@far.example", "any@other.test", "smtp:[smart.test]" },
		{ "x@far.example", "tina@s.test", "lmtp:[tina]" },
		{ "x@far.example", "bare@s.test", "smtp:[s]" },
		{ "x@far.example", "spam@s.test", "error:5.7.1 not you" },
		{ "x@far.example", "dunno@s.test", "smtp:[s]" },
		{ "x@far.example", "odd@s.test", unavailable },
		/* what is relayed has a transport of its own, but no nexthop */
		{ "x@relay.test", "tina@s.test", "smtp:[s]" },
		{ "x@relay.test", "", "smtp:[bounces]" },
		/* and what stays here has neither */
		{ "bob@example.test", "anna@s.test", "virtual:2001" },
		/* before all others */
		{ "x@t.test", "tina@s.test", "smtp:[domain]:587" },
		{ "x@only.test", "anna@s.test", "smtp:" },
		{ "x@nop.test", "anna@s.test", "smtp:[anna]:587" },
		{ "x@t.test", "odd@s.test", "smtp:[domain]:587" },
		{ "x@hop.test", "odd@s.test", unavailable },
	};

	(void)state;
	conf.has_table[RESOLVE_TRANSPORTS] = conf.has_table[RESOLVE_SENDER_RELAYHOSTS] =
	    conf.has_table[RESOLVE_SENDER_TRANSPORTS] = true;
	conf.null_transport_key = "NULL";
	check_routes(table, sizeof table / sizeof table[0]);
}

static enum address_class
class_of(const char *address)
{
	struct resolution r;
	struct err e;
	enum address_class class;

	assert_int_equal(resolve_address(&conf, &source, address, message_sender, &r, &e), 0);
	class = r.class;
	resolution_clear(&r);
	return class;
}

static void
relayed_recipients(void **state)
{
	static const struct {
		const char *address, *want;
	} table[] = {
		{ "known@relay.test", "s:known@relay.test:[smart.test] " },
		{ "known+x@relay.test", "s:known+x@relay.test:[smart.test] " },
		{ "nobody@relay.test", "NO" },
		{ "any@all.relay.test", "s:any@all.relay.test:[smart.test] " },
		{ "fail@relay.test", "TEMP" }, { "alias@relay.test", "v:bob@example.test:2001 " },
		{ "lost@relay.test", "NO" }, { "x@fail.test", "TEMP" },
		{ "x@odd.test", "foreign s:x@odd.test: " }, /* is to wait in the queue */
	};

	(void)state;
	assert_string_equal(resolve("nobody@relay.test"), "s:nobody@relay.test:[smart.test] ");
	assert_int_equal(class_of("nobody@relay.test"), CLASS_RELAY);
	assert_int_equal(class_of("alice@example.test"), CLASS_MAILBOX);
	assert_int_equal(class_of("alice@mail.example.test"), CLASS_LOCAL);
	conf.has_table[RESOLVE_RELAY_RECIPIENTS] = conf.has_table[RESOLVE_TRANSPORTS] = true;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_string_equal(resolve(table[i].address), table[i].want);
}

/* --- canonical and masquerade ------------------------------------------------------------------- */

static const unsigned every_class = (1U << REWRITE_CLASSES) - 1;

static const char *
rewritten(enum rewrite_class class, const char *address)
{
	static char to[ADDRESS_MAX + 1];
	struct err e;
	int r = rewrite_address(&conf, &source, class, address, to, &e);

	if (r < 0)
		assert_int_equal(e.kind, ERR_TEMP);
	return r < 0 ? "TEMP" : r == 1 ? "" : to;
}

static void
use_canonical(void)
{
	conf.has_table[RESOLVE_CANONICAL] = conf.has_table[RESOLVE_SENDER_CANONICAL] = true;
	conf.has_table[RESOLVE_RECIPIENT_CANONICAL] = true;
	conf.rewrite = (struct rewrite_conf){ .canonical = every_class,
		.sender_canonical = every_class,
		.recipient_canonical = every_class,
		.keeps_extension = true };
}

static void
canonical(void **state)
{
	static const struct {
		enum rewrite_class class;
		const char *address, *want;
	} table[] = {
		{ REWRITE_HEADER_SENDER, "anna@c.test", "anna.smith@c.test" },
		{ REWRITE_HEADER_SENDER, "Anna@C.Test", "anna.smith@c.test" },
		{ REWRITE_HEADER_SENDER, "\"anna\"@c.test", "anna.smith@c.test" },
		{ REWRITE_HEADER_SENDER, "Nobody@C.Test", "" },
		{ REWRITE_HEADER_SENDER, "one@c.test", "three@c.test" },
		{ REWRITE_HEADER_SENDER, "self@c.test", "Self@c.test" },
		{ REWRITE_HEADER_SENDER, "ping@c.test", "TEMP" },
		{ REWRITE_HEADER_SENDER, "anna+Ext@c.test", "anna.smith+Ext@c.test" },
		{ REWRITE_HEADER_SENDER, "grow+x@c.test", "TEMP" },
		{ REWRITE_HEADER_SENDER, "Bare", "found@c.test" },
		{ REWRITE_HEADER_SENDER, "bare@mail.example.test", "found@c.test" },
		{ REWRITE_HEADER_SENDER, "bare+e@mail.example.test", "found+e@c.test" },
		{ REWRITE_HEADER_SENDER, "bare@c.test", "" },
		{ REWRITE_HEADER_SENDER, "bob@c.test", "robert@mail.example.test" },
		{ REWRITE_HEADER_SENDER, "many@c.test", "first@c.test" },
		{ REWRITE_HEADER_SENDER, "none@c.test", "TEMP" },
		{ REWRITE_HEADER_SENDER, "at@c.test", "TEMP" },
		{ REWRITE_HEADER_SENDER, "odd@c.test", "TEMP" },
		{ REWRITE_HEADER_SENDER, "fail@c.test", "TEMP" },
		{ REWRITE_HEADER_SENDER, "User+x@moved.test", "User+x@c2.test" },
		{ REWRITE_HEADER_SENDER, "\"a b\"@moved.test", "\"a b\"@c2.test" },
		{ REWRITE_HEADER_SENDER, "\xc3\xb6@xn--bcher-kva.test", "oe@c.test" },
		{ REWRITE_HEADER_SENDER, "", "" },
		{ REWRITE_HEADER_SENDER, "@c.test", "" },
		{ REWRITE_HEADER_SENDER, "both@c.test", "three@c.test" },
		{ REWRITE_ENVELOPE_SENDER, "s@c.test", "sender@c.test" },
		{ REWRITE_HEADER_RECIPIENT, "s@c.test", "recipient@c.test" },
		{ REWRITE_ENVELOPE_RECIPIENT, "both@c.test", "anna.smith@c.test" },
		/* canonical_maps come last */
		{ REWRITE_ENVELOPE_SENDER, "chain@c.test", "s@c.test" },
		{ REWRITE_CLASSES, "anna@c.test", "" },
	};

	(void)state;
	use_canonical();
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const char *got = rewritten(table[i].class, table[i].address);

		if (strcmp(got, table[i].want) != 0)
			fail_msg(
			    "%s: got \"%s\", wanted \"%s\"", table[i].address, got, table[i].want);
	}
	conf.rewrite.keeps_extension = false;
	assert_string_equal(
	    rewritten(REWRITE_HEADER_SENDER, "anna+ext@c.test"), "anna.smith@c.test");
	conf.rewrite.canonical = 1U << REWRITE_HEADER_RECIPIENT;
	assert_string_equal(rewritten(REWRITE_HEADER_SENDER, "anna@c.test"), "");
	assert_string_equal(
	    rewritten(REWRITE_HEADER_RECIPIENT, "anna@c.test"), "anna.smith@c.test");
}

/* Of what leaves: by tables of their own, and never twice. */
static void
generic(void **state)
{
	(void)state;
	conf.has_table[RESOLVE_GENERIC] = true;
	conf.rewrite.canonical = every_class & ~(1U << REWRITE_GENERIC);
	assert_string_equal(rewritten(REWRITE_GENERIC, "one@g.test"), "two@g.test");
	assert_string_equal(rewritten(REWRITE_GENERIC, "one+ext@g.test"), "two@g.test");
	assert_string_equal(rewritten(REWRITE_GENERIC, "bare"), "out@g.test");
	assert_string_equal(rewritten(REWRITE_GENERIC, "User@inside.test"), "User@g.test");
	assert_string_equal(rewritten(REWRITE_GENERIC, "anna@c.test"), "");
	assert_string_equal(rewritten(REWRITE_GENERIC, "fail@g.test"), "TEMP");
	assert_string_equal(rewritten(REWRITE_LMTP_GENERIC, "one@g.test"), "");
	assert_string_equal(rewritten(REWRITE_HEADER_SENDER, "one@g.test"), "");
	conf.has_table[RESOLVE_LMTP_GENERIC] = true;
	assert_string_equal(rewritten(REWRITE_LMTP_GENERIC, "one@g.test"), "l@g.test");
	conf.rewrite.keeps_generic_extension = true;
	assert_string_equal(rewritten(REWRITE_GENERIC, "one+Ext@g.test"), "two+Ext@g.test");
}

static void
masqueraded(void **state)
{
	static const struct {
		const char *address, *want;
	} table[] = {
		{ "Anna@host.m.test", "Anna@m.test" },
		{ "anna@a.b.M.test", "anna@m.test" },
		{ "anna@m.test", "" },
		{ "anna@am.test", "" },
		{ "anna@x.keep.m.test", "" },
		{ "anna@keep.m.test", "" },
		{ "anna@x.sub.n.test", "anna@sub.n.test" },
		{ "anna@x.n.test", "anna@n.test" },
		{ "Root@host.m.test", "" },
		{ "anna", "" },
		{ "anna@test", "" },
	};

	(void)state;
	conf.rewrite = (struct rewrite_conf){ .masquerade = every_class,
		.masquerade_domains = "!keep.m.test, m.test sub.n.test,n.test",
		.exceptions = "root, daemon" };
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_string_equal(
		    rewritten(REWRITE_ENVELOPE_SENDER, table[i].address), table[i].want);
	conf.rewrite.masquerade = 1U << REWRITE_HEADER_SENDER;
	assert_string_equal(rewritten(REWRITE_ENVELOPE_SENDER, "anna@host.m.test"), "");
}

/* Whose domain it is, is asked of the address as it came; who gets the mail, of what it becomes. */
static void
rewritten_recipients(void **state)
{
	(void)state;
	use_canonical();
	assert_string_equal(resolve("gone@example.test"), "v:alice@example.test:500 ");
	assert_string_equal(resolve("away@example.test"), "s:x@elsewhere.test:[smart.test] ");
	assert_string_equal(resolve("home@elsewhere.test"), "foreign v:alice+y@example.test:500 ");
	assert_string_equal(resolve("ping@c.test"), "TEMP");
	conf.rewrite.canonical = 1U << REWRITE_ENVELOPE_SENDER;
	assert_string_equal(resolve("gone@example.test"), "NO");
}

static void
extensions_may_end(void **state)
{
	(void)state;
	conf.keeps_extension = false;
	assert_string_equal(resolve("moved+ext@example.test"), "v:alice@example.test:500 ");
}

/* The senders of notices and probes exist, and are thrown away: at RCPT and at each attempt.  Who has a mailbox or an alias has
 * that. */
static void
own_senders(void **state)
{
	static const char *const addresses[] = { "double-bounce@mail.example.test",
		"Double-Bounce@MAIL.example.test", "probe@example.test" };
	struct resolution r;
	struct resolved to;
	struct arena a;
	struct err e;

	(void)state;
	assert_string_equal(resolve("double-bounce@mail.example.test"), "NO");
	conf.sinks[0] = "double-bounce@mail.example.test";
	conf.sinks[1] = "probe@example.test";
	arena_init(&a, 1 << 16);
	for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
		assert_int_equal(
		    resolve_address(&conf, &source, addresses[i], message_sender, &r, &e), 0);
		assert_true(r.is_known);
		assert_true(r.class != CLASS_FOREIGN);
		assert_int_equal(r.count, 1);
		assert_int_equal(r.results[0].transport, TRANSPORT_DISCARD);
		resolution_clear(&r);
		assert_int_equal(resolve_route(&conf, &source, addresses[i], "", &a, &to, &e), 0);
		assert_int_equal(to.transport, TRANSPORT_DISCARD);
	}
	arena_clear(&a);
	assert_string_equal(resolve("double-bounce@example.test"), "NO");
	conf.sinks[0] = "bob@example.test";
	conf.sinks[1] = "moved@example.test";
	assert_string_equal(resolve("bob@example.test"), "v:bob@example.test:2001 ");
	assert_string_equal(resolve("moved@example.test"), "v:alice@example.test:500 ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cases, setup, teardown),
		cmocka_unit_test_setup_teardown(local_names, setup, teardown),
		cmocka_unit_test_setup_teardown(commands_stay_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(forwarded_senders, setup, teardown),
		cmocka_unit_test_setup_teardown(bare_names_are_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(own_senders, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(mailboxes, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_of_transport_maps, setup, teardown),
		cmocka_unit_test_setup_teardown(classes, setup, teardown),
		cmocka_unit_test_setup_teardown(senders, setup, teardown),
		cmocka_unit_test_setup_teardown(relayed_recipients, setup, teardown),
		cmocka_unit_test_setup_teardown(canonical, setup, teardown),
		cmocka_unit_test_setup_teardown(generic, setup, teardown),
		cmocka_unit_test_setup_teardown(masqueraded, setup, teardown),
		cmocka_unit_test_setup_teardown(rewritten_recipients, setup, teardown),
		cmocka_unit_test_setup_teardown(extensions_may_end, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
