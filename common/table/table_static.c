/* Tables that do not look at the key: static:VALUE or static:{ value with spaces } - every key has this value;
 * randmap:{ a, b } - one of them; fail:TEXT - none can be looked up. */
#include "common/table/table_driver.h"
#include "common/base/mem.h"
#include "common/base/random.h"

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
	.is_resident = true,
	.open = static_open,
	.close = free,
	.lookup = static_lookup,
};

struct choice {
	char *text;   /* owned */
	size_t count; /* of items */
};

static void
rand_close(void *state)
{
	struct choice *c = state;

	free(c->text);
	free(c);
}

static int
rand_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	struct view items, item;
	struct choice *c;
	size_t count = 0;
	int r = -1;

	(void)file;
	for (bool ok = table_items_of(name, &items);
	     ok && (r = table_item_next(&items, &item)) == 0 && item.len > 0;)
		count++;
	if (r != 1 || count == 0)
		return err_set(err, ERR_SYNTAX, "randmap:%s: expected {value, value}", name);
	c = x_malloc(sizeof *c);
	*c = (struct choice){ x_strdup(name), count };
	*state = c;
	return 0;
}

static int
rand_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	const struct choice *c = state;
	uint32_t n = random_below((uint32_t)c->count);
	struct view items, item = { 0 };

	(void)key;
	table_items_of(c->text, &items);
	do
		table_item_next(&items, &item);
	while (n-- > 0);
	if (buf_append_view(value, item) < 0)
		return err_set(err, ERR_LIMIT, "value too long");
	return 0;
}

const struct table_driver table_randmap = {
	.type = "randmap",
	.text = "One of these values, whatever the key: `randmap:{value, value}`.",
	.is_resident = true,
	.open = rand_open,
	.close = rand_close,
	.lookup = rand_lookup,
};

static int
fail_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	(void)file, (void)err;
	*state = x_strdup(name);
	return 0;
}

static int
fail_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	(void)state, (void)key, (void)value;
	return err_set(err, ERR_TEMP, "fails always");
}

const struct table_driver table_fail = {
	.type = "fail",
	.text = "No lookup succeeds, so mail waits: `fail:TEXT`, for tests.",
	.is_resident = true,
	.open = fail_open,
	.close = free,
	.lookup = fail_lookup,
};
