/* message.h - a queued message in memory.
 *
 * Every message has a struct message, and there may be millions: what only one that is being delivered needs
 * is in its struct active, with the envelope and every recipient's state.  The number of those is bounded
 * (qmgr_message_active_limit), and so is the number of those whose content is held open (qmgr_memfd_limit).
 */
#ifndef QMGR_MESSAGE_H
#define QMGR_MESSAGE_H

#include "common/base/arena.h"
#include "common/base/heap.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/delivery.h"
#include "qmgr/content.h"
#include "qmgr/journal.h"

#include <sys/queue.h>

enum message_state {
	MESSAGE_WAITING, /* for its time, or held */
	MESSAGE_READY,   /* for room among the active ones */
	MESSAGE_LOADING, /* being read from disk */
	MESSAGE_ACTIVE,  /* being delivered, or its outcomes on the way to disk */
};

/* What an admin, or a failing disk, asked for and is not durable yet. */
enum message_wants {
	WANT_DELETE = 1,
	WANT_HOLD = 2,
	WANT_RELEASE = 4,
	WANT_REQUEUE = 8,
	WANT_EXPIRE = 16,
};

enum rcpt_phase {
	PHASE_IDLE,     /* not tried in this round */
	PHASE_QUEUED,   /* waits for its destination */
	PHASE_FLYING,   /* with delivery or relay */
	PHASE_ANSWERED, /* done for this round */
};

/* What a sender is told, then what the postmaster is (notify_classes): of a failure that its sender is told of, or that
 * has no sender to be told, a double bounce; of a delay. */
enum notice_kind {
	NOTICE_FAILURE,
	NOTICE_DELAY,
	NOTICE_SUCCESS,
	NOTICE_FAILURE_COPY,
	NOTICE_DELAY_COPY,
	NOTICE_KINDS
};

struct rcpt_state {
	enum rcpt_status status;
	enum rcpt_phase phase;
	bool is_dirty;   /* status is final, and the disk does not know yet */
	bool is_relayed; /* sent to another system (RFC 3461 5.2.2: "relayed", not "delivered") */
	bool took_dsn;   /* and that system answers for it from now on (RFC 3461 5.2.1) */
	bool is_delay_told; /* the sender knows of the delay */
	bool maybe_done;    /* in flight when a process died */
	bool is_repeated;   /* sent when it was maybe_done */
	unsigned noticed;   /* bit mask of notice_kind: done, or not wanted, in this round */
	int slot;           /* in the deferred file, -1 = none */
	uint32_t attempts;
	int64_t last_ms; /* wall clock */
	char dsn[12];
	char *reason;  /* owned; printable ASCII; NULL = none */
	char *remote;  /* owned; the remote server, NULL = none */
	uint32_t code; /* its reply code, 0 = it did not speak */
};

/* A message not yet in the queue: made by intake, submission or a notice; its commit makes it one. */
struct fresh {
	struct queue_id id;
	struct arena arena;
	struct envelope env;
	struct buf encoded; /* the envelope */
	struct content content;
	bool has_file; /* the body is bodies/ID */
	char head[MESSAGE_HEAD];
	int64_t reserved; /* bytes of the journal's reserve that are its own */
};

struct job;
TAILQ_HEAD(job_list, job);

struct active {
	struct arena arena;
	struct envelope env;
	struct rcpt_state *rcpts; /* owned: env.nrcpts */
	struct content content;
	unsigned content_users; /* jobs in flight */
	bool is_opening;        /* content is being read from disk */
	bool is_unreadable;     /* and that failed */
	bool was_deferred;      /* a recipient, now or before */
	size_t open;            /* recipients QUEUED or FLYING */
	size_t flying;
	int64_t begun_ms;   /* monotonic: when it became active */
	uint32_t nslots;    /* of the deferred file */
	int64_t delay_ms;   /* until the next attempt, found when the round ended */
	bool needs_rewrite; /* slots of the file are damaged */
	struct fresh *notices[NOTICE_KINDS]; /* owned: made, not committed */
	struct message *held[NOTICE_KINDS];  /* committed, waiting for our file to say so too */
	struct job_list jobs;                /* of the schedule */
	struct probe *probe; /* no mail but a question (verify.h): nothing of it is stored; NULL: mail */
};

struct waiter {
	struct waiter *next;
	void (*fn)(void *arg, bool ok);
	void *arg;
};

struct message {
	struct queue_id id;
	struct message *earlier, *later; /* of the queue's tree */
	struct heap_node due;            /* WAITING: monotonic ms */
	TAILQ_ENTRY(message) ready;      /* READY */
	TAILQ_ENTRY(message) settling;   /* is_settling */
	struct tenant *tenant;           /* referenced */
	struct journal_segment *segment; /* held; NULL: deferred/XX/ID is the truth */
	uint64_t size;
	int64_t arrival_ms;     /* wall clock */
	int64_t born_ms;        /* the same by the monotonic clock: a clock step makes nobody old */
	uint8_t *finished;      /* owned: bit per recipient, from the journal; NULL = none */
	struct waiter *waiters; /* owned */
	struct active *active;  /* owned; NULL = not loaded */
	uint32_t offset;        /* of its record */
	uint32_t nrcpts, left, attempts;
	uint8_t state; /* enum message_state */
	uint8_t wants; /* enum message_wants */
	bool is_held, is_bounce, is_from_past, has_file;
	bool is_expired;     /* the admin wants it returned, however old it is */
	bool is_deleted;     /* durably; waits for what is in flight */
	bool is_busy;        /* an operation on disk is under way */
	bool is_settling;    /* in the list of those to be settled */
	bool is_written;     /* its deferred file exists, `moved` is not durable yet */
	bool is_relocated;   /* and that file was made before the attempt had ended */
	bool is_in_old_line; /* ACTIVE: it came there from the line of what has been tried */
};

static inline bool
message_bit(const uint8_t *bits, uint32_t i)
{
	return bits != NULL && (bits[i / 8] >> (i % 8) & 1) != 0;
}

/* What one attempt gave for one recipient. */
struct attempt {
	enum delivery_status status;
	const char *dsn;   /* "" = by the status */
	const char *text;  /* foreign: is quoted before use */
	const char *relay; /* "virtual", "host[ip]:port", "none" */
	uint32_t code;     /* of the remote, 0 = none */
	int64_t sent_ms;   /* monotonic: when it was handed out, 0 = never */
	uint32_t setup_ms, transfer_ms, uses;
	bool is_relayed, took_dsn; /* as in struct rcpt_state */
};

#endif
