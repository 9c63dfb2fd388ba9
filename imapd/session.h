/* session.h - one IMAP session and the command it runs (RFC 3501 3).
 *
 * Owner tree: account -> sessions -> selected mailbox, running command -> its arena.  Everything happens on the loop:
 * session.c reads commands off the stream and runs them, one at a time and in order, in short slices;
 * it stops where the client has to send or to take more, and goes on from the callbacks.
 *
 * Files: session.c life and turns, dispatch.c commands from text to reply, selected.c the mailbox and its untagged news,
 * cmd_*.c the commands.  What comes before the first command: common/login/login_session.h.
 */
#ifndef IMAPD_SESSION_H
#define IMAPD_SESSION_H

#include "common/login/login_session.h"
#include "imapd/imap_args.h"
#include "imapd/imap_reader.h"
#include "imapd/imap_snapshot.h"

struct imapd_config {
	size_t line_max, literal_max;
	unsigned bad_commands_max;
	uint64_t message_size_max; /* 0 = none */
	int64_t timeout_ms, idle_poll_ms, idle_notify_ms;
	int64_t slice_ms; /* then the process's other sessions have their turn */
};

/* All sessions share the store; a change by one wakes those in IDLE. */
struct imapd_account {
	struct login_account login;
	struct imapd_config config;
};

/* Bits: rows of the command table say in which they may run. */
enum imapd_state {
	IMAPD_AUTHENTICATED = 1,
	IMAPD_SELECTED = 2,
	IMAPD_LOGOUT = 4,
};

/* A change of this session's own, that its client knows of already. */
struct imapd_own_change {
	uint32_t uid;
	uint64_t modseq;
};

struct imapd_selected {
	struct mailbox *box; /* owned; NULL: no mailbox is selected */
	char *name;          /* owned */
	bool is_read_only;
	bool force_refresh; /* a note said that something came */
	uint32_t uidvalidity;
	struct imap_snapshot snapshot;
	uint64_t modseq;   /* all up to it is in the snapshot, or in changed */
	uint32_t *changed; /* owned: UIDs whose flags the client has yet to hear of */
	size_t nchanged, changed_cap;
	struct imapd_own_change *own; /* owned */
	size_t nown, own_cap;
	size_t exists_told, recent_told;
	unsigned keywords_told;
};

/* Untagged news on their way out; see imapd_news_start. */
struct imapd_news {
	int phase;
	bool with_expunge, with_uid;
	uint32_t below; /* expunges: all from here on are told */
	size_t at;      /* flags: next of changed */
};

struct imapd_counts {
	uint64_t in, out;
	uint64_t deleted, expunged, header_count, header_bytes, body_count, body_bytes;
};

struct imapd_command;
struct imapd_session {
	struct login_session login;
	struct imapd_account *account; /* borrowed: outlives its sessions */
	enum imapd_state state;        /* imapd_session_set_state */
	struct imap_reader reader;
	struct buf out;         /* goes to the stream at the end of a turn, or when it is full */
	struct loop_timer turn; /* another turn soon */
	struct loop_timer idle_timer; /* IDLE: poll and still-here */
	struct loop_timer autologout;
	int64_t still_here_at;
	struct imapd_command *command; /* owned: being read or run */
	struct imapd_selected selected;
	struct imapd_news news;
	/* The message fetched last, for a while: clients read large ones piece by piece. */
	struct buf content;
	uint32_t content_uid; /* 0: none */
	struct loop_timer content_timer;
	unsigned bad_commands; /* in a row */
	struct imapd_counts counts;

	bool is_stopping;       /* ends when its last words are sent */
	bool is_ending;         /* freed when the turn is over */
	const char *end_reason; /* for the log */
};

/* --- session.c ------------------------------------------------------------------------------------------ */
extern const struct login_session_ops imapd_session_ops;
void imapd_session_set_state(struct imapd_session *s, enum imapd_state state);
/* The session ends with this turn.  reason: static, Dovecot's words for the log. */
void imapd_session_end(struct imapd_session *s, const char *reason);
/* "* BYE text", then the end. */
void imapd_session_bye(struct imapd_session *s, const char *text, const char *reason);
/* Something changed in this mailbox ("" = any): sessions in IDLE look for news at once.  by: the session that did it, NULL:
 * from outside. */
void imapd_account_changed(
    struct imapd_account *a, const char *mailbox, const struct imapd_session *by);
/* IDLE: (again) until the next poll or the next word, whichever is first. */
void imapd_session_idle_timer(struct imapd_session *s);

/* Output: complete pieces, in order.  printf is for what is short. */
void imapd_send(struct imapd_session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void imapd_send_view(struct imapd_session *s, struct view v);
/* Room for more without piling up memory; a command that has more to say returns IMAPD_MORE when there is none. */
bool imapd_has_room(struct imapd_session *s);

/* --- selected.c --------------------------------------------------------------------------------------------- */
/* Opens the mailbox and fills the snapshot; nothing is sent. */
int imapd_selected_open(
    struct imapd_session *s, const char *name, bool is_read_only, struct err *err);
void imapd_selected_close(struct imapd_session *s);
/* Takes in what changed since the last time.  Marks gone messages, adds new ones; nothing is sent. */
void imapd_selected_collect(struct imapd_session *s);
/* This session has set and reported the flags that the message now has. */
void imapd_selected_own(struct imapd_session *s, uint32_t uid, uint64_t modseq);
/* Infos for a walk over sequence numbers, read many at a time where they follow each other. */
enum { IMAPD_INFOS = 64 };
struct imapd_infos {
	struct message_info ahead[IMAPD_INFOS];
	size_t count, at;
	bool need_sizes; /* exact ones */
};
/* Of seqs[0]; count: how many are still to come.  -1: ERR_GONE, another has expunged it; or the index failed. */
int imapd_infos_get(struct imapd_session *s, struct imapd_infos *infos, const uint32_t *seqs,
    size_t count, struct message_info *out, struct err *err);
/* "(\Seen $Work)" */
void imapd_write_flags(
    struct imapd_session *s, struct buf *out, const struct message_info *info, bool is_recent);
/* "* FLAGS" and PERMANENTFLAGS, when the client does not know all keywords yet (or always). */
void imapd_tell_keywords(struct imapd_session *s, bool always);
/* Collects, then tells: expunges (where RFC 3501 7.4.1 allows), EXISTS, RECENT, flags.  Call step until it says true:
 * all told. */
void imapd_news_start(struct imapd_session *s, bool with_expunge, bool with_uid);
bool imapd_news_step(struct imapd_session *s);

#endif
