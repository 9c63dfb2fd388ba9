#include "qmgr/report.h"
#include "common/daemon/counters.h"
#include "common/log/log.h"

#include <stdio.h>

void
report_active(const struct message *m)
{
	const struct envelope *e = &m->active->env;
	char id[QUEUE_ID_TEXT];

	queue_id_format(m->id, id);
	log_info("%s: from=<%s>, size=%llu, nrcpt=%zu (queue active)", id, lqs(e->sender),
	    (unsigned long long)e->size, e->nrcpts);
}

const char *
report_delay(int64_t ms, char out[REPORT_DELAY])
{
	long long hundredths = ms < 0 ? 0 : (ms + 5) / 10;

	if (hundredths >= 1000) /* 10 seconds: whole ones */
		snprintf(out, REPORT_DELAY, "%lld", (hundredths + 50) / 100);
	else if (hundredths >= 100) { /* one digit behind the point, if it says anything */
		long long tenths = (hundredths + 5) / 10;

		if (tenths % 10 == 0)
			snprintf(out, REPORT_DELAY, "%lld", tenths / 10);
		else
			snprintf(out, REPORT_DELAY, "%lld.%lld", tenths / 10, tenths % 10);
	} else if (hundredths == 0)
		snprintf(out, REPORT_DELAY, "0");
	else if (hundredths % 10 == 0)
		snprintf(out, REPORT_DELAY, "0.%lld", hundredths / 10);
	else
		snprintf(out, REPORT_DELAY, "0.%02lld", hundredths);
	return out;
}

static void
count(const struct message *m, enum delivery_status status)
{
	switch (status) {
	case DELIVERY_SENT:
		counter_add(COUNTER_DELIVERED, 1);
		counter_add(COUNTER_DELIVERED_BYTES, m->active->env.size);
		break;
	case DELIVERY_DEFERRED:
		counter_add(COUNTER_DEFERRALS, 1);
		counter_add(COUNTER_DEFERRED, !m->active->was_deferred);
		m->active->was_deferred = true;
		break;
	case DELIVERY_BOUNCED:
		counter_add(COUNTER_BOUNCED, 1);
		break;
	}
}

void
report_attempt(const struct message *m, size_t rcpt, const struct attempt *a, int64_t now_ms)
{
	static const char *const words[2][3] = { { "sent", "deferred", "bounced" },
		{ "deliverable", "undeliverable", "undeliverable" } };
	const struct active *act = m->active;
	const struct recipient *to = &act->env.rcpts[rcpt];
	const struct rcpt_state *r = &act->rcpts[rcpt];
	int64_t handed_ms = a->sent_ms != 0 ? a->sent_ms : now_ms;
	int64_t transfer_ms = a->transfer_ms;
	char id[QUEUE_ID_TEXT], d[5][REPORT_DELAY], orig[400] = "", uses[32] = "";

	/* delivery does not count its own time: it is what passed since the job was handed out */
	if (a->sent_ms != 0 && a->setup_ms == 0 && a->transfer_ms == 0)
		transfer_ms = now_ms - a->sent_ms;
	if (to->orig[0] != '\0' && strcmp(to->orig, to->address) != 0)
		snprintf(orig, sizeof orig, ", orig_to=<%s>", lqs(to->orig));
	if (a->uses > 1)
		snprintf(uses, sizeof uses, ", conn_use=%u", a->uses);
	if (act->probe == NULL)
		count(m, a->status);
	queue_id_format(m->id, id);
	log_as(transport_name(to->transport), LOG_LEVEL_INFO,
	    "%s: to=<%s>%s, relay=%s%s, delay=%s, delays=%s/%s/%s/%s, dsn=%s, status=%s (%s)", id,
	    lqs(to->address), orig, lqs(a->relay), uses, report_delay(now_ms - m->born_ms, d[0]),
	    report_delay(act->begun_ms - m->born_ms, d[1]),
	    report_delay(handed_ms - act->begun_ms, d[2]), report_delay(a->setup_ms, d[3]),
	    report_delay(transfer_ms, d[4]), r->dsn, words[act->probe != NULL][a->status],
	    r->reason);
}

void
report_expired(const struct message *m)
{
	char id[QUEUE_ID_TEXT];

	queue_id_format(m->id, id);
	log_info("%s: from=<%s>, status=%s, returned to sender", id, lqs(m->active->env.sender),
	    m->is_expired ? "force-expired" : "expired");
}

void
report_event(struct queue_id id, const char *text)
{
	char t[QUEUE_ID_TEXT];

	queue_id_format(id, t);
	log_info("%s: %s", t, text);
}

void
report_removed(const struct message *m)
{
	report_event(m->id, "removed");
}

void
report_notice(struct queue_id id, enum notice_kind kind, struct queue_id notice)
{
	static const char *const words[NOTICE_KINDS] = { "sender non-delivery notification",
		"sender delay notification", "sender delivery status notification",
		"postmaster non-delivery notification", "postmaster delay notification" };
	char old[QUEUE_ID_TEXT], new[QUEUE_ID_TEXT];

	queue_id_format(id, old);
	queue_id_format(notice, new);
	log_as("bounce", LOG_LEVEL_INFO, "%s: %s: %s", old, words[kind], new);
}
