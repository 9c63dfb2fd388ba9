/* session.h - one SMTP session: its state, the command under way, the way from input to reply.
 *
 * A command line is cut off the input, its row looked up (command_table.h), its arguments checked, its policy
 * evaluated (policy.h), and then its function acts.  Each step may have to wait; the session then leaves its
 * input where it is until whoever waited says smtpd_session_done (the command has its reply) or
 * smtpd_session_continue (go on reading).  Both may free the session: they are the last thing a callback does.
 *
 * Ownership: session -> transaction -> recipients, content.  Freeing the session cancels every timer and
 * call below it.
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include "common/ipc/conn.h"
#include "common/net/addr.h"
#include "common/net/stream.h"
#include "common/proto/address.h"
#include "smtpd/command_table.h"
#include "smtpd/content.h"
#include "smtpd/gates.h"
#include "smtpd/peer_name.h"
#include "smtpd/server.h"

struct smtpd_transaction;
struct smtpd_attributes;
struct smtpd_policy;
struct smtpd_sasl;
struct smtpd_rate;
struct smtpd_screen;
struct milter_session;
struct smtpd_explain;

/* What the one timer of a session is running for. */
enum smtpd_timer_use { TIMER_IDLE, TIMER_DELAY, TIMER_SASL_DELAY };

struct smtpd_client {
	struct sockaddr_storage address;
	struct sockaddr_storage local; /* our side; smtpd_client_local */
	char ip[ADDR_TEXT];
	char *name;      /* owned; NULL while unknown or not verified */
	char *reverse;   /* owned; what the PTR record says, verified or not; NULL: nothing */
	char *label;     /* owned; "name[ip]" for the log */
	bool is_named;   /* the name will not change any more, "connect from" was logged */
	bool is_awaited; /* a command waits for the name */
	bool in_mynetworks;
	bool claims_tls; /* of one that is only claimed */
	enum restrict_fact name_fact : 8, reverse_fact : 8;
	struct peer_lookup *lookup; /* owned */
	struct loop_timer patience; /* ends the wait for the name */
	struct client_cert *cert; /* owned; NULL: no TLS, or none was shown */
};

/* Arguments of the command under way, filled by its check function. */
struct smtpd_args {
	struct address address;              /* MAIL, RCPT */
	uint64_t size;                       /* MAIL SIZE= */
	unsigned flags;                      /* enum envelope_flags */
	char *envid;                         /* owned; MAIL ENVID=, NULL: none */
	unsigned notify;                     /* RCPT NOTIFY=, enum notify_flags */
	char *orcpt;                         /* owned; RCPT ORCPT=, NULL: none */
	struct smtpd_attributes *attributes; /* owned; XCLIENT, XFORWARD */
	char *text;                          /* owned; HELO, EHLO, AUTH, HELP, VRFY */
};

/* The chunk under way: BDAT count [LAST]. */
struct smtpd_chunk {
	uint64_t size, left;
	bool is_last;
	bool is_answered; /* refused already, its octets are thrown away */
	unsigned
	    nrcpts; /* accepted in its transaction, which a refused chunk right before it may have ended */
	struct content_verdict
	    refusal; /* code 0: none; else the answer once the octets are thrown away */
};

struct smtpd_session {
	LIST_ENTRY(smtpd_session) link;
	struct smtpd_server *server; /* borrowed */
	struct stream *stream;       /* owned */
	enum smtpd_state state;      /* smtpd_session_set_state */
	int reply_code;              /* of the last reply */
	const struct smtpd_command
	    *row;                /* the command under way, or the last one; NULL: none yet */
	struct smtpd_args *args; /* owned, for the time of one command */
	struct gate_walk gate;
	struct smtpd_policy *policy;  /* owned, while a policy is evaluated */
	struct smtpd_transaction *tx; /* owned, MAIL to the end of the message */
	struct smtpd_sasl *sasl;      /* owned, during AUTH */
	struct smtpd_rate *rate;      /* owned, once anvil was asked */
	struct smtpd_screen *screen;  /* owned, while the client is tested */
	struct milter_session *milters; /* owned, from CONNECT on where there are milters */
	struct smtpd_explain *explain;  /* borrowed: hears of every step; NULL: a real client */
	struct smtpd_chunk chunk;     /* in ST_CHUNK */
	struct ipc_call *call;        /* the one question the command waits for */
	struct loop_timer timer;
	enum smtpd_timer_use timer_use;
	enum restrict_fact helo_fact;
	int64_t deadline_ms; /* TIMER_IDLE: when it runs out */
	struct smtpd_client client;
	char *helo;              /* owned; as given, bytes that mislead a reader replaced by '?' */
	char *login, *mechanism; /* owned; NULL before AUTH */
	struct smtpd_attributes *forwarded; /* owned; of XFORWARD, for one message; NULL: none */
	char *
	    counted_as; /* owned; the address that the server has counted it under, NULL: the client's */
	unsigned errors, junk, auth_failures;
	uint32_t serial; /* of the session in this process */
	bool is_esmtp;
	bool is_waiting; /* input stays where it is */
	bool is_running; /* smtpd_session_run is on the stack */
	bool is_served;  /* has ended a transaction since the server drains: 421 is next */
	bool is_eof;     /* the client will send no more */
	bool is_in_handshake;
	bool is_delayed;  /* the delay for too many errors is over for this command */
	bool is_excused;  /* this refusal does not count as an error */
	bool is_skipping; /* the rest of an overlong line is thrown away */
	bool skip_saw_cr;
	bool has_pipelined; /* sent commands where RFC 2920 forbids it */
	bool defers_if_permit; /* said at MAIL: smtpd_delay_reject = no */
	uint16_t good[SMTPD_COMMANDS], all[SMTPD_COMMANDS]; /* for the "disconnect" line */
};

