#include "common/config/restrictions.h"
#include "common/base/mem.h"

#include <stdlib.h>

static void
each_word(const struct conf *conf, const char *param, restriction_fn *fn, void *arg)
{
	const char *value = conf_own_str(conf, param, NULL);
	struct view rest = view_of(value != NULL ? value : ""), word, before = VIEW_LIT("");

	for (; conf_next(&rest, &word); before = word)
		fn(arg, param, before, word);
}

void
restrictions_each(const struct conf *conf, restriction_fn *fn, void *arg)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);
	struct view classes = view_of(conf_str(conf, "smtpd_restriction_classes")), class;

	for (size_t i = 0; i < count; i++)
		if (strncmp(p[i].name, "smtpd_", 6) == 0 &&
		    view_ends(view_of(p[i].name), "_restrictions"))
			each_word(conf, p[i].name, fn, arg);
	while (conf_next(&classes, &class)) {
		char *name = x_strndup(class.p, class.len);

		each_word(conf, name, fn, arg);
		free(name);
	}
}
