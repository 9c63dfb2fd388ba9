#include "qmgr/relay/downgrade.h"
#include "common/base/codec.h"
#include "common/mime/message.h"

/* Where a line belongs. */
enum place { PLACE_FIELD, PLACE_FRAME, PLACE_TEXT };
/* As they stand in a plan. */
enum mode { MODE_KEEP, MODE_7BIT /* only the label */, MODE_QP, MODE_BASE64 };

enum { QP_LINE = 76, FIELD_MAX = 100 << 10, TYPE_MAX = 100 };

void
relay_plan_init(struct relay_plan *plan)
{
	*plan = (struct relay_plan){ 0 };
	buf_init(&plan->modes, RELAY_PLAN_PARTS);
}

void
relay_plan_clear(struct relay_plan *plan)
{
	buf_clear(&plan->modes);
}

/* ---------------------------------------------------------------- quoted-printable (RFC 2045 6.7) */

static bool
is_quoted(unsigned char c)
{
	return (c < ' ' && c != '\t') || c == '=' || c > '~';
}

/* Behind a soft line break when it, and the '=' of another one, would not fit.  No line begins as a boundary does. */
static void
qp_byte(struct relay_downgrade *d, unsigned char c, bool quote)
{
	if (d->column + (quote ? 3 : 1) > QP_LINE - 1) {
		buf_append_str(d->out, "=\r\n");
		d->column = 0;
	}
	quote = quote || (c == '-' && d->column == 0);
	d->column += quote ? 3 : 1;
	if (quote)
		buf_printf(d->out, "=%02X", (unsigned)c);
	else
		buf_append_byte(d->out, c);
}

static void
qp_blank(struct relay_downgrade *d, bool quote)
{
	if (d->blank != 0)
		qp_byte(d, (unsigned char)d->blank, quote);
	d->blank = 0;
}

static void
qp_text(struct relay_downgrade *d, struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		qp_blank(d, false);
		if (ascii_is_space(c))
			d->blank = (char)c;
		else
			qp_byte(d, c, is_quoted(c));
	}
}

static void
qp_line_end(struct relay_downgrade *d)
{
	qp_blank(d, true);
	buf_append_str(d->out, "\r\n");
	d->column = 0;
}

/* ---------------------------------------------------------------- base64 (RFC 2045 6.8) */

static void
base64_flush(struct relay_downgrade *d)
{
	if (d->nblock == 0)
		return;
	base64_encode(d->out, d->block, d->nblock);
	buf_append_str(d->out, "\r\n");
	d->nblock = 0;
}

static void
base64_text(struct relay_downgrade *d, struct view v)
{
	while (v.len > 0) {
		size_t n = sizeof d->block - d->nblock;

		if (n > v.len)
			n = v.len;
		memcpy(d->block + d->nblock, v.p, n);
		d->nblock += n;
		v = view_make(v.p + n, v.len - n);
		if (d->nblock == sizeof d->block)
			base64_flush(d);
	}
}

static void
base64_line_end(struct relay_downgrade *d)
{
	if (d->has_line_end)
		base64_text(d, VIEW_LIT("\r\n"));
	d->has_line_end = false;
}

/* ---------------------------------------------------------------- parts */

/* What the survey found for it. */
static enum mode
mode_found(const struct relay_downgrade *d)
{
	if (d->encoding == RELAY_ENC_OTHER)
		return MODE_KEEP;
	if (d->type == RELAY_PART_MULTIPART || d->bytes_8bit == 0)
		return d->encoding == RELAY_ENC_8BIT ? MODE_7BIT : MODE_KEEP;
	if (d->type == RELAY_PART_MESSAGE)
		return MODE_KEEP;
	/* base64 is the shorter one when more than some sixth of the bytes would be quoted */
	return d->type == RELAY_PART_LEAF && d->bytes_quoted > d->bytes / 6 ? MODE_BASE64 : MODE_QP;
}

static void
end_part(struct relay_downgrade *d)
{
	if (!d->is_open)
		return;
	d->is_open = false;
	if (d->survey != NULL) {
		enum mode mode = mode_found(d);

		if (d->parts <= d->survey->modes.len)
			d->survey->modes.p[d->parts - 1] = (char)mode;
		if (mode == MODE_QP || mode == MODE_BASE64)
			d->survey->has_8bit = true;
	} else if (d->mode == MODE_BASE64) {
		d->has_line_end = false; /* the boundary's */
		base64_flush(d);
	}
}

