/* maildirsize: what is understood has limits that are none or positive. */
#include "delivery/box_quota.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct box_quota q;

	if (box_quota_parse(view_make(data, size), &q) && (q.limit_bytes < 0 || q.limit_count < 0))
		abort();
	box_quota_has_room(&q, size);
	return 0;
}
