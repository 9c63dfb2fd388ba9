#include "common/base/err.h"
#include "smtpd/header_drop.h"

/* What is left out does not depend on the cut, nothing is added, and nothing of ours is left. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct view names[] = { { "Bcc", 3 }, { "return-path", 11 } };
	const struct header_drop fresh = { .names = names, .nnames = 2, .authserv_id = "m.test" };
	struct header_drop whole = fresh, cut = fresh, again = fresh;
	struct view in = view_make(data, size);
	struct buf a, b, c;

	buf_init(&a, size + HEADER_DROP_HELD);
	buf_init(&b, size + HEADER_DROP_HELD);
	buf_init(&c, size + HEADER_DROP_HELD);
	header_drop_feed(&whole, in, &a);
	header_drop_end(&whole, &a);
	for (size_t i = 0; i < in.len; i++)
		header_drop_feed(&cut, view_make(in.p + i, 1), &b);
	header_drop_end(&cut, &b);
	header_drop_feed(&again, buf_view(&a), &c);
	header_drop_end(&again, &c);
	if (!view_eq(buf_view(&a), buf_view(&b)) || whole.dropped != cut.dropped)
		bug("differs when cut");
	if (a.len + whole.dropped != size || a.failed)
		bug("length");
	if (again.dropped != 0)
		bug("something was left");
	buf_clear(&a);
	buf_clear(&b);
	buf_clear(&c);
	return 0;
}
