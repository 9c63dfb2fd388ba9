/* What an entry of smtp_tls_policy_maps, and main.cf without one, ask for. */
#include "qmgr/relay/tls_policy.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct relay_tls_defaults plain = {
	.level = RELAY_TLS_MAY,
	.protocols = { ">=TLSv1.2", ">=TLSv1.3" },
	.grade = { "medium", "high" },
	.exclude = { "MD5, RC4", "AES128" },
	.high_cipherlist = "ECDHE+AESGCM",
	.fingerprint_match = "",
	.verify_match = "hostname",
	.secure_match = "nexthop, dot-nexthop",
	.servername = "",
};

struct want {
	const char *entry;
	enum relay_tls_level level;
	int min, max;
	const char *ciphers, *match, *servername;
};

static void
check(const struct relay_tls_defaults *d, const struct want *w, enum relay_tls_level at_most)
{
	struct relay_tls_policy p;
	struct err e = { 0 };

	if (relay_tls_policy_read(d, w->entry, at_most, &p, &e) < 0)
		fail_msg("%s: %s", w->entry, e.text);
	if (p.level != w->level || p.min_version != w->min || p.max_version != w->max ||
	    strcmp(buf_cstr(&p.ciphers), w->ciphers) != 0 ||
	    strcmp(buf_cstr(&p.match), w->match) != 0 || strcmp(p.servername, w->servername) != 0)
		fail_msg("%s: %d %x %x \"%s\" \"%s\" \"%s\"", w->entry, p.level, p.min_version,
		    p.max_version, buf_cstr(&p.ciphers), buf_cstr(&p.match), p.servername);
	relay_tls_policy_clear(&p);
}

enum { V12 = TLS1_2_VERSION, V13 = TLS1_3_VERSION };
#define MAY_CIPHERS "DEFAULT:!aNULL:!eNULL:!MD5:!RC4"
#define MUST_CIPHERS "ECDHE+AESGCM:!aNULL:!eNULL:!MD5:!RC4:!AES128"

