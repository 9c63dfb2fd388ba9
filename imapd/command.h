/* command.h - the command table and what a command sees (STYLE 3.8).
 *
 * Life of a command: read (text and literals), parse (pure: arguments into c->args' arena), run (again and again while it
 * says IMAPD_MORE), news (untagged responses the row allows), the tagged reply.
 */
#ifndef IMAPD_COMMAND_H
#define IMAPD_COMMAND_H

#include "imapd/session.h"

enum imapd_result {
	IMAPD_DONE,
	IMAPD_MORE, /* call again: in this turn or in another */
	IMAPD_WAIT, /* call again when woken, or when the client has sent a line (row->line) */
};

enum imapd_command_flags {
	CMD_UID = 1,        /* numbers are UIDs, and are answered with UIDs */
	CMD_NEWS = 2,       /* untagged news of the mailbox before the reply */
	CMD_NO_EXPUNGE = 4, /* RFC 3501 7.4.1: no EXPUNGE during FETCH, STORE, SEARCH */
	CMD_CHANGES = 8,    /* has_changed, whenever it ran */
	CMD_VARIANT = 16,   /* the second of two: EXAMINE, UNSELECT, MOVE, UNSUBSCRIBE */
	CMD_KEEPS_CONTENT = 32,
};

enum imapd_literal_answer { LITERAL_COLLECT, LITERAL_STREAM, LITERAL_REFUSE };

struct imapd_command_row {
	const char *name;
	unsigned states; /* enum imapd_state */
	unsigned flags;
	/* false: c->args.problem; pure.  NULL: no arguments. */
	bool (*parse)(struct imapd_command *c);
	enum imapd_result (*run)(struct imapd_command *c);
	/* For those that want their literals in pieces: what to do with the one announced (the reply is set when it is
	 * refused), its bytes. May be NULL. */
	enum imapd_literal_answer (*literal)(
	    struct imapd_command *c, struct view text, uint64_t size);
	void (*bytes)(struct imapd_command *c, struct view chunk);
	/* A line that came while it waits. */
	void (*line)(struct imapd_command *c, struct view text);
};
const struct imapd_command_row *imapd_command_find(struct view name);
extern const char imapd_capabilities[];

enum imapd_phase { PHASE_READ, PHASE_RUN, PHASE_WAIT, PHASE_NEWS, PHASE_REPLY };

struct imapd_command {
	struct imapd_session *session;
	const struct imapd_command_row *row; /* NULL: not one of ours; the reply is set */
	struct arena arena;
	const char *tag; /* in the arena */
	struct imap_args args;
	enum imapd_phase phase;
	void *data; /* parsed arguments, in the arena */
	void *work; /* while it runs, in the arena */
	void (*cleanup)(
	    struct imapd_command *c); /* for what of it is not in the arena; may be NULL */
	bool has_changed;             /* other sessions should look */
	const char *status;           /* "OK", "NO", "BAD"; NULL: not decided */
	const char *code;             /* without brackets; NULL: none */
	const char *text;
};

/* --- dispatch.c ----------------------------------------------------------------------------------------- */
/* Takes one event off the stream's input; false: there is no whole one. */
bool imapd_dispatch_read(struct imapd_session *s);
/* One step of the running command. */
void imapd_dispatch_step(struct imapd_session *s);
void imapd_command_free(struct imapd_command **c);

/* The reply, given once: the first one counts.  code and text live as long as the command. */
enum imapd_result imapd_ok(struct imapd_command *c, const char *code, const char *text);
enum imapd_result imapd_no(struct imapd_command *c, const char *code, const char *text);
enum imapd_result imapd_bad(struct imapd_command *c, const char *text);
/* NO with the response code (RFC 5530) and words that fit the failure; what concerns the admin is logged. */
enum imapd_result imapd_failed(struct imapd_command *c, const struct err *err);
/* The same where the target mailbox may be missing: [TRYCREATE]. */
enum imapd_result imapd_failed_target(struct imapd_command *c, const struct err *err);

/* Arguments that several commands share. */
bool imapd_parse_none(struct imapd_command *c);
bool imapd_parse_mailbox(struct imapd_command *c); /* c->data: const char * */
/* A cursor behind the command's name in its text, which may be incomplete yet. */
void imapd_args_behind_name(struct imapd_command *c, struct view text, struct imap_args *out);
void *imapd_command_alloc(
    struct imapd_command *c, size_t size); /* zeroed; dies when the arena is full */
/* Sequence numbers of a set that the selected mailbox has; false: the reply is set (RFC 3501 9, seq-number). */
bool imapd_select_messages(
    struct imapd_command *c, struct imap_seqset *set, uint32_t **seqs, size_t *count);

/* --- the commands, one file each or a close group -------------------------------------------------------- */
enum imapd_result imapd_cmd_capability(struct imapd_command *c);
enum imapd_result imapd_cmd_noop(struct imapd_command *c);
enum imapd_result imapd_cmd_logout(struct imapd_command *c);
bool imapd_parse_id(struct imapd_command *c);
enum imapd_result imapd_cmd_id(struct imapd_command *c);
bool imapd_parse_enable(struct imapd_command *c);
enum imapd_result imapd_cmd_enable(struct imapd_command *c);
enum imapd_result imapd_cmd_namespace(struct imapd_command *c);
enum imapd_result imapd_cmd_idle(struct imapd_command *c);
void imapd_line_idle(struct imapd_command *c, struct view text);

enum imapd_result imapd_cmd_select(struct imapd_command *c);
enum imapd_result imapd_cmd_close(struct imapd_command *c);

enum imapd_result imapd_cmd_create(struct imapd_command *c);
enum imapd_result imapd_cmd_delete(struct imapd_command *c);
bool imapd_parse_rename(struct imapd_command *c);
enum imapd_result imapd_cmd_rename(struct imapd_command *c);
enum imapd_result imapd_cmd_subscribe(struct imapd_command *c);
bool imapd_parse_list(struct imapd_command *c);
enum imapd_result imapd_cmd_list(struct imapd_command *c);
enum imapd_result imapd_cmd_lsub(struct imapd_command *c);
bool imapd_parse_status(struct imapd_command *c);
enum imapd_result imapd_cmd_status(struct imapd_command *c);

bool imapd_parse_append(struct imapd_command *c);
enum imapd_result imapd_cmd_append(struct imapd_command *c);
enum imapd_literal_answer imapd_literal_append(
    struct imapd_command *c, struct view text, uint64_t size);
void imapd_bytes_append(struct imapd_command *c, struct view chunk);

bool imapd_parse_fetch(struct imapd_command *c);
enum imapd_result imapd_cmd_fetch(struct imapd_command *c);
bool imapd_parse_store(struct imapd_command *c);
enum imapd_result imapd_cmd_store(struct imapd_command *c);
bool imapd_parse_search(struct imapd_command *c);
enum imapd_result imapd_cmd_search(struct imapd_command *c);
bool imapd_parse_copy(struct imapd_command *c);
enum imapd_result imapd_cmd_copy(struct imapd_command *c);
bool imapd_parse_uid_expunge(struct imapd_command *c);
enum imapd_result imapd_cmd_expunge(struct imapd_command *c);

#endif
