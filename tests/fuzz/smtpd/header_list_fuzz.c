#include "smtpd/header_list.h"

/* What was not changed comes out byte for byte; what was changed is a header section again, with the change in it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
change(struct header_list *l, const uint8_t *data, size_t size)
{
	struct view text = view_make(data, size < 200 ? size : 200);
	size_t at = size > 0 ? data[0] : 0, body, count;
	struct header_list again;
	struct buf out;
	struct err err;

	if (l->count > 0 && at % 3 == 0)
		header_list_remove(l, at % l->count);
	else if (l->count > 0 && at % 3 == 1)
		header_list_replace(l, at % l->count, VIEW_LIT("X-New"), text, &err);
	if (header_list_insert(l, at, VIEW_LIT("X-Test"), text, &err) < 0)
		return;
	if (header_list_find(l, VIEW_LIT("x-test"), 1) == l->count)
		bug("inserted field not found");
	buf_init(&out, 4UL * HEADER_LIST_MAX_BYTES);
	count = l->count;
	header_list_init(&again);
	if (header_list_write(l, &out) < 0 ||
	    header_list_parse(&again, buf_view(&out), &body, &err) < 0 || body != out.len ||
	    again.count != count)
		bug("changed section is broken");
	header_list_clear(&again);
	buf_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = view_make(data, size);
	struct header_list l;
	struct buf out;
	struct err err;
	size_t body;

	header_list_init(&l);
	buf_init(&out, size + 2);
	if (header_list_parse(&l, in, &body, &err) == 0) {
		if (header_list_write(&l, &out) < 0 || out.len != body ||
		    (body > 0 && memcmp(out.p, data, body) != 0))
			bug("round trip");
		change(&l, data, size);
	} else if (body != 0 || l.count != 0) {
		bug("failed and yet something");
	}
	buf_clear(&out);
	header_list_clear(&l);
	return 0;
}
