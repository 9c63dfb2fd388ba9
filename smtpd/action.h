/* action.h - the right-hand side of access tables and the answers of policy servers (access(5)).  Pure. */
#ifndef SMTPD_ACTION_H
#define SMTPD_ACTION_H

#include "common/base/view.h"

enum action_kind {
	ACTION_OK,
	ACTION_DUNNO,
	ACTION_REJECT, /* code 0: access_map_reject_code */
	ACTION_DEFER,
	ACTION_DEFER_IF_PERMIT,
	ACTION_DEFER_IF_REJECT,
	/* what happens to a message that is not refused */
	ACTION_HOLD,
	ACTION_DISCARD,
	ACTION_REDIRECT,
	ACTION_FILTER,
	ACTION_PREPEND,
	ACTION_BCC,
	ACTION_INFO,
	ACTION_WARN,
	ACTION_RESTRICTIONS, /* text is a list of restrictions */
};

struct action {
	enum action_kind kind;
	int code;         /* of a refusal that names one (4NN text, 5NN text), else 0 */
	char dsn[12];     /* of a refusal that names one, else "" */
	struct view text; /* what stands behind, "" = none */
};

void action_parse(struct view value, struct action *out);

enum { ACTION_WORD_MAX = 20 };
/* Its word in tables, "HOLD", and in the log, "hold". */
const char *action_word(enum action_kind kind);
const char *action_log_word(enum action_kind kind, char out[ACTION_WORD_MAX]);

#endif
