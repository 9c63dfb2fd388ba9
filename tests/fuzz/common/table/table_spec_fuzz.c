/* Specifications of tables that need no file. */
#include "common/base/mem.h"
#include "common/table/table.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = x_strndup((const char *)data, size),
	     *specs = x_asprintf("inline:{%s}, static:%s", text, text);
	struct table_list *l;
	struct buf value;
	struct err e;

	/* no file of this machine is opened */
	if (strstr(text, "hash:") == NULL && strstr(text, "btree:") == NULL &&
	    table_list_open(specs, &l, &e) == 0) {
		buf_init(&value, 1 << 16);
		if (table_list_lookup(l, view_of(text), &value, &e) < 0 && e.kind == ERR_BUG)
			bug("%s", e.text);
		buf_clear(&value);
		table_list_close(l);
	}
	free(specs);
	free(text);
	return 0;
}
