/* Specifications of tables: any is refused or taken; those that name no file are asked, too. */
#include "common/base/mem.h"
#include "common/table/table.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
ask(const char *specs, const char *key)
{
	struct table_list *l;
	struct buf value;
	struct err e;

	if (table_list_open(specs, &l, &e) < 0)
		return;
	buf_init(&value, 1 << 16);
	if (table_list_lookup(l, (struct lookup_key){ view_of(key), false }, &value, &e) < 0 &&
	    e.kind == ERR_BUG)
		bug("%s", e.text);
	buf_clear(&value);
	table_list_close(l);
}

static void
on_file(void *arg, const char *path)
{
	*(unsigned *)arg += path[0] != '\0';
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = x_strndup((const char *)data, size),
	     *specs = x_asprintf("inline:{%s}, static:%s", text, text);
	unsigned files = 0;
	struct err e;

	/* no file of this machine is opened; and regexp: is as greedy as its patterns */
	if (strstr(text, "regexp:") == NULL) {
		if (table_list_files(text, on_file, &files, &e) == 0 && files == 0)
			ask(text, "a");
		if (table_list_files(specs, on_file, &files, &e) == 0 && files == 0)
			ask(specs, text);
	}
	free(specs);
	free(text);
	return 0;
}
