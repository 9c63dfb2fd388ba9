#include "common/user/saslprep.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"

#include <stdlib.h>
#include <stringprep.h>

static bool
is_printable_ascii(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

bool
saslprep(const char *in, char *out, size_t size)
{
	char *prepared = NULL;
	size_t len = strlen(in);
	bool ok;

	if (!is_printable_ascii(in)) {
		if (!utf8_is_valid(view_of(in)) ||
		    stringprep_profile(in, &prepared, "SASLprep", 0) != STRINGPREP_OK)
			return false;
		in = prepared;
		len = strlen(in);
	}
	ok = len < size;
	if (ok)
		memcpy(out, in, len + 1);
	if (prepared != NULL)
		mem_wipe(prepared, len);
	free(prepared);
	return ok;
}
