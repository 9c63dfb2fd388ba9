/* counters.h - how often, and how many now: the memory of anvil.  Pure but for the memory: time is an argument.
 *
 * A kind of event has a table of its own, so that a flood of one cannot push out what another remembers (strangers
 * choose client and sender addresses, nobody chooses a login).  A table is bounded; the key that was idle longest goes
 * first, one with open connections never.  As in Postfix a count belongs to a time unit that begins with the first event
 * and is forgotten at its end.  Each call is O(1).  */
#ifndef SMTPD_ANVIL_COUNTERS_H
#define SMTPD_ANVIL_COUNTERS_H

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/ipc/msg/anvil.h"

#include <sys/queue.h>

enum {
	COUNTERS_CONNECT = ANVIL_EVENTS,
	COUNTERS_TABLES,
	COUNTERS_KEYS_MAX = 100000,
	COUNTERS_KEY_BYTES = 600 /* of a longer key the rest is not looked at */
};

struct counter;
TAILQ_HEAD(counter_list, counter);

/* The most that was seen since the last report. */
struct counter_peak {
	uint32_t value;
	int64_t at_ms; /* wall clock */
	char key[200]; /* cut if need be */
};

struct counter_table {
	struct map keys;          /* key -> struct counter, owned */
	struct counter_list idle; /* those without connections, idle longest first */
	size_t max_keys;
	struct counter_peak rate;
};

struct counters {
	struct counter_table tables[COUNTERS_TABLES];
	struct counter_peak connections, size;
};

void counters_init(struct counters *c, size_t max_keys);
void counters_clear(struct counters *c);
/* n more events, maybe none, of this key; returns their number in the present time unit.  Without room (every key of the
 * table has open connections) n. */
uint32_t counters_add(struct counters *c, unsigned table, const char *key, int64_t unit_ms,
    uint32_t n, int64_t now_ms);
/* A connection has come; its rate is counted.  *open: how many this key has now.  NULL: there is no room to remember it.
 * The counter stays until counters_disconnect. */
struct counter *counters_connect(struct counters *c, const char *key, int64_t unit_ms,
    int64_t now_ms, uint32_t *open, uint32_t *rate);
void counters_disconnect(struct counters *c, struct counter *one);
/* Drops what has been idle for its time unit; returns the number of keys left. */
size_t counters_expire(struct counters *c, int64_t now_ms);
/* What a successor has to know: the counts of the tables from `first` on whose time unit lasts, one a line, "table count
 * start(wall ms) unit(ms) key".  load takes such lines in; lines that are none are passed over. */
void counters_save(
    const struct counters *c, unsigned first, int64_t now_ms, int64_t wall_ms, struct buf *out);
void counters_load(struct counters *c, struct view text, int64_t now_ms, int64_t wall_ms);

#endif
