/* The input is a value of aliases(5), an SRS address, and a text of aliases(5), as it stands. */
#include "authd/aliases.h"
#include "authd/srs.h"
#include "common/base/mem.h"
#include "common/table/table.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_list(struct view list)
{
	struct alias_item item;
	struct err e;
	int r;

	do {
		size_t before = list.len;

		r = alias_next(&list, &item, &e);
		if (r == 0 && (list.len >= before || item.text[0] == '\0'))
			bug("no progress, or nothing found");
		if (r == 1 && list.len != 0)
			bug("an end before the end");
	} while (r == 0);
}

/* What leads away leads back, and nothing else does. */
static void
check_srs(const char *text)
{
	static char secret[] = "a secret of ours";
	const struct srs s = { "ours.test", 21, { secret }, 1 };
	char there[ADDRESS_MAX + 1], back[ADDRESS_MAX + 1];
	struct address a, was;
	int64_t now = 1700000000;

	if (srs_reverse(&s, text, now, back) == 0 &&
	    address_parse(view_of(back), ADDRESS_ALLOW_UTF8, &a, NULL) < 0)
		bug("\"%s\" is no address", back);
	if (address_parse(view_of(text), ADDRESS_ALLOW_UTF8, &was, NULL) < 0 ||
	    srs_forward(&s, was.text, now, there) != 0)
		return;
	if (srs_reverse(&s, there, now, back) != 0)
		bug("\"%s\" finds no way back from \"%s\"", was.text, there);
	if (!view_case_starts(view_of(was.text), "SRS1") &&
	    !view_case_eq_str(view_of(was.text), back))
		bug("\"%s\" comes back as \"%s\"", was.text, back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = view_make((const char *)data, size < 8192 ? size : 8192);
	struct buf key, value;
	char *copy = x_strndup(text.p, text.len), *aliases = x_malloc(text.len + 1);
	struct view rest = view_make(aliases, text.len);
	int line = 0;
	struct err e;

	memcpy(aliases, text.p, text.len);
	check_list(text);
	check_srs(copy);
	table_aliases_to_map(aliases, text.len, "x", NULL, NULL);
	buf_init(&key, 256);
	buf_init(&value, 1024);
	while (table_text_next(&rest, &line, &key, &value, &e) != 1)
		;
	buf_clear(&key);
	buf_clear(&value);
	free(copy);
	free(aliases);
	return 0;
}
