/* restrict.h - Postfix's access restrictions: lists of names, evaluated left to right.
 *
 * Evaluation is pure: it looks at a struct restrict_ctx.  A restriction that needs what is not there yet - a fact, a
 * table, a DNS list, a policy server - ends the run with RESTRICT_NEED and a question; the caller (policy.c) finds the
 * answer, gives it with restrict_answer and runs again.  So nothing in here ever waits, and a test needs no network.
 *
 * As in Postfix: OK ends its own list only, a refusal ends everything; defer_if_permit turns a permission at the
 * end into a "try again", defer_if_reject a refusal; warn_if_reject logs the next one's refusal, a
 * temporary one and a defer_if_permit too, and goes on.  A table or a policy server may answer with a list of
 * restrictions or with the name of a class, which is then evaluated in its place.
 * With a name that is not known nothing starts: a slip of the pen never opens the relay.
 */
#ifndef SMTPD_RESTRICT_H
#define SMTPD_RESTRICT_H

#include "common/base/arena.h"
#include "common/config/conf.h"
#include "common/net/dns.h"
#include "smtpd/action.h"
#include "smtpd/lookup.h"

struct dnsbl_site;
struct policy_service;

/* The lists, in the order of evaluation at RCPT with smtpd_delay_reject. */
enum restrict_list_id {
	RESTRICT_CLIENT,
	RESTRICT_HELO,
	RESTRICT_SENDER,
	RESTRICT_UNLISTED_SENDER, /* after the admin's, when smtpd_reject_unlisted_sender says so */
	RESTRICT_RELAY,
	RESTRICT_RECIPIENT,
	RESTRICT_UNLISTED, /* after the admin's, unless smtpd_reject_unlisted_recipient = no: a recipient must exist */
	RESTRICT_DATA,
	RESTRICT_END_OF_DATA,
	RESTRICT_LISTS
};

enum restrict_fact_id {
	FACT_CLIENT_NAME,    /* YES: the address's name leads back to the address */
	FACT_CLIENT_REVERSE, /* YES: the address has a name */
	FACT_HELO_HOST,      /* YES: the HELO name has an address or MX */
	FACT_SENDER_DOMAIN,  /* YES: MX, A or AAAA; NULL_MX: RFC 7505 */
	FACT_SENDER_USER,    /* NO: the sender is in our domains and does not exist */
	FACT_RCPT_DOMAIN,
	/* YES: taken; NO: unknown user; FULL: over quota; REFUSED, LATER: its transport is error, retry; rcpt_is_local is valid
	 * unless TEMP */
	FACT_RCPT,
	FACT_COUNT
};
enum restrict_fact {
	FACT_UNKNOWN,
	FACT_YES,
	FACT_NO,
	FACT_TEMP,
	FACT_NULL_MX,
	FACT_FULL,
	FACT_REFUSED,
	FACT_LATER
};

/* --- lists --------------------------------------------------------------------------------------------------- */

struct restriction;
struct restrict_list;
struct restrict_item {
	const struct restriction *what; /* NULL: a class */
	bool warn;                      /* warn_if_reject stood before it */
	/* its argument, by restriction */
	struct smtpd_tables *tables;       /* owned */
	struct dnsbl_site *site;           /* owned */
	struct policy_service *service;    /* the environment's */
	const struct restrict_list *class; /* the environment's */
	unsigned seconds;
};
struct restrict_list {
	struct restrict_item *items; /* owned */
	size_t count;
};

/* Reply codes that main.cf can change. */
struct restrict_codes {
	int access_reject, access_defer, reject, defer, invalid_hostname, non_fqdn, rbl, relay, unknown_address,
	    unknown_client, unknown_hostname, unknown_user, plaintext, multi_bounce;
	bool address_defers, helo_defers; /* the ..._tempfail_action is defer */
	struct restrict_unverified {
		int reject, defer;
		const char *reason; /* "" = the server's words */
		bool defers;
	} unverified_recipient, unverified_sender;
};

/* What all lists of a process share.  Made from the configuration, once. */
struct restrict_env {
	const struct conf *conf; /* borrowed */
	struct restrict_codes codes;
	const char *delimiter;       /* recipient_delimiter */
	const char *null_key;        /* smtpd_null_access_lookup_key */
	bool parents_without_dot;    /* parent_domain_matches_subdomains names smtpd_access_maps */
	int rbl_threshold;
	const char *rbl_reply;       /* default_rbl_reply */
	struct smtpd_tables *rbl_reply_maps, *login_maps, *clientcerts; /* owned; NULL: none */
	struct restrict_class *classes; /* owned */
	size_t nclasses;
	struct policy_service **services; /* owned, each place once */
	size_t nservices;
};
/* Reads codes, classes and the shared tables.  -1: ERR_SYNTAX and the like, naming the parameter. */
int restrict_env_init(struct restrict_env *e, const struct conf *conf, struct err *err);
void restrict_env_clear(struct restrict_env *e);
/* The name of a class, as main.cf has it. */
const char *restrict_class_param(const struct restrict_env *e, const struct restrict_list *class);

/* names: the value of a CONF_LIST parameter; id: what a bare type:table in it means.  -1 (ERR_SYNTAX): a name that is
 * not known, and the nearest that is; an argument that is missing or bad; a table that does not open. */
int restrict_list_parse(struct restrict_list *l, enum restrict_list_id id, const char *names,
    struct restrict_env *env, struct err *err);
