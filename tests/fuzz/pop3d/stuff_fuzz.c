/* However it is cut, the same comes out, and only one line is a lone dot: the last. */
#include "common/base/err.h"
#include "pop3d/command.h"
#include "pop3d/stuff.h"

static void
check(struct view out)
{
	struct view line;
	size_t dots = 0;

	while (out.len > 0) {
		view_cut(out, '\n', &line, &out);
		if (view_eq_str(line, ".\r"))
			dots++;
		if (line.len == 0 || line.p[line.len - 1] != '\r')
			bug("line without CR");
		if (dots > 0 && out.len > 0)
			bug("text behind the end");
	}
	if (dots != 1)
		bug("%zu ends", dots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pop3d_stuff one, two;
	struct view text, word, args[POP3D_ARGS_MAX];
	struct buf whole, cut;
	unsigned nargs;
	size_t at;

	if (size < 2)
		return 0;
	pop3d_command_split(view_make(data, size), &word, args, &nargs);
	text = view_make(data + 2, size - 2);
	at = text.len == 0 ? 0 : data[0] % text.len;
	if (data[1] & 1) {
		pop3d_stuff_init(&one);
		pop3d_stuff_init(&two);
	} else {
		pop3d_stuff_init_top(&one, data[1] >> 1);
		pop3d_stuff_init_top(&two, data[1] >> 1);
	}
	buf_init(&whole, 4 * size + 100);
	buf_init(&cut, 4 * size + 100);
	pop3d_stuff_add(&one, text, &whole);
	pop3d_stuff_end(&one, &whole);
	pop3d_stuff_add(&two, view_make(text.p, at), &cut);
	pop3d_stuff_add(&two, view_make(text.p + at, text.len - at), &cut);
	pop3d_stuff_end(&two, &cut);
	if (!view_eq(buf_view(&whole), buf_view(&cut)))
		bug("depends on the cut");
	check(buf_view(&whole));
	buf_clear(&whole);
	buf_clear(&cut);
	return 0;
}
