#include "common/config/own_sender.h"
#include "common/base/mem.h"

char *
own_sender(const struct conf *c, const char *param)
{
	const char *name = conf_str(c, param);
	char *whole;

	if (name[0] == '\0' || strcmp(name, "<>") == 0)
		return x_strdup("");
	whole = strchr(name, '@') != NULL ? x_strdup(name)
					  : x_asprintf("%s@%s", name, conf_str(c, "myorigin"));
	ascii_lower_str(whole);
	return whole;
}