void restrict_list_clear(struct restrict_list *l);

/* --- a run --------------------------------------------------------------------------------------------------- */

enum { RESTRICT_TEXT = 900, RESTRICT_DEPTH = 10, RESTRICT_HOSTS_MAX = 40 };
struct restrict_reply {
	int code;
	char dsn[12];
	char text[RESTRICT_TEXT];
};

enum restrict_hosts { HOSTS_NONE, HOSTS_A, HOSTS_MX, HOSTS_NS };

/* What a run cannot go on without.  Strings live as long as the run. */
struct restrict_question {
	enum {
		ASK_FACT,   /* fact; goes into ctx.facts, no restrict_answer */
		ASK_TABLE,  /* tables, keys: value or NONE */
		ASK_DNSBL,  /* site, name: FOUND, address and the TXT record as value; NONE */
		ASK_POLICY, /* service: value is the action; never NONE */
		ASK_HOSTS,  /* hosts, name: names and addresses, each a string */
		ASK_GREYLIST, /* value is an action */
		ASK_SLEEP,  /* seconds */
		ASK_VERIFY, /* address: FOUND, it is deliverable; NONE, it is not; TEMP, nobody can say: value says why, "" = nobody
			     * could be asked */
	} kind;
	enum restrict_fact_id fact;
	struct smtpd_tables *tables;
	struct lookup_key keys[LOOKUP_KEYS_MAX];
	size_t nkeys;
	char stripped[ADDRESS_MAX + 1]; /* text of a key */
	const struct dnsbl_site *site;
	struct policy_service *service;
	enum restrict_hosts hosts;
	char name[DNS_NAME_MAX];
	unsigned seconds;
	const char *address;
};
struct restrict_answer {
	enum lookup_result result; /* LOOKUP_FOUND, _NONE, _TEMP */
	const char *value, *address;
	const char *const *hosts;
	size_t nhosts;
};

/* One list being evaluated: an admin's, a class, or what a table answered. */
struct restrict_frame {
	const struct restrict_list *list;
	struct restrict_list own; /* a table's answer, parsed */
	size_t at;
	const char *subject, *class; /* of the table's answer; NULL: those of the list */
	bool warn;
};

/* What is known.  Strings are borrowed, NULL where there is none (yet). */
struct restrict_ctx {
	struct restrict_env *env;
	const struct restrict_list *lists; /* RESTRICT_LISTS of them */
	const struct sockaddr_storage *client;
	const char *client_name, *client_ip; /* "unknown" when it has no verified name */
	const char *reverse_name;            /* not verified */
	const char *helo, *sender, *recipient, *login;
	const char *cert_fingerprint, *cert_key_fingerprint; /* of the client; NULL: it has shown none */
	bool cert_is_trusted;
	bool in_mynetworks, is_authenticated, has_tls, has_pipelined;
	size_t nrcpts; /* recipients accepted so far */
	bool rcpt_is_local;   /* of a domain of ours, or of relay_domains */
	bool rcpt_is_relayed; /* of the latter */
	const char *rcpt_why,
	    *sender_why; /* authd's words where the fact is NO, REFUSED or LATER */
	enum restrict_fact facts[FACT_COUNT];

	/* results */
	struct restrict_question question; /* RESTRICT_NEED */
	struct restrict_reply reply;       /* RESTRICT_REJECT */
	bool is_deferral;                  /* nothing but defer_if_permit rejects */
	/* c->item has come to OK, DUNNO, REJECT, WARN (warn_if_reject), DEFER_IF_PERMIT, or LIST: further ones are looked at in its
	 * place; may be NULL */
	void (*on_verdict)(void *arg, const char *verdict);
	/* warn_if_reject; may be NULL */
	void (*on_warn)(void *arg, const struct restrict_reply *r);
	/* HOLD, DISCARD, REDIRECT, FILTER, PREPEND, BCC, INFO, WARN: argument is what stood behind the word, text is for
	 * the log; may be NULL */
	void (*on_action)(void *arg, enum action_kind kind, const char *argument, const char *text);
	void *arg;

	/* private: where the run stands */
	struct arena arena;
	enum restrict_list_id at_list;
	unsigned todo; /* bit mask of lists */
	struct restrict_frame frames[RESTRICT_DEPTH];
	size_t depth;
	const struct restrict_item *item; /* the one that is looked at */
	unsigned step;                    /* its questions answered so far */
	bool is_answered; /* the question asked last */
	struct restrict_answer answer;
	const char *kept[2]; /* an item's notes between two questions */
	struct restrict_answer hosts; /* behind a domain, and how many of them the table was asked for */
	size_t host_at;
	int rbl_score;
	bool is_warning; /* the restriction being looked at only warns */
	bool defer_if_permit, defer_if_reject;
	struct restrict_reply deferral;
};

enum restrict_verdict { RESTRICT_PERMIT, RESTRICT_REJECT, RESTRICT_NEED };

/* Starts a run over the lists of the mask (1 << enum restrict_list_id). */
void restrict_start(struct restrict_ctx *c, unsigned lists);
/* Goes on where the last call stopped. */
enum restrict_verdict restrict_run(struct restrict_ctx *c);
/* The answer to ctx.question, but for a fact; copied. */
void restrict_answer(struct restrict_ctx *c, const struct restrict_answer *a);
/* Frees what the run has collected; at any time after restrict_start. */
void restrict_clear(struct restrict_ctx *c);

#endif
