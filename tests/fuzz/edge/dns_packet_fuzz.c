/* Answers as libunbound hands them over; the first byte chooses the type that was asked for. */
#include "edge/dns_packet.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned types[] = { DNS_A, DNS_NS, DNS_CNAME, DNS_SOA, DNS_PTR, DNS_MX,
		DNS_TXT, DNS_AAAA, DNS_TLSA };
	struct dns_packet p;
	unsigned type;

	if (size == 0)
		return 0;
	type = types[data[0] % (sizeof types / sizeof types[0])];
	dns_packet_init(&p);
	if (dns_packet_parse(&p, view_make(data + 1, size - 1), type, NULL) == 0) {
		size_t total = 0;

		if (p.count > DNS_MAX_RECORDS || (p.status == DNS_OK) != (p.count > 0))
			abort();
		for (size_t i = 0; i < p.count; i++)
			total += dns_packet_rdata(&p, i).len;
		if (total > DNS_PACKET_RDATA_MAX)
			abort();
		for (const char *c = p.canonical; *c != '\0'; c++)
			if (*c <= ' ' || *c > '~')
				abort();
	}
	dns_packet_clear(&p);
	return 0;
}
