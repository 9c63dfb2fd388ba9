/* queue_file.h - the queue on disk, version 1: pure encoding and decoding (docs/queue-format.md).
 *
 * Only qmgr and the offline tool read it.  All numbers are little endian.
 *
 * A journal segment, journal/NNNNNNNNNNNNNNNN (its number in hexadecimal), of a fixed size, zero-filled
 * before it is used:
 *
 *      0  segment header            first copy
 *   2048  segment header            second copy, in another sector: one bad sector does not cost the rest
 *   4096  record, record, ...       each at a multiple of 8; zeros follow the last
 *
 *   segment header (64 bytes)               record header (32 bytes)
 *    0  "ESTFJRNL"                           0  u32 checksum: salt, segment number, offset of the record,
 *    8  u32 version, u32 zero                     the header from byte 4 on, and the content
 *   16  u64 segment number                   4  u32 mark "REC1"
 *   24  u64 salt (random)                    8  u8 type, u8 flags, u16 check of the header alone
 *   32  u64 size of the file                12  u32 length of the content
 *   40  u64 latest id given out (us)        16  u64 queue id: us
 *   48  u64 made at (wall clock, ms)        24  u32 queue id: life
 *   56  u32 zero                            28  u32 offset at which its batch begins
 *   60  u32 checksum of bytes 0..59         32  content, zero-padded to a multiple of 8
 *
 * A deferred message, deferred/XX/ID: a summary that changes in place, a head that never changes, one
 * slot for each recipient that was not finished when the file was made, and the message:
 *
 *      0  summary, copy A           256  summary, copy B
 *    512  head
 *   1024  slot 0 copy A, slot 0 copy B, slot 1 copy A ...   512 bytes each
 *      .  envelope, headers, body (unless it has a file of its own)
 *
 * Summary and slots are written to the older of their two copies: a torn write leaves the other one.
 */
#ifndef QMGR_QUEUE_FILE_H
#define QMGR_QUEUE_FILE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "qmgr/queue_id.h"

/* --- journal ---------------------------------------------------------------------------------------- */
enum {
	SEGMENT_HEADER = 64,
	SEGMENT_COPY_AT = 2048,
	SEGMENT_RECORDS_AT = 4096,
	RECORD_HEADER = 32,
	RECORD_ALIGN = 8,
};

enum record_type {
	RECORD_MESSAGE = 1, /* an accepted message: struct message_head, envelope, headers, body */
	RECORD_OUTCOME = 2, /* final states of recipients */
	RECORD_HOLD = 3,
	RECORD_RELEASE = 4,
	RECORD_DONE = 5,   /* nothing of this message is left to do */
	RECORD_MOVED = 6,  /* deferred/XX/ID is the truth from here on; no such file: done */
	RECORD_VOID = 7,   /* records of another segment never happened */
	RECORD_EXPIRE = 8, /* the admin wants it returned after the next attempt */
	RECORD_FINISHED =
	    9, /* nothing of a deferred message is left to do; the states its file had: its file goes */
};
enum record_flags {
	RECORD_MORE = 1, /* the next record belongs to the same atomic group */
};

struct segment_header {
	uint64_t number, salt, size, last_us, made_ms;
};
void segment_header_encode(const struct segment_header *h, char out[SEGMENT_HEADER]);
/* 0, or -1 (ERR_SYNTAX). */
int segment_header_decode(struct view bytes, struct segment_header *out, struct err *err);

