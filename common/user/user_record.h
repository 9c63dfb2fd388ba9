/* user_record.h - one account of the user database: what is stored, and how its address is
 * written.  Pure.
 *
 * Stored form, version 1, one line of text (readable with `estafeta map query ADDRESS
 * btree:FILE`):
 *   "1" TAB uid TAB gid TAB crypt(5) hash TAB SCRAM keys TAB home
 * SCRAM keys as Cyrus SASL's and RFC 5803's authPassword:
 * SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey. uid and gid 0: the owner named by
 * mailbox_owner.  home "": BASE/DOMAIN/LOCAL; relative: beneath BASE. */
#ifndef COMMON_USER_USER_RECORD_H
#define COMMON_USER_USER_RECORD_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum {
	USER_ADDRESS_MAX = 320,
	USER_CRYPT_MAX = 384,
	USER_SCRAM_MAX = 256,
	USER_HOME_MAX = 1024,
	USER_RECORD_MAX = 2048
};

struct user_record {
	uint32_t uid, gid;
	char crypt[USER_CRYPT_MAX]; /* "" = no password fits */
	char scram[USER_SCRAM_MAX]; /* "" = no SCRAM login */
	char home[USER_HOME_MAX];
};

/* Appends the stored form.  -1: ERR_SYNTAX (a control character in a field), ERR_LIMIT. */
int user_record_encode(const struct user_record *r, struct buf *out, struct err *err);
/* -1: ERR_SYNTAX, also for a version that is not known. */
int user_record_decode(struct view bytes, struct user_record *out, struct err *err);

/* The form in which an address is a key: saslprep's (RFC 4616 2: NFKC), in ASCII lower case, its
 * domain in A-labels.  An account's address is
 * local@domain, its local part fit to be a directory's name: no slash, white space, quote,
 * control character or leading dot. -1: ERR_SYNTAX, ERR_LIMIT. */
int user_address_fold(struct view address, char out[USER_ADDRESS_MAX + 1], struct err *err);

/* Absolute home: home as it stands, or beneath base, or base/domain/local of a folded address.
 * -1: ERR_SYNTAX (a ".." component), ERR_LIMIT. */
int user_home_path(const struct user_record *r, const char *base, const char *address,
    char out[USER_HOME_MAX], struct err *err);
/* The part of an absolute home beneath base, without leading slash; NULL when it is not beneath
 * it. */
const char *user_home_beneath(const char *home, const char *base);

#endif
