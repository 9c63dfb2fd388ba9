/* verify_store.h - the file of the verify cache: entries are appended, now and then it is written anew.
 * A thread writes, one write at a time; what cannot be written is dropped with a warning, for it is a cache: nothing is flushed
 * either, and what a power cut tears is passed over when it is read. */
#ifndef QMGR_VERIFY_STORE_H
#define QMGR_VERIFY_STORE_H

#include "common/event/work.h"
#include "qmgr/verify_cache.h"

#define VERIFY_STORE_NAME "verify/cache"

struct verify_store;
/* Reads what there is of it into c.  Blocks.  pool, root_fd: borrowed, the directory of the file. */
struct verify_store *verify_store_open(
    struct loop *l, struct work_pool *pool, int root_fd, struct verify_cache *c);
/* What waits is written, what is under way is waited for. */
void verify_store_close(struct verify_store *s); /* NULL is allowed */
void verify_store_add(struct verify_store *s, const struct verify_entry *e);
/* The file without what has expired, or was replaced. */
void verify_store_rewrite(struct verify_store *s);
/* What waits is handed to the thread now. */
void verify_store_flush(struct verify_store *s);
bool verify_store_is_quiet(const struct verify_store *s);

#endif
