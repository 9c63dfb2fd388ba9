#include "smtpd/header_scan.h"

enum scan_state {
	SCAN_LINE_START,
	SCAN_NAME,       /* inside a field's name */
	SCAN_NAME_SPACE, /* white space between name and colon (obsolete, RFC 5322 4.5) */
	SCAN_VALUE,
	SCAN_CR, /* CR of a line end, at the start of a line: maybe the empty line */
};

void
header_scan_init(struct header_scan *h)
{
	memset(h, 0, sizeof *h);
}

static void
end_field(struct header_scan *h)
{
	if (h->field_size > h->longest_field)
		h->longest_field = h->field_size;
	h->field_size = 0;
	h->keep_id = h->keep_type = false;
	if (h->keep_tls)
		h->says_tls_optional = view_eq_str(view_make(h->tls, h->tls_len), "no");
	h->keep_tls = false;
}

static void
end_section(struct header_scan *h)
{
	end_field(h);
	h->is_over = true;
}

static bool
name_is(const struct header_scan *h, const char *name)
{
	return view_eq_str(view_make(h->name, h->name_len), name);
}

/* The colon was read: what field is it? */
static void
name_done(struct header_scan *h)
{
	if (h->start == HEADER_START_NONE)
		h->start = HEADER_START_FIELD;
	h->state = SCAN_VALUE;
	if (!h->name_is_complete)
		return;
	if (name_is(h, "received"))
		h->received++;
	else if (name_is(h, "date"))
		h->has_date = true;
	else if (name_is(h, "from"))
		h->has_from = true;
	else if (name_is(h, "tls-required")) {
		h->keep_tls = true;
		h->tls_len = 0;
	} else if (name_is(h, "message-id")) {
		h->keep_id = !h->has_message_id;
		h->has_message_id = true;
	} else if (name_is(h, "content-type")) {
		h->keep_type = true;
		h->type_len = 0;
	}
}

/* Enough of the type to know whether there may be headers further down. */
static void
type_byte(struct header_scan *h, char c)
{
	if (h->type_len == 0 && (ascii_is_space(c) || c == '\r'))
		return;
	h->type[h->type_len++] = (char)ascii_lower((unsigned char)c);
	if (h->type_len < sizeof h->type)
		return;
	h->keep_type = false;
	h->is_compound |= memcmp(h->type, "multipart/", 10) == 0 || memcmp(h->type, "message/", 8) == 0;
}

/* A line that is no header field ends the section; as the first line it says what the content is.  An
 * mbox "From " line is stepped over, so that the fields behind it are still seen. */
static void
not_a_field(struct header_scan *h)
{
	bool is_first = h->start == HEADER_START_NONE;

	if (is_first && h->state == SCAN_NAME_SPACE && name_is(h, "from")) {
		h->start = HEADER_START_FROM;
		h->state = SCAN_VALUE;
		return;
	}
	if (is_first)
		h->start = HEADER_START_BODY;
	end_section(h);
}

static void
name_byte(struct header_scan *h, char c)
{
	/* ftext of RFC 5322 3.6.8: printable ASCII without the colon */
	if (c <= ' ' || c >= 127) {
		not_a_field(h);
		return;
	}
	if (h->name_len < HEADER_SCAN_NAME_MAX)
		h->name[h->name_len++] = (char)ascii_lower((unsigned char)c);
	else
		h->name_is_complete = false;
}

static void
line_start_byte(struct header_scan *h, char c)
{
	if (c == '\r') {
		h->state = SCAN_CR;
		return;
	}
	if (ascii_is_space(c)) {
		/* a folded line; with no field before it there is nothing to fold */
		if (h->start == HEADER_START_NONE)
			not_a_field(h);
		h->state = SCAN_VALUE;
		return;
	}
	end_field(h);
	h->name_len = 0;
	h->name_is_complete = true;
	h->state = SCAN_NAME;
	if (c == ':')
		not_a_field(h); /* a name has at least one byte */
	else
		name_byte(h, c);
}

/* Folding is undone by leaving the line ends out; white space at the start is dropped. */
static void
value_byte(struct header_scan *h, char c)
{
	if (c == '\n') {
		h->state = SCAN_LINE_START;
		return;
	}
	if (h->keep_type)
		type_byte(h, c);
	if (h->keep_tls && c != '\r' && !ascii_is_space(c) && h->tls_len < sizeof h->tls)
		h->tls[h->tls_len++] = (char)ascii_lower((unsigned char)c);
	if (!h->keep_id || c == '\r' || h->id_len >= HEADER_SCAN_ID_MAX)
		return;
	if (h->id_len == 0 && ascii_is_space(c))
		return;
	h->id[h->id_len++] = c;
}

static void
scan_byte(struct header_scan *h, char c)
{
	switch (h->state) {
	case SCAN_LINE_START:
		line_start_byte(h, c);
		break;
	case SCAN_NAME:
		if (c == ':')
			name_done(h);
		else if (ascii_is_space(c))
			h->state = SCAN_NAME_SPACE;
		else
			name_byte(h, c);
		break;
	case SCAN_NAME_SPACE:
		if (c == ':')
			name_done(h);
		else if (!ascii_is_space(c))
			not_a_field(h);
		break;
	case SCAN_CR:
		if (h->start == HEADER_START_NONE)
			h->start = HEADER_START_EMPTY;
		end_section(h);
		break;
	case SCAN_VALUE:
		value_byte(h, c);
		break;
	}
	h->field_size++;
}

void
header_scan_feed(struct header_scan *h, struct view in)
{
	for (size_t i = 0; i < in.len && !h->is_over; i++) {
		/* values are most of a header: step over what is not kept */
		if (h->state == SCAN_VALUE && !h->keep_id && !h->keep_type && !h->keep_tls) {
			const char *lf = memchr(in.p + i, '\n', in.len - i);
			size_t end = lf ? (size_t)(lf - in.p) : in.len;

			h->field_size += end - i;
			i = end;
			if (lf == NULL)
				break;
		}
		scan_byte(h, in.p[i]);
	}
}

void
header_scan_finish(struct header_scan *h)
{
	if (h->is_over)
		return;
	if (h->state == SCAN_NAME || h->state == SCAN_NAME_SPACE)
		not_a_field(h);
	end_section(h);
}

struct view
header_scan_message_id(const struct header_scan *h)
{
	return view_trim(view_make(h->id, h->id_len));
}
