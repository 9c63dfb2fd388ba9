#include "common/proto/sts.h"

/* A policy that is taken reads the same when it is written and read again. */
static void
check_policy(struct view text)
{
	struct sts_policy p, again;
	struct buf out;
	struct err err;

	buf_init(&out, 4 * STS_POLICY_BYTES);
	if (sts_policy_read(text, &p, &err) == 0) {
		sts_policy_write(&p, &out);
		if (out.failed || sts_policy_read(buf_view(&out), &again, &err) < 0)
			bug("refused the second time: %s", err.text);
		if (p.mode != again.mode || p.max_age != again.max_age ||
		    !view_eq(buf_view(&p.mx), buf_view(&again.mx)))
			bug("not stable");
		(void)sts_mx_match(buf_view(&p.mx), "mx.example.com");
		sts_policy_clear(&again);
	}
	sts_policy_clear(&p);
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char id[STS_ID_MAX + 1];

	if (sts_record_read(view_make(data, size), id) && id[0] != '\0' &&
	    !sts_id_is_valid(view_of(id)))
		bug("bad id let through");
	check_policy(view_make(data, size));
	return 0;
}
