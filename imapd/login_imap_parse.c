#include "imapd/login_imap_parse.h"
#include "common/net/stream.h"

void
imap_login_command_init(struct imap_login_command *cmd)
{
	memset(cmd, 0, sizeof *cmd);
	buf_init(&cmd->text, IMAP_LOGIN_COMMAND);
}

void
imap_login_command_clear(struct imap_login_command *cmd)
{
	buf_wipe(&cmd->text);
}

/* A line that ends with "{n}" or "{n+}" announces a literal.  1: it does, 0: not, -1: too large. */
static int
line_literal(struct view line, size_t *size, bool *is_sync, struct err *err)
{
	const char *open;
	struct view digits;
	uint64_t n;

	if (line.len < 3 || line.p[line.len - 1] != '}')
		return 0;
	open = memrchr(line.p, '{', line.len);
	if (open == NULL)
		return 0;
	digits = (struct view){ open + 1, (size_t)(line.p + line.len - 1 - (open + 1)) };
	*is_sync = !view_ends(digits, "+");
	if (!*is_sync)
		digits.len--;
	if (digits.len == 0 || digits.len > 10 || !view_u64(digits, UINT32_MAX, &n))
		return 0;
	if (n > IMAP_LOGIN_LITERAL)
		return err_set(err, ERR_LIMIT, "Literal too large.");
	*size = (size_t)n;
	return 1;
}

/* Finds the end of the command without looking into it. */
static int
command_frame(struct imap_login_command *cmd, struct view in, size_t *total, struct err *err)
{
	size_t at = 0, line_bytes = 0;

	cmd->literals = 0;
	for (;;) {
		struct view line, rest = { in.p + at, in.len - at };
		size_t used = 0, size = 0;
		bool is_sync = false;
		int r = line_cut(rest, IMAP_LOGIN_LINE - line_bytes, &line, &used, err);

		if (r < 0 && err->kind == ERR_LIMIT)
			err_set(err, ERR_LIMIT, "Command line too long.");
		if (r != 0)
			return r;
		r = line_literal(line, &size, &is_sync, err);
		at += used;
		if (r < 0 && is_sync) {
			/* the client waits before it sends: the command ends here */
			*total = at;
			return err_set(err, ERR_SYNTAX, "Literal too large.");
		}
		if (r < 0)
			return -1;
		line_bytes += line.len;
		if (r == 0) {
			*total = at;
			return 0;
		}
		if (at + size > IMAP_LOGIN_COMMAND - IMAP_LOGIN_LINE + line_bytes)
			return err_set(err, ERR_LIMIT, "Command too long.");
		if (is_sync)
			cmd->literals++;
		if (in.len - at < size)
			return 1;
		at += size;
	}
}

/* RFC 9051 9: atom-specials are not in atoms; ']' is allowed, as in tags and flags of the wild. */
static bool
is_atom_char(int c)
{
	return c > ' ' && c < 0x7f && strchr("(){%*\"\\", c) == NULL;
}

static struct view
take_atom(struct view *rest)
{
	struct view atom = { rest->p, 0 };

	while (atom.len < rest->len && is_atom_char((unsigned char)rest->p[atom.len]))
		atom.len++;
	rest->p += atom.len;
	rest->len -= atom.len;
	return atom;
}

static int
take_quoted(struct imap_login_command *cmd, struct view *rest, struct view *out, struct err *err)
{
	size_t start = cmd->text.len, i;

	for (i = 1; i < rest->len && rest->p[i] != '"'; i++) {
		if (rest->p[i] == '\\' &&
		    (++i == rest->len || (rest->p[i] != '"' && rest->p[i] != '\\')))
			return err_set(err, ERR_SYNTAX, "Invalid escape in quoted string.");
		if (rest->p[i] == '\r' || rest->p[i] == '\n')
			break;
		/* the buffer holds a whole command, and was reserved: it never moves under earlier views */
		if (buf_append_byte(&cmd->text, rest->p[i]) < 0)
			return err_set(err, ERR_LIMIT, "Command too long.");
	}
	if (i >= rest->len || rest->p[i] != '"')
		return err_set(err, ERR_SYNTAX, "Unterminated quoted string.");
	*out = (struct view){ cmd->text.p + start, cmd->text.len - start };
	rest->p += i + 1;
	rest->len -= i + 1;
	return 0;
}

