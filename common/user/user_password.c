#include "common/user/user_password.h"
#include "common/base/utf8.h"
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/user/saslprep.h"

#include <crypt.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

enum { SALT_BYTES = 16, BCRYPT_MAX = 72 };

/* clang-format off */
static const struct {
	const char *name, *prefix;
} schemes[] = { /* as in crypt(5) */
	[PASSWORD_YESCRYPT]     = { "yescrypt",     "$y$"  },
	[PASSWORD_BCRYPT]       = { "bcrypt",       "$2b$" },
	[PASSWORD_SHA512_CRYPT] = { "sha512-crypt", "$6$"  },
};
/* clang-format on */

int
password_scheme_by_name(const char *name)
{
	for (int i = 0; i < (int)(sizeof schemes / sizeof schemes[0]); i++)
		if (strcmp(schemes[i].name, name) == 0)
			return i;
	return -1;
}

const char *
user_password_kind(const char *hash)
{
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strncmp(schemes[i].prefix, hash, strlen(schemes[i].prefix)) == 0)
			return schemes[i].name;
	return hash[0] == '\0' ? "none" : "crypt";
}

static int
check_form(const char *password, enum password_scheme scheme, struct err *err)
{
	size_t len = strlen(password);

	if (len == 0)
		return err_set(err, ERR_SYNTAX, "the password is empty");
	if (len > USER_PASSWORD_MAX)
		return err_set(
		    err, ERR_LIMIT, "the password is longer than %d bytes", USER_PASSWORD_MAX);
	if (scheme == PASSWORD_BCRYPT && len > BCRYPT_MAX)
		return err_set(
		    err, ERR_LIMIT, "bcrypt takes passwords of at most %d bytes", BCRYPT_MAX);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)password[i] < ' ' || password[i] == 0x7f)
			return err_set(
			    err, ERR_SYNTAX, "the password has a control character in it");
	if (!utf8_is_valid(view_make(password, len)))
		return err_set(err, ERR_SYNTAX, "the password is not UTF-8");
	return 0;
}

static int
crypt_into(char out[USER_CRYPT_MAX], const char *password, const struct password_policy *policy,
    struct err *err)
{
	struct crypt_data *data = x_calloc(1, sizeof *data);
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *hash = NULL;
	int r = 0;

	if (crypt_gensalt_rn(schemes[policy->scheme].prefix, policy->cost, NULL, 0, setting,
		sizeof setting) != NULL)
		hash = crypt_rn(password, setting, data, (int)sizeof *data);
	if (hash == NULL || strlen(hash) >= USER_CRYPT_MAX)
		r = err_sys(err, ERR_TEMP, "crypt: %s cost %lu", schemes[policy->scheme].name,
		    policy->cost);
	else
		memcpy(out, hash, strlen(hash) + 1);
	mem_wipe(data, sizeof *data);
	free(data);
	return r;
}

/* SCRAM-SHA-256$i:salt$StoredKey:ServerKey */
static void
scram_format(char out[USER_SCRAM_MAX], unsigned iterations, const uint8_t *salt, size_t salt_len,
    const uint8_t *stored, const uint8_t *server)
{
	struct buf b;

	buf_init(&b, USER_SCRAM_MAX);
	buf_printf(&b, "SCRAM-SHA-256$%u:", iterations);
	base64_encode(&b, salt, salt_len);
	buf_append_byte(&b, '$');
	base64_encode(&b, stored, SHA256_DIGEST_LENGTH);
	buf_append_byte(&b, ':');
	base64_encode(&b, server, SHA256_DIGEST_LENGTH);
	if (b.failed || b.len >= USER_SCRAM_MAX)
		bug("scram keys do not fit");
	memcpy(out, b.p, b.len);
	out[b.len] = '\0';
	buf_wipe(&b);
}

static bool
hmac_sha256(const uint8_t *key, size_t key_len, const void *text, size_t len, uint8_t *out)
{
	unsigned n = SHA256_DIGEST_LENGTH;

	return HMAC(EVP_sha256(), key, (int)key_len, text, len, out, &n) != NULL;
}

