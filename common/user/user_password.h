/* user_password.h - passwords as the user database keeps them: a crypt(5) hash for PLAIN and
 * LOGIN, SCRAM keys (RFC 5802 3, RFC 7677) for SCRAM-SHA-256.  Never the password. Hashing takes
 * tens of milliseconds: never on an event loop. */
#ifndef COMMON_USER_USER_PASSWORD_H
#define COMMON_USER_USER_PASSWORD_H

#include "common/user/user_record.h"

enum { USER_PASSWORD_MAX = 256, USER_SECRET_BYTES = 32 };

enum password_scheme { PASSWORD_YESCRYPT, PASSWORD_BCRYPT, PASSWORD_SHA512_CRYPT };

struct password_policy {
	enum password_scheme scheme;
	unsigned long cost;        /* of crypt_gensalt(3); 0 = the scheme's default */
	unsigned scram_iterations; /* RFC 7677 4: at least 4096 */
};
/* Values of password_scheme; -1: no such word. */
int password_scheme_by_name(const char *name);
/* The scheme of a hash, "none" for "", "crypt" for one that is not ours. */
const char *user_password_kind(const char *hash);

/* 1..USER_PASSWORD_MAX bytes of UTF-8 without control characters, in the form that saslprep gives it; for bcrypt at
 * most the 72 bytes that it looks at. Fills crypt and scram of *out.  -1: ERR_SYNTAX, ERR_LIMIT, ERR_TEMP. */
int user_password_set(struct user_record *out, const char *password,
    const struct password_policy *policy, struct err *err);
/* password: as the client sent it.  The time it takes depends on the hash's scheme and cost, and on what the client
 * sent, alone; false for "" and damaged hashes. */
bool user_password_fits(const char *hash, const char *password);

/* A hash that no password fits and that costs what a new one costs: for unknown users. */
int user_password_dummy(
    char out[USER_CRYPT_MAX], const struct password_policy *policy, struct err *err);
/* SCRAM keys for a user who does not exist: the same for the same name and secret, so that
 * asking twice tells nothing (RFC 5802 9), and no password fits them. */
void user_scram_fake(char out[USER_SCRAM_MAX], const uint8_t secret[USER_SECRET_BYTES],
    const char *name, unsigned iterations);

#endif
