#include "qmgr/queue_file.h"
#include "common/base/codec.h"

#include <stdio.h>

static const char segment_magic[8] = "ESTFJRNL";
static const char deferred_magic[8] = "ESTFDEFR";
enum {
	VERSION = 1,
	RECORD_MARK = 0x31434552 /* "REC1" */,
	SUMMARY_MARK = 0x314d5553,
	SLOT_MARK = 0x31544c53
};

static void
put32(char *to, uint32_t v)
{
	for (size_t i = 0; i < 4; i++)
		to[i] = (char)(v >> (8 * i));
}

static void
put64(char *to, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		to[i] = (char)(v >> (8 * i));
}

static uint32_t
get32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static uint64_t
get64(const char *p)
{
	return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* --- journal ---------------------------------------------------------------------------------------- */
void
segment_header_encode(const struct segment_header *h, char out[SEGMENT_HEADER])
{
	memset(out, 0, SEGMENT_HEADER);
	memcpy(out, segment_magic, sizeof segment_magic);
	put32(out + 8, VERSION);
	put64(out + 16, h->number);
	put64(out + 24, h->salt);
	put64(out + 32, h->size);
	put64(out + 40, h->last_us);
	put64(out + 48, h->made_ms);
	put32(out + 60, crc32c(0, out, 60));
}

int
segment_header_decode(struct view bytes, struct segment_header *out, struct err *err)
{
	const char *p = bytes.p;

	if (bytes.len < SEGMENT_HEADER || memcmp(p, segment_magic, sizeof segment_magic) != 0 ||
	    get32(p + 60) != crc32c(0, p, 60))
		return err_set(err, ERR_SYNTAX, "journal: no segment header");
	if (get32(p + 8) != VERSION)
		return err_set(err, ERR_SYNTAX, "journal: format version %u", get32(p + 8));
	*out = (struct segment_header){ .number = get64(p + 16),
		.salt = get64(p + 24),
		.size = get64(p + 32),
		.last_us = get64(p + 40),
		.made_ms = get64(p + 48) };
	return 0;
}

/* Where a record stands is part of its checksum: bytes that were left by, or copied to, another place are
 * no record there, and a message that imitates records cannot know the salt. */
static uint32_t
place_checksum(const struct segment_header *seg, uint64_t offset)
{
	char place[24];

	put64(place, seg->salt);
	put64(place + 8, seg->number);
	put64(place + 16, offset);
	return crc32c(0, place, sizeof place);
}

/* Over the header but for both checks: a search through damage full of imitations stays linear, because a
 * length is believed, and the content behind it summed, only when this fits. */
static uint16_t
head_check(const char *record, uint32_t place)
{
	return (uint16_t)crc32c(crc32c(place, record + 4, 6), record + 12, RECORD_HEADER - 12);
}

void
record_seal(
    char *record, const struct segment_header *seg, const struct record *r, size_t content_len)
{
	size_t size = record_size(content_len);
	uint32_t place = place_checksum(seg, r->offset);
	uint16_t check;

	memset(record, 0, RECORD_HEADER);
	memset(record + RECORD_HEADER + content_len, 0, size - RECORD_HEADER - content_len);
	put32(record + 4, RECORD_MARK);
	record[8] = (char)r->type;
	record[9] = (char)r->flags;
	put32(record + 12, (uint32_t)content_len);
	put64(record + 16, r->id.us);
	put32(record + 24, r->id.life);
	put32(record + 28, r->batch);
	check = head_check(record, place);
	record[10] = (char)check;
	record[11] = (char)(check >> 8);
	put32(record, crc32c(place, record + 4, RECORD_HEADER - 4 + content_len));
}

bool
record_read_at(
    struct view bytes, const struct segment_header *seg, size_t offset, struct record *out)
{
	const char *p = bytes.p;
	size_t len;
	uint32_t place;

	if (bytes.len < RECORD_HEADER || get32(p + 4) != RECORD_MARK ||
	    (len = get32(p + 12)) > bytes.len - RECORD_HEADER)
		return false;
	place = place_checksum(seg, offset);
	if (get32(p + 8) >> 16 != head_check(p, place) ||
	    get32(p) != crc32c(place, p + 4, RECORD_HEADER - 4 + len))
		return false;
	*out = (struct record){ .type = (enum record_type)(unsigned char)p[8],
		.flags = (unsigned char)p[9],
		.id = { get64(p + 16), get32(p + 24) },
		.offset = (uint32_t)offset,
		.batch = get32(p + 28),
		.content = view_make(p + RECORD_HEADER, len) };
	return true;
}

bool
record_read(struct view bytes, const struct segment_header *seg, size_t offset, struct record *out)
{
	if (offset >= bytes.len)
		return false;
	return record_read_at(view_make(bytes.p + offset, bytes.len - offset), seg, offset, out);
}

bool
record_search(
    struct view bytes, const struct segment_header *seg, size_t offset, struct record *out)
{
	offset = (offset + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
	for (; offset < bytes.len; offset += RECORD_ALIGN)
		if (record_read(bytes, seg, offset, out))
			return true;
	return false;
}

void
message_head_encode(const struct message_head *h, char out[MESSAGE_HEAD])
{
	memset(out, 0, MESSAGE_HEAD);
	out[0] = h->has_file ? 1 : 0;
	put32(out + 4, (uint32_t)h->envelope_len);
	put64(out + 8, h->headers_len);
	put64(out + 16, h->body_len);
	put64(out + 24, h->body_off);
}

static int
message_head_decode(const char *p, struct message_head *h)
{
	*h = (struct message_head){ .has_file = p[0] == 1,
		.envelope_len = get32(p + 4),
		.headers_len = get64(p + 8),
		.body_len = get64(p + 16),
		.body_off = get64(p + 24) };
	if ((p[0] != 0 && p[0] != 1) || h->body_off > h->body_len ||
	    (!h->has_file && h->body_off != 0))
		return -1;
	return 0;
}

int
message_record_decode(struct view content, struct message_head *head, struct view *envelope,
    struct view *headers, struct view *body, struct err *err)
{
	struct view rest;
	uint64_t inline_len;

	if (content.len < MESSAGE_HEAD || message_head_decode(content.p, head) < 0)
		return err_set(err, ERR_SYNTAX, "journal: malformed message record");
	rest = view_make(content.p + MESSAGE_HEAD, content.len - MESSAGE_HEAD);
	inline_len = head->has_file ? 0 : head->body_len;
	if (head->envelope_len > rest.len || head->headers_len > rest.len - head->envelope_len ||
	    inline_len != rest.len - head->envelope_len - head->headers_len)
		return err_set(
		    err, ERR_SYNTAX, "journal: the parts of a message do not fill its record");
	*envelope = view_make(rest.p, head->envelope_len);
	*headers = view_make(rest.p + head->envelope_len, head->headers_len);
	*body = view_make(headers->p + head->headers_len, inline_len);
	return 0;
}

int
outcomes_begin(struct buf *out, uint32_t count)
{
	char n[4];

	put32(n, count);
	return buf_append(out, n, sizeof n);
}

/* An enhanced status code as three numbers (RFC 3463 2); anything else is 0.0.0. */
static void
dsn_pack(const char *dsn, char out[8])
{
	unsigned a = 0, b = 0, c = 0;

	memset(out, 0, 8);
	if (sscanf(dsn, "%1u.%3u.%3u", &a, &b, &c) != 3)
		return;
	out[0] = (char)a;
	put32(out + 4, b << 16 | c);
}

enum { FLAG_RELAYED = 1, FLAG_REPEATED = 2 };

static char
flags_of(bool is_relayed, bool is_repeated)
{
	return (char)((is_relayed ? FLAG_RELAYED : 0) | (is_repeated ? FLAG_REPEATED : 0));
}

int
outcomes_put(struct buf *out, const struct outcome *o)
{
	char bytes[OUTCOME_BYTES], dsn[8];

	dsn_pack(o->dsn, dsn);
	put32(bytes, o->rcpt);
	bytes[4] = (char)o->status;
	bytes[5] = dsn[0];
	bytes[6] = flags_of(o->is_relayed, o->is_repeated);
	bytes[7] = 0;
	memcpy(bytes + 8, dsn + 4, 4);
	return buf_append(out, bytes, sizeof bytes);
}

void
outcomes_end(struct buf *out)
{
	put32(out->p, (uint32_t)((out->len - 4) / OUTCOME_BYTES));
}

int
outcomes_next(struct view content, size_t *at, struct outcome *o)
{
	uint32_t count;
	const char *p;

	if (content.len < 4 || (count = get32(content.p)) != (content.len - 4) / OUTCOME_BYTES ||
	    (content.len - 4) % OUTCOME_BYTES != 0)
		return -1;
	if (*at >= count)
		return 0;
	p = content.p + 4 + *at * OUTCOME_BYTES;
	++*at;
	*o = (struct outcome){ .rcpt = get32(p),
		.status = (enum rcpt_status)(unsigned char)p[4],
		.is_relayed = (p[6] & FLAG_RELAYED) != 0,
		.is_repeated = (p[6] & FLAG_REPEATED) != 0 };
	snprintf(o->dsn, sizeof o->dsn, "%u.%u.%u", (unsigned)(unsigned char)p[5] % 10,
	    (get32(p + 8) >> 16) % 1000, (get32(p + 8) & 0xffff) % 1000);
	return o->status >= RCPT_SENT && o->status <= RCPT_DELETED ? 1 : -1;
}

void
void_encode(uint64_t segment, uint64_t from, char out[VOID_BYTES])
{
	put64(out, segment);
	put64(out + 8, from);
}

int
void_decode(struct view content, uint64_t *segment, uint64_t *from)
{
	if (content.len != VOID_BYTES)
		return -1;
	*segment = get64(content.p);
	*from = get64(content.p + 8);
	return 0;
}

/* --- deferred files --------------------------------------------------------------------------------- */
void
deferred_summary_encode(const struct deferred_summary *s, char out[DEFERRED_SUMMARY])
{
	memset(out, 0, DEFERRED_SUMMARY);
	put32(out + 4, SUMMARY_MARK);
	put64(out + 8, s->seq);
	put64(out + 16, s->id.us);
	put32(out + 24, s->id.life);
	put32(out + 28, (uint32_t)s->state);
	put64(out + 32, (uint64_t)s->next_ms);
	put64(out + 40, (uint64_t)s->arrival_ms);
	put64(out + 48, s->size);
	put32(out + 56, s->nrcpts);
	put32(out + 60, s->left);
	put32(out + 64, s->attempts);
	put32(out + 68, s->is_expired);
	put64(out + 72, s->tenant);
	put32(out, crc32c(0, out + 4, DEFERRED_SUMMARY - 4));
}

static bool
summary_read(const char *p, struct deferred_summary *s)
{
	if (get32(p + 4) != SUMMARY_MARK || get32(p) != crc32c(0, p + 4, DEFERRED_SUMMARY - 4))
		return false;
	*s = (struct deferred_summary){ .seq = get64(p + 8),
		.id = { get64(p + 16), get32(p + 24) },
		.state = (enum deferred_state)get32(p + 28),
		.next_ms = (int64_t)get64(p + 32),
		.arrival_ms = (int64_t)get64(p + 40),
		.size = get64(p + 48),
		.nrcpts = get32(p + 56),
		.left = get32(p + 60),
		.attempts = get32(p + 64),
		.is_expired = get32(p + 68) != 0,
		.tenant = get64(p + 72) };
	return s->state == DEFERRED_WAITING || s->state == DEFERRED_HELD;
}

int
deferred_summary_decode(
    struct view bytes, struct deferred_summary *out, unsigned *copy, struct err *err)
{
	struct deferred_summary s;
	bool found = false;

	for (unsigned i = 0; i < 2 && bytes.len >= 2 * DEFERRED_SUMMARY; i++) {
		if (!summary_read(bytes.p + i * DEFERRED_SUMMARY, &s) ||
		    (found && s.seq < out->seq))
			continue;
		*out = s;
		*copy = i;
		found = true;
	}
	return found ? 0 : err_set(err, ERR_SYNTAX, "deferred file: no intact summary");
}

void
deferred_head_encode(const struct deferred_head *h, char out[DEFERRED_HEAD])
{
	memset(out, 0, DEFERRED_HEAD);
	memcpy(out, deferred_magic, sizeof deferred_magic);
	put32(out + 8, VERSION);
	put64(out + 16, h->id.us);
	put32(out + 24, h->id.life);
	put32(out + 28, h->nslots);
	message_head_encode(&h->message, out + 32);
	put32(out + 64, h->envelope_crc);
	put32(out + 68, h->content_crc);
	put32(out + DEFERRED_HEAD - 4, crc32c(0, out, DEFERRED_HEAD - 4));
}

int
deferred_head_decode(struct view bytes, struct deferred_head *out, struct err *err)
{
	const char *p = bytes.p;

	if (bytes.len < DEFERRED_HEAD || memcmp(p, deferred_magic, sizeof deferred_magic) != 0 ||
	    get32(p + DEFERRED_HEAD - 4) != crc32c(0, p, DEFERRED_HEAD - 4))
		return err_set(err, ERR_SYNTAX, "deferred file: no intact head");
	if (get32(p + 8) != VERSION)
		return err_set(err, ERR_SYNTAX, "deferred file: format version %u", get32(p + 8));
	*out = (struct deferred_head){ .id = { get64(p + 16), get32(p + 24) },
		.nslots = get32(p + 28),
		.envelope_crc = get32(p + 64),
		.content_crc = get32(p + 68) };
	if (message_head_decode(p + 32, &out->message) < 0)
		return err_set(err, ERR_SYNTAX, "deferred file: malformed head");
	return 0;
}

uint64_t
deferred_file_size(const struct deferred_head *h)
{
	return deferred_envelope_at(h) + h->message.envelope_len + h->message.headers_len +
	       (h->message.has_file ? 0 : h->message.body_len);
}

static uint32_t
slot_checksum(const char *slot, struct queue_id id, uint32_t index)
{
	char place[16];

	put64(place, id.us);
	put32(place + 8, id.life);
	put32(place + 12, index);
	return crc32c(crc32c(0, place, sizeof place), slot + 4, DEFERRED_SLOT - 4);
}

void
deferred_slot_encode(
    const struct deferred_slot *s, struct queue_id id, uint32_t index, char out[DEFERRED_SLOT])
{
	memset(out, 0, DEFERRED_SLOT);
	put32(out + 4, SLOT_MARK);
	put64(out + 8, s->seq);
	put32(out + 16, s->rcpt);
	out[20] = (char)s->status;
	out[21] = s->is_delay_told ? 1 : 0;
	out[22] = flags_of(s->is_relayed, s->is_repeated);
	put32(out + 24, s->attempts);
	put64(out + 32, (uint64_t)s->last_ms);
	snprintf(out + 40, sizeof s->dsn, "%s", s->dsn);
	snprintf(out + 52, DEFERRED_REASON, "%s", s->reason);
	put32(out, slot_checksum(out, id, index));
}

static bool
slot_read(const char *p, struct queue_id id, uint32_t index, struct deferred_slot *s)
{
	if (get32(p + 4) != SLOT_MARK || get32(p) != slot_checksum(p, id, index))
		return false;
	*s = (struct deferred_slot){ .seq = get64(p + 8),
		.rcpt = get32(p + 16),
		.status = (enum rcpt_status)(unsigned char)p[20],
		.is_delay_told = p[21] != 0,
		.is_relayed = (p[22] & FLAG_RELAYED) != 0,
		.is_repeated = (p[22] & FLAG_REPEATED) != 0,
		.attempts = get32(p + 24),
		.last_ms = (int64_t)get64(p + 32) };
	memcpy(s->dsn, p + 40, sizeof s->dsn - 1);
	memcpy(s->reason, p + 52, sizeof s->reason - 1);
	return s->status <= RCPT_DELETED;
}

int
deferred_slot_decode(struct view bytes, struct queue_id id, uint32_t index,
    struct deferred_slot *out, unsigned *copy, struct err *err)
{
	struct deferred_slot s;
	bool found = false;

	for (unsigned i = 0; i < 2 && bytes.len >= 2 * DEFERRED_SLOT; i++) {
		if (!slot_read(bytes.p + i * DEFERRED_SLOT, id, index, &s) ||
		    (found && s.seq < out->seq))
			continue;
		*out = s;
		*copy = i;
		found = true;
	}
	return found ? 0
		     : err_set(err, ERR_SYNTAX, "deferred file: recipient %u has no intact slot",
			   index);
}
