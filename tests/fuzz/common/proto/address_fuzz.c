#include "common/base/err.h"
#include "common/base/utf8.h"
#include "common/proto/address.h"

/* CVE-2020-7247's class: an address is refused, or it holds nothing but what may stand in one, and reads the same
 * a second time. */
static void
check_address(const struct address *a, unsigned options)
{
	size_t len = strlen(a->text);
	struct address again;
	struct err err;
	char plain[ADDRESS_MAX + 1];

	if (len > ADDRESS_MAX || a->local_len > ADDRESS_LOCAL_MAX + 1)
		bug("too long");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)a->text[i];

		if (c < ' ' || c == 127 || (c >= 128 && !(options & ADDRESS_ALLOW_UTF8)))
			bug("byte %u let through", c);
	}
	if (len == 0)
		return;
	if (address_parse(view_make(a->text, len), options, &again, &err) < 0)
		bug("refused the second time: %s", err.text);
	if (strcmp(again.text, a->text) != 0 || again.local_len != a->local_len)
		bug("not stable: %s, %s", a->text, again.text);
	if (address_local_plain(a, plain, sizeof plain) <= 0)
		bug("no local part");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = view_make(data + (size > 0), size > 0 ? size - 1 : 0);
	unsigned options = size > 0 ? data[0] & 15 : 0;
	struct address a;
	struct err err;
	size_t used;

	if (address_parse_path(in, options, &a, &used, &err) == 0)
		check_address(&a, options);
	if (used > in.len)
		bug("used %zu of %zu", used, in.len);
	if (address_parse(in, options, &a, &err) == 0)
		check_address(&a, options);
	hostname_is_valid(in, options & 1);
	address_literal_is_valid(in);
	utf8_is_valid(in);
	return 0;
}
