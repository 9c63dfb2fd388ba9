/* Completed addresses: nothing of the field is lost or moved, what was added are the domains and folds, and once is enough. */
#include "common/mime/address_complete.h"

#include <stdlib.h>

static const char origin[] = "@\1o", domain[] = ".\2d", fold[] = "\r\n\t";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The marks hold control characters, which no field that is changed has. */
static size_t
skip_added(const char *p, const char *end)
{
	if (end - p >= 3 && (memcmp(p, origin, 3) == 0 || memcmp(p, domain, 3) == 0))
		return 3;
	return 0;
}

static void
compare(struct view in, struct view out)
{
	const char *p = out.p, *end = out.p + out.len;
	size_t at = 0, n;

	while (p < end) {
		if ((n = skip_added(p, end)) > 0)
			p += n;
		else if (at < in.len && *p == in.p[at])
			p++, at++;
		else if (end - p >= 3 && memcmp(p, fold, 3) == 0 && at > 0 && in.p[at - 1] == ',')
			p += 3;
		else
			abort();
	}
	if (at != in.len)
		abort();
}

/* What is mapped is one address: no white space, comments or commas but in quotes. */
static const char *
check_address(void *arg, struct view address)
{
	const char *at = address.len > 0 ? memrchr(address.p, '@', address.len) : NULL;

	(void)arg;
	if (at == NULL || at == address.p || at + 1 == address.p + address.len ||
	    address.len > 320 || strchr(" \t\r\n,;<>(", address.p[0]) != NULL)
		abort();
	return address.len % 2 == 0 ? "mapped@a.test" : NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct address_completion marks = { .origin = view_of(origin + 1),
		.domain = view_of(domain + 1) };
	const struct address_completion plain = { .origin = VIEW_LIT("o.test"),
		.domain = VIEW_LIT("d.test") };
	const struct address_completion map = {
		.origin = VIEW_LIT("o.test"), .domain = VIEW_LIT("d.test"), .map = check_address
	};
	struct view in = view_make((const char *)data, size);
	struct buf out, again;
	int r;

	buf_init(&out, 16 * size + 64);
	buf_init(&again, 16 * size + 64);
	r = address_complete(in, &marks, &out);
	if (r < 0 || (r == 0 && out.len != 0))
		abort();
	if (r == 1)
		compare(in, buf_view(&out));
	buf_reset(&out);
	if (address_complete(in, &plain, &out) != r)
		abort();
	if (r == 1 && address_complete(buf_view(&out), &plain, &again) != 0)
		abort();
	buf_reset(&out);
	if (address_complete(in, &map, &out) < 0)
		abort();
	buf_clear(&out);
	buf_clear(&again);
	return 0;
}
