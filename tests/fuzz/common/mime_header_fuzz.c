/* Header fields: every byte of the block belongs to one field or to none, in order. */
#include "common/mime/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view msg = view_make(data, size), rest = msg;
	size_t block = header_block_length(msg);
	const char *last = msg.p;
	struct header_field f;
	struct buf out;

	if (block > size)
		abort();
	while (header_next(&rest, &f)) {
		if (f.raw.p < last || f.raw.p + f.raw.len > msg.p + block || f.name.len == 0)
			abort();
		last = f.raw.p + f.raw.len;
		buf_init(&out, f.value.len);
		if (header_unfold(f.value, &out) < 0)
			abort();
		if (out.len > 0 && memchr(out.p, '\n', out.len) != NULL)
			abort();
		buf_clear(&out);
	}
	if ((size_t)(rest.p - msg.p) != block && rest.len != 0)
		abort();
	return 0;
}
