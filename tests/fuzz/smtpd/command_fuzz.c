#include "common/base/err.h"
#include "smtpd/command.h"
#include "smtpd/command_table.h"

/* One command line, as the dispatcher takes it apart. */
static void
parse_path(struct view args, const char *prefix, unsigned options)
{
	struct view params, keyword, value;
	struct address a;
	struct err err;

	if (command_parse_path(args, prefix, options, &a, &params, &err) < 0) {
		if (err.kind != ERR_SYNTAX && err.kind != ERR_PERM)
			bug("kind %d", err.kind);
		return;
	}
	while (esmtp_param_next(&params, &keyword, &value, &err) == 0) {
		if (keyword.len == 0 || (value.p != NULL && value.len == 0))
			bug("empty parameter");
		xtext_is_valid(value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct command_line c;

	command_split(view_make(data, size), &c);
	if (smtpd_command_find(c.verb) == NULL)
		bug("no row");
	parse_path(c.args, "FROM:", ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_BARE);
	parse_path(c.args, "TO:", ADDRESS_STRICT);
	return 0;
}
