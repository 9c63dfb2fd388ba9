/* One SASL exchange: the first byte chooses mechanism and flags, the rest is the client's messages, each with its length in
 * a byte before it ("%" in a message stands for the server's nonce, so that SCRAM gets past it). */
#include "authd/sasl_exchange.h"

#include "common/base/mem.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct user_record alice;

static int
keys(void *arg, const char *address, struct sasl_keys *out, struct err *err)
{
	(void)arg;
	*out = (struct sasl_keys){ 0 };
	if (strcmp(address, "t@t") == 0)
		return err_set(err, ERR_TEMP, "no answer");
	if (strcmp(address, "a@b") != 0)
		return 0;
	out->is_known = true;
	memcpy(out->crypt, alice.crypt, sizeof alice.crypt);
	memcpy(out->scram, alice.scram, sizeof alice.scram);
	return 0;
}

static int
secret(void *arg, uint8_t out[USER_SECRET_BYTES], struct err *err)
{
	(void)arg, (void)err;
	memset(out, 7, USER_SECRET_BYTES);
	return 0;
}

static void
set_up(void)
{
	static const struct authd_conf conf = { .plain_needs_tls = true,
		.policy = { PASSWORD_BCRYPT, 4, 4096 } };
	static const struct sasl_source source = { keys, secret, NULL };
	struct err e;

	if (user_password_set(&alice, "x", &conf.policy, &e) < 0 ||
	    sasl_library_open(&conf, &e) < 0)
		bug("%s", e.text);
	/* a hash that costs nothing: the fuzzer is not to wait for crypt */
	memcpy(alice.crypt, "abJnggxhB/yWI", 14);
	sasl_library_set_source(&source);
}

/* The next message of the input, the nonce of the last challenge put in for '%'. */
static struct view
message(const uint8_t **p, size_t *left, const char *nonce, char *space, size_t room)
{
	size_t n = *left == 0 ? 0 : **p, used = 0;

	if (*left > 0)
		++*p, --*left;
	if (n > *left)
		n = *left;
	for (size_t i = 0; i < n; i++) {
		size_t add = (*p)[i] == '%' ? strlen(nonce) : 1;

		if (used + add > room)
			break;
		memcpy(space + used, (*p)[i] == '%' ? (const void *)nonce : (const void *)&(*p)[i],
		    add);
		used += add;
	}
	*p += n;
	*left -= n;
	return view_make(space, used);
}

static void
note_nonce(const struct sasl_answer *a, char *nonce, size_t size)
{
	const char *end = a->challenge_len > 2 && memcmp(a->challenge, "r=", 2) == 0
			      ? memchr(a->challenge, ',', a->challenge_len)
			      : NULL;

	if (end == NULL || (size_t)(end - a->challenge) - 2 >= size)
		return;
	memcpy(nonce, a->challenge + 2, (size_t)(end - a->challenge) - 2);
	nonce[end - a->challenge - 2] = '\0';
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const mechs[] = { "PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256" };
	static char space[SASL_RESPONSE_MAX + 100], nonce[4096];
	struct sasl_exchange *x;
	struct sasl_answer a;
	unsigned choice;

	if (alice.scram[0] == '\0')
		set_up();
	if (size == 0)
		return 0;
	choice = *data++;
	size--;
	nonce[0] = '\0';
	sasl_exchange_start("smtp", mechs[choice & 3],
	    choice >> 2 & (AUTHD_HAS_TLS | AUTHD_HAS_INITIAL), "h",
	    message(&data, &size, nonce, space, sizeof space), &x, &a);
	for (int i = 0; i < 6 && a.step == AUTHD_STEP_MORE; i++) {
		note_nonce(&a, nonce, sizeof nonce);
		sasl_exchange_step(x, message(&data, &size, nonce, space, sizeof space), &a);
	}
	if (a.step == AUTHD_STEP_DONE && strcmp(a.account, "a@b") != 0)
		bug("%s is logged in", a.account);
	sasl_exchange_free(&x);
	return 0;
}
