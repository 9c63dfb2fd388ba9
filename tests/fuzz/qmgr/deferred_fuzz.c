/* Any bytes as the parts of a deferred file, and as queue ids. */
#include "common/base/err.h"
#include "qmgr/bounce.h"
#include "qmgr/queue_file.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view v = view_make(data, size);
	struct queue_id id = { 1, 1 };
	struct deferred_summary summary;
	struct deferred_head head;
	struct deferred_slot slot;
	char text[QUEUE_ID_TEXT], xtext[256];
	struct buf b;
	unsigned copy;

	deferred_summary_decode(v, &summary, &copy, NULL);
	if (deferred_head_decode(v, &head, NULL) == 0)
		deferred_file_size(&head);
	if (deferred_slot_decode(v, id, 0, &slot, &copy, NULL) == 0 &&
	    (strnlen(slot.reason, sizeof slot.reason) == sizeof slot.reason ||
		slot.status > RCPT_DELETED))
		bug("a slot that is none");
	if (queue_id_parse(v, &id)) {
		queue_id_format(id, text);
		if (!view_eq_str(v, text))
			bug("two texts of one id");
	}
	buf_init(&b, 1024);
	snprintf(xtext, sizeof xtext, "%.*s", (int)(size < 255 ? size : 255), (const char *)data);
	bounce_xtext_decode(xtext, &b);
	for (size_t i = 0; i < b.len; i++)
		if (b.p[i] == '\r' || b.p[i] == '\n' || b.p[i] == '\0')
			bug("line end out of xtext");
	buf_clear(&b);
	return 0;
}
