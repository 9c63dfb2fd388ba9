#include "qmgr/filter.h"
#include "common/base/mem.h"
#include "common/base/view.h"

#include <stdlib.h>
#include <string.h>

static bool
is_number(unsigned kind)
{
	return kind == QMGR_FILTER_OLDER || kind == QMGR_FILTER_YOUNGER ||
	       kind == QMGR_FILTER_LARGER || kind == QMGR_FILTER_SMALLER;
}

static bool
get_number(const char *text, int64_t *out)
{
	enum { DIGITS_MAX = 18 }; /* it fits */
	size_t len = strspn(text, "0123456789");

	if (len == 0 || len > DIGITS_MAX || text[len] != '\0')
		return false;
	*out = strtoll(text, NULL, 10);
	return true;
}

void
filter_clear(struct filter *f)
{
	for (int i = 0; i < QMGR_FILTER_KINDS; i++)
		free(f->texts[i]);
	*f = (struct filter){ 0 };
}

int
filter_read(struct filter *f, struct ipc_in *in, struct err *err)
{
	*f = (struct filter){ 0 };
	while (ipc_in_more(in)) {
		uint32_t kind = ipc_get_u32(in);
		const char *text = ipc_get_str(in);

		if (kind == 0 || kind >= QMGR_FILTER_KINDS || f->texts[kind] != NULL)
			return err_set(err, ERR_SYNTAX, "a condition is unknown, or there twice");
		if (is_number(kind) && !get_number(text, &f->numbers[kind]))
			return err_set(err, ERR_SYNTAX, "not a number: %.40s", text);
		f->texts[kind] = x_strdup(text);
	}
	return 0;
}

bool
filter_takes_facts(const struct filter *f, const struct filter_facts *m)
{
	const char *queue = f->texts[QMGR_FILTER_QUEUE];
	int64_t size = (int64_t)m->size;

	return (queue == NULL || strcmp(queue, m->queue_name) == 0) &&
	       (f->texts[QMGR_FILTER_OLDER] == NULL ||
		   m->age_ms / 1000 >= f->numbers[QMGR_FILTER_OLDER]) &&
	       (f->texts[QMGR_FILTER_YOUNGER] == NULL ||
		   m->age_ms / 1000 < f->numbers[QMGR_FILTER_YOUNGER]) &&
	       (f->texts[QMGR_FILTER_LARGER] == NULL || size > f->numbers[QMGR_FILTER_LARGER]) &&
	       (f->texts[QMGR_FILTER_SMALLER] == NULL || size < f->numbers[QMGR_FILTER_SMALLER]);
}

bool
filter_needs_envelope(const struct filter *f)
{
	return f->texts[QMGR_FILTER_SENDER] != NULL || f->texts[QMGR_FILTER_RECIPIENT] != NULL ||
	       f->texts[QMGR_FILTER_DOMAIN] != NULL || f->texts[QMGR_FILTER_REASON] != NULL;
}

/* One recipient that is not finished has to fulfil all conditions about recipients. */
static bool
takes_recipient(const struct filter *f, const char *address, const char *reason)
{
	const char *recipient = f->texts[QMGR_FILTER_RECIPIENT];
	const char *domain = f->texts[QMGR_FILTER_DOMAIN], *part = f->texts[QMGR_FILTER_REASON];
	const char *at = strrchr(address, '@');

	return (recipient == NULL || view_case_eq_str(view_of(address), recipient)) &&
	       (domain == NULL || (at != NULL && view_case_eq_str(view_of(at + 1), domain))) &&
	       (part == NULL || strcasestr(reason, part) != NULL);
}

bool
filter_takes_envelope(const struct filter *f, const struct envelope *e, const char *const *reasons)
{
	const char *sender = f->texts[QMGR_FILTER_SENDER];

	if (sender != NULL && !view_case_eq_str(view_of(e->sender), sender))
		return false;
	if (f->texts[QMGR_FILTER_RECIPIENT] == NULL && f->texts[QMGR_FILTER_DOMAIN] == NULL &&
	    f->texts[QMGR_FILTER_REASON] == NULL)
		return true;
	for (size_t i = 0; i < e->nrcpts; i++)
		if (reasons[i] != NULL && takes_recipient(f, e->rcpts[i].address, reasons[i]))
			return true;
	return false;
}
