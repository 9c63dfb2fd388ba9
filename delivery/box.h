/* box.h - a Maildir as delivery sees it: tmp/ to write in, new/ to put things into, cur/ to look for things that
 * were read already (DESIGN 5.7, 6).
 *
 * Every way into it goes beneath a directory descriptor without following links, and every directory must be one
 * of our own uid: what a user has put in its place leads nowhere (hostile.md 58).  All of this blocks. */
#ifndef DELIVERY_BOX_H
#define DELIVERY_BOX_H

#include "common/base/err.h"
#include "common/store/maildirsize.h"
#include "delivery/outcome.h"

#include <sys/types.h>

enum { BOX_NAME_MAX = 200 };

struct box_dir {
	int fd; /* owned */
	dev_t device;
	ino_t inode;
};

struct box {
	struct box_dir maildir, tmp, new;
	int cur_fd;               /* owned; see box_open_cur */
	struct maildirsize quota; /* as box_cache_get has read it */
};

/* Opens HOME/Maildir below base_fd and makes (durably) what is missing of it.  -1: *why is filled, nothing is open. */
int box_open(int base_fd, const char *home, struct box *out, struct outcome *why);
/* Whether what is open still stands at its place and is ours: the owner of a mailbox may rename, remove or make anew. */
bool box_is_current(const struct box *b, int base_fd, const char *home);
int box_open_cur(struct box *b, struct outcome *why);
void box_close(struct box *b);
bool box_home_is_valid(const char *home);

/* "<seconds>.Q<queue id>R<number>.<host>": the identity of one recipient's copy, the same at every attempt. */
void box_base_name(char out[BOX_NAME_MAX], int64_t arrival_ms, const char *queue_id,
    uint32_t number, const char *host);
/* Length of the identity in a file name: up to the first ',' or ':'. */
size_t box_base_length(const char *name);
/* Calls fn for every name in the directory; fn returns false to stop.  -1 with errno. */
int box_each_name(int dir_fd, bool (*fn)(void *arg, int dir_fd, const char *name), void *arg);
/* Moves tmp/from to new/to and never replaces what is there: -1 with EEXIST. */
int box_publish(const struct box *b, const char *from, const char *to);
/* Removes what was left in tmp/ longer than 36 hours ago. */
void box_clean_tmp(const struct box *b, int64_t now_seconds);

#endif