static void
entries(void **state)
{
	static const struct want cases[] = {
		{ NULL, RELAY_TLS_MAY, V12, V13, MAY_CIPHERS, "", "" },
		{ "none", RELAY_TLS_NONE, 0, 0, "", "", "" },
		{ "none match=x", RELAY_TLS_NONE, 0, 0, "", "", "" }, /* said nothing about */
		{ "may", RELAY_TLS_MAY, V12, V13, MAY_CIPHERS, "", "" },
		{ "encrypt", RELAY_TLS_ENCRYPT, V13, V13, MUST_CIPHERS, "", "" },
		{ "Encrypt protocols=TLSv1.2, ciphers=medium exclude=3DES:aNULL", RELAY_TLS_ENCRYPT,
		    V12, V12, "DEFAULT:!aNULL:!eNULL:!3DES:!aNULL", "", "" },
		{ "encrypt exclude=", RELAY_TLS_ENCRYPT, V13, V13, "ECDHE+AESGCM:!aNULL:!eNULL", "",
		    "" },
		{ "may protocols=!TLSv1.2:!SSLv3 servername=mx.example.org", RELAY_TLS_MAY, V13,
		    V13, MAY_CIPHERS, "", "mx.example.org" },
		{ "verify", RELAY_TLS_VERIFY, V13, V13, MUST_CIPHERS, "hostname\n", "" },
		{ "secure", RELAY_TLS_SECURE, V13, V13, MUST_CIPHERS, "nexthop\ndot-nexthop\n",
		    "" },
		{ "secure match=a.test:.b.test match=nexthop", RELAY_TLS_SECURE, V13, V13,
		    MUST_CIPHERS, "a.test\n.b.test\nnexthop\n", "" },
		{ "fingerprint match=3D:95:34|AB:cd match=01", RELAY_TLS_FINGERPRINT, V13, V13,
		    MUST_CIPHERS, "3d9534\nabcd\n01\n", "" },
		{ "dane", RELAY_TLS_DANE, V13, V13, MUST_CIPHERS, "", "" },
		{ "dane-only connection_reuse=yes", RELAY_TLS_DANE_ONLY, V13, V13, MUST_CIPHERS, "",
		    "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		check(&plain, &cases[i], RELAY_TLS_SECURE);
}

static void
lowered(void **state)
{
	static const struct want may = { "dane servername=x.test", RELAY_TLS_MAY, V12, V13,
		MAY_CIPHERS, "", "x.test" },
				 encrypt = { "dane", RELAY_TLS_ENCRYPT, V13, V13, MUST_CIPHERS, "",
					 "" },
				 none = { "none", RELAY_TLS_NONE, 0, 0, "", "", "" };

	(void)state;
	check(&plain, &may, RELAY_TLS_MAY);
	check(&plain, &encrypt, RELAY_TLS_ENCRYPT);
	check(&plain, &none, RELAY_TLS_MAY);
}

static void
expect_fault(const struct relay_tls_defaults *d, const char *entry, const char *text)
{
	struct relay_tls_policy p;
	struct err e = { 0 };

	assert_int_equal(relay_tls_policy_read(d, entry, RELAY_TLS_SECURE, &p, &e), -1);
	assert_string_equal(e.text, text);
	relay_tls_policy_clear(&p);
}

static void
faults(void **state)
{
	static const char *const cases[][2] = {
		{ "", "invalid empty policy" },
		{ " , ", "invalid empty policy" },
		{ "strong", "invalid security level \"strong\"" },
		{ "may match", "malformed attribute/value pair \"match\"" },
		{ "may match=x", "attribute \"match\" invalid at this security level" },
		{ "dane match=x", "attribute \"match\" invalid at this security level" },
		{ "secure match=", "attribute \"match\" has empty value" },
		{ "secure match=:", "no names to match" },
		{ "secure tafile=/etc/ta.pem",
		    "attribute \"tafile\" is not supported: use fingerprint or smtp_tls_CAfile" },
		{ "may ciphers=", "attribute \"ciphers\" has empty value" },
		{ "may ciphers=high ciphers=low",
		    "attribute \"ciphers\" is specified multiple times" },
		{ "may ciphers=null", "invalid cipher grade \"null\"" },
		{ "may protocols=TLSv1.4", "unknown protocol \"TLSv1.4\"" },
		{ "may protocols=SSLv3", "leaves neither TLSv1.2 nor TLSv1.3" },
		{ "may servername=a..b", "servername: \"a..b\" is no hostname" },
		{ "may servername=192.0.2.1", "servername: \"192.0.2.1\" is no hostname" },
		{ "may color=red", "invalid attribute name: \"color\"" },
		{ "fingerprint", "no fingerprints to match" },
		{ "fingerprint match=xx", "\"xx\" is no fingerprint" },
	};
	struct relay_tls_defaults wrapped = plain;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect_fault(&plain, cases[i][0], cases[i][1]);
	wrapped.is_wrapped = true;
	expect_fault(&wrapped, NULL,
	    "smtp_tls_wrappermode requires \"smtp_tls_security_level = encrypt\" (or stronger)");
	wrapped.level = RELAY_TLS_ENCRYPT;
	check(&wrapped, &(struct want){ NULL, RELAY_TLS_MAY, V12, V13, MAY_CIPHERS, "", "" },
	    RELAY_TLS_MAY);
}

static void
too_long(void **state)
{
	struct relay_tls_policy p;
	char entry[20000] = "secure match=";
	struct err e;

	(void)state;
	memset(entry + strlen(entry), 'x', sizeof entry - 1 - strlen(entry));
	entry[sizeof entry - 1] = '\0';
	assert_int_equal(relay_tls_policy_read(&plain, entry, RELAY_TLS_SECURE, &p, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	relay_tls_policy_clear(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries),
		cmocka_unit_test(lowered),
		cmocka_unit_test(faults),
		cmocka_unit_test(too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
