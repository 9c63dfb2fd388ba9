/* remove_all.h - a test's directory and all in it go. */
#ifndef TESTS_UNIT_REMOVE_ALL_H
#define TESTS_UNIT_REMOVE_ALL_H

#include <ftw.h>
#include <stdio.h>

static inline int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static inline void
remove_all(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
