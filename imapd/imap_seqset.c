#include "imapd/imap_seqset.h"

#include <stdlib.h>

/* "*" or a number.  Leading zeros pass, as with most servers; zero does not. */
static int
take_number(struct view *in, uint32_t *out)
{
	uint64_t n = 0;
	size_t i = 0;

	if (in->len > 0 && in->p[0] == '*') {
		*in = view_make(in->p + 1, in->len - 1);
		*out = 0;
		return 0;
	}
	for (; i < in->len && ascii_is_digit(in->p[i]); i++) {
		n = n * 10 + (uint64_t)(in->p[i] - '0');
		if (n > UINT32_MAX)
			return -1;
	}
	if (i == 0 || n == 0)
		return -1;
	*in = view_make(in->p + i, in->len - i);
	*out = (uint32_t)n;
	return 0;
}

static bool
take_char(struct view *in, char c)
{
	if (in->len == 0 || in->p[0] != c)
		return false;
	*in = view_make(in->p + 1, in->len - 1);
	return true;
}

/* One element more than commas: the array can be had in one piece. */
static size_t
count_elements(struct view in)
{
	size_t n = 1;

	for (size_t i = 0; i < in.len; i++) {
		char c = in.p[i];

		if (c == ',')
			n++;
		else if (!ascii_is_digit(c) && c != ':' && c != '*')
			break;
	}
	return n;
}

int
imap_seqset_parse(struct view *in, struct arena *a, struct imap_seqset *out)
{
	*out = (struct imap_seqset){ 0 };
	out->ranges = arena_alloc(a, count_elements(*in) * sizeof out->ranges[0]);
	if (out->ranges == NULL)
		return -1;
	do {
		struct imap_range *r = &out->ranges[out->count];

		if (take_number(in, &r->from) != 0)
			return -1;
		r->to = r->from;
		if (take_char(in, ':') && take_number(in, &r->to) != 0)
			return -1;
		out->count++;
	} while (take_char(in, ','));
	return 0;
}

static int
by_from(const void *a, const void *b)
{
	const struct imap_range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

void
imap_seqset_resolve(struct imap_seqset *set, uint32_t last)
{
	size_t n = 0;

	for (size_t i = 0; i < set->count; i++) {
		struct imap_range *r = &set->ranges[i];

		r->from = r->from ? r->from : last;
		r->to = r->to ? r->to : last;
		if (r->from > r->to)
			*r = (struct imap_range){ r->to, r->from };
	}
	qsort(set->ranges, set->count, sizeof set->ranges[0], by_from);
	for (size_t i = 0; i < set->count; i++) {
		struct imap_range r = set->ranges[i];

		if (n > 0 && (uint64_t)set->ranges[n - 1].to + 1 >= r.from) {
			if (r.to > set->ranges[n - 1].to)
				set->ranges[n - 1].to = r.to;
		} else {
			set->ranges[n++] = r;
		}
	}
	set->count = n;
	set->is_resolved = true;
}

bool
imap_seqset_has(const struct imap_seqset *set, uint32_t number)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (set->ranges[mid].to < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low < set->count && set->ranges[low].from <= number;
}

uint32_t
imap_seqset_max_number(const struct imap_seqset *set)
{
	uint32_t max = 0;

	for (size_t i = 0; i < set->count; i++) {
		if (set->ranges[i].from > max)
			max = set->ranges[i].from;
		if (set->ranges[i].to > max)
			max = set->ranges[i].to;
	}
	return max;
}

int
imap_seqset_write(struct buf *out, const uint32_t *numbers, size_t count)
{
	for (size_t i = 0, run; i < count; i += run) {
		for (run = 1; i + run < count && numbers[i + run - 1] != UINT32_MAX &&
			      numbers[i + run] == numbers[i + run - 1] + 1;)
			run++;
		buf_printf(out, "%s%u", i ? "," : "", numbers[i]);
		if (run > 1)
			buf_printf(out, ":%u", numbers[i + run - 1]);
	}
	return out->failed ? -1 : 0;
}
