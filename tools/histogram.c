#include "tools/histogram.h"
#include "common/base/mem.h"
#include "tools/queue_client.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_MINUTES = 5, LABEL = 8 };

void
histogram_init(struct histogram *h, bool by_sender, long long now_s)
{
	*h = (struct histogram){ .by_sender = by_sender, .now_s = now_s };
	map_init(&h->domains);
}

void
histogram_clear(struct histogram *h)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&h->domains, &w)) != NULL)
		free(e->value);
	map_clear(&h->domains);
}

static unsigned
bucket_of(long long age_s)
{
	unsigned i = 0;

	while (i < HISTOGRAM_BUCKETS - 1 && age_s > (long long)FIRST_MINUTES * 60 << i)
		i++;
	return i;
}

static void
count(struct histogram *h, const char *address, unsigned bucket)
{
	const char *at = strrchr(address, '@');
	char *domain = x_strdup(at != NULL ? at + 1 : *address == '\0' ? "MAILER-DAEMON" : address);
	struct histogram_row *row;

	if (at != NULL)
		ascii_lower_str(domain);
	row = map_get(&h->domains, view_of(domain));
	if (row == NULL) {
		row = x_calloc(1, sizeof *row);
		map_put(&h->domains, view_of(domain), row);
	}
	free(domain);
	row->total++;
	row->buckets[bucket]++;
	h->total.total++;
	h->total.buckets[bucket]++;
}

void
histogram_add(struct histogram *h, const json_t *entry)
{
	json_t *recipients = json_object_get(entry, "recipients"), *r;
	unsigned bucket =
	    bucket_of(h->now_s - json_integer_value(json_object_get(entry, "arrival_time")));
	size_t i;

	if (h->by_sender) {
		count(h, queue_string(entry, "sender"), bucket);
		return;
	}
	json_array_foreach(recipients, i, r)
	{
		count(h, queue_string(r, "address"), bucket);
	}
}

static int
compare_rows(const void *a, const void *b)
{
	const struct map_entry *x = *(struct map_entry *const *)a,
			       *y = *(struct map_entry *const *)b;
	const struct histogram_row *p = x->value, *q = y->value;

	if (p->total != q->total)
		return p->total < q->total ? 1 : -1;
	return strcmp(x->key, y->key);
}

static int
digits(unsigned long n)
{
	return snprintf(NULL, 0, "%lu", n);
}

static void
label(unsigned bucket, char out[LABEL])
{
	if (bucket == HISTOGRAM_BUCKETS - 1)
		snprintf(out, LABEL, "%d+", FIRST_MINUTES << (bucket - 1));
	else
		snprintf(out, LABEL, "%d", FIRST_MINUTES << bucket);
}

/* A column is as wide as its label, or as its largest number: the total's. */
static int
width_of(const struct histogram *h, unsigned bucket)
{
	char text[LABEL];
	int wide = digits(h->total.buckets[bucket]);

	label(bucket, text);
	return (int)strlen(text) > wide ? (int)strlen(text) : wide;
}

static void
print_row(const struct histogram *h, const char *name, int wide, const struct histogram_row *row,
    FILE *out)
{
	fprintf(out, "%*s %*lu", wide, name, digits(h->total.total), row->total);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		fprintf(out, " %*lu", width_of(h, i), row->buckets[i]);
	fputc('\n', out);
}

void
histogram_print(const struct histogram *h, FILE *out)
{
	struct map_entry **rows = x_calloc(h->domains.count + 1, sizeof *rows);
	struct map_walk w = { 0 };
	int wide = 22; /* qshape's, where no domain is longer */
	size_t n = 0;

	while ((rows[n] = map_next(&h->domains, &w)) != NULL) {
		if ((int)rows[n]->key_len > wide)
			wide = (int)rows[n]->key_len;
		n++;
	}
	qsort(rows, n, sizeof *rows, compare_rows);
	fprintf(out, "%*s %*s", wide, "", digits(h->total.total), "T");
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		char text[LABEL];

		label(i, text);
		fprintf(out, " %*s", width_of(h, i), text);
	}
	fputc('\n', out);
	print_row(h, "TOTAL", wide, &h->total, out);
	for (size_t i = 0; i < n; i++)
		print_row(h, rows[i]->key, wide, rows[i]->value, out);
	free(rows);
}
