#include "smtpd/header_drop.h"
#include "common/mime/lexer.h"
#include "common/proto/idn.h"

enum drop_state {
	DROP_LINE_START,  /* also while a name, or the white space behind it, is held */
	DROP_KEEP,        /* within a line that stays */
	DROP_RESULTS,     /* within the lines of Authentication-Results:, held */
	DROP_RESULTS_END, /* behind a line of it: white space goes on with it */
	DROP_FIELD,       /* within a field that is left out */
	DROP_FIELD_END,
};

static void
let_pass(struct header_drop *d, struct buf *out)
{
	buf_append(out, d->held, d->nheld);
	d->nheld = 0;
}

static void
leave_out(struct header_drop *d)
{
	d->dropped += d->nheld;
	d->nheld = 0;
}

/* RFC 8601 2.2: [CFWS] authserv-id [CFWS version]; the id is a token, a quoted string, or a domain with U-labels.
 * False: there is none, or not all of it is there. */
static bool
read_authserv_id(struct view field, bool is_whole, struct buf *id)
{
	struct lexer lx = { memchr(field.p, ':', field.len), field.p + field.len };

	lx.p++;
	lexer_skip_cfws(&lx, NULL);
	if (lexer_at(&lx, '"'))
		lexer_quoted_string(&lx, id);
	else
		lexer_atom(&lx, "();=/,\"", id);
	if (id->len > 1 && id->p[id->len - 1] == '.')
		id->len--;
	return id->len > 0 && (is_whole || lx.p < lx.end);
}

static bool
bears_our_name(const struct header_drop *d, bool is_whole)
{
	char domain[IDN_DOMAIN_MAX];
	bool is_ours = true;
	struct buf id;

	buf_init(&id, HEADER_DROP_HELD);
	if (read_authserv_id(view_make(d->held, d->nheld), is_whole, &id))
		is_ours = idn_to_ascii(buf_view(&id), domain)
			      ? strcmp(domain, d->authserv_id) == 0
			      : view_case_eq_str(buf_view(&id), d->authserv_id);
	buf_clear(&id);
	return is_ours;
}

/* All of the field that there is, or that there is room for, is held. */
static enum drop_state
judge_results(struct header_drop *d, bool is_whole, struct buf *out)
{
	if (bears_our_name(d, is_whole)) {
		leave_out(d);
		return DROP_FIELD;
	}
	let_pass(d, out);
	return DROP_KEEP;
}

static bool
is_results(const struct header_drop *d, struct view name)
{
	return d->authserv_id != NULL && *d->authserv_id != '\0' &&
	       view_case_eq_str(name, "Authentication-Results");
}

static bool
is_unwanted(const struct header_drop *d, struct view name)
{
	for (size_t i = 0; i < d->nnames; i++)
		if (view_case_eq(name, d->names[i]))
			return true;
	return false;
}

/* At the colon, or where there is no room for it: the line begins a field of this name. */
static enum drop_state
judge_name(struct header_drop *d, struct view name, struct buf *out)
{
	bool is_full = d->nheld == HEADER_DROP_HELD;

	if (is_unwanted(d, name) || (is_full && is_results(d, name))) {
		leave_out(d);
		return DROP_FIELD;
	}
	if (is_results(d, name))
		return DROP_RESULTS;
	let_pass(d, out);
	return DROP_KEEP;
}

/* Is it a byte of a name (RFC 5322 3.6.8), or white space behind one (4.5.8)? */
static bool
may_be_held(const struct header_drop *d, char c)
{
	if (ascii_is_space(c))
		return d->nheld > 0;
	return c > ' ' && c != 127 && d->nheld < HEADER_DROP_NAME_MAX &&
	       (d->nheld == 0 || !ascii_is_space(d->held[d->nheld - 1]));
}

static enum drop_state
line_start_byte(struct header_drop *d, char c, struct buf *out)
{
	struct view name = view_trim(view_make(d->held, d->nheld));
	bool is_colon = c == ':' && d->nheld > 0;

	if (is_colon || may_be_held(d, c)) {
		d->held[d->nheld++] = c;
		return is_colon || d->nheld == HEADER_DROP_HELD ? judge_name(d, name, out)
								: DROP_LINE_START;
	}
	/* the line does not begin as a field does */
	d->is_over = d->nheld == 0 && c == '\r';
	let_pass(d, out);
	buf_append_byte(out, c);
	return c == '\n' ? DROP_LINE_START : DROP_KEEP;
}

static enum drop_state
results_byte(struct header_drop *d, char c, struct buf *out)
{
	d->held[d->nheld++] = c;
	if (d->nheld == HEADER_DROP_HELD) {
		enum drop_state next = judge_results(d, false, out);

		return c != '\n' ? next : next == DROP_KEEP ? DROP_LINE_START : DROP_FIELD_END;
	}
	return c == '\n' ? DROP_RESULTS_END : DROP_RESULTS;
}

static enum drop_state
drop_byte(struct header_drop *d, char c, struct buf *out)
{
	if (d->state == DROP_RESULTS_END && !ascii_is_space(c)) {
		judge_results(d, true, out);
		d->state = DROP_LINE_START;
	} else if (d->state == DROP_FIELD_END && !ascii_is_space(c)) {
		d->state = DROP_LINE_START;
	}
	switch (d->state) {
	case DROP_LINE_START:
		return line_start_byte(d, c, out);
	case DROP_KEEP:
		buf_append_byte(out, c);
		return c == '\n' ? DROP_LINE_START : DROP_KEEP;
	case DROP_RESULTS:
	case DROP_RESULTS_END:
		return results_byte(d, c, out);
	default:
		d->dropped++;
		return c == '\n' ? DROP_FIELD_END : DROP_FIELD;
	}
}

/* Most lines are none of ours: the rest of one goes at once. */
static size_t
keep_rest_of_line(struct header_drop *d, struct view in, struct buf *out)
{
	const char *lf = memchr(in.p, '\n', in.len);
	size_t n = lf == NULL ? in.len : (size_t)(lf - in.p) + 1;

	buf_append(out, in.p, n);
	if (lf != NULL)
		d->state = DROP_LINE_START;
	return n;
}

void
header_drop_feed(struct header_drop *d, struct view in, struct buf *out)
{
	size_t i = 0;

	while (i < in.len && !d->is_over) {
		if (d->state == DROP_KEEP)
			i += keep_rest_of_line(d, view_make(in.p + i, in.len - i), out);
		else
			d->state = (int)drop_byte(d, in.p[i++], out);
	}
	buf_append(out, in.p + i, in.len - i);
}

void
header_drop_end(struct header_drop *d, struct buf *out)
{
	if (d->state == DROP_RESULTS || d->state == DROP_RESULTS_END)
		judge_results(d, true, out);
	else
		let_pass(d, out);
}
