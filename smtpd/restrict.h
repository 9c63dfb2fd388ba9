/* restrict.h - Postfix's access restrictions: lists of names, evaluated left to right.
 *
 * Evaluation is pure: it looks at a struct restrict_ctx and at facts.  A restriction that needs a fact nobody has
 * looked up yet ends the run with RESTRICT_NEED; the caller (policy.c) looks it up, writes it down and runs again.
 * So nothing in here ever waits, and a test needs no network.
 *
 * As in Postfix: OK ends its own list only, a refusal ends everything; defer_if_permit turns a permission at the
 * end into a "try again", defer_if_reject a refusal; warn_if_reject logs the next one's refusal, a
 * temporary one and a defer_if_permit too, and goes on.
 * With a name that is not known nothing starts: a slip of the pen never opens the relay.
 */
#ifndef SMTPD_RESTRICT_H
#define SMTPD_RESTRICT_H

#include "common/base/err.h"
#include "common/base/view.h"

/* The lists, in the order of evaluation at RCPT with smtpd_delay_reject. */
enum restrict_list_id {
	RESTRICT_CLIENT,
	RESTRICT_HELO,
	RESTRICT_SENDER,
	RESTRICT_RELAY,
	RESTRICT_RECIPIENT,
	RESTRICT_UNLISTED, /* our own, after the admin's: a recipient must exist */
	RESTRICT_DATA,
	RESTRICT_END_OF_DATA,
	RESTRICT_LISTS
};

enum restrict_fact_id {
	FACT_CLIENT_NAME,    /* YES: the address's name leads back to the address */
	FACT_CLIENT_REVERSE, /* YES: the address has a name */
	FACT_HELO_HOST,      /* YES: the HELO name has an address or MX */
	FACT_SENDER_DOMAIN,  /* YES: MX, A or AAAA; NULL_MX: RFC 7505 */
	FACT_RCPT_DOMAIN,
	FACT_RCPT, /* YES: taken; NO: unknown user; FULL: over quota; rcpt_is_local is valid unless TEMP */
	FACT_COUNT
};
enum restrict_fact { FACT_UNKNOWN, FACT_YES, FACT_NO, FACT_TEMP, FACT_NULL_MX, FACT_FULL };

struct restriction;
struct restrict_item {
	const struct restriction *what;
	bool warn; /* warn_if_reject stood before it */
};
struct restrict_list {
	struct restrict_item *items; /* owned */
	size_t count;
};

enum { RESTRICT_TEXT = 900 };
struct restrict_reply {
	int code;
	char dsn[12];
	char text[RESTRICT_TEXT];
};

/* What is known.  Strings are borrowed, NULL where there is none (yet). */
struct restrict_ctx {
	const struct restrict_list *lists; /* RESTRICT_LISTS of them */
	const char *client_name, *client_ip;
	const char *helo, *sender, *recipient;
	bool in_mynetworks, is_authenticated, has_tls, has_pipelined;
	size_t nrcpts; /* recipients accepted so far */
	bool rcpt_is_local;
	enum restrict_fact facts[FACT_COUNT];

	/* results */
	enum restrict_fact_id need;  /* RESTRICT_NEED */
	struct restrict_reply reply; /* RESTRICT_REJECT */
	void (*on_warn)(
	    void *arg, const struct restrict_reply *r); /* warn_if_reject; may be NULL */
	void *on_warn_arg;

	/* private: where the run stands */
	enum restrict_list_id at_list;
	size_t at_item;
	unsigned todo;   /* bit mask of lists */
	bool is_warning; /* the restriction being looked at only warns */
	bool defer_if_permit, defer_if_reject;
	struct restrict_reply deferral;
};

enum restrict_verdict { RESTRICT_PERMIT, RESTRICT_REJECT, RESTRICT_NEED };

/* Starts a run over the lists of the mask (1 << enum restrict_list_id). */
void restrict_start(struct restrict_ctx *c, unsigned lists);
/* Goes on where the last call stopped. */
enum restrict_verdict restrict_run(struct restrict_ctx *c);

/* names: the value of a CONF_LIST parameter.  -1 (ERR_SYNTAX): a name that is not known, and the nearest that is. */
int restrict_list_parse(struct restrict_list *l, const char *names, struct err *err);
void restrict_list_clear(struct restrict_list *l);

#endif
