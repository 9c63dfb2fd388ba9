#include "common/base/err.h"
#include "common/store/uidlist.h"

struct seen {
	uint32_t last;
	struct view text;
};

static void
take(void *arg, const struct uidlist_record *r)
{
	struct seen *s = arg;
	struct view value;
	const char *end = s->text.p + s->text.len;

	if (r->uid <= s->last || r->base.len == 0 || r->base.len > 255 || r->base.p < s->text.p ||
	    r->base.p + r->base.len > end)
		bug("uidlist record out of order or bounds");
	s->last = r->uid;
	uidlist_field(r->fields, 'G', &value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen s = { .text = view_make(data, size) };
	struct uidlist_header h;
	struct buf others;
	struct err err;
	size_t faults;

	if (uidlist_parse(s.text, &h, take, &s, &faults, &err) == 0) {
		buf_init(&others, 1 << 20);
		uidlist_other_fields(h.line, &others);
		buf_clear(&others);
	}
	return 0;
}
