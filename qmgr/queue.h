/* queue.h - all messages: from the commit to the last recipient's outcome (DESIGN 5).
 *
 * The queue decides what stands on disk and when; whom to ask for a delivery is the schedule's business,
 * what a notice says is the notices'.  Both are reached by struct queue_ops, so that each is tested alone.
 */
#ifndef QMGR_QUEUE_H
#define QMGR_QUEUE_H

#include "common/base/map.h"
#include "common/event/work.h"
#include "qmgr/message.h"
#include "qmgr/message_tree.h"
#include "qmgr/tenant.h"

struct queue_conf {
	uint64_t segment_size, minfree;
	struct ledger_limits ledger;
	unsigned active_limit, content_limit;
	int64_t min_backoff_ms, max_backoff_ms;
	int64_t lifetime_ms, bounce_lifetime_ms;
	int64_t delay_warning_ms;   /* 0 = never */
	bool confirm_delay_cleared; /* whoever was told of a delay is told of its end */
	bool soft_bounce;           /* no answer to an attempt is final but success */
	bool has_bounce_copies, has_delay_copies, has_double_bounces; /* what the postmaster gets */
	bool has_tenant_limits; /* tenant_limit_maps; see tenants_limit */
	const char
	    *double_bounce; /* borrowed: the sender of what goes to the postmaster; NULL = nobody */
};

struct queue_ops {
	/* Find where every IDLE, PENDING recipient of m goes; ends with queue_routed. */
	void (*route)(void *arg, struct message *m);
	/* Have every IDLE, PENDING recipient of m tried (queue_rcpt_queued). */
	void (*start)(void *arg, struct message *m);
	/* Take back the recipients of m that are QUEUED, not those FLYING. */
	void (*stop)(void *arg, struct message *m);
	/* The content of m, asked for with queue_content_open, is open now, or cannot be. */
	void (*content)(void *arg, struct message *m);
	/* Make a notice about the recipients that want one; ends with queue_noticed. */
	void (*notify)(void *arg, struct message *m, enum notice_kind kind);
	/* A probe's recipient is answered, or is not to be tried. */
	void (*probed)(void *arg, struct message *m);
	/* m, loaded, was taken and is not begun; one of its recipients failed for good.  Both may be NULL. */
	void (*accepted)(void *arg, struct message *m);
	void (*failed)(void *arg, const struct message *m);
};

struct queue {
	struct loop *loop;
	int root_fd; /* borrowed */
	struct queue_conf conf;
	const struct journal_io *io;
	struct queue_ops ops;
	void *ops_arg;
	struct journal *journal;
	/* Threads for reads and writes of single messages.  What has not been tried yet and what a tool waits for
	 * have their own, so as not to stand behind the files of a million that are tried again. */
	struct work_pool *pool, *new_pool, *tool_pool;
	struct work_pool *
	    write_pool; /* files of what has been tried: no read stands behind thousands of these */
	struct message_tree messages;
	struct heap due;
	struct loop_timer due_timer;
	struct tenants tenants;    /* and what is READY: new and old mail are served in turn */
	unsigned next_line;        /* enum tenant_line */
	size_t loading;            /* deferred ones being read */
	struct queue_id relocated; /* how far the search for messages in an old segment has come */
	struct message_list settling;
	struct loop_timer settle_timer, pump_timer, relocate_timer;
	size_t active, active_old; /* messages loaded; those of the old line */
	size_t contents;           /* with open content */
	size_t operations;         /* on disk, under way */
	struct queue_id_source ids;
	bool is_draining;
};

/* Reads the queue from disk and starts the journal.  Blocks.  NULL: *err. */
struct queue *queue_open(struct loop *l, int root_fd, const struct queue_conf *conf,
    const struct journal_io *io, struct err *err);
void queue_set_ops(struct queue *q, const struct queue_ops *ops, void *arg);
/* No new attempts from now on. */
void queue_drain(struct queue *q);
/* Nothing is on its way to disk. */
bool queue_is_quiet(const struct queue *q);
void queue_close(struct queue *q);

