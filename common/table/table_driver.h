/* table_driver.h - what one table type consists of; only table*.c include it.
 *
 * A driver's state is immutable once open: table.c refreshes a table by opening a second state and
 * closing the first.  Keys arrive folded to lower case, but for tables of patterns. */
#ifndef COMMON_TABLE_TABLE_DRIVER_H
#define COMMON_TABLE_TABLE_DRIVER_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <sys/stat.h>

struct table;
struct rule_kind;

enum {
	TABLE_KEY_MAX = 4096,        /* longer keys are in no table */
	TABLE_SUBJECT_MAX = 1 << 17, /* what patterns are matched against: a whole header */
	TABLE_VALUE_MAX = 1 << 20,   /* alias lists are long, but not endless */
	TABLE_TEXT_MAX = 256 << 20,  /* source of a map */
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
	    *suffix;      /* of the file behind the name, "" = none; NULL: the name is not a file */
	bool is_paged;    /* who writes into the file while it is open makes keys unfindable */
	bool is_resident; /* read as a whole at open */
	/* Not NULL: its entries are patterns, for whole keys only, and these as they are; a name in braces is the text
	 * itself, not a file; rules_open opens it, and open is NULL. */
	const struct rule_kind *rules;
	/* name is what follows "type:", file what is behind it.  0 or -1 *err. */
	int (*open)(const char *name, const struct table_file *file, void **state, struct err *err);
	void (*close)(void *state);
	int (*lookup)(void *state, struct view key, struct buf *value, struct err *err);
	/* Tells each value and its line; NULL: they are in a text of keys and values, or in none. */
	void (*each)(void *state, void (*fn)(void *arg, int line, struct view value), void *arg);
	/* Writes path, which is a new file, from text; NULL: the type is not built.  0 or -1. */
	int (*build)(const char *path, const char *source, struct view text,
	    void (*warn)(void *arg, const char *text), void *arg, struct err *err);
	/* Not NULL: the name is a list of tables in braces, and this asks them; open, close and lookup are NULL. */
	int (*combine)(struct table *const *parts, size_t count, struct view key, struct buf *value,
	    struct err *err);
};

extern const struct table_driver table_hash, table_btree, table_lmdb, table_cdb, table_texthash,
    table_inline, table_static, table_cidr, table_pcre, table_regexp, table_unionmap, table_pipemap,
    table_randmap, table_fail;

/* What stands between the braces of name; false: it does not begin and end with one. */
bool table_items_of(const char *name, struct view *items);
/* The next item of such a list, which white space and commas separate, without its own braces.  0, 1 = end, -1 = braces
 * do not match. */
int table_item_next(struct view *items, struct view *item);
/* The next logical line that is neither empty nor a comment; *first is its number.  0, or 1 at the end. */
int table_text_line(struct view *rest, int *line, int *first, struct buf *out);
struct view table_text_trim(struct view v); /* all blanks of a text, at both ends */
/* Keys and values in a database end in a NUL byte, as Postfix's own on Linux; those without are understood too. */
struct view table_drop_nul(struct view v);
int table_get_stored(int (*get)(void *state, struct view key, struct buf *value, struct err *err),
    void *state, struct view key, struct buf *value, struct err *err);
/* put(to, key, value) for each record of text; it says 1 for a key that it has already. */
int table_fill(const char *source, struct view text,
    int (*put)(void *to, struct view key, struct view value, struct err *err), void *to,
    void (*warn)(void *arg, const char *text), void *arg, struct err *err);
/* fn(arg, name) in the file's directory, for libraries that have no openat(2); what fn returns, or -1. */
int table_in_directory(const struct table_file *file, int (*fn)(void *arg, const char *name),
    void *arg, struct err *err);

/* Whole regular file into *out; *st (may be NULL) says whose it is.  0 or -1: ERR_GONE when it does not exist. */
int table_read_file(
    const struct table_file *file, struct buf *out, struct stat *st, struct err *err);
/* The next "key value" of text that is well-formed; odd lines go to warn (may be NULL) as
 * "source, line N: ...".  0, or 1 at the end. */
int table_text_record(struct view *rest, int *line, const char *source, struct buf *key,
    struct buf *value, void (*warn)(void *arg, const char *text), void *arg);
/* ASCII to lower case, in place: what a key is compared as. */
void table_fold(char *p, size_t len);

#endif
