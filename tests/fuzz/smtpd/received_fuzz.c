#include "common/base/err.h"
#include "common/base/mem.h"
#include "smtpd/received.h"

#include <stdlib.h>

/* Three foreign words, separated by bytes of value 0: whatever they hold, the field is one field. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view rest = view_make(data, size), word[3] = { { "", 0 }, { "", 0 }, { "", 0 } };
	struct received r = { .client_literal = "192.0.2.1",
		.myhostname = "h",
		.mail_name = "Estafeta",
		.protocol = "ESMTP",
		.queue_id = "4Z",
		.time = 1795409323 };
	char *text[3];
	struct buf out;

	for (int i = 0; i < 3; i++) {
		view_cut(rest, '\0', &word[i], &rest);
		text[i] = x_strndup(word[i].p, word[i].len);
	}
	r.helo = text[0];
	r.client_name = text[1];
	r.login = text[2];
	buf_init(&out, 16384);
	if (received_format(&r, &out) < 0)
		bug("no room");
	for (size_t i = 0; i < out.len; i++)
		if ((out.p[i] == '\n' && i + 1 < out.len && out.p[i + 1] != '\t') ||
		    out.p[i] == '\0' || (out.p[i] == '\r' && out.p[i + 1] != '\n') ||
		    (unsigned char)out.p[i] > 126)
			bug("byte %d at %zu", out.p[i], i);
	buf_clear(&out);
	for (int i = 0; i < 3; i++)
		free(text[i]);
	return 0;
}