struct record {
	enum record_type type;
	unsigned flags;
	struct queue_id id;
	uint32_t offset; /* of its header in the segment */
	uint32_t batch;
	struct view content; /* into the bytes it was read from */
};
static inline size_t
record_size(size_t content)
{
	return (RECORD_HEADER + content + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}
/* Writes the header of a record whose content already stands at record + RECORD_HEADER. */
void record_seal(
    char *record, const struct segment_header *seg, const struct record *r, size_t content_len);
/* Is there an intact record at this offset of the segment?  bytes: the segment from its start. */
bool record_read(
    struct view bytes, const struct segment_header *seg, size_t offset, struct record *out);
/* The same for bytes that begin with the record, which stands at offset of its segment. */
bool record_read_at(
    struct view bytes, const struct segment_header *seg, size_t offset, struct record *out);
/* Next intact record at or behind offset, looking at every possible place; false: none. */
bool record_search(
    struct view bytes, const struct segment_header *seg, size_t offset, struct record *out);

/* Content of RECORD_MESSAGE, followed by envelope, headers and, inline, the body from where it goes on. */
enum { MESSAGE_HEAD = 32 };
struct message_head {
	bool has_file;         /* the body is the file bodies/ID */
	uint64_t envelope_len; /* of the encoded envelope */
	uint64_t headers_len;
	uint64_t body_len; /* inline: bytes that follow; file: its size */
	uint64_t body_off; /* file: where in it the message goes on behind the headers; inline 0 */
};
void message_head_encode(const struct message_head *h, char out[MESSAGE_HEAD]);
/* Splits a record's content; -1 (ERR_SYNTAX) unless the parts fill it exactly.  body is empty for a file. */
int message_record_decode(struct view content, struct message_head *head, struct view *envelope,
    struct view *headers, struct view *body, struct err *err);

/* Content of RECORD_OUTCOME and RECORD_FINISHED: u32 count, then OUTCOME_BYTES each. */
enum rcpt_status {
	RCPT_PENDING = 0,
	RCPT_SENT = 1,
	RCPT_FAILED = 2,  /* returned to the sender, or meant to be dropped */
	RCPT_DELETED = 3, /* by the admin */
};
enum { OUTCOME_BYTES = 12 };
struct outcome {
	uint32_t rcpt; /* its place in the envelope */
	enum rcpt_status status;
	bool is_relayed;  /* sent to another system */
	bool is_repeated; /* sent, and nobody knows whether an attempt before had been, too */
	char dsn[12];     /* enhanced status code */
};
int outcomes_begin(struct buf *out, uint32_t count);
int outcomes_put(struct buf *out, const struct outcome *o);
/* Sets the count to what was put, for who did not know it at the beginning. */
void outcomes_end(struct buf *out);
/* Walks a content: start with at = 0.  1: *o filled; 0: end; -1: malformed. */
int outcomes_next(struct view content, size_t *at, struct outcome *o);

/* Content of RECORD_VOID. */
enum { VOID_BYTES = 16 };
void void_encode(uint64_t segment, uint64_t from, char out[VOID_BYTES]);
int void_decode(struct view content, uint64_t *segment, uint64_t *from);

/* --- deferred files --------------------------------------------------------------------------------- */
enum {
	DEFERRED_SUMMARY = 256,
	DEFERRED_HEAD_AT = 512,
	DEFERRED_HEAD = 512,
	DEFERRED_SLOTS_AT = 1024,
	DEFERRED_SLOT = 512,
	DEFERRED_REASON = DEFERRED_SLOT - 56,
};
enum deferred_state { DEFERRED_WAITING = 1, DEFERRED_HELD = 2 };

struct deferred_summary {
	struct queue_id id;
	enum deferred_state state;
	int64_t next_ms;    /* wall clock */
	int64_t arrival_ms; /* wall clock */
	uint64_t size;      /* of the message */
	uint32_t nrcpts;    /* of the envelope */
	uint32_t left;      /* not finished */
	uint32_t attempts;
	uint64_t tenant; /* hash of whose it is (tenant.h), 0 = unknown */
	bool is_expired; /* the admin wants it returned after the next attempt */
	uint64_t seq;    /* of this copy; the encoder writes it, the decoder finds the newest */
};
void deferred_summary_encode(const struct deferred_summary *s, char out[DEFERRED_SUMMARY]);
/* Takes the newer intact copy of bytes 0..511; *copy says which.  -1 (ERR_SYNTAX): both are damaged. */
int deferred_summary_decode(
    struct view bytes, struct deferred_summary *out, unsigned *copy, struct err *err);

struct deferred_head {
	struct queue_id id;
	uint32_t nslots;
	struct message_head message;
	uint32_t envelope_crc;
	uint32_t content_crc; /* headers and inline body */
};
void deferred_head_encode(const struct deferred_head *h, char out[DEFERRED_HEAD]);
int deferred_head_decode(struct view bytes, struct deferred_head *out, struct err *err);
static inline uint64_t
deferred_envelope_at(const struct deferred_head *h)
{
	return DEFERRED_SLOTS_AT + (uint64_t)h->nslots * 2 * DEFERRED_SLOT;
}
/* Size of the whole file. */
uint64_t deferred_file_size(const struct deferred_head *h);

struct deferred_slot {
	uint32_t rcpt; /* its place in the envelope */
	enum rcpt_status status;
	bool is_delay_told;           /* the sender knows of the delay */
	bool is_relayed, is_repeated; /* as in struct outcome */
	uint32_t attempts;
	int64_t last_ms; /* of the last attempt, wall clock; 0: none */
	char dsn[12];
	char reason[DEFERRED_REASON]; /* of the last attempt, cut to fit */
	uint64_t seq;
};
void deferred_slot_encode(
    const struct deferred_slot *s, struct queue_id id, uint32_t index, char out[DEFERRED_SLOT]);
/* bytes: both copies.  -1 (ERR_SYNTAX): both are damaged. */
int deferred_slot_decode(struct view bytes, struct queue_id id, uint32_t index,
    struct deferred_slot *out, unsigned *copy, struct err *err);

#endif
