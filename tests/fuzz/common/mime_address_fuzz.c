/* Address lists: groups are balanced, strings are there. */
#include "common/mime/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mail_address *list;
	struct arena a;
	size_t n, max = size > 0 ? data[0] : 0;
	int open = 0;

	arena_init(&a, 16 << 20);
	list = address_list_parse(view_make(data, size), &a, max, &n);
	if (list == NULL || n > max)
		abort();
	for (size_t i = 0; i < n; i++) {
		open += list[i].kind == MAIL_GROUP_START;
		open -= list[i].kind == MAIL_GROUP_END;
		if (open < 0 || open > 1)
			abort();
		if (list[i].kind == MAIL_ADDRESS &&
		    (list[i].local == NULL || list[i].domain == NULL))
			abort();
	}
	if (open != 0)
		abort();
	arena_clear(&a);
	return 0;
}
