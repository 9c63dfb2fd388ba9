/* sasl_exchange.h - libsasl2's server side, bound to our user database (DESIGN 2).
 *
 * Only PLAIN, LOGIN and SCRAM-SHA-256 are loaded; no configuration file and no sasldb is ever
 * read.  Keys come through an auxprop plugin of our own, plain passwords are checked by
 * user_password_fits.  An unknown user costs the same and looks the same as a known one with a
 * wrong password.
 *
 * A process has one library (libsasl2 is global).  sasl_library_open loads everything that is
 * loaded lazily: call it before the cage closes.  One exchange is in the library at a time. */
#ifndef AUTHD_SASL_EXCHANGE_H
#define AUTHD_SASL_EXCHANGE_H

#include "authd/authd_conf.h"
#include "common/ipc/msg/authd.h"

/* More than names, a password and a nonce can need; a front reads longer lines (RFC 4954 4), but
 * thousands of them may wait here. */
enum { SASL_RESPONSE_MAX = 2048 };

struct sasl_keys {
	bool is_known;
	char crypt[USER_CRYPT_MAX];
	char scram[USER_SCRAM_MAX];
};
struct sasl_source {
	/* Keys of a folded address: 0 (is_known says whether it exists), -1 = no answer for now. */
	int (*keys)(void *arg, const char *address, struct sasl_keys *out, struct err *err);
	/* The installation's secret: 0 or -1. */
	int (*secret)(void *arg, uint8_t out[USER_SECRET_BYTES], struct err *err);
	void *arg;
};

int sasl_library_open(const struct authd_conf *conf, struct err *err);
void sasl_library_set_source(const struct sasl_source *source);

struct sasl_exchange;
struct sasl_answer {
	enum authd_step step;
	const char *challenge; /* borrowed until the next call */
	size_t challenge_len;
	const char
	    *account; /* who is logged in (DONE), else the name that was tried, "" = none yet */
	const char *reason; /* for the log, when FAILED or TEMP */
};

/* mech: upper case.  flags: AUTHD_HAS_TLS, AUTHD_HAS_INITIAL.  *out is NULL unless the step is
 * MORE. */
void sasl_exchange_start(const char *service, const char *mech, unsigned flags,
    const char *server_name, struct view initial, struct sasl_exchange **out,
    struct sasl_answer *answer);
/* After any step but MORE the exchange is over; the caller frees it when it has used the answer. */
void sasl_exchange_step(struct sasl_exchange *x, struct view response, struct sasl_answer *answer);
void sasl_exchange_free(struct sasl_exchange **x);

#endif
