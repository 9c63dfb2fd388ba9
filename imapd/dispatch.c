/* A command from its text to its tagged reply. */
#include "common/base/mem.h"
#include "common/log/log.h"
#include "imapd/command.h"

#include <stdio.h>
#include <stdlib.h>

enum { COMMAND_ARENA_MAX = 128 << 20 };

/* --- replies -------------------------------------------------------------------------------------------- */
static enum imapd_result
reply(struct imapd_command *c, const char *status, const char *code, const char *text)
{
	if (c->status == NULL) {
		c->status = status;
		c->code = code;
		c->text = text;
	}
	return IMAPD_DONE;
}

enum imapd_result
imapd_ok(struct imapd_command *c, const char *code, const char *text)
{
	return reply(c, "OK", code, text);
}

enum imapd_result
imapd_no(struct imapd_command *c, const char *code, const char *text)
{
	return reply(c, "NO", code, text);
}

enum imapd_result
imapd_bad(struct imapd_command *c, const char *text)
{
	return reply(c, "BAD", NULL, text);
}

/* clang-format off */
/* The one table from a failure's kind to a response code (RFC 5530) and words that tell a stranger nothing. */
static const struct { const char *code, *text; } failures[] = {
	[ERR_NONE]   = { "SERVERBUG",   "Internal error occurred. Refer to server log for more information." },
	[ERR_SYNTAX] = { "CANNOT",      "Invalid mailbox name." },
	[ERR_LIMIT]  = { "OVERQUOTA",   "Quota exceeded (mailbox for user is full)" },
	[ERR_TEMP]   = { "UNAVAILABLE", "Internal error occurred. Refer to server log for more information." },
	[ERR_PERM]   = { "CANNOT",      "Operation not permitted on this mailbox" },
	[ERR_GONE]   = { "NONEXISTENT", "Mailbox doesn't exist" },
	[ERR_BUG]    = { "SERVERBUG",   "Internal error occurred. Refer to server log for more information." },
};
/* clang-format on */

enum imapd_result
imapd_failed(struct imapd_command *c, const struct err *err)
{
	if (err->kind == ERR_TEMP || err->kind == ERR_BUG || err->kind == ERR_NONE)
		log_as(
		    c->session->login.log_tag, LOG_LEVEL_ERROR, "%s: %s", c->row->name, err->text);
	return imapd_no(c, failures[err->kind].code, failures[err->kind].text);
}

enum imapd_result
imapd_failed_target(struct imapd_command *c, const struct err *err)
{
	if (err->kind == ERR_GONE)
		return imapd_no(c, "TRYCREATE", "Mailbox doesn't exist");
	return imapd_failed(c, err);
}

/* --- memory ----------------------------------------------------------------------------------------------- */
static struct imapd_command *
command_new(struct imapd_session *s)
{
	struct imapd_command *c = x_calloc(1, sizeof *c);

	c->session = s;
	c->tag = "*"; /* RFC 3501 7.1.3: a BAD that belongs to no known command */
	arena_init(&c->arena, COMMAND_ARENA_MAX);
	return c;
}

void
imapd_command_free(struct imapd_command **cp)
{
	struct imapd_command *c = *cp;

	if (c == NULL)
		return;
	if (c->cleanup != NULL)
		c->cleanup(c);
	arena_clear(&c->arena);
	x_free(cp);
}

void *
imapd_command_alloc(struct imapd_command *c, size_t size)
{
	void *p = arena_alloc(&c->arena, size);

	if (p == NULL)
		bug("command arena full at %zu bytes", c->arena.used_bytes);
	return p;
}

/* --- reading ------------------------------------------------------------------------------------------------ */
static const struct imapd_command_row *
take_name(struct imapd_command *c)
{
	char name[32];
	struct view word, second;

	if (!imap_args_atom(&c->args, &word))
		return NULL;
	if (!view_case_eq_str(word, "UID"))
		return imapd_command_find(word);
	/* RFC 3501 6.4.8: UID is the first half of a name */
	if (!imap_args_space(&c->args) || !imap_args_atom(&c->args, &second) || second.len > 20)
		return NULL;
	snprintf(name, sizeof name, "UID %.*s", VIEW_ARG(second));
	return imapd_command_find(view_of(name));
}

