/* screen.h - postscreen(8)'s tests, made by smtpd itself: the second gate at CONNECT, and at RCPT for what shows after
 * the greeting.
 *
 * A client speaks before its turn, or is on DNS lists, or sends commands as only junk mailers do: its action says
 * whether that is only logged (ignore), every recipient is refused (enforce), or the session ends (drop).  Who has passed
 * is remembered by anvil for the test's *_ttl.  Unlike postscreen, a client that passes the tests after the greeting
 * goes on in the same session. */
#ifndef SMTPD_SCREEN_H
#define SMTPD_SCREEN_H

#include "common/config/conf.h"
#include "common/ipc/msg/anvil.h"
#include "smtpd/gates.h"

struct dnsbl_site;
struct smtpd_tables;

enum screen_action { SCREEN_IGNORE, SCREEN_ENFORCE, SCREEN_DROP };

struct screen_access {
	struct smtpd_tables *tables; /* owned; NULL: permit_mynetworks */
};

struct screen_config {
	bool is_enabled;
	struct screen_access *access; /* owned */
	size_t naccess;
	enum screen_action deny_action, actions[ANVIL_SCREEN_TESTS];
	int64_t ttl[ANVIL_SCREEN_TESTS]; /* seconds */
	unsigned tests;                  /* bit mask of enum anvil_screen_test */
	const char *banner;              /* "" = none */
	struct dnsbl_site *sites;        /* owned */
	size_t nsites;
	int threshold, allow_threshold;
	int64_t dnsbl_timeout_ms;
};
int smtpd_screen_config_read(struct screen_config *c, const struct conf *conf, struct err *err);
void smtpd_screen_config_clear(struct screen_config *c);

smtpd_gate smtpd_screen_gate;
/* The client has sent something.  True: it is being tested, nobody reads it yet. */
bool smtpd_screen_input(struct smtpd_session *s);
/* The client has gone.  True: while it was tested, and that was logged. */
bool smtpd_screen_hangup(struct smtpd_session *s);
/* A test after the greeting has failed; text is what the client sent.  The action applies at the next
 * recipient. */
void smtpd_screen_failed(
    struct smtpd_session *s, enum anvil_screen_test test, const char *where, struct view text);
void smtpd_screen_free(struct smtpd_session *s);

#endif
