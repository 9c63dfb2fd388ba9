/* restrict_table.h - one row for each restriction: its name in main.cf and the function that decides. */
#ifndef SMTPD_RESTRICT_TABLE_H
#define SMTPD_RESTRICT_TABLE_H

#include "smtpd/restrict.h"

enum restrict_result {
	RESULT_DUNNO,
	RESULT_OK,
	RESULT_REJECT,
	RESULT_NEED, /* ctx.question is filled */
	RESULT_CALL, /* a further list was put on the frames: it is evaluated now, in this one's place */
};

enum restrict_argument { ARGUMENT_NONE, ARGUMENT_TABLE, ARGUMENT_SITE, ARGUMENT_SERVICE, ARGUMENT_SECONDS };
enum restrict_subject {
	SUBJECT_NONE,
	SUBJECT_CLIENT,
	SUBJECT_REVERSE_CLIENT,
	SUBJECT_HELO,
	SUBJECT_SENDER,
	SUBJECT_RECIPIENT,
	SUBJECT_SASL,
	SUBJECT_CCERT,
	/* of reject_login_mismatch: whose senders; the last: of clients that have logged in, where the maps know the sender */
	SUBJECT_EVERYBODY,
	SUBJECT_LOGGED_IN,
	SUBJECT_NOT_LOGGED_IN,
	SUBJECT_KNOWN_SENDER
};

struct restriction {
	const char *name;
	/* c->item is the one; called again with c->is_answered after each question it asked. */
	enum restrict_result (*fn)(struct restrict_ctx *c);
	enum restrict_argument argument;
	enum restrict_subject subject;
	enum restrict_hosts hosts; /* look at the hosts of the subject's domain; DNS lists: at its name */
};
const struct restriction *restriction_find(const char *name); /* NULL: none of this name */
const char *restriction_nearest(const char *name);            /* NULL: none is near */
/* Does it stand between the world and foreign destinations?  NULL is allowed. */
bool restriction_guards_relay(const struct restriction *r);
/* Why a name of Postfix's has no effect here; NULL: it is none of these. */
const char *restriction_ignored(const char *name);

/* The words for a subject: "Client host", "Sender address" ... */
const char *restrict_class_name(enum restrict_subject subject);
/* The thing itself: "name[ip]", an address, a HELO name; NULL: there is none. */
const char *restrict_subject_text(struct restrict_ctx *c, enum restrict_subject subject);
/* Its domain (of an address), host name, or NULL.  A fact may be needed first: RESULT_NEED through *r. */
const char *restrict_subject_domain(
    struct restrict_ctx *c, enum restrict_subject subject, enum restrict_result *r);

/* For the rows: fill c->reply and return RESULT_REJECT. */
enum restrict_result restrict_refuse(struct restrict_ctx *c, int code, const char *dsn,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* "<subject>: Sender address rejected: why", by the list that is being evaluated. */
enum restrict_result restrict_refuse_list(
    struct restrict_ctx *c, int code, const char *dsn, const char *why);
/* Remembers the reason; returns RESULT_DUNNO. */
enum restrict_result restrict_defer_if_permit(struct restrict_ctx *c, int code, const char *dsn,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Asks for a fact that is not there yet: "if (!restrict_have(c, FACT_X)) return RESULT_NEED;" */
bool restrict_have(struct restrict_ctx *c, enum restrict_fact_id id);
/* "451 4.3.0 <subject>: Temporary lookup failure" */
enum restrict_result restrict_temporary(struct restrict_ctx *c, const char *subject);
/* Does what a table or a policy server has answered (access(5)); subject and class stand in the reply. */
enum restrict_result restrict_act(
    struct restrict_ctx *c, const char *value, const char *subject, const char *class);
/* The same with the subject and class of the list. */
enum restrict_result restrict_act_list(struct restrict_ctx *c, const char *value);

/* restrict_access.c */
enum restrict_result check_access(struct restrict_ctx *c);
enum restrict_result permit_tls_clientcerts(struct restrict_ctx *c);
enum restrict_result reject_login_mismatch(struct restrict_ctx *c);
/* restrict_dnsbl.c */
enum restrict_result reject_dnsbl(struct restrict_ctx *c);
enum restrict_result permit_dnswl(struct restrict_ctx *c);

#endif
