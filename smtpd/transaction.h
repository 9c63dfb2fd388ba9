/* transaction.h - one mail transaction (RFC 5321 3.3), from MAIL to the reply after the content. */
#ifndef SMTPD_TRANSACTION_H
#define SMTPD_TRANSACTION_H

#include "common/base/map.h"
#include "common/ipc/envelope.h"
#include "smtpd/session.h"

struct smtpd_content;

/* What authd said of one recipient. */
struct smtpd_found {
	enum restrict_fact fact;
	uint32_t destination;    /* enum authd_destination */
	const char *why;         /* authd's words; in the transaction's arena */
	struct recipient *rcpts; /* in the transaction's arena */
	size_t count;
	const char *address; /* asked for; borrowed */
	void (*done)(struct smtpd_session *s);
};

/* What access(5) actions, header checks and milters have decided about the message. */
struct smtpd_verdicts {
	bool hold;    /* on hold from the start: ENVELOPE_HOLD */
	bool discard; /* 250, and nobody gets it */
	const char *
	    redirect; /* the one recipient instead of all others; NULL: none.  In the arena, as the others */
	const char *filter; /* "transport:nexthop"; NULL: none */
	const char *
	    *prepend; /* header fields without CRLF, in the order of their appearance; owned */
	size_t nprepend;
	const char **bcc; /* further recipients; owned */
	size_t nbcc;
};

struct smtpd_transaction {
	struct arena arena; /* the strings of the envelope */
	struct smtpd_verdicts verdicts;
	gate_then *verdict_then; /* of smtpd_verdicts_gate */
	size_t verdict_at;
	struct smtpd_bcc *bcc;         /* owned; while its gate is open */
	struct smtpd_checks *checks;   /* owned; while its gate is open */
	struct smtpd_rewrite *rewrite; /* owned; while its gate is open */
	bool adds_missing;       /* Date:, From:, Message-Id: are put in where they are missing */
	const char *envid;       /* RFC 3461 4.4, as it came (xtext); NULL: none */
	struct address sender;   /* "" = <> */
	uint32_t flags;          /* enum envelope_flags */
	uint64_t announced_size; /* SIZE=, 0 = none */
	int64_t arrival_ms;
	enum restrict_fact sender_domain, sender_user;
	const char *sender_why;   /* with sender_user; NULL: none */
	struct smtpd_found found; /* of the RCPT under way */
	struct recipient *rcpts;  /* owned; final addresses, each once */
	size_t nrcpts, cap;
	struct map seen;          /* final address -> its recipient */
	bool has_senders;         /* some of them have their own */
	size_t naccepted, ntried; /* RCPT commands */
	size_t overshoot;         /* refused for being too many */
	const char *only_rcpt;    /* the recipient while there is but one */

	/* The queue's name for the message: asked for with the first recipient, needed at DATA. */
	char *queue_id;         /* owned; NULL until qmgr has answered */
	struct ipc_call *begin; /* owned; the question */
	bool is_begun, is_begun_again, is_awaited;
	uint32_t begin_status; /* enum qmgr_status */
	uint32_t unknown_rcpts; /* refused: qmgr is told at the end (QMGR_REFUSED) */
	bool is_committed;     /* the id is qmgr's now */

	struct smtpd_content *content; /* owned, from DATA on */
};

/* s->tx from the arguments of MAIL. */
void smtpd_transaction_new(struct smtpd_session *s, const struct smtpd_args *args);
/* Frees s->tx, if any; qmgr is told to forget an id that was not committed. */
void smtpd_transaction_free(struct smtpd_session *s);
/* Takes the recipients of tx->found in, each final address once.  orig: as given; orcpt (RFC 3461 4.2, NULL: none) and
 * notify (0: default) are of the RCPT command.  -1: ERR_LIMIT. */
int smtpd_transaction_add(struct smtpd_transaction *tx, const char *orig, const char *orcpt,
    uint32_t notify, struct err *err);
/* tx->found becomes the address itself, which nobody takes: qmgr returns the mail. */
void smtpd_transaction_take_unknown(struct smtpd_transaction *tx, const char *address);
/* Nobody is a recipient any more. */
void smtpd_transaction_forget_rcpts(struct smtpd_transaction *tx);
/* Asks qmgr for an id, once. */
void smtpd_transaction_begin(struct smtpd_session *s);
/* The answer is not there yet: smtpd_data_begun follows. */
bool smtpd_transaction_await(struct smtpd_session *s);

#endif
