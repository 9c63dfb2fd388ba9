/* courier.h - keywords as Courier keeps them, for the first import of a folder.
 *
 * courierimapkeywords/:list has the names and "<base>:<n> <n> ..."; newer states of single messages stand in files
 * "<base>" or ".<N>.<base>" (the largest N counts), one keyword a line, and override it. */
#ifndef COMMON_STORE_COURIER_H
#define COMMON_STORE_COURIER_H

#include "common/base/map.h"
#include "common/store/keyword_file.h"

#define COURIER_UIDDB "courierimapuiddb"
enum { COURIER_MAX_NAMES = 4 * STORE_MAX_KEYWORDS, COURIER_MAX_MESSAGES = 1 << 20 };

struct courier_message {
	struct courier_message *next;
	uint64_t version; /* N of its file; 0: from :list */
	uint64_t bits[COURIER_MAX_NAMES / 64];
};
struct courier_keywords {
	char *names[COURIER_MAX_NAMES]; /* owned */
	unsigned nnames;
	struct map by_base;               /* base -> struct courier_message */
	struct courier_message *messages; /* owned */
	size_t count;
};
/* 0 loaded (perhaps nothing), -1. */
int courier_load(int dir_fd, struct courier_keywords *out, struct err *err);
void courier_clear(struct courier_keywords *c);

#endif
