#include "smtpd/data_stream.h"
#include "common/base/err.h"

enum data_state {
	DATA_LINE_START, /* behind a CRLF, or at the very start */
	DATA_DOT,        /* a dot at the start of a line, held back */
	DATA_DOT_CR,     /* and a CR behind it, held back too */
	DATA_TEXT,
	DATA_TEXT_CR, /* a CR was passed on: only LF may follow */
	DATA_SOFT_START, /* behind a bare LF that was made CRLF: a dot here is stuffing or text, never the end */
	DATA_SOFT_DOT, /* that dot, held back */
};

void
data_stream_init(struct data_stream *d, size_t line_max, unsigned modes)
{
	*d = (struct data_stream){ .state = DATA_LINE_START, .modes = modes, .line_max = line_max };
}

/* Bytes of a line; of a line that gets too long, the part that still fits, so that the output does not depend
 * on where the input was cut. */
static void
emit(struct data_stream *d, struct buf *out, const char *p, size_t len)
{
	if (d->faults != 0)
		return;
	if (len > d->line_max - d->line_len) {
		d->faults |= DATA_LONG_LINE;
		len = d->line_max - d->line_len;
	}
	d->line_len += len;
	if (buf_append(out, p, len) < 0)
		bug("data_stream: no room for %zu bytes", len);
	d->size += len;
}

/* Bytes up to the next one that means something. */
static size_t
plain_run(const char *p, size_t len)
{
	size_t i = 0;

	while (i < len && p[i] != '\r' && p[i] != '\n' && p[i] != '\0')
		i++;
	return i;
}

static void
line_end(struct data_stream *d, struct buf *out, const char *end, size_t len)
{
	d->line_len = 0; /* the limit is for the line without its end */
	emit(d, out, end, len);
	d->line_len = 0;
}

/* One byte in DATA_LINE_START or DATA_TEXT, other than a dot at the start of a line. */
static void
text_byte(struct data_stream *d, char c, struct buf *out)
{
	if (c == '\n' && (d->modes & DATA_NORMALIZE)) {
		line_end(d, out, "\r\n", 2);
		d->state = d->modes & DATA_CHUNKED ? DATA_LINE_START : DATA_SOFT_START;
		return;
	}
	if (c == '\n')
		d->faults |= DATA_BARE_LF;
	if (c == '\0')
		d->faults |= DATA_NUL;
	if (c == '\r' && d->line_len > 0)
		d->line_len--; /* the limit is for the line without its end */
	emit(d, out, &c, 1);
	d->state = c == '\r' ? DATA_TEXT_CR : DATA_TEXT;
}

/* Takes one byte where it matters.  False: the byte is to be looked at again in the new state. */
static bool
special_byte(struct data_stream *d, char c, struct buf *out)
{
	switch (d->state) {
	case DATA_LINE_START:
		if (c == '.' && !(d->modes & DATA_CHUNKED))
			d->state = DATA_DOT;
		else
			text_byte(d, c, out);
		return true;
	case DATA_DOT: /* RFC 5321 4.5.2: strip one leading dot */
		if (c == '\r')
			d->state = DATA_DOT_CR;
		else
			text_byte(d, c, out);
		return true;
	case DATA_DOT_CR: /* LF was dealt with by the caller */
		d->faults |= DATA_BARE_CR;
		d->state = DATA_TEXT;
		return false;
	case DATA_TEXT_CR:
		if (c != '\n') {
			d->faults |= DATA_BARE_CR;
			d->state = DATA_TEXT;
			return false;
		}
		line_end(d, out, &c, 1);
		d->state = DATA_LINE_START;
		return true;
	case DATA_SOFT_START:
		if (c == '.')
			d->state = DATA_SOFT_DOT;
		else
			text_byte(d, c, out);
		return true;
	case DATA_SOFT_DOT:
		emit(d, out, ".", 1);
		d->state = DATA_TEXT;
		return c == '.';
	}
	text_byte(d, c, out);
	return true;
}

int
data_stream_feed(struct data_stream *d, struct view in, size_t *used, struct buf *out)
{
	size_t i = 0;

	while (i < in.len) {
		if (d->state == DATA_TEXT) {
			size_t run = plain_run(in.p + i, in.len - i);

			emit(d, out, in.p + i, run);
			i += run;
			if (i == in.len)
				break;
		}
		if (d->state == DATA_DOT_CR && in.p[i] == '\n') {
			*used = i + 1;
			return 0;
		}
		if (special_byte(d, in.p[i], out))
			i++;
	}
	*used = in.len;
	return 1;
}

void
data_stream_end(struct data_stream *d)
{
	if (d->state == DATA_TEXT_CR)
		d->faults |= DATA_BARE_CR;
}
