/* Records and addresses: what is decoded encodes to itself; what is an address is harmless as a path. */
#include "common/user/user_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_record(struct view bytes)
{
	struct user_record one, two;
	struct err e;
	struct buf b;

	if (user_record_decode(bytes, &one, &e) < 0)
		return;
	buf_init(&b, USER_RECORD_MAX);
	if (user_record_encode(&one, &b, &e) < 0 || user_record_decode(buf_view(&b), &two, &e) < 0)
		bug("%s", e.text);
	if (one.uid != two.uid || one.gid != two.gid || strcmp(one.crypt, two.crypt) != 0 ||
	    strcmp(one.scram, two.scram) != 0 || strcmp(one.home, two.home) != 0)
		bug("another record");
	buf_clear(&b);
}

static void
check_address(struct view text)
{
	char folded[USER_ADDRESS_MAX + 1], again[USER_ADDRESS_MAX + 1], home[USER_HOME_MAX];
	struct user_record r = { 0 };
	struct err e;

	if (user_address_fold(text, folded, &e) < 0)
		return;
	if (user_address_fold(view_of(folded), again, &e) < 0 || strcmp(folded, again) != 0)
		bug("folding is not stable");
	if (user_home_path(&r, "/base", folded, home, &e) < 0)
		bug("no home: %s", e.text);
	if (strstr(home, "/../") != NULL || strstr(home, "/./") != NULL ||
	    strstr(home, "//") != NULL || user_home_beneath(home, "/base") == NULL)
		bug("a home elsewhere: %s", home);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_record(view_make(data, size));
	check_address(view_make(data, size));
	return 0;
}
