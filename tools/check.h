/* check.h - what `estafeta check` finds wrong with a configuration. */
#ifndef TOOLS_CHECK_H
#define TOOLS_CHECK_H

#include "common/config/master_cf.h"
#include "tools/tool.h"

struct check {
	const struct tool *tool;
	const struct master_cf *services; /* borrowed; NULL until they are checked */
	struct map said; /* each complaint is made once, however many services it is about */
	unsigned faults;
};

/* Says it, with the place in main.cf or master.cf where the parameter is set that text begins with; fault: not just
 * a warning.  conf: of the service s. */
void check_say(struct check *c, const struct service *s, const struct conf *conf, bool fault,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Certificate and key of the service's listeners: readable, well-formed, a pair. */
void check_tls(struct check *c, const struct service *s, const struct conf *conf);

#endif
