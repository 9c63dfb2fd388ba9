/* texthash:FILE - the text that `map build` reads, held in memory. */
#include "common/table/table_driver.h"
#include "common/base/map.h"
#include "common/base/mem.h"

#include <stdlib.h>

struct texthash {
	struct map map; /* key -> owned struct entry */
};
struct entry {
	size_t len;
	char value[];
};

static void
texthash_close(void *state)
{
	struct texthash *t = state;
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&t->map, &w)) != NULL)
		free(e->value);
	map_clear(&t->map);
	free(t);
}

/* The first record of a key counts, as in a map that was built. */
static int
texthash_load(struct texthash *t, const char *path, struct view text, struct err *err)
{
	struct buf key, value;
	int line = 0, r = 0;

	buf_init(&key, TABLE_KEY_MAX);
	buf_init(&value, TABLE_VALUE_MAX);
	while (table_text_record(&text, &line, path, &key, &value, NULL, NULL) == 0) {
		struct entry *e;

		if (map_get(&t->map, buf_view(&key)) != NULL)
			continue;
		e = malloc(sizeof *e + value.len);
		if (e == NULL) {
			r = err_set(err, ERR_TEMP, "%s: no memory", path);
			break;
		}
		e->len = value.len;
		memcpy(e->value, value.p, value.len);
		map_put(&t->map, buf_view(&key), e);
	}
	buf_clear(&key);
	buf_clear(&value);
	return r;
}

static int
texthash_open(const char *name, const struct table_file *file, void **state, struct err *err)
{
	struct texthash *t = x_calloc(1, sizeof *t);
	struct buf text;
	int r;

	(void)name;
	map_init(&t->map);
	buf_init(&text, TABLE_TEXT_MAX);
	r = table_read_file(file, &text, NULL, err);
	if (r == 0)
		r = texthash_load(t, file->path, buf_view(&text), err);
	buf_clear(&text);
	if (r < 0)
		texthash_close(t);
	else
		*state = t;
	return r;
}

static int
texthash_lookup(void *state, struct view key, struct buf *value, struct err *err)
{
	const struct texthash *t = state;
	const struct entry *e = map_get(&t->map, key);

	if (e == NULL)
		return 1;
	if (buf_append(value, e->value, e->len) < 0)
		return err_set(err, ERR_LIMIT, "value too long");
	return 0;
}

const struct table_driver table_texthash = {
	.type = "texthash",
	.text =
	    "The text FILE itself, read when a service starts and when it has changed; nothing to build.",
	.suffix = "",
	.is_resident = true,
	.open = texthash_open,
	.close = texthash_close,
	.lookup = texthash_lookup,
};