/* Tag and name off the front of the text; on a fault the reply is set and there is no row. */
static void
take_head(struct imapd_command *c, struct view text)
{
	struct imapd_session *s = c->session;
	const struct imapd_command_row *row;
	struct view tag;

	imap_args_init(&c->args, text, &c->arena);
	if (!imap_args_tag(&c->args, &tag) ||
	    (c->tag = arena_strndup(&c->arena, tag.p, tag.len)) == NULL) {
		c->tag = "*";
		imapd_bad(c, text.len ? "Invalid tag." : "Null command.");
		return;
	}
	row = imap_args_space(&c->args) ? take_name(c) : NULL;
	if (row == NULL)
		imapd_bad(c, "Unknown command.");
	else if (!(row->states & s->state))
		imapd_bad(c, s->state == IMAPD_AUTHENTICATED
				 ? "No mailbox selected."
				 : "Command not permitted in this state.");
	else
		c->row = row;
}

/* Arguments that are no syntax errors, though they cannot be used. */
static bool
is_refusal(struct imapd_command *c)
{
	if (c->args.problem != imap_args_bad_name)
		return false;
	imapd_no(c, "CANNOT", c->args.problem);
	return true;
}

static void
parse(struct imapd_command *c)
{
	if (c->row->parse == NULL ? imapd_parse_none(c) : c->row->parse(c))
		return;
	if (c->status == NULL && !is_refusal(c))
		imapd_bad(c, arena_printf(&c->arena, "Error in IMAP command %s: %s", c->row->name,
				 c->args.problem ? c->args.problem : "Invalid arguments"));
}

static void
on_command(struct imapd_session *s)
{
	struct view text = buf_view(&s->reader.text);
	struct imapd_command *c = s->command;

	if (c != NULL && c->phase == PHASE_WAIT) {
		c->phase = PHASE_RUN;
		c->row->line(c, text);
		return;
	}
	if (c == NULL)
		c = s->command = command_new(s);
	/* the text may have moved since its literals were announced */
	if (c->status == NULL)
		take_head(c, text);
	if (c->status == NULL)
		parse(c);
	c->phase = c->status == NULL ? PHASE_RUN : PHASE_NEWS;
	if (s->content_uid != 0 && (c->row == NULL || !(c->row->flags & CMD_KEEPS_CONTENT))) {
		s->content_uid = 0;
		buf_clear(&s->content);
	}
}

static void
on_literal(struct imapd_session *s)
{
	struct imapd_command *c = s->command;
	enum imapd_literal_answer answer = LITERAL_COLLECT;

	if (c != NULL && c->phase == PHASE_WAIT) {
		imap_reader_refuse(&s->reader);
		return;
	}
	if (c == NULL) {
		c = s->command = command_new(s);
		take_head(c, buf_view(&s->reader.text));
	}
	if (c->status != NULL)
		answer = LITERAL_REFUSE;
	else if (c->row->literal != NULL)
		answer = c->row->literal(c, buf_view(&s->reader.text), s->reader.literal_size);
	if (answer == LITERAL_REFUSE) {
		imap_reader_refuse(&s->reader);
		return;
	}
	if (answer == LITERAL_STREAM)
		imap_reader_stream(&s->reader);
	else if (imap_reader_collect(&s->reader) != 0)
		return;
	if (s->reader.is_sync)
		imapd_send(s, "+ OK\r\n");
}

static void
on_dropped(struct imapd_session *s)
{
	struct imapd_command *c = s->command;

	if (c != NULL && c->phase == PHASE_WAIT) {
		c->phase = PHASE_RUN;
		c->row->line(c, VIEW_LIT(""));
		return;
	}
	if (c == NULL) {
		c = s->command = command_new(s);
		take_head(c, buf_view(&s->reader.text));
		c->status = NULL;
	}
	if (s->reader.problem != NULL)
		imapd_bad(c, s->reader.problem);
	imapd_bad(c, "Command refused.");
	c->phase = PHASE_NEWS;
}

bool
imapd_dispatch_read(struct imapd_session *s)
{
	struct view chunk;
	size_t used;
	enum imap_reader_event event =
	    imap_reader_next(&s->reader, stream_input(s->login.stream), &used, &chunk);

	s->counts.in += used;
	if (event == READER_BYTES)
		s->command->row->bytes(s->command, chunk);
	if (used > 0)
		stream_consume(s->login.stream, used);
	switch (event) {
	case READER_MORE:
		return false;
	case READER_BYTES:
		break;
	case READER_COMMAND:
		on_command(s);
		break;
	case READER_LITERAL:
		on_literal(s);
		break;
	case READER_DROPPED:
		on_dropped(s);
		break;
	case READER_FATAL:
		imapd_session_bye(s, s->reader.problem, s->reader.problem);
		break;
	}
	return true;
}

