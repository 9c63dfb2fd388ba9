#include "common/net/stream.h"

/* One pass, byte by byte, so that the verdict depends only on the bytes and never on how they were cut
 * into reads: the first byte that breaks a rule decides. */
static int
line_scan(
    struct view input, size_t max, bool is_strict, struct view *line, size_t *used, struct err *err)
{
	for (size_t i = 0; i < input.len; i++) {
		char c = input.p[i];

		if (c == '\r') {
			if (i + 1 == input.len)
				return 1;
			if (input.p[i + 1] != '\n')
				return err_set(err, ERR_SYNTAX, "bare CR");
			*line = (struct view){ input.p, i };
			*used = i + 2;
			return 0;
		}
		if (c == '\n' && is_strict)
			return err_set(err, ERR_SYNTAX, "bare LF");
		if (c == '\n') {
			*line = (struct view){ input.p, i };
			*used = i + 1;
			return 0;
		}
		if (c == '\0')
			return err_set(err, ERR_SYNTAX, "NUL");
		if (i >= max)
			return err_set(err, ERR_LIMIT, "line longer than %zu bytes", max);
	}
	return 1;
}

int
line_cut_strict(struct view input, size_t max, struct view *line, size_t *used, struct err *err)
{
	return line_scan(input, max, true, line, used, err);
}

int
line_cut(struct view input, size_t max, struct view *line, size_t *used, struct err *err)
{
	return line_scan(input, max, false, line, used, err);
}
