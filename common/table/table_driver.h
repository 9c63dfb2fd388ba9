/* table_driver.h - what one table type consists of; only table*.c include it.
 *
 * A driver's state is immutable once open: table.c refreshes a table by opening a second state and
 * closing the first.  Keys arrive folded to lower case. */
#ifndef COMMON_TABLE_TABLE_DRIVER_H
#define COMMON_TABLE_TABLE_DRIVER_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <sys/types.h>

enum {
	TABLE_KEY_MAX = 4096,       /* longer keys are in no table */
	TABLE_VALUE_MAX = 1 << 20,  /* alias lists are long, but not endless */
	TABLE_TEXT_MAX = 256 << 20, /* source of a map */
};

/* The file behind a table. */
struct table_file {
	int dirfd;        /* of its directory, or AT_FDCWD */
	const char *name; /* below dirfd; NULL: the table has no file */
	const char *path; /* whole, for messages */
};

struct table_driver {
	const char *type;
	const char *text; /* one line for the reference */
	const char
	    *suffix; /* of the file behind the name, "" = none; NULL: the name is not a file */
	bool is_paged; /* the file is read at lookups, not as a whole at open */
	/* name is what follows "type:", file what is behind it.  0 or -1 *err. */
	int (*open)(const char *name, const struct table_file *file, void **state, struct err *err);
	void (*close)(void *state);
	int (*lookup)(void *state, struct view key, struct buf *value, struct err *err);
	/* Writes path, which is a new file, from text; NULL: the type is not built.  0 or -1. */
	int (*build)(const char *path, const char *source, struct view text,
	    void (*warn)(void *arg, const char *text), void *arg, struct err *err);
};

extern const struct table_driver table_hash, table_btree, table_texthash, table_inline,
    table_static;

/* Whole regular file into *out; *mode (may be NULL) gets its permission bits.  0 or -1: ERR_GONE when it does not exist. */
int table_read_file(const struct table_file *file, struct buf *out, mode_t *mode, struct err *err);
/* The next "key value" of text that is well-formed; odd lines go to warn (may be NULL) as
 * "source, line N: ...".  0, or 1 at the end. */
int table_text_record(struct view *rest, int *line, const char *source, struct buf *key,
    struct buf *value, void (*warn)(void *arg, const char *text), void *arg);
/* ASCII to lower case, in place: what a key is compared as. */
void table_fold(char *p, size_t len);

#endif
