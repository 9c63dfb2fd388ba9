/* explain.h - `estafeta explain`: a SMTP session of a client that is only claimed, which tells each step of the decisions
 * about it (common/ipc/msg/smtpd.h).  It passes the same commands, gates and tables as any other; what would remember it is
 * not asked (gates.c), and what would be queued is told (commit.c).
 *
 * The connection owns the session: when the tool goes, or takes too long, both end. */
#ifndef SMTPD_EXPLAIN_H
#define SMTPD_EXPLAIN_H

#include "smtpd/restrict.h"

#include <stdbool.h>

struct envelope;
struct smtpd_explain;
struct smtpd_server;
struct smtpd_session;

/* A tool, whose connection master has handed in; fd is owned. */
void smtpd_explain_open(struct smtpd_server *v, int fd);
/* Ends all of them. */
void smtpd_explain_clear(struct smtpd_server *v);

/* One step of a session that is explained; nothing for all others.  Its particulars: names and values in turn; a NULL value is
 * left out. */
#define smtpd_explain_step(s, step, ...)                                                           \
	smtpd_explain_pairs(s, step, (const char *const[]){ __VA_ARGS__ },                         \
	    sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))
void smtpd_explain_pairs(
    struct smtpd_session *s, const char *step, const char *const *pairs, size_t count);
/* The last line of a reply; text begins with its enhanced code, if it has one. */
void smtpd_explain_reply(struct smtpd_session *s, int code, const char *text);
/* What tables have answered; which: of the keys, where they have one. */
void smtpd_explain_lookup(struct smtpd_session *s, const struct smtpd_tables *t,
    enum lookup_result r, const struct lookup_key *keys, size_t which, const char *value);
/* For policy.c: a restriction has come to its verdict; what a question of the run was answered. */
void smtpd_explain_verdict(
    struct smtpd_session *s, const struct restrict_ctx *c, const char *verdict);
void smtpd_explain_answer(struct smtpd_session *s, const struct restrict_ctx *c, size_t which);
/* What the envelope would be. */
void smtpd_explain_envelope(struct smtpd_session *s, const struct envelope *e);
/* Shall policy servers be asked? */
bool smtpd_explain_asks_policy(const struct smtpd_session *s);
/* For session.c: it is there; it goes. */
void smtpd_explain_began(struct smtpd_explain *x, struct smtpd_session *s);
void smtpd_explain_ended(struct smtpd_session *s);

#endif
