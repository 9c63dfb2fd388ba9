#include "imapd/imap_reader.h"
#include "common/base/err.h"

enum reader_state {
	R_LINE,      /* collecting a line */
	R_DONE,      /* text was handed out: starts anew */
	R_DECIDE,    /* waits for collect, stream or refuse */
	R_COLLECT,   /* a literal into text */
	R_STREAM,    /* a literal to the owner */
	R_DROP_LINE, /* a line to nowhere */
	R_DROP_BYTES /* a literal to nowhere */,
	R_DROPPED, /* to be reported */
	R_FATAL,
};

enum announcement {
	LITERAL_NONE,
	LITERAL_SYNC,
	LITERAL_NONSYNC,
	LITERAL_HUGE,
	LITERAL_NONSYNC_HUGE
};
/* RFC 3501 9: a number is 32 bits; what is larger cannot be skipped in reasonable time either. */
static const uint64_t literal_number_max = 0xffffffffu;

void
imap_reader_init(struct imap_reader *r, const struct imap_reader_limits *limits)
{
	memset(r, 0, sizeof *r);
	r->limits = *limits;
	/* beside line and literals: a CRLF behind each literal's announcement */
	buf_init(
	    &r->text, limits->line_max + limits->literal_max + 2 * ((size_t)limits->literals + 1));
}

void
imap_reader_clear(struct imap_reader *r)
{
	buf_clear(&r->text);
}

static void
start_command(struct imap_reader *r)
{
	enum { KEEP = 4096 }; /* an idle session keeps no large buffer */

	if (r->text.cap > KEEP)
		buf_clear(&r->text);
	buf_reset(&r->text);
	r->line_start = r->line_bytes = r->literal_bytes = 0;
	r->nliterals = 0;
	r->problem = NULL;
	r->state = R_LINE;
}

/* Does this line (without its line end) announce a literal?  "{" number ["+"] "}" at its very end. */
static enum announcement
parse_announcement(struct view line, uint64_t *size)
{
	size_t end = line.len, at;
	bool nonsync = false, huge;

	if (end < 3 || line.p[end - 1] != '}')
		return LITERAL_NONE;
	end--;
	if (line.p[end - 1] == '+') {
		nonsync = true;
		end--;
	}
	for (at = end; at > 0 && ascii_is_digit(line.p[at - 1]);)
		at--;
	if (at == end || (at > 0 && line.p[at - 1] != '{'))
		return LITERAL_NONE;
	/* at == 0: digits as far as the view goes; only the tail of a dropped line can begin so */
	huge = at == 0 || !view_u64(view_make(line.p + at, end - at), literal_number_max, size);
	if (huge)
		return nonsync ? LITERAL_NONSYNC_HUGE : LITERAL_HUGE;
	return nonsync ? LITERAL_NONSYNC : LITERAL_SYNC;
}

static void
fatal(struct imap_reader *r, const char *problem)
{
	r->problem = problem;
	r->state = R_FATAL;
}

/* Gives the command up at a literal: one that the client sends unasked has to be swallowed first. */
static void
drop_at_literal(struct imap_reader *r, const char *problem)
{
	r->problem = problem;
	r->tail_len = 0;
	if (r->is_sync) {
		r->state = R_DROPPED;
		return;
	}
	r->left = r->literal_size;
	r->state = R_DROP_BYTES;
}

static enum imap_reader_event
end_of_line(struct imap_reader *r)
{
	struct view line;

	if (r->text.len > r->line_start && r->text.p[r->text.len - 1] == '\r')
		r->text.len--;
	line = r->text.len == 0 ? view_of("")
				: view_make(r->text.p + r->line_start, r->text.len - r->line_start);
	switch (parse_announcement(line, &r->literal_size)) {
	case LITERAL_NONE:
		r->state = R_DONE;
		return READER_COMMAND;
	case LITERAL_NONSYNC_HUGE:
		fatal(r, "Literal size too large");
		return READER_MORE;
	case LITERAL_HUGE:
		r->problem = "Literal size too large";
		r->state = R_DROPPED;
		return READER_MORE;
	case LITERAL_SYNC:
		r->is_sync = true;
		break;
	case LITERAL_NONSYNC:
		r->is_sync = false;
		break;
	}
	if (++r->nliterals > r->limits.literals) {
		drop_at_literal(r, "Too many literals in the command");
		return READER_MORE;
	}
	r->state = R_DECIDE;
	return READER_LITERAL;
}

/* Takes a piece of a line into text; the part past the bound goes to the dropping state. */
static enum imap_reader_event
take_line(struct imap_reader *r, struct view input, size_t *used)
{
	const char *lf = memchr(input.p, '\n', input.len);
	size_t len = lf ? (size_t)(lf - input.p) : input.len;
	size_t room = r->limits.line_max - r->line_bytes;
	size_t have;

	if (len > room) {
		buf_append(&r->text, input.p, room);
		r->line_bytes += room;
		*used += room;
		have = r->text.len - r->line_start;
		r->tail_len = have < IMAP_READER_TAIL ? have : IMAP_READER_TAIL;
		memcpy(r->tail, r->text.p + r->text.len - r->tail_len, r->tail_len);
		r->problem = "Too long command line";
		r->state = R_DROP_LINE;
		return READER_MORE;
	}
	if (buf_append(&r->text, input.p, len) != 0) {
		fatal(r, "Out of memory");
		return READER_MORE;
	}
	r->line_bytes += len;
	*used += len;
	if (lf == NULL)
		return READER_MORE;
	*used += 1;
	return end_of_line(r);
}

