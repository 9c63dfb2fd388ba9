/* store.h - what anvil keeps over a restart: small records of one size under a key, in Berkeley DB files.
 *
 * One environment with a transaction log, private to the one thread that uses the store, recovered at every open; pages
 * carry checksums.  A write is in the kernel's hands when store_put returns, on the disk after the next store_sync: a
 * killed process loses nothing, a power cut the last seconds.  Files that are damaged are moved to the directory "damaged"
 * beside them and made anew; whatever else stands in the way (no room, no memory) is tried again STORE_RETRY_MS later.
 * Either way the call fails with words for the log, and calls until then fail with none. */
#ifndef SMTPD_ANVIL_STORE_H
#define SMTPD_ANVIL_STORE_H

#include "common/base/err.h"
#include "common/base/view.h"

enum store_table { STORE_GREYLIST, STORE_SCREEN, STORE_TABLES };
enum { STORE_KEY_MAX = 1500, STORE_RETRY_MS = 30000 };

struct store;
struct store *store_new(const char *directory); /* opens with the first call */
void store_free(struct store *s);
/* 0 found, 1 there is none (or not of this size), -1: *err, whose text may be empty. */
int store_get(struct store *s, enum store_table t, struct view key, void *value, size_t size,
    struct err *err);
int store_put(struct store *s, enum store_table t, struct view key, const void *value, size_t size,
    struct err *err);
int store_sync(struct store *s, struct err *err);
/* Looks at the next max records of a round through the table and deletes those that are expired. */
int store_sweep(struct store *s, enum store_table t, unsigned max,
    bool (*is_expired)(void *arg, struct view key, struct view value), void *arg, struct err *err);

#endif
