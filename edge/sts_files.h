/* sts_files.h - policies that are kept over a restart: a file for each domain, named as it is, with the line "ID FETCHED" (seconds
 * since 1970) before the policy.  Files are small and few are written: a file that is renamed into place needs neither a log
 * nor a recovery, and one that is damaged costs its domain only. */
#ifndef EDGE_STS_FILES_H
#define EDGE_STS_FILES_H

#include "common/event/work.h"
#include "common/proto/sts.h"

struct sts_kept {
	char id[STS_ID_MAX + 1];
	int64_t fetched;
	struct sts_policy policy;
};

/* Reads what is in the directory, which is made if need be; it may block.  take(arg, domain, kept) gets each and owns
 * kept->policy; what cannot be read is deleted.  0 or -1. */
int sts_files_load(const char *directory,
    void (*take)(void *arg, const char *domain, struct sts_kept *kept), void *arg, struct err *err);
/* In a thread of the pool, which has one. */
void sts_files_write(
    struct work_pool *pool, const char *directory, const char *domain, const struct sts_kept *kept);
void sts_files_remove(struct work_pool *pool, const char *directory, const char *domain);

#endif
