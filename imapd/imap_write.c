#include "imapd/imap_write.h"
#include "common/store/store.h"
#include "imapd/imap_args.h"

/* What fits a quoted string: 7-bit text of a sane length (some clients read into small buffers). */
static bool
can_be_quoted(struct view v)
{
	enum { QUOTED_MAX = 4096 };

	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.p[i] < ' ' || (unsigned char)v.p[i] >= 0x7f)
			return false;
	return v.len <= QUOTED_MAX;
}

static void
write_quoted(struct buf *out, struct view v)
{
	size_t from = 0;

	buf_append_byte(out, '"');
	for (size_t i = 0; i < v.len; i++) {
		if (v.p[i] != '"' && v.p[i] != '\\')
			continue;
		buf_append(out, v.p + from, i - from);
		buf_append_byte(out, '\\');
		from = i;
	}
	if (v.len > from)
		buf_append(out, v.p + from, v.len - from);
	buf_append_byte(out, '"');
}

void
imap_write_string(struct buf *out, struct view v)
{
	size_t nuls = 0;

	if (can_be_quoted(v)) {
		write_quoted(out, v);
		return;
	}
	for (size_t i = 0; i < v.len; i++)
		nuls += v.p[i] == '\0';
	buf_printf(out, "{%zu}\r\n", v.len - nuls);
	if (nuls == 0) {
		buf_append_view(out, v);
		return;
	}
	for (size_t i = 0; i < v.len; i++)
		if (v.p[i] != '\0')
			buf_append_byte(out, v.p[i]);
}

void
imap_write_nstring(struct buf *out, const char *s)
{
	if (s == NULL)
		buf_append_str(out, "NIL");
	else
		imap_write_string(out, view_of(s));
}

void
imap_write_astring(struct buf *out, struct view v)
{
	/* NIL as an atom could be read as "no string" */
	if (imap_is_atom(v) && !view_case_eq_str(v, "NIL"))
		buf_append_view(out, v);
	else
		imap_write_string(out, v);
}

void
imap_write_mailbox(struct buf *out, const char *utf8)
{
	struct buf wire;

	buf_init(&wire, STORE_NAME_MAX * 8);
	if (mutf7_encode(view_of(utf8), &wire) == 0)
		imap_write_astring(out, buf_view(&wire));
	else
		imap_write_string(
		    out, view_of(utf8)); /* a foreign program's doing: shown as it stands */
	buf_clear(&wire);
}
