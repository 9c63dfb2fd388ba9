/* maildirsize: what is understood has limits that are none or positive. */
#include "common/store/maildirsize.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct maildirsize q;

	if (maildirsize_parse(view_make(data, size), &q) &&
	    (q.limit_bytes < 0 || q.limit_count < 0))
		abort();
	maildirsize_has_room(&q, size);
	return 0;
}
