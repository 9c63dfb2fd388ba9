#include "pop3d/stuff.h"

void
pop3d_stuff_init(struct pop3d_stuff *s)
{
	*s = (struct pop3d_stuff){ 0 };
}

void
pop3d_stuff_init_top(struct pop3d_stuff *s, uint64_t lines)
{
	*s = (struct pop3d_stuff){ .is_limited = true, .lines_left = lines };
}

static void
line_ended(struct pop3d_stuff *s)
{
	if (s->in_body && s->lines_left > 0)
		s->lines_left--;
	if (!s->in_body && !s->line_has_bytes)
		s->in_body = true;
	s->in_line = s->line_has_bytes = s->after_cr = false;
	if (s->is_limited && s->in_body && s->lines_left == 0)
		s->is_done = true;
}

/* A run without LF, as it stands. */
static int
add_run(struct pop3d_stuff *s, struct view run, struct buf *out)
{
	if (run.len == 0)
		return 0;
	if (!s->in_line && run.p[0] == '.' && buf_append_byte(out, '.') < 0)
		return -1;
	/* a CR that turns out not to end the line is one of its bytes */
	if (s->after_cr || run.len > 1 || run.p[0] != '\r')
		s->line_has_bytes = true;
	s->in_line = true;
	s->after_cr = run.p[run.len - 1] == '\r';
	return buf_append_view(out, run);
}

int
pop3d_stuff_add(struct pop3d_stuff *s, struct view in, struct buf *out)
{
	while (in.len > 0 && !s->is_done) {
		const char *lf = memchr(in.p, '\n', in.len);
		size_t len = lf == NULL ? in.len : (size_t)(lf - in.p);

		if (add_run(s, view_make(in.p, len), out) < 0)
			return -1;
		if (lf == NULL)
			return 0;
		if (buf_append_str(out, s->after_cr ? "\n" : "\r\n") < 0)
			return -1;
		line_ended(s);
		in = view_make(lf + 1, in.len - len - 1);
	}
	return 0;
}

int
pop3d_stuff_end(struct pop3d_stuff *s, struct buf *out)
{
	if (s->in_line && buf_append_str(out, s->after_cr ? "\n" : "\r\n") < 0)
		return -1;
	return buf_append_str(out, ".\r\n");
}
