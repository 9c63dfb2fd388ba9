#include "qmgr/verify_cache.h"
#include "common/base/codec.h"
#include "common/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE_MAX_BYTES = VERIFY_ADDRESS_MAX + VERIFY_TEXT_MAX + 80, CRC_HEX = 8 };

void
verify_cache_init(
    struct verify_cache *c, const struct verify_times *times, size_t entries, size_t bytes)
{
	*c = (struct verify_cache){ .times = *times, .max_entries = entries, .max_bytes = bytes };
	map_init(&c->by_address);
	TAILQ_INIT(&c->entries);
}

static void
drop(struct verify_cache *c, struct verify_entry *e)
{
	TAILQ_REMOVE(&c->entries, e, link);
	map_remove(&c->by_address, view_of(e->address));
	c->bytes -= e->bytes;
	free(e);
}

void
verify_cache_clear(struct verify_cache *c)
{
	struct verify_entry *e;

	while ((e = TAILQ_FIRST(&c->entries)) != NULL)
		drop(c, e);
	map_clear(&c->by_address);
}

static bool
is_expired(const struct verify_cache *c, const struct verify_entry *e, int64_t now)
{
	const struct verify_times *t = &c->times;
	int64_t life = e->status == QMGR_DELIVERABLE ? t->positive_expire : t->negative_expire;

	return now - e->updated > life;
}

const struct verify_entry *
verify_cache_get(struct verify_cache *c, const char *address, int64_t now)
{
	struct verify_entry *e = map_get(&c->by_address, view_of(address));

	if (e == NULL)
		return NULL;
	if (is_expired(c, e, now)) {
		drop(c, e);
		return NULL;
	}
	TAILQ_REMOVE(&c->entries, e, link);
	TAILQ_INSERT_HEAD(&c->entries, e, link);
	return e;
}

bool
verify_cache_is_stale(const struct verify_cache *c, const struct verify_entry *e, int64_t now)
{
	const struct verify_times *t = &c->times;
	int64_t good = e->status == QMGR_DELIVERABLE ? t->positive_refresh : t->negative_refresh;

	return now - e->updated > good && now - e->probed > VERIFY_PROBE_PAUSE_S;
}

static struct verify_entry *
add(struct verify_cache *c, const char *address, enum qmgr_verified status, const char *text)
{
	size_t alen = strlen(address) + 1, tlen = strnlen(text, VERIFY_TEXT_MAX);
	struct verify_entry *e = x_calloc(1, sizeof *e + alen + tlen + 1);

	memcpy(e->address, address, alen);
	memcpy(e->address + alen, text, tlen);
	e->text = e->address + alen;
	e->status = status;
	e->bytes = sizeof *e + sizeof(struct map_entry) + 2 * alen + tlen + 1;
	c->bytes += e->bytes;
	TAILQ_INSERT_HEAD(&c->entries, e, link);
	map_put(&c->by_address, view_of(e->address), e);
	while (c->by_address.count > c->max_entries || c->bytes > c->max_bytes) {
		struct verify_entry *last = TAILQ_LAST(&c->entries, verify_entries);

		if (last == e)
			break;
		drop(c, last);
	}
	return e;
}

const struct verify_entry *
verify_cache_put(struct verify_cache *c, const char *address, enum qmgr_verified status,
    const char *text, int64_t now)
{
	struct verify_entry *e = map_get(&c->by_address, view_of(address));

	if (e != NULL && status != QMGR_DELIVERABLE && e->status == QMGR_DELIVERABLE &&
	    !is_expired(c, e, now))
		return verify_cache_probed(c, address, now);
	if (e != NULL)
		drop(c, e);
	if (status != QMGR_DELIVERABLE && !c->times.negative_cache)
		return NULL;
	e = add(c, address, status, text);
	e->updated = now;
	return e;
}

