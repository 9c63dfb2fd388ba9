/* remove_all.h - a test's directory and all that is in it goes. */
#ifndef TESTS_UNIT_REMOVE_ALL_H
#define TESTS_UNIT_REMOVE_ALL_H

#include <ftw.h>
#include <stdio.h>

static inline int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* No link is followed; what does not exist is no fault. */
static inline void
remove_all(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
