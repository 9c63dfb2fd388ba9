#include "common/store/subscription_file.h"
#include "common/store/store.h"
#include "common/base/utf8.h"

/* Courier from version 5 on writes UTF-8, where '&' is only itself; all others modified UTF-7.  Bytes from 0x80
 * on are legal in UTF-8 names only.  What is neither is taken as it stands when it is ASCII, so that an odd
 * name does not hide a folder. */
int
mailbox_name_from_disk(struct view disk, char sep, struct buf *utf8)
{
	size_t start = utf8->len;
	bool is_ascii = true;

	for (size_t i = 0; i < disk.len; i++)
		if ((unsigned char)disk.p[i] >= 0x80)
			is_ascii = false;
		else if ((unsigned char)disk.p[i] < ' ' && disk.p[i] != sep)
			return -1;
	if (disk.len == 0 || (!is_ascii && !utf8_is_valid(disk)))
		return -1;
	if (!is_ascii || mutf7_decode(disk, utf8) < 0) {
		utf8->len = start;
		if (buf_append_view(utf8, disk) < 0)
			return -1;
	}
	for (size_t i = start; i < utf8->len; i++) {
		if (utf8->p[i] == '/')
			return -1;
		if (utf8->p[i] == sep)
			utf8->p[i] = '/';
	}
	return buf_cstr(utf8) != NULL && store_name_is_valid(utf8->p + start) ? 0 : -1;
}

void
subscription_file_parse(
    struct view text, bool is_courier, void (*fn)(void *arg, const char *name), void *arg)
{
	struct buf name;
	struct view line;
	char sep = '.';

	buf_init(&name, STORE_NAME_MAX + 1);
	if (view_starts(text, "V\t2\n")) {
		sep = '\t';
		view_cut(text, '\n', NULL, &text);
	}
	for (size_t n = 0; text.len > 0 && n < SUBSCRIPTIONS_MAX; n++) {
		view_cut(text, '\n', &line, &text);
		buf_reset(&name);
		if (is_courier && view_starts(line, "INBOX."))
			line = view_make(line.p + 6, line.len - 6);
		if (mailbox_name_from_disk(line, sep, &name) == 0)
			fn(arg, name.p);
	}
	buf_clear(&name);
}

int
subscription_format_header(struct buf *out)
{
	return buf_append_str(out, "V\t2\n\n");
}

int
subscription_format_name(struct buf *out, const char *name)
{
	size_t start = out->len;

	if (mutf7_encode(view_of(name), out) < 0) {
		out->len = start;
		return -1;
	}
	for (size_t i = start; i < out->len; i++)
		if (out->p[i] == '/')
			out->p[i] = '\t';
	return buf_append_byte(out, '\n');
}