/* Greets (or starts TLS in wrapper mode) and lives on its own from then on. */
void smtpd_session_new(struct smtpd_server *v, int fd, const struct sockaddr_storage *peer,
    const struct sockaddr_storage *local); /* NULL: the socket knows */
/* A client that is only claimed (explain.h).  Borrowed for the call. */
struct smtpd_claim {
	struct smtpd_explain *explain;
	struct sockaddr_storage peer;
	const char *name;  /* "": is looked up; "unknown": it has none */
	const char *login; /* "": none */
	bool has_tls;
};
void smtpd_session_claimed(struct smtpd_server *v, int fd, const struct smtpd_claim *claim);
/* Ends it at once, without a word. */
void smtpd_session_free(struct smtpd_session *s);

void smtpd_session_set_state(struct smtpd_session *s, enum smtpd_state state);
/* "%d %s text": dsn NULL or "" where RFC 2034 has no code.  A code of 400 and more makes the command a failed one. */
void smtpd_reply(struct smtpd_session *s, int code, const char *dsn, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A line of a reply of several that is not the last one. */
void smtpd_reply_line(struct smtpd_session *s, int code, const char *dsn, struct view text);
/* The last reply is on its way: nothing more is read, and the session ends. */
void smtpd_session_end(struct smtpd_session *s);
/* From outside a command: the suite stops.  Frees the session unless a promise is being made to it. */
void smtpd_session_shut(struct smtpd_session *s);

void smtpd_session_done(struct smtpd_session *s);
void smtpd_session_continue(struct smtpd_session *s);
/* The client is alive: its time starts anew. */
void smtpd_session_touch(struct smtpd_session *s);
/* The patience of the server has become less: who is waited for already has no more than that either. */
void smtpd_session_hurry(struct smtpd_session *s);
/* So much of the message has come: with smtpd_per_request_deadline that is worth so much time. */
void smtpd_session_progress(struct smtpd_session *s, size_t bytes);
void smtpd_session_delay(struct smtpd_session *s, enum smtpd_timer_use use, int64_t ms);
/* Counts the command as failed or done, and drops its arguments. */
void smtpd_session_account(struct smtpd_session *s);
/* Drops the transaction, if there is one, and everything that belongs to it. */
void smtpd_session_reset(struct smtpd_session *s);
/* What the client told us is forgotten (RFC 3207 4.2). */
void smtpd_session_forget(struct smtpd_session *s);

/* The name of the command for the log: "RCPT", "END-OF-MESSAGE", "CONNECT". */
const char *smtpd_session_where(const struct smtpd_session *s);
/* "name[ip]"; fixes the name as it is known now. */
const char *smtpd_client_label(struct smtpd_session *s);
/* Its name; "unknown" while it has none that is verified. */
static inline const char *
smtpd_client_name(const struct smtpd_session *s)
{
	return s->client.name != NULL ? s->client.name : "unknown";
}
/* One of our own users: has logged in, or comes from mynetworks. */
static inline bool
smtpd_client_is_ours(const struct smtpd_session *s)
{
	return s->login != NULL || s->client.in_mynetworks;
}
/* "ESMTP", "SMTP", "LMTP". */
const char *smtpd_session_protocol(const struct smtpd_session *s);
/* The address that the client connected to. */
const struct sockaddr_storage *smtpd_client_local(struct smtpd_session *s);
/* One more command is waiting behind this one in the input. */
bool smtpd_session_has_more_input(struct smtpd_session *s);
static inline bool
smtpd_session_has_tls(const struct smtpd_session *s)
{
	return s->client.claims_tls || stream_has_tls(s->stream);
}
/* "NOQUEUE: reject: RCPT from name[ip]: 550 5.1.1 <x>: ...; from=<> to=<> proto=ESMTP helo=<>" */
void smtpd_log_reject(struct smtpd_session *s, const char *verdict, const char *where, int code,
    const char *dsn, const char *text);

/* "ID: hold: RCPT from name[ip]: text; from=<> to=<> proto=ESMTP helo=<>" */
void smtpd_log_action(struct smtpd_session *s, const char *action, const char *text);
/* Of a whole message, as Postfix's cleanup: "ID: reject: about from name[ip]: cause; from=<> to=<> proto=ESMTP helo=<>:
 * comment".  Either text may be empty. */
void smtpd_log_message(struct smtpd_session *s, const char *verdict, const char *about,
    struct view cause, struct view comment);

#endif