struct queue_id queue_new_id(struct queue *q);
struct message *queue_find(const struct queue *q, struct queue_id id);
/* Through all messages in the order of their ids; NULL: the first, or no more. */
struct message *queue_next(const struct queue *q, const struct message *m);
/* The first one that is not before this id. */
struct message *queue_from(const struct queue *q, struct queue_id id);
size_t queue_count(const struct queue *q);
/* Where the reads and writes of this message are done. */
struct work_pool *queue_pool_of(const struct queue *q, const struct message *m);

/* --- taking messages --------------------------------------------------------------------------------- */
/* Would a message of this size be taken now?  0 = unknown size.  QMGR_OK or QMGR_FULL. */
enum qmgr_status queue_has_room(struct queue *q, uint64_t size);
/* The words for QMGR_FULL, with the room there is and the room that this size needs. */
enum { QUEUE_FULL_TEXT = 160 };
const char *queue_full_text(const struct queue *q, uint64_t size, char out[QUEUE_FULL_TEXT]);
/* Removes a body file that no message has. */
void queue_forget_body(struct queue *q, struct queue_id id);
struct fresh *fresh_new(struct queue_id id);
void fresh_free(struct fresh *f); /* NULL is allowed; a body file stays */
/* Fills the record that commits f; f must stay until the entry is done. */
void fresh_record(struct fresh *f, struct journal_record *r);
/* A body too large for a journal record, or for a group of so many copies of it, becomes a file of its own.  Blocks; the
 * content is open and final. */
int fresh_fit(const struct queue *q, struct fresh *f, size_t copies, struct err *err);
/* Is there room for it, and does it fit an entry?  QMGR_OK (its reserve is taken), QMGR_FULL. */
enum qmgr_status queue_admit(struct queue *q, struct fresh *f);
/* The record is durable: makes it a message; f is consumed.  queue_begin starts its delivery. */
struct message *queue_adopt(
    struct queue *q, struct fresh *f, struct journal_segment *s, uint32_t offset);
void queue_begin(struct queue *q, struct message *m);
/* It will not be committed: gives its reserve back and frees it. */
void queue_refuse(struct queue *q, struct fresh *f);

/* --- the schedule's side ------------------------------------------------------------------------------ */
/* The routes of m are known: it is started, unless somebody wants it otherwise meanwhile. */
void queue_routed(struct queue *q, struct message *m);
void queue_rcpt_queued(struct message *m, size_t rcpt);
void queue_rcpt_taken_back(struct queue *q, struct message *m, size_t rcpt); /* was QUEUED */
void queue_rcpt_flying(struct message *m, size_t rcpt);
/* The connection was lost under it: try again. */
void queue_rcpt_returned(struct message *m, size_t rcpt);
void queue_rcpt_answered(struct queue *q, struct message *m, size_t rcpt, const struct attempt *a);
/* Opens the content again; ops->content follows from the loop. */
void queue_content_open(struct queue *q, struct message *m);
/* Jobs in flight need it; after the last one it may be closed. */
void queue_content_use(struct message *m);
void queue_content_unuse(struct queue *q, struct message *m);

/* --- the notices' side -------------------------------------------------------------------------------- */
/* Does this recipient belong into a notice of this kind now? */
bool queue_wants_notice(
    const struct queue *q, const struct message *m, size_t rcpt, enum notice_kind kind);
/* f: the notice, to be committed with the outcomes; NULL: there is none to be sent (retry false), or it
 * cannot be made now (retry true). */
void queue_noticed(
    struct queue *q, struct message *m, enum notice_kind kind, struct fresh *f, bool retry);

/* --- the admin's side ----------------------------------------------------------------------------------- */
/* fn(arg, ok) when it is durable; fn may be NULL. */
void queue_want(
    struct queue *q, struct message *m, unsigned wants, void (*fn)(void *arg, bool ok), void *arg);
/* A waiting message is due now. */
void queue_flush(struct queue *q, struct message *m);

#endif