/* --- running ----------------------------------------------------------------------------------------------------- */
static void
send_reply(struct imapd_command *c)
{
	struct imapd_session *s = c->session;

	imapd_send(s, "%s %s ", c->tag, c->status);
	if (c->code != NULL)
		imapd_send(s, "[%s] ", c->code);
	imapd_send(s, "%s\r\n", c->text);
	/* now that this client knows, the others hear of it; \Recent goes to the one who acted */
	if (c->has_changed)
		imapd_account_changed(s->account, "", s);
	s->bad_commands = strcmp(c->status, "BAD") == 0 ? s->bad_commands + 1 : 0;
	if (s->state == IMAPD_LOGOUT)
		imapd_session_end(s, "Logged out");
	else if (s->bad_commands >= s->account->config.bad_commands_max)
		imapd_session_bye(
		    s, "Too many invalid IMAP commands.", "Too many invalid IMAP commands.");
}

static void
step_run(struct imapd_command *c)
{
	switch (c->row->run(c)) {
	case IMAPD_DONE:
		imapd_ok(c, NULL, arena_printf(&c->arena, "%s completed.", c->row->name));
		c->has_changed |= (c->row->flags & CMD_CHANGES) != 0;
		c->phase = PHASE_NEWS;
		break;
	case IMAPD_WAIT:
		c->phase = PHASE_WAIT;
		break;
	case IMAPD_MORE:
		break;
	}
}

static void
step_news(struct imapd_command *c)
{
	struct imapd_session *s = c->session;
	unsigned flags = c->row ? c->row->flags : CMD_NEWS;

	if (!(flags & CMD_NEWS) || s->selected.box == NULL) {
		c->phase = PHASE_REPLY;
		return;
	}
	if (s->news.phase == 0)
		imapd_news_start(s, !(flags & CMD_NO_EXPUNGE), flags & CMD_UID);
	if (!s->is_ending && imapd_news_step(s))
		c->phase = PHASE_REPLY;
}

void
imapd_dispatch_step(struct imapd_session *s)
{
	struct imapd_command *c = s->command;

	switch (c->phase) {
	case PHASE_RUN:
		step_run(c);
		break;
	case PHASE_NEWS:
		step_news(c);
		break;
	case PHASE_REPLY:
		send_reply(c);
		imapd_command_free(&s->command);
		break;
	case PHASE_READ:
	case PHASE_WAIT:
		bug("command %s has nothing to run", c->row ? c->row->name : "?");
	}
}

/* --- what commands share --------------------------------------------------------------------------------------- */
void
imapd_args_behind_name(struct imapd_command *c, struct view text, struct imap_args *out)
{
	size_t head = strlen(c->tag) + 1 + strlen(c->row->name);

	imap_args_init(out, view_make(text.p + head, text.len - head), &c->arena);
}

bool
imapd_parse_none(struct imapd_command *c)
{
	return imap_args_end(&c->args);
}

bool
imapd_parse_mailbox(struct imapd_command *c)
{
	const char *name;

	if (!imap_args_space(&c->args) || !imap_args_mailbox(&c->args, &name) ||
	    !imap_args_end(&c->args))
		return false;
	c->data = (void *)(uintptr_t)name;
	return true;
}

bool
imapd_select_messages(
    struct imapd_command *c, struct imap_seqset *set, uint32_t **seqs, size_t *count)
{
	const struct imap_snapshot *snapshot = &c->session->selected.snapshot;
	bool is_uid = c->row->flags & CMD_UID;

	if (!is_uid && (snapshot->count == 0 || imap_seqset_max_number(set) > snapshot->count)) {
		imapd_bad(c, arena_printf(&c->arena, "Error in IMAP command %s: Invalid messageset",
				 c->row->name));
		return false;
	}
	*seqs = imap_snapshot_select(snapshot, set, is_uid, &c->arena, count);
	if (*seqs == NULL) {
		imapd_no(c, "LIMIT", "Command too large");
		return false;
	}
	return true;
}
