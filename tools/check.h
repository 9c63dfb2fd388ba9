/* check.h - what `estafeta check` finds wrong with a configuration. */
#ifndef TOOLS_CHECK_H
#define TOOLS_CHECK_H

#include "common/config/master_cf.h"
#include "tools/tool.h"

enum check_level { CHECK_ERROR, CHECK_WARNING, CHECK_NOTE };

/* Kept until all are known: they are printed by file and line. */
struct complaint {
	enum check_level level;
	char *file, *text; /* owned; file "": it is about none */
	int line;          /* 0: about the whole file */
	int *also;         /* owned: further lines with the same */
	size_t nalso;
};

struct check {
	const struct tool *tool;
	bool is_asked_for;                /* by `estafeta check`, not by start or reload */
	struct conf base;                 /* main.cf without what was found faulty in it */
	const struct master_cf *services; /* borrowed */
	struct complaint *complaints;     /* owned */
	size_t count, errors;
	struct map
	    taken_out; /* names of parameters: what a later test says of them may be no more than the consequence */
};

/* --- check_say.c --- */

/* text: "FILE:LINE: ..." or "FILE: ..." with a whole path, else it is about no file.  The same is said once. */
void check_add(struct check *c, enum check_level level, const char *text);
/* A fault that speaks of a parameter that was taken out, beside the one it is about. */
bool check_is_consequence(const struct check *c, const char *text);
/* Says it, unless it is a consequence, with the place in main.cf or master.cf where the parameter is set that text begins with.  conf: of the service s.
 * Returns the parameter, as the one to change; NULL: it is about none. */
const char *check_say(struct check *c, const struct service *s, const struct conf *conf,
    enum check_level level, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void check_print(struct check *c);
void check_clear(struct check *c);

/* --- check_tls.c --- */

/* Certificate and key of the service's listeners: readable, well-formed, a pair. */
void check_tls(struct check *c, const struct service *s, const struct conf *conf);

/* --- check_conf.c: what is no fault and yet not meant --- */

void check_domains(struct check *c);
/* Options of the service's line that change nothing for it. */
void check_options(struct check *c, const struct service *s, const struct conf *conf);

#endif
