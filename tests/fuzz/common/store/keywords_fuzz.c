#include "common/base/err.h"
#include "common/store/keyword_file.h"

static void
take_name(void *arg, unsigned number, struct view name)
{
	(void)arg;
	if (number >= STORE_MAX_KEYWORDS || !keyword_is_valid(name))
		bug("keyword %u", number);
}

static void
take_uid(void *arg, uint32_t uid, const struct keyword_set *set)
{
	(void)arg;
	if (uid == 0 || (set->bits[0] & ((1u << KEYWORD_LETTERS) - 1)) != 0)
		bug("keywords of %u", uid);
}

static void
take_base(void *arg, struct view base, const struct keyword_set *set)
{
	(void)arg;
	(void)set;
	if (base.len == 0)
		bug("empty base");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = view_make(data, size);

	keyword_file_parse(text, take_name, NULL);
	keyword_extra_parse(text, take_name, take_uid, NULL);
	keyword_courier_parse(text, take_name, take_base, NULL);
	return 0;
}
