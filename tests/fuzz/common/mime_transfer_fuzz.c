/* Transfer encodings and line ends. */
#include "common/mime/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = view_make(data, size);
	struct buf out, back;

	buf_init(&out, size * 2 + 4);
	buf_init(&back, size * 2 + 4);
	if (transfer_decode("base64", in, &out) < 0 ||
	    transfer_decode("quoted-printable", in, &out) < 0)
		abort();
	buf_reset(&out);
	if (crlf_append(in, &out) < 0 || out.len != crlf_size(in))
		abort();
	if (lf_append(buf_view(&out), &back) < 0 || back.len > size)
		abort();
	buf_clear(&out);
	buf_clear(&back);
	return 0;
}
