#include "smtpd/proxy_header.h"
#include "common/base/err.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header h;
	struct err err;
	size_t used;
	int r = proxy_header_parse(view_make(data, size), &used, &h, &err);

	if (r == 0 && (used == 0 || used > size || used > PROXY_HEADER_MAX))
		abort();
	if (r == 0 && h.has_addresses &&
	    ((h.client.ss_family != AF_INET && h.client.ss_family != AF_INET6) ||
		(h.server.ss_family != AF_INET && h.server.ss_family != AF_INET6)))
		abort();
	/* what was asked for more stays possible only up to the limit */
	if (r == 1 && size >= PROXY_HEADER_MAX)
		abort();
	return 0;
}
