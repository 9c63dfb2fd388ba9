/* unionmap:{type:a, type:b} - what all of them have, with commas between; pipemap:{type:a, type:b} - what the first gives
 * is looked up in the next (postconf(5), DATABASE_README). */
#include "common/table/table.h"
#include "common/table/table_driver.h"

static int
union_lookup(
    struct table *const *parts, size_t count, struct view key, struct buf *value, struct err *err)
{
	size_t start = value->len, before = start;
	bool is_found = false;

	for (size_t i = 0; i < count; i++) {
		int r;

		if (is_found && buf_append_byte(value, ',') < 0)
			return err_set(err, ERR_LIMIT, "value too long");
		r = table_lookup(parts[i], key, value, err);
		if (r < 0)
			return -1;
		if (r == 1)
			value->len = before;
		is_found |= r == 0;
		before = value->len;
	}
	return is_found ? 0 : 1;
}

static int
pipe_lookup(
    struct table *const *parts, size_t count, struct view key, struct buf *value, struct err *err)
{
	struct buf from, to;
	int r;

	buf_init(&from, TABLE_VALUE_MAX);
	buf_init(&to, TABLE_VALUE_MAX);
	r = buf_append_view(&to, key) < 0 ? err_set(err, ERR_LIMIT, "key too long") : 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		struct buf swap = from;

		from = to;
		to = swap;
		buf_reset(&to);
		r = table_lookup(parts[i], buf_view(&from), &to, err);
	}
	if (r == 0 && buf_append_view(value, buf_view(&to)) < 0)
		r = err_set(err, ERR_LIMIT, "value too long");
	buf_clear(&from);
	buf_clear(&to);
	return r;
}

const struct table_driver table_unionmap = {
	.type = "unionmap",
	.text =
	    "What several tables have for the key, with commas between: `unionmap:{type:a, type:b}`.",
	.combine = union_lookup,
};

const struct table_driver table_pipemap = {
	.type = "pipemap",
	.text = "What the first gives is looked up in the next: `pipemap:{type:a, type:b}`.",
	.combine = pipe_lookup,
};
