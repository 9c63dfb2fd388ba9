/* Whatever decodes is canonical: it encodes to the same bytes; and whatever encodes decodes to what it was. */
#include "common/base/err.h"
#include "common/store/store.h"
#include "common/base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = view_make(data, size);
	struct buf one, two;

	buf_init(&one, 1 << 20);
	buf_init(&two, 1 << 20);
	if (mutf7_decode(in, &one) == 0) {
		if (!utf8_is_valid(buf_view(&one)))
			bug("decoded to no UTF-8");
		if (mutf7_encode(buf_view(&one), &two) < 0 || !view_eq(buf_view(&two), in))
			bug("not canonical");
	}
	buf_reset(&one);
	buf_reset(&two);
	if (mutf7_encode(in, &one) == 0 &&
	    (mutf7_decode(buf_view(&one), &two) < 0 || !view_eq(buf_view(&two), in)))
		bug("does not come back");
	buf_clear(&one);
	buf_clear(&two);
	return 0;
}
