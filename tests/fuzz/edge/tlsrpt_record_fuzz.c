#include "common/proto/address.h"
#include "edge/tlsrpt_report.h"

/* Whatever is taken is a list of addresses that may be written into a header. */
static void
check_list(struct view list)
{
	struct address a;
	struct view one;
	struct err err;

	while (view_token(&list, "\n", &one))
		if (address_parse(one, 0, &a, &err) < 0)
			bug("%.*s: %s", VIEW_ARG(one), err.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf addresses;

	buf_init(&addresses, TLSRPT_RUA_BYTES);
	if (tlsrpt_record_read(view_make(data, size), &addresses))
		check_list(buf_view(&addresses));
	buf_clear(&addresses);
	return 0;
}
