/* What is formatted parses to the same again. */
#include "common/base/err.h"
#include "common/store/maildir_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char one[MAILDIR_NAME_MAX + 1], two[MAILDIR_NAME_MAX + 1];
	struct maildir_name n, m;
	uint64_t number;

	if (size == 0 || size > MAILDIR_NAME_MAX || memchr(data, '\0', size) != NULL)
		return 0;
	maildir_name_parse(view_make(data, size), &n);
	maildir_name_number(n.base, 'S', &number);
	if (maildir_name_format(&n, one) < 0)
		return 0;
	maildir_name_parse(view_of(one), &m);
	if (m.flags != n.flags || m.letters != n.letters || !view_eq(m.base, n.base) ||
	    maildir_name_format(&m, two) < 0 || strcmp(one, two) != 0)
		bug("name changes: %s, %s", one, two);
	return 0;
}