/* command_frame has seen that the announced bytes are there. */
static int
take_literal(struct view *rest, struct view *out, struct err *err)
{
	struct view line;
	size_t used, size = 0;
	bool is_sync;

	if (line_cut(*rest, IMAP_LOGIN_LINE, &line, &used, err) != 0)
		return err_set(err, ERR_SYNTAX, "Invalid literal.");
	/* the brace here must be the one that announced it */
	if (memchr(line.p + 1, '{', line.len - 1) != NULL ||
	    line_literal(line, &size, &is_sync, err) != 1 || rest->len - used < size)
		return err_set(err, ERR_SYNTAX, "Invalid literal.");
	*out = (struct view){ rest->p + used, size };
	rest->p += used + size;
	rest->len -= used + size;
	return 0;
}

static int
take_arg(struct imap_login_command *cmd, struct view *rest, struct imap_arg *arg, struct err *err)
{
	switch (rest->p[0]) {
	case '(':
	case ')':
		arg->kind = rest->p[0] == '(' ? IMAP_ARG_OPEN : IMAP_ARG_CLOSE;
		arg->text = (struct view){ rest->p, 1 };
		rest->p++;
		rest->len--;
		return 0;
	case '"':
		arg->kind = IMAP_ARG_STRING;
		return take_quoted(cmd, rest, &arg->text, err);
	case '{':
		arg->kind = IMAP_ARG_STRING;
		return take_literal(rest, &arg->text, err);
	default:
		arg->kind = IMAP_ARG_ATOM;
		arg->text = take_atom(rest);
		return arg->text.len > 0
			   ? 0
			   : err_set(err, ERR_SYNTAX, "Invalid characters in command.");
	}
}

/* Arguments are separated by one space, but for parentheses, which need none inside. */
static int
take_args(struct imap_login_command *cmd, struct view rest, struct err *err)
{
	bool needs_space = true;

	while (rest.len > 0) {
		struct imap_arg *arg = &cmd->args[cmd->nargs];

		if (rest.p[0] == ' ') {
			rest.p++;
			rest.len--;
			if (rest.len == 0)
				break; /* a trailing space is forgiven */
		} else if (needs_space && rest.p[0] != ')') {
			return err_set(err, ERR_SYNTAX, "Missing space between arguments.");
		}
		if (cmd->nargs == IMAP_LOGIN_ARGS)
			return err_set(err, ERR_SYNTAX, "Too many arguments.");
		if (take_arg(cmd, &rest, arg, err) < 0)
			return -1;
		cmd->nargs++;
		needs_space = arg->kind != IMAP_ARG_OPEN;
	}
	return 0;
}

int
imap_login_parse(struct imap_login_command *cmd, struct view in, size_t *used, struct err *err)
{
	struct view rest;
	size_t total = 0;
	int r;

	*used = 0;
	r = command_frame(cmd, in, &total, err);
	*used = total;
	if (r != 0 && total == 0)
		return r;
	if (buf_reserve(&cmd->text, total) == NULL)
		return err_set(err, ERR_LIMIT, "Command too long.");
	rest = (struct view){ in.p, total - (total > 1 && in.p[total - 2] == '\r' ? 2 : 1) };
	cmd->tag = take_atom(&rest);
	if (cmd->tag.len == 0 || cmd->tag.len > IMAP_LOGIN_TAG ||
	    memchr(cmd->tag.p, '+', cmd->tag.len) != NULL || rest.len < 2 || rest.p[0] != ' ') {
		cmd->tag = (struct view){ NULL, 0 };
		return err_set(err, ERR_SYNTAX, "Invalid tag or missing command.");
	}
	if (r < 0)
		return -1;
	rest.p++;
	rest.len--;
	cmd->name = take_atom(&rest);
	if (cmd->name.len == 0)
		return err_set(err, ERR_SYNTAX, "Missing command.");
	return take_args(cmd, rest, err);
}