const struct verify_entry *
verify_cache_probed(struct verify_cache *c, const char *address, int64_t now)
{
	struct verify_entry *e = map_get(&c->by_address, view_of(address));

	if (e != NULL)
		e->probed = now;
	return e;
}

void
verify_cache_sweep(struct verify_cache *c, int64_t now)
{
	struct verify_entry *e, *next;

	for (e = TAILQ_FIRST(&c->entries); e != NULL; e = next) {
		next = TAILQ_NEXT(e, link);
		if (is_expired(c, e, now))
			drop(c, e);
	}
}

/* --- as text: "CHECKSUM STATUS UPDATED PROBED ADDRESS<tab>TEXT" ------------------------------------------ */

bool
verify_address_is_safe(const char *address)
{
	size_t n = 0;

	for (; address[n] != '\0'; n++)
		if ((unsigned char)address[n] < ' ' || address[n] == 0x7f)
			return false;
	return n > 0 && n <= VERIFY_ADDRESS_MAX;
}

void
verify_entry_format(const struct verify_entry *e, struct buf *out)
{
	char line[LINE_MAX_BYTES];
	int n = snprintf(line, sizeof line, "%d %" PRId64 " %" PRId64 " %s\t%s", (int)e->status,
	    e->updated, e->probed, e->address, e->text);

	if (n > 0 && (size_t)n < sizeof line)
		buf_printf(out, "%08" PRIx32 " %s\n", crc32c(0, line, (size_t)n), line);
}

/* A number that is not later than now: a clock that was set back makes nothing live longer. */
static bool
take_time(struct view *rest, int64_t now, int64_t *out)
{
	struct view word;
	uint64_t n;

	if (!view_cut(*rest, ' ', &word, rest) || !view_u64(word, INT64_MAX, &n))
		return false;
	*out = (int64_t)n < now ? (int64_t)n : now;
	return true;
}

static bool
is_whole(struct view line, struct view *rest)
{
	char sum[CRC_HEX + 1];
	struct view word;

	if (line.len > LINE_MAX_BYTES + CRC_HEX || !view_cut(line, ' ', &word, rest))
		return false;
	snprintf(sum, sizeof sum, "%08" PRIx32, crc32c(0, rest->p, rest->len));
	return view_eq_str(word, sum);
}

static bool
load_line(struct verify_cache *c, struct view line, int64_t now)
{
	char address[VERIFY_ADDRESS_MAX + 1], text[VERIFY_TEXT_MAX + 1];
	struct view rest, word, said;
	int64_t updated, probed;
	struct verify_entry *e;
	uint64_t status;

	if (!is_whole(line, &rest) || memchr(rest.p, '\0', rest.len) != NULL ||
	    !view_cut(rest, ' ', &word, &rest) || !view_u64(word, QMGR_UNDELIVERABLE, &status) ||
	    !take_time(&rest, now, &updated) || !take_time(&rest, now, &probed) ||
	    !view_cut(rest, '\t', &word, &said) || word.len >= sizeof address ||
	    said.len >= sizeof text)
		return false;
	snprintf(address, sizeof address, "%.*s", VIEW_ARG(word));
	snprintf(text, sizeof text, "%.*s", VIEW_ARG(said));
	if (!verify_address_is_safe(address))
		return false;
	e = map_get(&c->by_address, word);
	if (e != NULL)
		drop(c, e);
	e = add(c, address, (enum qmgr_verified)status, text);
	e->updated = updated;
	e->probed = probed;
	if (is_expired(c, e, now) || (status != QMGR_DELIVERABLE && !c->times.negative_cache))
		drop(c, e);
	return true;
}

size_t
verify_cache_load(struct verify_cache *c, struct view lines, int64_t now)
{
	struct view line;
	size_t bad = 0;

	while (lines.len > 0) {
		bool is_ended = view_cut(lines, '\n', &line, &lines);

		bad += !is_ended || !load_line(c, line, now);
	}
	return bad;
}
