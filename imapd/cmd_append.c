/* APPEND (RFC 3501 6.3.11) with APPENDUID (RFC 4315 3).  The message's literal goes to the store as it comes; only the
 * arguments before it are ever in memory. */
#include "imapd/command.h"
#include "imapd/imap_date.h"

struct append {
	const char *mailbox;
	struct imap_flags flags;
	int64_t internal_date; /* -1: now */
	struct save *save;     /* owned */
	struct err err;        /* what went wrong while the bytes came */
	bool has_nul;
};

static void
cleanup(struct imapd_command *c)
{
	struct append *a = c->work;

	if (a->save != NULL)
		save_abort(a->save);
	a->save = NULL;
}

/* All that stands before the message's literal. */
static bool
parse_head(struct imap_args *p, struct append *a)
{
	struct view date;

	a->internal_date = -1;
	a->flags = (struct imap_flags){ 0 };
	if (!imap_args_space(p) || !imap_args_mailbox(p, &a->mailbox) || !imap_args_space(p))
		return false;
	if (imap_args_next_is(p, '(') &&
	    (!imap_args_flag_list(p, &a->flags) || !imap_args_space(p)))
		return false;
	if (!imap_args_next_is(p, '"'))
		return true;
	return imap_args_string(p, &date) &&
	       (imap_date_time_parse(date, &a->internal_date) ||
		   imap_args_fail(p, "Invalid date-time")) &&
	       imap_args_space(p);
}

/* Is there a place for it?  A client that waits for our "+" is told before it sends the bytes. */
static enum imapd_literal_answer
begin_message(struct imapd_command *c, struct append *a, uint64_t size)
{
	struct imapd_account *account = c->session->account;

	if (size == 0)
		imapd_no(c, "CANNOT", "Can't save a zero byte message");
	else if (account->config.message_size_max != 0 && size > account->config.message_size_max)
		imapd_no(c, "TOOBIG", "Message is too large");
	else if (save_begin(account->login.store, a->mailbox, &a->save, &a->err) == 0)
		return LITERAL_STREAM;
	else
		imapd_failed_target(c, &a->err);
	return LITERAL_REFUSE;
}

enum imapd_literal_answer
imapd_literal_append(struct imapd_command *c, struct view text, uint64_t size)
{
	struct append *a = c->work;
	struct imap_args p;

	if (a == NULL) {
		a = c->work = imapd_command_alloc(c, sizeof *a);
		c->cleanup = cleanup;
	}
	if (a->save != NULL) /* behind the message: junk, which parse refuses */
		return LITERAL_COLLECT;
	imapd_args_behind_name(c, text, &p);
	if (parse_head(&p, a) && imap_args_next_is(&p, '{'))
		return begin_message(c, a, size);
	if (p.problem != imap_args_bad_name) /* the mailbox's name, or junk */
		return LITERAL_COLLECT;
	imapd_no(c, "CANNOT", p.problem);
	return LITERAL_REFUSE;
}

void
imapd_bytes_append(struct imapd_command *c, struct view chunk)
{
	struct append *a = c->work;

	if (a->save == NULL)
		return;
	a->has_nul = memchr(chunk.p, '\0', chunk.len) != NULL;
	if (a->has_nul || save_write(a->save, chunk.p, chunk.len, &a->err) != 0)
		cleanup(c);
}

bool
imapd_parse_append(struct imapd_command *c)
{
	struct append again;
	uint32_t size;

	return parse_head(&c->args, &again) && imap_args_streamed_literal(&c->args, &size) &&
	       imap_args_end(&c->args);
}

static const char *const *
keyword_list(struct imapd_command *c, const struct imap_flags *flags)
{
	const char **list = imapd_command_alloc(c, (flags->nkeywords + 1) * sizeof list[0]);

	for (size_t i = 0; i < flags->nkeywords; i++)
		list[i] = flags->keywords[i];
	return list;
}

enum imapd_result
imapd_cmd_append(struct imapd_command *c)
{
	struct append *a = c->work;
	struct save_options options = { 0 };
	uint32_t uidvalidity, uid;
	struct save *save = a->save;

	if (a->has_nul) /* RFC 3501 9: CHAR8 */
		return imapd_no(c, "CANNOT", "Message contains a NUL byte");
	if (save == NULL)
		return imapd_failed_target(c, &a->err);
	options.flags = a->flags.flags;
	options.keywords = keyword_list(c, &a->flags);
	options.internal_date = a->internal_date;
	a->save = NULL; /* save_finish frees it either way */
	if (save_finish(save, &options, &uidvalidity, &uid, &a->err) != 0)
		return imapd_failed_target(c, &a->err);
	return imapd_ok(
	    c, arena_printf(&c->arena, "APPENDUID %u %u", uidvalidity, uid), "Append completed.");
}
