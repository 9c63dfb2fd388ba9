/* The command reader and every command's argument parser.  The first byte of the input says how it is cut and how literals
 * are answered; what comes of it must not depend on the cut. */
#include "imapd/command.h"

#include <stdio.h>
#include <stdlib.h>

static const struct imap_reader_limits limits = { 4096, 8192, 10 };

static uint64_t
mix(uint64_t hash, const void *p, size_t len)
{
	const unsigned char *bytes = p;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	return hash;
}

static uint64_t
parse(struct view text)
{
	struct imapd_command c = { 0 };
	struct view tag, name, second;
	char both[40];
	uint64_t result = 0;

	arena_init(&c.arena, 16 << 20);
	imap_args_init(&c.args, text, &c.arena);
	if (imap_args_tag(&c.args, &tag) && imap_args_space(&c.args) &&
	    imap_args_atom(&c.args, &name)) {
		c.row = imapd_command_find(name);
		if (view_case_eq_str(name, "UID") && imap_args_space(&c.args) &&
		    imap_args_atom(&c.args, &second) && second.len < 20) {
			snprintf(both, sizeof both, "UID %.*s", VIEW_ARG(second));
			c.row = imapd_command_find(view_of(both));
		}
		if (c.row != NULL && c.row->parse != NULL)
			result = c.row->parse(&c) ? 2 : 1;
		if (result == 1 && c.args.problem == NULL)
			abort(); /* a refusal without a reason */
	}
	arena_clear(&c.arena);
	return result;
}

static uint64_t
run(struct view input, size_t piece, unsigned policy)
{
	struct imap_reader r;
	uint64_t hash = 0xcbf29ce484222325u;
	size_t at = 0;

	imap_reader_init(&r, &limits);
	for (;;) {
		size_t have = input.len - at < piece ? input.len - at : piece, used;
		struct view chunk;
		enum imap_reader_event event =
		    imap_reader_next(&r, view_make(input.p + at, have), &used, &chunk);
		unsigned char kind = (unsigned char)event;

		if (event == READER_BYTES)
			hash = mix(hash, chunk.p, chunk.len);
		at += used;
		if (event == READER_MORE && at == input.len)
			break;
		if (event == READER_MORE || event == READER_BYTES)
			continue;
		hash = mix(mix(hash, &kind, 1), r.text.p, r.text.len);
		if (event == READER_FATAL)
			break;
		if (event == READER_COMMAND)
			hash += parse(buf_view(&r.text));
		if (event != READER_LITERAL)
			continue;
		if (policy % 3 == 0)
			(void)imap_reader_collect(&r);
		else if (policy % 3 == 1)
			imap_reader_stream(&r);
		else
			imap_reader_refuse(&r);
		policy /= 3;
	}
	imap_reader_clear(&r);
	return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view input;

	if (size < 1)
		return 0;
	input = view_make(data + 1, size - 1);
	if (run(input, SIZE_MAX, data[0]) != run(input, data[0] % 7 + 1, data[0]))
		abort();
	return 0;
}
