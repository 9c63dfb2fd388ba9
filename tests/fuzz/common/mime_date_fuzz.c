/* Dates: what was understood is printed and read back the same. */
#include "common/mime/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t utc, again;
	int zone, zone_again;
	char out[64];

	if (!date_parse(view_make(data, size), &utc, &zone))
		return 0;
	date_format(utc, zone, out, sizeof out);
	if (utc < INT64_C(-60000000000) || utc > INT64_C(253000000000))
		return 0; /* years of other than four digits are not printed */
	if (!date_parse(view_of(out), &again, &zone_again) || again != utc || zone_again != zone)
		abort();
	return 0;
}
