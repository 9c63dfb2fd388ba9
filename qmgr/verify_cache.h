/* verify_cache.h - what probes have told of addresses (Postfix's verify(8)), and for how long that counts.
 *
 * An answer is asked for again when its refresh time has come, and forgotten at its expire time.  "Deliverable" outlives probes
 * that fail: until it expires nothing but "deliverable" takes its place (postconf(5), address_verify_positive_refresh_time:
 * "optimistic caching").  Bounded in entries and bytes: who was not asked for the longest goes first.
 *
 * An entry as text is one line with its checksum; lines that are torn, or that nobody of ours wrote, are passed over.
 * Times are seconds since 1970, arguments: no clock is read here. */
#ifndef QMGR_VERIFY_CACHE_H
#define QMGR_VERIFY_CACHE_H

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/ipc/msg/qmgr.h"

#include <sys/queue.h>

enum {
	VERIFY_TEXT_MAX = 400, /* what a cached answer keeps of a server's words */
	VERIFY_ADDRESS_MAX = 320,
	VERIFY_PROBE_PAUSE_S =
	    1000, /* between two probes of an answer that needs its refresh (Postfix's PROBE_TTL) */
};

struct verify_times {
	int64_t positive_expire, positive_refresh, negative_expire, negative_refresh;
	bool negative_cache; /* address_verify_negative_cache */
};

struct verify_entry {
	TAILQ_ENTRY(verify_entry) link;
	enum qmgr_verified status; /* not QMGR_VERIFYING */
	int64_t updated;           /* when it was said */
	int64_t probed;            /* a later probe that changed nothing; 0 = none */
	const char *text;          /* behind the address */
	size_t bytes;
	char address[];
};
TAILQ_HEAD(verify_entries, verify_entry);

struct verify_cache {
	struct verify_times times;
	size_t max_entries, max_bytes, bytes;
	struct map by_address;
	struct verify_entries entries; /* asked for last, first */
};

void verify_cache_init(
    struct verify_cache *c, const struct verify_times *times, size_t entries, size_t bytes);
void verify_cache_clear(struct verify_cache *c);
/* What is known, NULL: nothing, or nothing that counts any more. */
const struct verify_entry *verify_cache_get(
    struct verify_cache *c, const char *address, int64_t now);
/* It is time to ask again. */
bool verify_cache_is_stale(const struct verify_cache *c, const struct verify_entry *e, int64_t now);
/* A probe has ended so.  The entry, to be stored; NULL: there is none to be kept. */
const struct verify_entry *verify_cache_put(struct verify_cache *c, const char *address,
    enum qmgr_verified status, const char *text, int64_t now);
/* A probe that told nothing: the old answer, if there is one, is left alone for a while. */
const struct verify_entry *verify_cache_probed(
    struct verify_cache *c, const char *address, int64_t now);
/* Drops what has expired. */
void verify_cache_sweep(struct verify_cache *c, int64_t now);

/* No bytes that a line cannot hold, and not too long. */
bool verify_address_is_safe(const char *address);
void verify_entry_format(const struct verify_entry *e, struct buf *out);
/* Takes all good lines, a later one of an address instead of an earlier: how many lines were not. */
size_t verify_cache_load(struct verify_cache *c, struct view lines, int64_t now);

#endif
