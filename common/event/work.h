/* work.h - threads for what blocks: fsync, file reads, hashing.
 * run(arg) is called in one of the pool's threads, then done(arg) in the loop's thread, once each, and
 * in the order of submission when the pool has one thread.  Start a pool after the cage closed
 * (Landlock and seccomp are per thread). */
#ifndef COMMON_EVENT_WORK_H
#define COMMON_EVENT_WORK_H

#include "common/event/loop.h"

struct work_pool;
struct work_pool *work_pool_new(struct loop *l, unsigned threads);
void work_pool_free(struct work_pool *p); /* waits for what runs; what is queued is still run and done */
void work_submit(struct work_pool *p, void (*run)(void *arg), void (*done)(void *arg), void *arg);
size_t work_pending(const struct work_pool *p); /* submitted and not yet done */

#endif
