#include "tools/mailq.h"

#include <string.h>
#include <time.h>

#define COLUMNS "%-17s %8s %-19s %s\n"

enum { REASON_COLUMNS = 76 };

/* asctime's form without the year: "Mon Nov 23 04:48:43". */
static void
format_arrival(json_int_t seconds, char out[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL || strftime(out, 32, "%a %b %e %H:%M:%S", &tm) == 0)
		snprintf(out, 32, "?");
}

static void
print_recipients(struct mailq *q, const json_t *entry)
{
	const json_t *recipients = json_object_get(entry, "recipients");
	json_int_t omitted = json_integer_value(json_object_get(entry, "recipients_omitted"));
	const char *shown = "";
	json_t *r;
	size_t i;

	json_array_foreach(recipients, i, r)
	{
		const char *why = queue_string(r, "delay_reason");
		int width;

		if (*why == '\0')
			why = queue_string(r, "bounce_reason");
		/* once for all recipients in a row that have the same */
		if (strcmp(shown, why) != 0) {
			const char *text = *why == '\0' ? "reason unavailable" : why;

			width = (int)strlen(text) < REASON_COLUMNS
				    ? REASON_COLUMNS - (int)strlen(text)
				    : 0;
			fprintf(q->out, "%*s(%s)\n", width, "", text);
			shown = why;
		}
		fprintf(q->out, COLUMNS, "", "", "", queue_string(r, "address"));
	}
	if (omitted > 0) /* more than fit into a packet */
		fprintf(q->out, "%47s(and %lld more)\n", "", (long long)omitted);
}

void
mailq_entry(struct mailq *q, const json_t *entry)
{
	const char *queue = queue_string(entry, "queue_name"),
		   *sender = queue_string(entry, "sender");
	json_int_t size = json_integer_value(json_object_get(entry, "message_size"));
	char id[64], arrival[32];

	if (q->messages++ == 0)
		fprintf(q->out, COLUMNS, "----Queue ID-----", "--Size--", "---Arrival Time----",
		    "--Sender/Recipient------");
	else
		fputc('\n', q->out);
	q->bytes += (unsigned long long)size;
	snprintf(id, sizeof id, "%s%s%s", queue_string(entry, "queue_id"),
	    strcmp(queue, "active") == 0 ? "*"
	    : strcmp(queue, "hold") == 0 ? "!"
					 : "",
	    json_is_true(json_object_get(entry, "forced_expire")) ? "#" : "");
	format_arrival(json_integer_value(json_object_get(entry, "arrival_time")), arrival);
	fprintf(q->out, "%-17s %8lld %19.19s %s\n", id, (long long)size, arrival,
	    *sender == '\0' ? "MAILER-DAEMON" : sender);
	print_recipients(q, entry);
}

void
mailq_summary(const struct mailq *q)
{
	if (q->messages == 0)
		fputs("Mail queue is empty\n", q->out);
	else
		fprintf(q->out, "\n-- %llu Kbytes in %lu Request%s.\n", q->bytes / 1024,
		    q->messages, q->messages == 1 ? "" : "s");
}

static bool
on_entry(void *arg, struct view line, json_t *entry)
{
	(void)line;
	mailq_entry(arg, entry);
	return !ferror(((struct mailq *)arg)->out); /* head(1) has seen enough */
}

int
mailq_print(int fd, const struct queue_filter *filter, FILE *out, struct err *err)
{
	struct mailq q = { .out = out };

	if (queue_each(fd, filter, on_entry, &q, err) < 0)
		return -1;
	mailq_summary(&q);
	return 0;
}
