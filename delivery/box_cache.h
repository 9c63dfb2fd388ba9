/* box_cache.h - mailboxes that stay open from batch to batch, so that a busy one is not walked to for each message.
 *
 * What is held is used again only while it stands at its place and is ours (box_is_current).  One thread's; blocks. */
#ifndef DELIVERY_BOX_CACHE_H
#define DELIVERY_BOX_CACHE_H

#include "delivery/box.h"

#include <stddef.h>

struct box_cache;
/* base_fd is borrowed; max: mailboxes held between batches, three descriptors each. */
struct box_cache *box_cache_new(int base_fd, size_t max);
void box_cache_free(struct box_cache *c);
/* The mailbox of home, its quota read anew; borrowed until the next box_cache_trim or box_cache_clear.
 * NULL: *why is filled. */
struct box *box_cache_get(struct box_cache *c, const char *home, struct outcome *why);
/* Closes the least recently used beyond max. */
void box_cache_trim(struct box_cache *c);
/* Closes all: a descriptor tells of an error of writing once, and the next batch is not to hear of an old one. */
void box_cache_clear(struct box_cache *c);

#endif
