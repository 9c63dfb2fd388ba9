/* rewriting.h - asks authd what the addresses of one message become (AUTHD_REWRITE): they are collected, asked for, and put
 * in.  Nothing is asked where no table and no masqueraded domain could say anything.  One that leaves (generic(5)) has one class
 * for all its addresses: rewriting_new gets that alone, and header fields have it, too. */
#ifndef COMMON_IPC_REWRITING_H
#define COMMON_IPC_REWRITING_H

#include "common/config/conf.h"
#include "common/ipc/conn.h"
#include "common/ipc/msg/authd.h"
#include "common/mime/address_complete.h"

enum { REWRITING_MAX = 10000 /* addresses of one message, each once; more stay as they are */ };

/* The classes that a *_classes parameter names: bit 1 << enum rewrite_class each. */
unsigned rewriting_mask(const struct conf *c, const char *param);
/* Those that anything is configured for. */
unsigned rewriting_classes(const struct conf *c);

struct rewriting;
struct rewriting *rewriting_new(unsigned classes);
void rewriting_free(struct rewriting *r); /* cancels; NULL is allowed */
/* The class is not among those of rewriting_new, or the address is empty: nothing. */
void rewriting_add(struct rewriting *r, enum rewrite_class class, struct view address);
/* false: there is nothing to ask, and cb does not come.  Else cb(arg, ok) comes once, from the loop; not ok: for the time being nobody
 * knows. */
bool rewriting_ask(
    struct rewriting *r, struct ipc_edge *authd, void (*cb)(void *arg, bool ok), void *arg);
/* NULL: it stays. */
const char *rewriting_find(
    const struct rewriting *r, enum rewrite_class class, struct view address);

/* The two passes over a header field: `how` with the addresses to be collected, or put in. */
enum rewriting_pass { REWRITING_COLLECT, REWRITING_APPLY };
struct rewriting_field {
	struct rewriting *r;
	enum rewrite_class class;
};
struct address_completion rewriting_of_field(const struct address_completion *how,
    struct rewriting_field *f, struct rewriting *r, enum address_field kind,
    enum rewriting_pass pass);
/* The fields at the start of a message, rewritten, with CRLF, appended to *out; how many bytes of `start` they were: a line
 * that is no field ends the header.  is_all: start is the whole message; else a field that may be cut off is left to the
 * rest.  Addresses get longer by REWRITING_GROWTH bytes in all, at most; what finds no more room stays.  out->failed: no room. */
enum { REWRITING_GROWTH = 1 << 20 };
size_t rewriting_fields(struct rewriting *r, const struct address_completion *how,
    struct view start, bool is_all, enum rewriting_pass pass, struct buf *out);

#endif