/* RFC 5802 3: SaltedPassword, ClientKey, StoredKey, ServerKey */
static int
scram_into(char out[USER_SCRAM_MAX], const char *password, unsigned iterations, struct err *err)
{
	uint8_t salt[SALT_BYTES], salted[SHA256_DIGEST_LENGTH], client[SHA256_DIGEST_LENGTH],
	    stored[SHA256_DIGEST_LENGTH], server[SHA256_DIGEST_LENGTH];
	int r = 0;

	random_bytes(salt, sizeof salt);
	if (PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, sizeof salt, (int)iterations,
		EVP_sha256(), sizeof salted, salted) != 1 ||
	    !hmac_sha256(salted, sizeof salted, "Client Key", 10, client) ||
	    EVP_Digest(client, sizeof client, stored, NULL, EVP_sha256(), NULL) != 1 ||
	    !hmac_sha256(salted, sizeof salted, "Server Key", 10, server))
		r = err_set(err, ERR_TEMP, "scram: no keys from the library");
	else
		scram_format(out, iterations, salt, sizeof salt, stored, server);
	mem_wipe(salted, sizeof salted);
	mem_wipe(client, sizeof client);
	mem_wipe(server, sizeof server);
	return r;
}

int
user_password_set(struct user_record *out, const char *password,
    const struct password_policy *policy, struct err *err)
{
	char prepared[USER_PASSWORD_MAX + 1];
	int r = check_form(password, policy->scheme, err);

	if (r == 0 && !saslprep(password, prepared, sizeof prepared))
		r = err_set(err, ERR_SYNTAX,
		    "the password has characters that are forbidden in it (RFC 4013 2.3)");
	else if (r ==
		 0) /* what is left of it: soft hyphens and the like are gone, some have grown */
		r = check_form(prepared, policy->scheme, err);
	if (r == 0)
		r = crypt_into(out->crypt, prepared, policy, err);
	if (r == 0)
		r = scram_into(out->scram, prepared, policy->scram_iterations, err);
	mem_wipe(prepared, sizeof prepared);
	return r;
}

bool
user_password_fits(const char *hash, const char *password)
{
	char prepared[USER_PASSWORD_MAX + 1];
	struct crypt_data *data;
	const char *got;
	bool fits;

	if (hash[0] == '\0' || hash[0] == '*' || strlen(password) > USER_PASSWORD_MAX)
		return false;
	/* one that cannot be prepared may have been set by another program: it counts as it stands */
	if (saslprep(password, prepared, sizeof prepared))
		password = prepared;
	data = x_calloc(1, sizeof *data);
	got = crypt_rn(password, hash, data, (int)sizeof *data);
	fits =
	    got != NULL && strlen(got) == strlen(hash) && mem_equal_secret(got, hash, strlen(hash));
	mem_wipe(data, sizeof *data);
	mem_wipe(prepared, sizeof prepared);
	free(data);
	return fits;
}

int
user_password_dummy(char out[USER_CRYPT_MAX], const struct password_policy *policy, struct err *err)
{
	uint8_t noise[24];
	char password[2 * sizeof noise + 1];

	random_bytes(noise, sizeof noise);
	hex_encode(password, noise, sizeof noise);
	return crypt_into(out, password, policy, err);
}

void
user_scram_fake(char out[USER_SCRAM_MAX], const uint8_t secret[USER_SECRET_BYTES], const char *name,
    unsigned iterations)
{
	uint8_t salt[SHA256_DIGEST_LENGTH], keys[2][SHA256_DIGEST_LENGTH];

	if (!hmac_sha256(secret, USER_SECRET_BYTES, name, strlen(name), salt))
		random_bytes(salt, sizeof salt);
	/* StoredKey is a digest: nobody finds what it is the digest of */
	random_bytes(keys, sizeof keys);
	scram_format(out, iterations, salt, SALT_BYTES, keys[0], keys[1]);
}
