/* The line cutters: the verdict on a prefix of the input is either "more" or that on the whole. */
#include "common/net/stream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int cut_fn(struct view, size_t, struct view *, size_t *, struct err *);

static void
check(cut_fn *cut, const uint8_t *data, size_t size, size_t max)
{
	struct err whole_err = { 0 };
	struct view line = { 0 };
	size_t used = 0;
	int whole = cut(view_make(data, size), max, &line, &used, &whole_err);

	if (whole == 0 &&
	    (line.len > max || used > size || used <= line.len || line.p != (const char *)data))
		abort();
	if (whole == 1 && size > max + 1)
		abort();
	for (size_t n = 0; n < size; n++) {
		struct err part_err = { 0 };
		struct view part = { 0 };
		size_t part_used = 0;
		/* the copy ends where the prefix ends, so that a read past it is seen */
		uint8_t *copy = malloc(n + 1);
		int r;

		for (size_t i = 0; i < n; i++)
			copy[i] = data[i];
		r = cut(view_make(copy, n), max, &part, &part_used, &part_err);
		if (r != 1 && (r != whole || part_used != used || part.len != line.len ||
				  part_err.kind != whole_err.kind))
			abort();
		free(copy);
		if (r != 1)
			break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t max;

	if (size < 1 || size > 4096)
		return 0;
	max = data[0];
	check(line_cut_strict, data + 1, size - 1, max);
	check(line_cut, data + 1, size - 1, max);
	return 0;
}
