/* A message made 7-bit: however it is cut, the same bytes; and once that is done nothing is left to be encoded.
 * First byte: where to cut. */
#include "qmgr/relay/downgrade.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NESTING = 20 };

static int
run(struct relay_downgrade *d, struct view in, size_t cut, struct buf *out)
{
	int rc = relay_downgrade_feed(d, in.p, cut, out, NULL) < 0 ||
			 relay_downgrade_feed(d, in.p + cut, in.len - cut, out, NULL) < 0 ||
			 relay_downgrade_end(d, out, NULL) < 0
		     ? -1
		     : 0;

	relay_downgrade_clear(d);
	return rc;
}

static int
survey(struct view in, size_t cut, struct relay_plan *plan)
{
	struct relay_downgrade d;

	relay_plan_init(plan);
	relay_downgrade_survey(&d, NESTING, plan);
	return run(&d, in, cut, NULL);
}

static void
make(struct view in, size_t cut, const struct relay_plan *plan, struct buf *out)
{
	struct relay_downgrade d;

	buf_init(out, 127 * in.len + 256);
	relay_downgrade_start(&d, NESTING, plan);
	if (run(&d, in, cut, out) < 0)
		abort();
}

static void
check(struct view in, size_t cut, const struct relay_plan *plan)
{
	struct relay_plan again;
	struct buf a, b;

	make(in, 0, plan, &a);
	make(in, cut, plan, &b);
	if (!view_eq(buf_view(&a), buf_view(&b)))
		abort();
	if (survey(view_make(buf_cstr(&a), a.len), 0, &again) < 0 || again.has_8bit)
		abort();
	relay_plan_clear(&again);
	buf_clear(&a);
	buf_clear(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct relay_plan whole, cut_up;
	struct view in;
	size_t cut;
	int rc;

	if (size < 1)
		return 0;
	in = view_make(data + 1, size - 1);
	cut = data[0] <= in.len ? data[0] : in.len;
	rc = survey(in, 0, &whole);
	if (survey(in, cut, &cut_up) != rc)
		abort();
	if (rc == 0) {
		if (!view_eq(buf_view(&whole.modes), buf_view(&cut_up.modes)))
			abort();
		check(in, cut, &whole);
	}
	relay_plan_clear(&whole);
	relay_plan_clear(&cut_up);
	return 0;
}
