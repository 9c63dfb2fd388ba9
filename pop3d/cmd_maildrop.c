/* Commands on the list of messages: CAPA, STAT, LIST, UIDL, DELE, RSET, NOOP, QUIT. */
#include "common/log/log.h"
#include "pop3d/command.h"

enum { LINES_PER_STEP = 500 };

void
pop3d_cmd_capa(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	(void)index, (void)args, (void)nargs;
	pop3d_reply(s,
	    "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\n.\r\n");
}

void
pop3d_cmd_noop(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	(void)index, (void)args, (void)nargs;
	pop3d_reply(s, "+OK\r\n");
}

void
pop3d_cmd_stat(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	(void)index, (void)args, (void)nargs;
	pop3d_reply(s, "+OK %zu %llu\r\n", s->drop->count - s->drop->ndeleted,
	    (unsigned long long)(s->drop->size - s->drop->deleted_size));
}

/* The next messages that are not deleted, a line each; the job ends with the dot. */
static bool
step_lines(struct pop3d_session *s, struct buf *out,
    bool (*line)(struct pop3d_session *s, size_t i, struct buf *out))
{
	struct pop3d_maildrop *d = s->drop;

	for (int n = 0; n < LINES_PER_STEP && s->job.next < d->count; s->job.next++, n++)
		if (!d->messages[s->job.next].is_deleted && !line(s, s->job.next, out))
			return true;
	if (s->job.next < d->count)
		return false;
	buf_append_str(out, ".\r\n");
	return true;
}

static bool
list_line(struct pop3d_session *s, size_t i, struct buf *out)
{
	buf_printf(out, "%zu %llu\r\n", i + 1, (unsigned long long)s->drop->messages[i].size);
	return true;
}

static bool
list_step(struct pop3d_session *s, struct buf *out)
{
	return step_lines(s, out, list_line);
}

void
pop3d_cmd_list(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	(void)args;
	if (nargs > 0) {
		pop3d_reply(s, "+OK %zu %llu\r\n", index + 1,
		    (unsigned long long)s->drop->messages[index].size);
		return;
	}
	pop3d_reply(s, "+OK %zu messages:\r\n", s->drop->count - s->drop->ndeleted);
	s->job = (struct pop3d_job){ .step = list_step, .fd = -1 };
}

/* A message that another session has removed keeps its number, but nothing is known of it any more. */
static bool
uidl_line(struct pop3d_session *s, size_t i, struct buf *out)
{
	struct err err;
	char uidl[71];

	if (mailbox_uidl(s->drop->box, s->drop->messages[i].uid, uidl, &err) == 0) {
		buf_printf(out, "%zu %s\r\n", i + 1, uidl);
		return true;
	}
	if (err.kind == ERR_GONE)
		return true;
	log_as(s->login.log_tag, LOG_LEVEL_ERROR, "UIDL: %s", err.text);
	pop3d_session_end(s, "Internal error"); /* half a list must not look like a whole one */
	return false;
}

static bool
uidl_step(struct pop3d_session *s, struct buf *out)
{
	return step_lines(s, out, uidl_line);
}

void
pop3d_cmd_uidl(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	struct err err;
	char uidl[71];

	(void)args;
	if (nargs == 0) {
		pop3d_reply(s, "+OK\r\n");
		s->job = (struct pop3d_job){ .step = uidl_step, .fd = -1 };
	} else if (mailbox_uidl(s->drop->box, s->drop->messages[index].uid, uidl, &err) == 0) {
		pop3d_reply(s, "+OK %zu %s\r\n", index + 1, uidl);
	} else {
		pop3d_reply(s, "-ERR [SYS/TEMP] message gone\r\n");
	}
}

void
pop3d_cmd_dele(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	(void)args, (void)nargs;
	pop3d_maildrop_delete(s->drop, index);
	pop3d_reply(s, "+OK Marked to be deleted.\r\n");
}

void
pop3d_cmd_rset(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	(void)index, (void)args, (void)nargs;
	pop3d_maildrop_reset(s->drop);
	pop3d_reply(s, "+OK\r\n");
}

/* RFC 1939 6: the UPDATE state; only here is mail removed. */
void
pop3d_cmd_quit(struct pop3d_session *s, size_t index, struct view *args, unsigned nargs)
{
	size_t removed;
	struct err err;

	(void)index, (void)args, (void)nargs;
	if (pop3d_maildrop_update(s->drop, &removed, &err) < 0) {
		log_as(s->login.log_tag, LOG_LEVEL_ERROR, "deleting messages: %s", err.text);
		pop3d_reply(
		    s, "-ERR [SYS/TEMP] Logging out, some deleted messages not removed.\r\n");
	} else if (s->drop->ndeleted > 0) {
		pop3d_reply(s, "+OK Logging out, messages deleted.\r\n");
	} else {
		pop3d_reply(s, "+OK Logging out.\r\n");
	}
	s->counts.deleted = removed;
	if (removed > 0)
		s->account->on_changed(s->account->login.arg);
	pop3d_session_end(s, "Logged out");
}
