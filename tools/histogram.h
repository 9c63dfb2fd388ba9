/* histogram.h - how many recipients (or senders) wait for how long, by domain, as qshape(1) prints it. */
#ifndef TOOLS_HISTOGRAM_H
#define TOOLS_HISTOGRAM_H

#include "common/base/map.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { HISTOGRAM_BUCKETS = 10 }; /* up to 5, 10, 20 ... 1280 minutes, and more */

struct histogram_row {
	unsigned long total, buckets[HISTOGRAM_BUCKETS];
};
struct histogram {
	bool by_sender;
	long long now_s;
	struct histogram_row total;
	struct map domains; /* owned struct histogram_row by domain */
};
void histogram_init(struct histogram *h, bool by_sender, long long now_s);
void histogram_clear(struct histogram *h);
/* One message: its JSON entry of the queue's list. */
void histogram_add(struct histogram *h, const json_t *entry);
/* The domain with most of them first. */
void histogram_print(const struct histogram *h, FILE *out);

#endif
