#include "common/base/err.h"
#include "common/store/store.h"
#include "common/store/subscription_file.h"

static void
take(void *arg, const char *name)
{
	struct buf out;

	(void)arg;
	if (!store_name_is_valid(name))
		bug("subscription is no mailbox name");
	buf_init(&out, 1 << 20);
	if (subscription_format_name(&out, name) < 0)
		bug("subscription cannot be written");
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0)
		subscription_file_parse(view_make(data + 1, size - 1), data[0] & 1, take, NULL);
	return 0;
}
