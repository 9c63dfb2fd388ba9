/* inline:{ {key = value}, {key = value} } or inline:{ key=value, key=value } - a table written
 * in main.cf. */
#include "common/table/table_driver.h"
#include "common/base/map.h"
#include "common/base/mem.h"

#include <stdlib.h>

static void
inline_close(void *state)
{
	struct map *m = state;
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(m, &w)) != NULL)
		free(e->value);
	map_clear(m);
	free(m);
}

bool
table_items_of(const char *name, struct view *items)
{
	struct view v = table_text_trim(view_of(name));

	if (v.len < 2 || v.p[0] != '{' || v.p[v.len - 1] != '}')
		return false;
	*items = (struct view){ v.p + 1, v.len - 2 };
	return true;
}

int
table_item_next(struct view *rest, struct view *item)
{
	size_t depth = 0, i;

	while (rest->len > 0 && strchr(" \t\r\n,", rest->p[0]) != NULL && rest->p[0] != '\0')
		rest->p++, rest->len--;
	if (rest->len == 0)
		return 1;
	for (i = 0; i < rest->len; i++) {
		char c = rest->p[i];

		if (c == '{')
			depth++;
		else if (c == '}' && depth-- == 0)
			return -1;
		else if (depth == 0 &&
			 (c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r'))
			break;
	}
	if (depth != 0)
		return -1;
	*item = (struct view){ rest->p, i };
	rest->p += i, rest->len -= i;
	if (item->p[0] == '{')
		*item = item->p[item->len - 1] == '}'
			    ? view_trim((struct view){ item->p + 1, item->len - 2 })
			    : VIEW_LIT("");
	return 0;
}

static int
inline_put(struct map *m, struct view item)
{
	char key[TABLE_KEY_MAX];
	struct view k, v;

	if (!view_cut(item, '=', &k, &v))
		return -1;
	k = view_trim(k);
	v = view_trim(v);
	if (k.len == 0 || k.len > sizeof key || v.len == 0)
		return -1;
	memcpy(key, k.p, k.len);
	table_fold(key, k.len);
	if (map_get(m, view_make(key, k.len)) != NULL)
		return -1;
	map_put(m, view_make(key, k.len), x_strndup(v.p, v.len));
	return 0;
}

static int
inline_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	struct view rest, item;
	struct map *m;
	int r = -1;

	(void)file;
	if (!table_items_of(name, &rest))
		return err_set(err, ERR_SYNTAX, "inline:%s: expected { {key = value}, ... }", name);
	m = x_calloc(1, sizeof *m);
	map_init(m);
	while ((r = table_item_next(&rest, &item)) == 0)
		if (inline_put(m, item) < 0) {
			r = -1;
			break;
		}
	if (r == 1) {
		*state = m;
		return 0;
	}
	inline_close(m);
	return err_set(
	    err, ERR_SYNTAX, "inline:%s: expected { {key = value}, ... }, no key twice", name);
}

static int
inline_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	const char *v = map_get(state, key);

	if (v == NULL)
		return 1;
	if (buf_append_str(value, v) < 0)
		return err_set(err, ERR_LIMIT, "value too long");
	return 0;
}

const struct table_driver table_inline = {
	.type = "inline",
	.text = "The pairs stand in the parameter: `inline:{ {key=value}, {key=value} }`.",
	.is_resident = true,
	.open = inline_open,
	.close = inline_close,
	.lookup = inline_lookup,
};
