#include "smtpd/header_drop.h"

enum drop_state {
	DROP_LINE_START, /* also while bytes are held */
	DROP_KEEP,       /* within a line that stays */
	DROP_FIELD,      /* within the field */
	DROP_FIELD_END,  /* behind a line of the field: white space goes on with it */
};

static const char name[HEADER_DROP_NAME + 1] = "return-path:";

void
header_drop_end(struct header_drop *d, struct buf *out)
{
	buf_append(out, d->held, d->nheld);
	d->nheld = 0;
}

static void
line_start_byte(struct header_drop *d, char c, struct buf *out)
{
	bool is_empty_line = d->nheld == 0 && c == '\r';

	if (!is_empty_line && ascii_lower((unsigned char)c) == name[d->nheld]) {
		d->held[d->nheld++] = c;
		if (d->nheld < HEADER_DROP_NAME)
			return;
		d->dropped += d->nheld;
		d->nheld = 0;
		d->state = DROP_FIELD;
		return;
	}
	/* the line does not begin as the field does: what was held is text */
	header_drop_end(d, out);
	d->state = DROP_KEEP;
	d->is_over = is_empty_line;
	buf_append_byte(out, c);
}

static void
drop_byte(struct header_drop *d, char c, struct buf *out)
{
	if (d->state == DROP_FIELD_END && !ascii_is_space(c))
		d->state = DROP_LINE_START;
	switch (d->state) {
	case DROP_LINE_START:
		line_start_byte(d, c, out);
		break;
	case DROP_KEEP:
		buf_append_byte(out, c);
		break;
	default:
		d->dropped++;
		d->state = c == '\n' ? DROP_FIELD_END : DROP_FIELD;
		return;
	}
	if (c == '\n')
		d->state = DROP_LINE_START;
}

void
header_drop_feed(struct header_drop *d, struct view in, struct buf *out)
{
	size_t i = 0;

	while (i < in.len && !d->is_over)
		drop_byte(d, in.p[i++], out);
	buf_append(out, in.p + i, in.len - i);
}