static void
begin_part(struct relay_downgrade *d, bool is_whole_message)
{
	end_part(d);
	d->is_open = d->is_in_fields = true;
	d->is_whole_message = is_whole_message;
	d->has_version = d->has_type = d->drops_field = false;
	d->type = RELAY_PART_TEXT;
	d->encoding = RELAY_ENC_7BIT;
	d->bytes = d->bytes_8bit = d->bytes_quoted = 0;
	d->mode = MODE_KEEP;
	if (d->survey != NULL)
		buf_append_byte(&d->survey->modes, MODE_KEEP);
	else if (d->parts < d->plan->modes.len)
		d->mode = d->plan->modes.p[d->parts];
	d->parts++;
}

/* The fields that say how the part is encoded now. */
static void
put_fields(struct relay_downgrade *d)
{
	static const char *const names[] = {
		[MODE_7BIT] = "7bit", [MODE_QP] = "quoted-printable", [MODE_BASE64] = "base64"
	};
	bool is_encoded = d->mode == MODE_QP || d->mode == MODE_BASE64;

	if (d->mode == MODE_KEEP)
		return;
	if (is_encoded && d->is_whole_message && !d->has_version)
		buf_append_str(d->out, "MIME-Version: 1.0\r\n");
	if (is_encoded && !d->has_type)
		buf_append_str(d->out, "Content-Type: text/plain; charset=unknown-8bit\r\n");
	buf_printf(d->out, "Content-Transfer-Encoding: %s\r\n", names[d->mode]);
}

static void
end_fields(struct relay_downgrade *d, bool is_empty_line)
{
	d->is_in_fields = false;
	if (d->survey != NULL)
		return;
	put_fields(d);
	if (d->mode != MODE_KEEP && !is_empty_line)
		buf_append_str(d->out, "\r\n"); /* the section was ended by a line of text */
}

/* ---------------------------------------------------------------- what mime_lines tells */

static void
note_type(struct relay_downgrade *d, struct view value)
{
	bool is_message = view_case_starts(value, "message/") &&
			  !view_case_starts(value, "message/global"); /* RFC 6532 3.7 */

	d->has_type = true;
	d->type = view_case_starts(value, "text/")        ? RELAY_PART_TEXT
		  : view_case_starts(value, "multipart/") ? RELAY_PART_MULTIPART
		  : is_message                            ? RELAY_PART_MESSAGE
							  : RELAY_PART_LEAF;
}

static void
note_encoding(struct relay_downgrade *d, struct view value)
{
	struct view word = { 0 };

	if (!view_token(&value, " \t\n(;", &word) || view_case_eq_str(word, "7bit"))
		d->encoding = RELAY_ENC_7BIT;
	else if (view_case_eq_str(word, "8bit") || view_case_eq_str(word, "binary"))
		d->encoding = RELAY_ENC_8BIT;
	else
		d->encoding = RELAY_ENC_OTHER;
}

static bool
is_field(struct view line, const char *name)
{
	struct view found;

	view_cut(line, ':', &found, NULL);
	return view_case_eq_str(view_trim(found), name);
}

static void
note_field(struct relay_downgrade *d, struct view text)
{
	struct view value = { 0 };

	view_cut(text, ':', NULL, &value);
	while (value.len > 0 && (ascii_is_space(value.p[0]) || value.p[0] == '\n'))
		value = view_make(value.p + 1, value.len - 1);
	if (is_field(text, "Content-Type"))
		note_type(d, value);
	else if (is_field(text, "Content-Transfer-Encoding"))
		note_encoding(d, value);
	else if (is_field(text, "MIME-Version"))
		d->has_version = true;
}

static int
on_line(void *arg, enum mime_line_kind kind, struct view text, unsigned lines)
{
	struct relay_downgrade *d = arg;
	bool is_empty_line = kind == LINE_FRAME && text.len == 0;

	(void)lines;
	if (kind != LINE_TEXT && kind != LINE_FRAME) {
		note_field(d, text);
		return 0;
	}
	d->place = kind == LINE_TEXT ? PLACE_TEXT : PLACE_FRAME;
	if (d->is_in_fields)
		end_fields(d, is_empty_line);
	return 0;
}

/* ---------------------------------------------------------------- lines */

static void
text_bytes(struct relay_downgrade *d, struct view v)
{
	if (d->survey != NULL) {
		for (size_t i = 0; i < v.len; i++) {
			d->bytes_8bit += (unsigned char)v.p[i] >> 7;
			d->bytes_quoted += is_quoted((unsigned char)v.p[i]) ? 1 : 0;
		}
		d->bytes += v.len;
	} else if (d->is_open && d->mode == MODE_QP) {
		qp_text(d, v);
	} else if (d->is_open && d->mode == MODE_BASE64) {
		base64_text(d, v);
	} else {
		buf_append_view(d->out, v);
	}
}

static void
line_bytes(struct relay_downgrade *d, struct view v)
{
	if (d->place == PLACE_TEXT)
		text_bytes(d, v);
	else if (d->survey == NULL && !(d->place == PLACE_FIELD && d->drops_field))
		buf_append_view(d->out, v);
}

