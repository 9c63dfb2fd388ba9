#include "qmgr/relay/sasl.h"
#include "common/base/codec.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { CHALLENGE_MAX = 4096, RESPONSE_MAX = 8192 };

struct relay_mechanism {
	const char *name;
	unsigned security;                                      /* what it fulfils */
	void (*initial)(struct relay_sasl *x, struct buf *out); /* NULL: the server begins */
	int (*respond)(
	    struct relay_sasl *x, struct view challenge, struct buf *out, struct err *err);
};

static int
not_expected(struct err *err)
{
	return err_set(err, ERR_SYNTAX, "a challenge that the mechanism does not have");
}

static void
plain_initial(struct relay_sasl *x, struct buf *out)
{
	buf_append_byte(out, '\0'); /* to act for nobody else */
	buf_append_str(out, x->user);
	buf_append_byte(out, '\0');
	buf_append_str(out, x->password);
}

static int
plain_respond(struct relay_sasl *x, struct view challenge, struct buf *out, struct err *err)
{
	(void)x, (void)challenge, (void)out;
	return not_expected(err);
}

/* "Username:" and "Password:", whatever the server calls them. */
static int
login_respond(struct relay_sasl *x, struct view challenge, struct buf *out, struct err *err)
{
	(void)challenge;
	if (x->steps > 2)
		return not_expected(err);
	return buf_append_str(out, x->steps == 1 ? x->user : x->password);
}

static int
cram_md5_respond(struct relay_sasl *x, struct view challenge, struct buf *out, struct err *err)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned len = 0;

	if (x->steps > 1)
		return not_expected(err);
	if (HMAC(EVP_md5(), x->password, (int)strlen(x->password),
		(const unsigned char *)challenge.p, challenge.len, digest, &len) == NULL)
		return err_set(err, ERR_TEMP, "there is no MD5 in this OpenSSL");
	hex_encode(hex, digest, len);
	return buf_printf(out, "%s %s", x->user, hex);
}

/* clang-format off */
static const struct relay_mechanism mechanisms[] = { /* best first */
	{ "CRAM-MD5", RELAY_SASL_NOPLAINTEXT | RELAY_SASL_NOANONYMOUS, NULL,          cram_md5_respond },
	{ "PLAIN",    RELAY_SASL_NOANONYMOUS,                          plain_initial, plain_respond },
	{ "LOGIN",    RELAY_SASL_NOANONYMOUS,                          NULL,          login_respond },
};
static const struct { const char *word; unsigned flag; } securities[] = {
	{ "noplaintext", RELAY_SASL_NOPLAINTEXT },   { "noactive", RELAY_SASL_NOACTIVE },
	{ "nodictionary", RELAY_SASL_NODICTIONARY }, { "noanonymous", RELAY_SASL_NOANONYMOUS },
	{ "forward_secrecy", RELAY_SASL_FORWARD_SECRECY }, { "mutual_auth", RELAY_SASL_MUTUAL_AUTH },
};
/* clang-format on */

unsigned
relay_sasl_security_read(const char *words)
{
	struct view rest = view_of(words), word;
	unsigned flags = 0;

	while (view_token(&rest, ", \t\r\n", &word))
		for (size_t i = 0; i < sizeof securities / sizeof securities[0]; i++)
			if (view_case_eq_str(word, securities[i].word))
				flags |= securities[i].flag;
	return flags;
}

static bool
is_any(struct view word)
{
	return view_case_eq_str(word, "static:all") || view_case_eq_str(word, "static:rest");
}

int
relay_sasl_filter_check(const char *filter, struct err *err)
{
	struct view rest = view_of(filter), word;

	while (view_token(&rest, ", \t\r\n", &word))
		if (!is_any(word) &&
		    (memchr(word.p, ':', word.len) || memchr(word.p, '/', word.len)))
			return err_set(err, ERR_SYNTAX,
			    "%.*s: only names of mechanisms, !NAME, and static:all",
			    VIEW_ARG(word));
	return 0;
}

static bool
filter_passes(const char *filter, struct view name)
{
	struct view rest = view_of(filter), word;

	if (*filter == '\0')
		return true;
	while (view_token(&rest, ", \t\r\n", &word)) {
		bool is_not = word.p[0] == '!';

		if (is_not)
			word = view_make(word.p + 1, word.len - 1);
		if (is_any(word) || view_case_eq(word, name))
			return !is_not;
	}
	return false;
}

bool
relay_sasl_filter_passes(const char *filter, struct view offered)
{
	struct view word;

	while (view_token(&offered, " \t", &word))
		if (filter_passes(filter, word))
			return true;
	return false;
}

static bool
is_offered(struct view offered, const char *name)
{
	struct view word;

	while (view_token(&offered, " \t", &word))
		if (view_case_eq_str(word, name))
			return true;
	return false;
}

const struct relay_mechanism *
relay_sasl_choose(struct view offered, const char *filter, unsigned security)
{
	for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
		const struct relay_mechanism *m = &mechanisms[i];

		if ((security & ~m->security) == 0 && is_offered(offered, m->name) &&
		    filter_passes(filter, view_of(m->name)))
			return m;
	}
	return NULL;
}

const char *
relay_mechanism_name(const struct relay_mechanism *m)
{
	return m->name;
}

bool
relay_sasl_initial(struct relay_sasl *x, struct buf *out)
{
	struct buf clear;

	if (x->mechanism->initial == NULL)
		return false;
	buf_init(&clear, RESPONSE_MAX);
	x->mechanism->initial(x, &clear);
	if (clear.failed)
		out->failed = true;
	else
		base64_encode(out, clear.p, clear.len);
	buf_wipe(&clear);
	return true;
}

int
relay_sasl_respond(struct relay_sasl *x, struct view challenge, struct buf *out, struct err *err)
{
	struct buf decoded, clear;
	int rc;

	buf_init(&decoded, CHALLENGE_MAX);
	buf_init(&clear, RESPONSE_MAX);
	x->steps++;
	challenge = view_trim(challenge);
	rc =
	    base64_decode(&decoded, challenge.p, challenge.len) < 0
		? err_set(err, ERR_SYNTAX, "the challenge is not base64")
		: x->mechanism->respond(x, view_make(buf_cstr(&decoded), decoded.len), &clear, err);
	if (rc == 0 && (clear.failed || base64_encode(out, clear.p, clear.len) < 0))
		rc = err_set(err, ERR_LIMIT, "user name or password too long");
	buf_clear(&decoded);
	buf_wipe(&clear);
	return rc;
}
