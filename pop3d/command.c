#include "pop3d/command.h"

bool
pop3d_command_split(
    struct view line, struct view *word, struct view args[POP3D_ARGS_MAX], unsigned *nargs)
{
	struct view token;

	*nargs = 0;
	*word = view_make(line.p, 0);
	if (line.len == 0 || line.p[0] == ' ')
		return true;
	view_token(&line, " ", word);
	while (view_token(&line, " ", &token)) {
		if (*nargs == POP3D_ARGS_MAX)
			return false;
		args[(*nargs)++] = token;
	}
	return true;
}

static const struct pop3d_command *
find(struct view word)
{
	for (const struct pop3d_command *c = pop3d_commands; c->run != NULL; c++)
		if (view_case_eq_str(word, c->name))
			return c;
	return NULL;
}

/* The index of a message that is there and not deleted; false: answered. */
static bool
find_message(struct pop3d_session *s, struct view arg, size_t *index)
{
	uint64_t number;

	if (!view_u64(arg, UINT64_MAX, &number)) {
		pop3d_reply(s, "-ERR Invalid message number: not a number.\r\n");
		return false;
	}
	if (number == 0 || number > s->drop->count) {
		pop3d_reply(s, "-ERR There's no message %llu.\r\n", (unsigned long long)number);
		return false;
	}
	*index = (size_t)number - 1;
	if (!s->drop->messages[*index].is_deleted)
		return true;
	pop3d_reply(s, "-ERR Message is deleted.\r\n");
	return false;
}

enum pop3d_command_result
pop3d_command_run(struct pop3d_session *s, struct view line)
{
	struct view word, args[POP3D_ARGS_MAX];
	const struct pop3d_command *c;
	size_t index = 0;
	unsigned nargs;
	bool fits = pop3d_command_split(line, &word, args, &nargs);

	c = find(word);
	if (c == NULL)
		return POP3D_COMMAND_UNKNOWN;
	if (!fits || nargs < c->min_args || nargs > c->max_args)
		return POP3D_COMMAND_ARGUMENTS;
	if (c->takes_message && nargs > 0 && !find_message(s, args[0], &index))
		return POP3D_COMMAND_DONE;
	c->run(s, index, args, nargs);
	return POP3D_COMMAND_DONE;
}
