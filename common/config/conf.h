/* conf.h - main.cf: one parameter table, one parser, one set of values (DESIGN 7).
 *
 * Every parameter of the suite is a row of conf_params (param_table.c).  Values are strings; the typed
 * getters parse what conf_check has already found well-formed, so they cannot fail.  Asking for a
 * parameter that is not in the table, or by the wrong type, is a bug of ours and panics.
 * Syntax as Postfix: "name = value", continuation lines start with white space, '#' only at line start,
 * $name ${name} ${name?text} ${name:text} ${name?{a}:{b}}, last definition wins.
 */
#ifndef COMMON_CONFIG_CONF_H
#define COMMON_CONFIG_CONF_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/view.h"

enum conf_type {
	CONF_STR,     /* any text */
	CONF_RAW,     /* any text, its $names left for the reader to fill in */
	CONF_BOOL,    /* yes, no */
	CONF_INT,     /* decimal, min..max */
	CONF_TIME,    /* suffix s m h d w; without one, in the unit of the default (postconf(5)) */
	CONF_SIZE,    /* bytes; suffix k m g */
	CONF_LIST,    /* separated by commas and white space */
	CONF_PATH,    /* absolute path, or empty where the default is empty */
	CONF_ENUM,    /* one of the words in `words` */
	CONF_TABLES,  /* list of type:name lookup tables */
	CONF_HOST,    /* host or domain name (RFC 1123 2.1) */
	CONF_WORDS,   /* list of words out of `words`, not empty unless the default is */
	CONF_DOMAINS, /* list of domain names */
};

struct conf_param {
	const char *name;
	enum conf_type type;
	const char *default_value; /* may contain $name */
	int64_t min, max;          /* CONF_INT, CONF_TIME (seconds), CONF_SIZE */
	const char *words;         /* CONF_ENUM, CONF_WORDS: allowed words, separated by '|' */
	const char *readers;       /* roles that read it, separated by spaces; "all" */
	const char *text;          /* one line for the reference */
};
const struct conf_param *conf_params(size_t *count); /* sorted by name within its groups */
const struct conf_param *conf_param_find(const char *name);
bool conf_is_read_by(const struct conf_param *p, const char *role);
/* The known name nearest to a misspelt one, NULL if none is near. */
const char *conf_nearest(const char *name);

/* Settings as written: name -> raw value with its place.  */
struct conf {
	struct arena arena;
	struct map raw;   /* name -> struct conf_setting * in arena */
	struct map cache; /* name -> expanded value in arena */
	struct map names;    /* of parameters that master.cf mentions as $name */
	struct map services; /* by name in master.cf */
	struct buf faults;   /* of conf_parse and conf_load, a line each */
};
struct conf_setting {
	const char *value; /* raw, not expanded */
	const char *file;
	int line;
};

void conf_init(struct conf *c);
void conf_clear(struct conf *c);
/* Pure parser of one file's text; file is for messages.  -1 (ERR_SYNTAX) "file:line: ...": the first fault; the lines behind
 * it are taken all the same, and all faults are in c->faults. */
int conf_parse(struct conf *c, struct view text, const char *file, struct err *err);
/* And what the master.cf beside it, if there is one, says about names (conf_learn); a myorigin that is a file becomes its
 * first line, as Debian has it. */
int conf_load(struct conf *c, const char *path, struct err *err);
/* Pure.  Takes from master.cf's text which services there are, and which parameters their -o options mention as $name: those
 * are the admin's own. */
void conf_learn(struct conf *c, struct view master_cf);
bool conf_has_service(const struct conf *c, struct view name);
int conf_set(struct conf *c, const char *name, const char *value, const char *file, int line, struct err *err);
/* As if nobody had set it.  Was it set? */
bool conf_unset(struct conf *c, const char *name);
/* Every setting known, if only to Postfix (postfix.h), well-formed, in range; every default too.  Calls report for each fault
 * with the parameter's name and a text ("main.cf:12: unknown parameter \"x\"; did you mean \"y\"?") and returns the number of
 * faults. */
typedef void conf_fault_fn(void *arg, const char *name, const char *text);
unsigned conf_check(struct conf *c, conf_fault_fn *report, void *arg);
/* The same; and what is faulty is then as if nobody had set it, and checked again without: report (may be NULL) hears of all
 * that is wrong, and the rest can be used.  false: it cannot, for a default is at fault. */
bool conf_settle(struct conf *c, conf_fault_fn *report, void *arg);
/* This one parameter only; it is in the table.  -1: "name: why". */
int conf_check_one(struct conf *c, const char *name, struct err *err);
/* All parameters with their effective values, "name = value\n" with $names expanded, for a worker. */
int conf_dump(const struct conf *c, struct buf *out);
void conf_copy(struct conf *to, const struct conf *from);
/* All that was written, known or not, in the order of files and lines; the caller frees the array. */
struct conf_written {
	const char *name; /* borrowed, as is setting */
	const struct conf_setting *setting;
};
struct conf_written *conf_written(const struct conf *c, size_t *count);
/* Appends text with its $names filled in. */
int conf_expand(const struct conf *c, const char *text, struct buf *out, struct err *err);

/* The typed values, $names expanded.  Strings are borrowed from c. */
const char *conf_str(const struct conf *c, const char *name);
/* Of a name that may be the admin's own (a restriction class): NULL and *err when nobody set it, or it mentions what is not
 * there. */
const char *conf_own_str(const struct conf *c, const char *name, struct err *err);
bool conf_bool(const struct conf *c, const char *name);
int64_t conf_int(const struct conf *c, const char *name);
int64_t conf_seconds(const struct conf *c, const char *name);
int64_t conf_size(const struct conf *c, const char *name);
/* A time inside a value: "90", "5m"; seconds where it has no suffix.  false: it is none, or longer than a year. */
bool conf_time_parse(struct view v, int64_t *seconds);
/* Next element of a CONF_LIST/CONF_TABLES value; start with rest = view_of(conf_str(...)).  An element in
 * braces { ... } is one element, without the braces. */
bool conf_next(struct view *rest, struct view *item);
/* The parameter that gives name its value: name, or the one that its default stands for
 * (smtpd_tls_cert_file = $tls_cert_file), and so on.  For messages: it is the one to change. */
const char *conf_origin(const struct conf *c, const char *name);
/* That setting; NULL when the value is a default. */
const struct conf_setting *conf_place(const struct conf *c, const char *name);
/* Puts "main.cf:12: name: " before the text of *err; "name (default): " where nobody set it.  Returns -1. */
int conf_err_prefix(struct err *err, const struct conf *c, const char *name);
bool conf_is_set(const struct conf *c, const char *name); /* set explicitly, not by default */

/* conf_directory is not in main.cf: the directory main.cf was loaded from, set by the loader. */

#endif
