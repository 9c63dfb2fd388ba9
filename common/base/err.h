/* err.h - what went wrong, in one struct that the caller owns.
 *
 * Functions that can fail return 0 (done) or -1 (failed, *err filled); 1 only where their header says
 * "needs more input".  The kind decides the answer to the client through one table; the text is for
 * the log and is never sent to a client as it stands.
 */
#ifndef COMMON_BASE_ERR_H
#define COMMON_BASE_ERR_H

enum err_kind {
	ERR_NONE,
	ERR_SYNTAX, /* the input is malformed */
	ERR_LIMIT,  /* a length or count passed its bound */
	ERR_TEMP,   /* the world failed for now; in doubt it is this one */
	ERR_PERM,   /* refused, and a retry will not help */
	ERR_GONE,   /* the thing asked for does not exist (any more) */
	ERR_BUG,    /* a broken promise of our own */
};

struct err {
	enum err_kind kind;
	int sys; /* errno copied at the failing call, else 0 */
	char text[200];
};

/* Fills *err (NULL is allowed) with kind and a formatted text; always returns -1. */
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, and appends ": " and the text of errno, which must be that of the failing call. */
int err_sys(struct err *err, enum err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "fmt: " before the text of a filled *err; always returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void err_clear(struct err *err);

/* What "always returns -1" means, for the analyzer. */
#if defined __clang_analyzer__ && !defined ERR_C
#define err_set(err, ...) ((err_set)(err, __VA_ARGS__), -1)
#define err_sys(err, ...) ((err_sys)(err, __VA_ARGS__), -1)
#define err_prefix(err, ...) ((err_prefix)(err, __VA_ARGS__), -1)
#endif

/* A broken invariant of ours: writes the place to standard error (master logs it) and aborts. */
_Noreturn void bug_at(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define bug(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)

#endif
