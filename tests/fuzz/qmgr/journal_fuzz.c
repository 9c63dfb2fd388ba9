/* Any bytes as a journal segment.  Checksums would keep a fuzzer out, so the input is cut into records that
 * are sealed here: 2 bytes of length, then type, flags and content; between them, raw bytes. */
#include "common/base/err.h"
#include "common/ipc/envelope.h"
#include "qmgr/queue_file.h"

#include <stdlib.h>

enum { SEGMENT = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
use_record(const struct record *r)
{
	struct message_head head;
	struct view envelope, headers, body;
	struct envelope e;
	struct arena arena;
	struct outcome o;
	uint64_t number, from;
	size_t at = 0;

	if (message_record_decode(r->content, &head, &envelope, &headers, &body, NULL) == 0) {
		arena_init(&arena, 1 << 20);
		envelope_decode(envelope, &arena, &e, NULL);
		arena_clear(&arena);
	}
	while (outcomes_next(r->content, &at, &o) > 0)
		if (o.status < RCPT_SENT || o.status > RCPT_DELETED)
			bug("outcome of no kind");
	void_decode(r->content, &number, &from);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct segment_header seg = { .number = 3, .salt = 4, .size = SEGMENT };
	struct segment_header h;
	char *bytes = calloc(1, SEGMENT);
	size_t off = SEGMENT_RECORDS_AT, at = 0, seen = 0, sealed = 0;
	struct record r;

	if (bytes == NULL)
		return 0;
	segment_header_decode(view_make(data, size), &h, NULL);
	while (at + 4 <= size) {
		size_t len = (size_t)data[at] | (size_t)(data[at + 1] & 15) << 8;
		bool is_raw = (data[at + 1] & 128) != 0;

		if (len > size - at - 4)
			len = size - at - 4;
		if (record_size(len) > SEGMENT - off)
			break;
		r = (struct record){
			.type = data[at + 2], .flags = data[at + 3], .offset = (uint32_t)off
		};
		memcpy(bytes + off + (is_raw ? 0 : RECORD_HEADER), data + at + 4, len);
		if (!is_raw)
			record_seal(bytes + off, &seg, &r, len);
		sealed += !is_raw;
		off += record_size(len);
		at += 4 + len;
	}
	for (size_t from = SEGMENT_RECORDS_AT;
	     record_search(view_make(bytes, SEGMENT), &seg, from, &r);
	     from = r.offset + record_size(r.content.len)) {
		use_record(&r);
		seen++;
	}
	if (seen != sealed)
		bug("%zu records written, %zu found", sealed, seen);
	free(bytes);
	return 0;
}
