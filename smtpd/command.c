#include "smtpd/command.h"

void
command_split(struct view line, struct command_line *out)
{
	size_t i = 0;

	line = view_trim(line);
	while (i < line.len && !ascii_is_space(line.p[i]))
		i++;
	out->verb = view_make(line.p, i);
	out->args = view_trim(view_make(line.p + i, line.len - i));
}

/* Some clients write "FROM: <a@b>": white space behind the colon is stepped over unless the admin asked for
 * the letter of the standard (strict_rfc821_envelopes). */
int
command_parse_path(struct view args, const char *prefix, unsigned options, struct address *out,
    struct view *params, struct err *err)
{
	size_t skip = strlen(prefix), used;

	if (!view_case_starts(args, prefix))
		return err_set(err, ERR_SYNTAX, "%s expected", prefix);
	args = view_make(args.p + skip, args.len - skip);
	if (!(options & ADDRESS_STRICT))
		args = view_trim(args);
	if (args.len == 0)
		return err_set(err, ERR_SYNTAX, "address missing");
	if (address_parse_path(args, options, out, &used, err) < 0) {
		err->kind = ERR_PERM; /* the command is there, its address is bad: another reply */
		return -1;
	}
	*params = view_make(args.p + used, args.len - used);
	if (params->len > 0 && !ascii_is_space(params->p[0])) {
		err_set(err, ERR_PERM, "unexpected byte behind the address");
		return -1;
	}
	return 0;
}

static bool
keyword_is_valid(struct view k)
{
	if (k.len == 0 || !ascii_is_alnum(k.p[0]))
		return false;
	for (size_t i = 1; i < k.len; i++)
		if (!ascii_is_alnum(k.p[i]) && k.p[i] != '-')
			return false;
	return true;
}

/* esmtp-value = 1*(%d33-60 / %d62-126), and UTF8-non-ascii of RFC 6531 3.3: each keyword looks at its own value */
static bool
value_is_valid(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.p[i] <= ' ' || v.p[i] == 127 || v.p[i] == '=')
			return false;
	return v.len > 0;
}

int
esmtp_param_next(struct view *rest, struct view *keyword, struct view *value, struct err *err)
{
	struct view param;

	if (!view_token(rest, " \t", &param))
		return 1;
	if (!view_cut(param, '=', keyword, value))
		*value = view_make(NULL, 0);
	else if (!value_is_valid(*value))
		return err_set(err, ERR_SYNTAX, "malformed parameter value");
	if (!keyword_is_valid(*keyword))
		return err_set(err, ERR_SYNTAX, "malformed parameter");
	return 0;
}

static bool
is_upper_hex(char c)
{
	return ascii_is_digit(c) || (c >= 'A' && c <= 'F');
}

bool
xtext_is_valid(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		if (v.p[i] <= ' ' || v.p[i] >= 127 || v.p[i] == '=')
			return false;
		if (v.p[i] != '+')
			continue;
		if (v.len - i < 3 || !is_upper_hex(v.p[i + 1]) || !is_upper_hex(v.p[i + 2]))
			return false;
		i += 2;
	}
	return v.len > 0;
}
