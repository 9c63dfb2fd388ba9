/* mailq.h - the queue as postqueue -p prints it with long queue ids, byte by byte: people's scripts read it. */
#ifndef TOOLS_MAILQ_H
#define TOOLS_MAILQ_H

#include "tools/queue_client.h"

#include <stdio.h>

struct mailq {
	FILE *out;
	unsigned long messages;
	unsigned long long bytes;
};

/* One message (its JSON entry), the heading before the first. */
void mailq_entry(struct mailq *q, const json_t *entry);
/* The last line. */
void mailq_summary(const struct mailq *q);
/* All of it for what the filter (NULL: everything) takes of the queue behind this control connection. */
int mailq_print(int fd, const struct queue_filter *filter, FILE *out, struct err *err);

#endif
