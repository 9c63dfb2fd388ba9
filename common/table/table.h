/* table.h - lookup tables as Postfix has them: "type:name" (DESIGN 7).
 *
 * hash: and btree: are Berkeley DB files NAME.db, lmdb: NAME.lmdb, cdb: NAME.cdb; `estafeta map build` makes them in a new
 * file that is renamed; readers open them read-only, without locks or an environment, and never read DB_CONFIG.
 * texthash:, cidr:, pcre: and regexp: are texts, read whole at open.  inline:{ {k=v}, {k=v} }, static:VALUE,
 * randmap:{a, b} and fail:TEXT need no file.  unionmap:{type:a, type:b} and pipemap:{...} ask others.  "proxy:" before a type
 * is taken off.  Lookups block for file I/O: daemons that face the network ask authd, whose workers hold the tables.
 *
 * Entries of cidr:, pcre: and regexp: are patterns: they see whole keys only, as the asker wrote them (access(5)).
 */
#ifndef COMMON_TABLE_TABLE_H
#define COMMON_TABLE_TABLE_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct table;
struct table_list; /* an ordered list: first hit wins */

/* spec: "hash:/etc/estafeta/virtual".  -1: unknown type (ERR_SYNTAX), cannot open (ERR_TEMP/ERR_GONE). */
int table_open(const char *spec, struct table **out, struct err *err);
void table_close(struct table *t); /* NULL is allowed */
/* Read as a whole when it was opened: lookups read no file. */
bool table_is_resident(const struct table *t);
/* 0 and the value appended to *value, 1 = not found, -1 *err (ERR_TEMP: answer "try again", never "no").  A database that
 * was changed in place since it was opened (cp, instead of map build) finds nothing out for certain: ERR_TEMP. */
int table_lookup(struct table *t, struct view key, struct buf *value, struct err *err);
/* Has the file changed on disk since it was opened?  Reopens it; 0 or -1 with the old one kept.  A map that is
 * missing or damaged says how to build it; one that is older than its source is used, and logged. */
int table_refresh(struct table *t, struct err *err);

/* A partial key (a parent domain, "user@", a network) is not looked for in tables of patterns. */
struct lookup_key {
	struct view text;
	bool is_partial;
};

/* specs: the value of a CONF_TABLES parameter. */
/* Opens nothing; lookups fail with ERR_TEMP.  -1: ERR_SYNTAX. */
int table_list_new(const char *specs, struct table_list **out, struct err *err);
/* Nothing but resident tables. */
bool table_list_is_resident(const struct table_list *l);
/* Opens the tables' directories only, not the tables: table_list_refresh opens these, also after the caller has
 * dropped root and may no longer walk the paths.  Before it, a lookup fails with ERR_TEMP.  0 or -1. */
int table_list_prepare(const char *specs, struct table_list **out, struct err *err);
int table_list_open(const char *specs, struct table_list **out, struct err *err);
void table_list_close(struct table_list *l);
int table_list_lookup(
    struct table_list *l, struct lookup_key key, struct buf *value, struct err *err);
/* The keys in turn, each in every table; *which is the one that was found. */
int table_list_find(struct table_list *l, const struct lookup_key *keys, size_t count,
    struct buf *value, size_t *which, struct err *err);
int table_list_refresh(struct table_list *l, struct err *err);
bool table_list_is_empty(const struct table_list *l);
/* Each table of specs as it is written.  false: end. */
bool table_spec_next(struct view *specs, struct view *spec);
/* Is this "type:..." of a type that there is? */
bool table_spec_is_known(struct view spec);
/* Is it of a type that is built from a text? */
bool table_spec_is_built(struct view spec);
/* Tells the file behind each table of specs that has one (for a cage).  -1: ERR_SYNTAX. */
int table_list_files(
    const char *specs, void (*fn)(void *arg, const char *path), void *arg, struct err *err);

/* How a text of keys and values is written. */
enum table_form {
	TABLE_FORM_MAP,     /* postmap(1): "key value" */
	TABLE_FORM_ALIASES, /* aliases(5): "name: value", names in quotes if need be */
};
/* fn for each value that stands in a text: rules, texthash:, and what hash: and the like are built from, where that is still
 * there.  where: "hash map /etc/x, line 3".  Of a table of other tables, nothing.  For tests of a configuration.  0 or -1. */
int table_each_value(const char *spec, enum table_form form,
    void (*fn)(void *arg, const char *where, struct view value), void *arg, struct err *err);

/* The i-th table type and what it is, for the reference; false behind the last. */
bool table_type_get(size_t i, const char **type, const char **text);

/* Builds TYPE:FILE (hash, btree, lmdb, cdb) from the text FILE ("key value" lines, continuation, '#'); keys are folded to lower case.
 * Duplicate keys and odd lines are reported with file:line through warn.  The result is complete or absent. */
int table_build(const char *spec, enum table_form form, void (*warn)(void *arg, const char *text),
    void *arg, struct err *err);
/* Pure: makes a text of the form of aliases(5) one of the other form, of the same length, in place.  What is no alias is left
 * out, and warn (may be NULL) hears of it. */
void table_aliases_to_map(char *text, size_t len, const char *source,
    void (*warn)(void *arg, const char *text), void *arg);
/* Pure: the next key and value of such a text; 0, 1 = end, -1 (ERR_SYNTAX).  *line counts. */
int table_text_next(
    struct view *rest, int *line, struct buf *key, struct buf *value, struct err *err);

#endif