static void
add_tail(struct imap_reader *r, const char *p, size_t len)
{
	size_t keep;

	if (len >= IMAP_READER_TAIL) {
		memcpy(r->tail, p + len - IMAP_READER_TAIL, IMAP_READER_TAIL);
		r->tail_len = IMAP_READER_TAIL;
		return;
	}
	keep = IMAP_READER_TAIL - len;
	if (keep > r->tail_len)
		keep = r->tail_len;
	memmove(r->tail, r->tail + r->tail_len - keep, keep);
	memcpy(r->tail + keep, p, len);
	r->tail_len = keep + len;
}

static void
drop_line(struct imap_reader *r, struct view input, size_t *used)
{
	const char *lf = memchr(input.p, '\n', input.len);
	size_t len = lf ? (size_t)(lf - input.p) : input.len;

	add_tail(r, input.p, len);
	*used += len + (lf != NULL);
	if (lf == NULL)
		return;
	if (r->tail_len > 0 && r->tail[r->tail_len - 1] == '\r')
		r->tail_len--;
	switch (parse_announcement(view_make(r->tail, r->tail_len), &r->left)) {
	case LITERAL_NONSYNC:
		r->tail_len = 0;
		r->state = R_DROP_BYTES;
		break;
	case LITERAL_NONSYNC_HUGE:
		fatal(r, "Literal size too large");
		break;
	default:
		r->state = R_DROPPED;
	}
}

static size_t
take_bytes(struct imap_reader *r, struct view input, size_t *used)
{
	size_t len = r->left < input.len ? (size_t)r->left : input.len;

	r->left -= len;
	*used += len;
	return len;
}

/* One step; READER_MORE here means "go on while there is input or the state can move". */
static enum imap_reader_event
step(struct imap_reader *r, struct view input, size_t *used, struct view *chunk)
{
	size_t len;

	switch ((enum reader_state)r->state) {
	case R_DONE:
		start_command(r);
		return READER_MORE;
	case R_LINE:
		return take_line(r, input, used);
	case R_COLLECT:
	case R_STREAM:
		len = take_bytes(r, input, used);
		if (r->state == R_COLLECT && buf_append(&r->text, input.p, len) != 0) {
			fatal(r, "Out of memory");
			return READER_MORE;
		}
		*chunk = view_make(input.p, len);
		len = r->state == R_STREAM ? len : 0;
		if (r->left == 0) {
			r->line_start = r->text.len;
			r->state = R_LINE;
		}
		return len > 0 ? READER_BYTES : READER_MORE;
	case R_DROP_LINE:
		drop_line(r, input, used);
		return READER_MORE;
	case R_DROP_BYTES:
		take_bytes(r, input, used);
		if (r->left == 0)
			r->state = R_DROP_LINE;
		return READER_MORE;
	case R_DROPPED:
		r->state = R_DONE;
		return READER_DROPPED;
	case R_FATAL:
		return READER_FATAL;
	case R_DECIDE:
		break;
	}
	bug("imap reader: a literal was not decided");
}

enum imap_reader_event
imap_reader_next(struct imap_reader *r, struct view input, size_t *used, struct view *chunk)
{
	*used = 0;
	*chunk = view_of("");
	if (input.len == 0)
		input = view_of("");
	for (;;) {
		struct view rest = view_make(input.p + *used, input.len - *used);
		bool moves = r->state == R_DROPPED || r->state == R_FATAL ||
			     (r->left == 0 && (r->state == R_COLLECT || r->state == R_STREAM ||
						  r->state == R_DROP_BYTES));
		enum imap_reader_event event;

		if (rest.len == 0 && !moves) {
			if (r->state == R_DONE)
				start_command(r);
			return READER_MORE;
		}
		event = step(r, rest, used, chunk);
		if (event != READER_MORE)
			return event;
	}
}

/* The announcement's line end, so that text reads as the wire did. */
static void
begin_literal(struct imap_reader *r, int state)
{
	if (r->state != R_DECIDE)
		bug("imap reader: no literal to decide");
	buf_append_str(&r->text, "\r\n");
	r->left = r->literal_size;
	r->state = state;
}

int
imap_reader_collect(struct imap_reader *r)
{
	if (r->literal_size > r->limits.literal_max - r->literal_bytes) {
		drop_at_literal(r, "Literal too long");
		return -1;
	}
	r->literal_bytes += (size_t)r->literal_size;
	begin_literal(r, R_COLLECT);
	return 0;
}

void
imap_reader_stream(struct imap_reader *r)
{
	begin_literal(r, R_STREAM);
}

void
imap_reader_refuse(struct imap_reader *r)
{
	if (r->state != R_DECIDE)
		bug("imap reader: no literal to refuse");
	drop_at_literal(r, NULL);
}
