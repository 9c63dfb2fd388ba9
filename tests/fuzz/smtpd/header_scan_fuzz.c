#include "common/base/err.h"
#include "smtpd/header_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct header_scan a, b;
	struct view in = view_make(data, size), ia, ib;

	header_scan_init(&a);
	header_scan_feed(&a, in);
	header_scan_finish(&a);
	header_scan_init(&b);
	for (size_t i = 0; i < in.len; i++)
		header_scan_feed(&b, view_make(in.p + i, 1));
	header_scan_finish(&b);
	ia = header_scan_message_id(&a);
	ib = header_scan_message_id(&b);
	if (a.start != b.start || a.received != b.received || a.has_date != b.has_date ||
	    a.has_message_id != b.has_message_id || a.has_from != b.has_from ||
	    a.longest_field != b.longest_field || !view_eq(ia, ib))
		bug("differs when cut");
	if (memchr(ia.p, '\n', ia.len) != NULL)
		bug("line end in the Message-ID");
	return 0;
}