static void
line_end(struct relay_downgrade *d)
{
	bool is_encoded = d->place == PLACE_TEXT && d->is_open;

	if (d->survey != NULL)
		return;
	if (is_encoded && d->mode == MODE_QP)
		qp_line_end(d);
	else if (is_encoded && d->mode == MODE_BASE64)
		d->has_line_end = true;
	else if (!(d->place == PLACE_FIELD && d->drops_field))
		buf_append_str(d->out, "\r\n");
}

/* A part may end before the boundary's line, and one begin behind it, or behind the empty line before an attached message. */
static void
place_line(struct relay_downgrade *d)
{
	struct view line = buf_view(&d->line);
	bool is_continuation = line.len > 0 && ascii_is_space(line.p[0]);

	d->is_placed = true;
	d->place = PLACE_FIELD;
	mime_lines_feed(&d->lines, line);
	d->is_boundary = d->place == PLACE_FRAME && line.len > 0;
	if (d->is_boundary) {
		end_part(d);
	} else if (d->place == PLACE_FIELD && !is_continuation) {
		d->drops_field =
		    d->mode != MODE_KEEP && is_field(line, "Content-Transfer-Encoding");
	} else if (d->place == PLACE_TEXT && d->survey == NULL) {
		base64_line_end(d);
	}
	line_bytes(d, line);
	buf_reset(&d->line);
}

static void
finish_line(struct relay_downgrade *d)
{
	if (!d->is_placed)
		place_line(d);
	line_end(d);
	d->is_placed = false;
	if (d->place == PLACE_FRAME && d->lines.is_in_headers)
		begin_part(d, !d->is_boundary);
}

/* Of a line, without its end: the start is kept until there is enough of it. */
static void
take_bytes(struct relay_downgrade *d, struct view v)
{
	if (!d->is_placed) {
		size_t n = RELAY_LINE_HELD - d->line.len;

		if (n > v.len)
			n = v.len;
		buf_append(&d->line, v.p, n);
		v = view_make(v.p + n, v.len - n);
		if (d->line.len == RELAY_LINE_HELD)
			place_line(d);
	}
	if (v.len > 0)
		line_bytes(d, v);
}

/* ---------------------------------------------------------------- the filter */

static void
start(struct relay_downgrade *d, unsigned nesting)
{
	mime_lines_init(&d->lines, FIELD_MAX, nesting, on_line, d);
	d->lines.global_is_text = true;
	buf_init(&d->line, RELAY_LINE_HELD);
	begin_part(d, true);
}

void
relay_downgrade_survey(struct relay_downgrade *d, unsigned nesting, struct relay_plan *survey)
{
	*d = (struct relay_downgrade){ .survey = survey };
	start(d, nesting);
}

void
relay_downgrade_start(struct relay_downgrade *d, unsigned nesting, const struct relay_plan *plan)
{
	*d = (struct relay_downgrade){ .plan = plan };
	start(d, nesting);
}

void
relay_downgrade_clear(struct relay_downgrade *d)
{
	mime_lines_clear(&d->lines);
	buf_clear(&d->line);
}

static int
result(const struct relay_downgrade *d, struct err *err)
{
	if (d->lines.is_too_deep)
		return err_set(err, ERR_LIMIT, "MIME nesting exceeds safety limit");
	if (d->parts > RELAY_PLAN_PARTS)
		return err_set(err, ERR_LIMIT, "too many MIME parts");
	if (d->line.failed || (d->out != NULL && d->out->failed))
		return err_set(err, ERR_LIMIT, "no room for a piece of the message");
	return 0;
}

int
relay_downgrade_feed(
    struct relay_downgrade *d, const char *p, size_t len, struct buf *out, struct err *err)
{
	struct view rest = view_make(p, len), piece;

	d->out = out;
	while (rest.len > 0) {
		bool has_lf = view_cut(rest, '\n', &piece, &rest);

		if (d->has_cr && piece.len > 0)
			take_bytes(d, VIEW_LIT("\r"));
		d->has_cr = piece.len > 0 ? piece.p[piece.len - 1] == '\r' : d->has_cr;
		if (piece.len > 0 && d->has_cr)
			piece.len--;
		take_bytes(d, piece);
		if (has_lf) {
			d->has_cr = false;
			finish_line(d);
		}
	}
	return result(d, err);
}

int
relay_downgrade_end(struct relay_downgrade *d, struct buf *out, struct err *err)
{
	d->out = out;
	if (d->has_cr)
		take_bytes(d, VIEW_LIT("\r"));
	if (d->is_placed || d->line.len > 0)
		finish_line(d);
	mime_lines_finish(&d->lines);
	if (d->is_in_fields)
		end_fields(d, false);
	if (d->survey == NULL)
		base64_line_end(d);
	end_part(d);
	return result(d, err);
}
