/* RDATA as dnsd hands it on: whatever a reader accepts holds only bytes that are safe in logs and headers. */
#include "common/net/dns.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_name(const char *name)
{
	if (strlen(name) >= DNS_NAME_MAX)
		abort();
	for (; *name != '\0'; name++)
		if (!ascii_is_alnum(*name) && strchr(".-_/", *name) == NULL)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view rdata = view_make(data, size);
	struct sockaddr_storage addr;
	char name[DNS_NAME_MAX];
	unsigned preference;
	struct buf txt;

	if (dns_rdata_name(rdata, name))
		check_name(name);
	if (dns_rdata_mx(rdata, &preference, name))
		check_name(name);
	if (dns_rdata_addr(rdata, &addr)) {
		dns_reverse_name(&addr, name);
		check_name(name);
	}
	buf_init(&txt, 1000);
	if (dns_rdata_txt(rdata, &txt) == 0 && txt.len >= size)
		abort();
	buf_clear(&txt);
	return 0;
}
