/* static:VALUE or static:{ value with spaces } - every key has this value. */
#include "common/table/table_driver.h"
#include "common/base/mem.h"

#include <stdlib.h>

static int
static_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	struct view v = view_trim(view_of(name));

	(void)file;
	if (v.len >= 2 && v.p[0] == '{' && v.p[v.len - 1] == '}')
		v = view_trim((struct view){ v.p + 1, v.len - 2 });
	if (v.len == 0)
		return err_set(err, ERR_SYNTAX, "static: without a value");
	*state = x_strndup(v.p, v.len);
	return 0;
}

static int
static_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	(void)key;
	if (buf_append_str(value, state) < 0)
		return err_set(err, ERR_LIMIT, "value too long");
	return 0;
}

const struct table_driver table_static = {
	.type = "static",
	.text = "The same VALUE for every key: `static:VALUE`.",
	.open = static_open,
	.close = free,
	.lookup = static_lookup,
};
