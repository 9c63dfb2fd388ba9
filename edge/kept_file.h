/* kept_file.h - small files that are written as a whole: made beside their place, synced, renamed.  In a thread of the pool,
 * which has one; what fails is logged. */
#ifndef EDGE_KEPT_FILE_H
#define EDGE_KEPT_FILE_H

#include "common/base/buf.h"
#include "common/event/work.h"

/* Takes the memory of *text.  fresh: the name it is made under. */
void kept_file_write(struct work_pool *pool, const char *path, const char *fresh, struct buf *text);
void kept_file_remove(struct work_pool *pool, const char *path);

#endif
