/* The IMAP command parser of the login front: any bytes, cut anywhere. */
#include "imapd/login_imap_parse.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
parse(const uint8_t *data, size_t size, size_t *used, enum err_kind *kind, unsigned *nargs)
{
	struct imap_login_command cmd;
	struct err e = { 0 };
	uint8_t *copy = malloc(size + 1);
	int r;

	for (size_t i = 0; i < size; i++)
		copy[i] = data[i];
	imap_login_command_init(&cmd);
	r = imap_login_parse(&cmd, view_make(copy, size), used, &e);
	for (unsigned i = 0; i < cmd.nargs; i++)
		for (size_t j = 0; j < cmd.args[i].text.len; j++)
			*nargs += (unsigned char)cmd.args[i].text.p[j];
	if (*used > size || (r == 0 && *used == 0) ||
	    (r == 1 && (*used != 0 || size > IMAP_LOGIN_COMMAND + 2)))
		abort();
	*kind = e.kind;
	imap_login_command_clear(&cmd);
	free(copy);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum err_kind whole_kind, part_kind;
	size_t whole_used = 0;
	unsigned whole_sum = 0;
	int whole = parse(data, size, &whole_used, &whole_kind, &whole_sum);

	for (size_t n = 0; n < size && size < 600; n++) {
		size_t used = 0;
		unsigned sum = 0;
		int r = parse(data, n, &used, &part_kind, &sum);

		if (r != 1 && (r != whole || used != whole_used || part_kind != whole_kind ||
				  sum != whole_sum))
			abort();
		if (r != 1)
			break;
	}
	return 0;
}
