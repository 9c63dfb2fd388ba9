/* RETR and TOP: read from the file in pieces, as fast as the client takes them. */
#include "common/base/fd.h"
#include "common/log/log.h"
#include "pop3d/command.h"

#include <errno.h>
#include <unistd.h>

enum { PIECE = 16384 };

static bool
content_step(struct pop3d_session *s, struct buf *out)
{
	struct pop3d_job *j = &s->job;
	size_t before = out->len;
	char piece[PIECE];
	struct err err;
	ssize_t n;
	bool is_last;

	do {
		n = pread(j->fd, piece, sizeof piece, (off_t)j->off);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		err_sys(&err, ERR_TEMP, "reading a message");
		log_as(s->login.log_tag, LOG_LEVEL_ERROR, "%s", err.text);
		pop3d_session_end(
		    s, "Internal error"); /* a torn message must not look like a whole one */
		return true;
	}
	j->off += (uint64_t)n;
	pop3d_stuff_add(&j->stuff, view_make(piece, (size_t)n), out);
	is_last = n == 0 || j->stuff.is_done;
	if (is_last)
		pop3d_stuff_end(&j->stuff, out);
	*j->bytes += out->len - before;
	return is_last;
}

/* The answer's first line and the job; false: the message is gone, and that is answered. */
static bool
content_start(struct pop3d_session *s, size_t index, bool is_top)
{
	struct err err;
	uint64_t size;
	int fd = mailbox_open_file(s->drop->box, s->drop->messages[index].uid, &size, &err);

	if (fd < 0) {
		if (err.kind != ERR_GONE)
			log_as(
			    s->login.log_tag, LOG_LEVEL_ERROR, "opening a message: %s", err.text);
		pop3d_reply(s, "-ERR [SYS/TEMP] message gone\r\n");
		return false;
	}
	if (is_top)
		pop3d_reply(s, "+OK\r\n");
	else
		pop3d_reply(s, "+OK %llu octets\r\n", (unsigned long long)size);
	s->job = (struct pop3d_job){ .step = content_step, .fd = fd };
	return true;
}

void
pop3d_cmd_retr(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	(void)args, (void)nargs;
	if (!content_start(s, index, false))
		return;
	pop3d_stuff_init(&s->job.stuff);
	s->job.bytes = &s->counts.retr_bytes;
	s->counts.retr++;
	s->drop->messages[index].is_read = true;
}

void
pop3d_cmd_top(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	uint64_t lines;

	(void)nargs;
	if (!view_u64(args[1], UINT64_MAX, &lines)) {
		pop3d_reply(s, "-ERR Invalid line count: not a number.\r\n");
		return;
	}
	if (!content_start(s, index, true))
		return;
	pop3d_stuff_init_top(&s->job.stuff, lines);
	s->job.bytes = &s->counts.top_bytes;
	s->counts.top++;
}
