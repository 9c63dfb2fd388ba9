/* sendmail's input: line ends are those of the wire, recipients hold nothing that could break a line. */
#include "tools/submission.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct submission_options o = { .recipients_from_headers = true,
		.drop_headers = "bcc, resent-bcc",
		.origin = "o.test",
		.sender = "s@o.test",
		.full_name = "",
		.message_id = "i@o.test" };
	struct submission s;
	struct err err;

	o.ignore_dots = size > 0 && (data[0] & 1) != 0;
	submission_init(&s, size * 2 + 4096);
	if (submission_build(&s, view_make(data, size), &o, &err) == 0) {
		for (size_t i = 0; i < s.message.len; i++)
			if (s.message.p[i] == '\n' && (i == 0 || s.message.p[i - 1] != '\r'))
				abort();
		for (size_t i = 0; i < s.recipients.len; i++)
			if (s.recipients.p[i] == '\n' || s.recipients.p[i] == '\r')
				abort();
		if ((s.nrecipients > 0) != (s.recipients.len > 0))
			abort();
	}
	submission_clear(&s);
	return 0;
}
