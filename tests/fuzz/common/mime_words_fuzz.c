/* Encoded words and charsets: the result is always UTF-8 without line ends and NULs that were not there. */
#include "common/mime/charset.h"
#include "common/base/utf8.h"
#include "common/mime/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out, again;

	buf_init(&out, size * 8 + 64);
	buf_init(&again, size * 8 + 64);
	if (encoded_words_decode(view_make(data, size), &out) < 0)
		abort();
	if (memchr(data, '\n', size) == NULL && out.len > 0 && memchr(out.p, '\n', out.len) != NULL)
		abort();
	if (utf8_append_valid(buf_view(&out), &again) < 0 ||
	    !view_eq(buf_view(&out), buf_view(&again)))
		abort();
	buf_clear(&out);
	buf_clear(&again);
	return 0;
}
