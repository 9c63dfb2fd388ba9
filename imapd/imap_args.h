/* imap_args.h - reads a command's arguments as RFC 3501 9 spells them; pure.
 *
 * A cursor over the command's text (as imap_reader collected it) and the command's arena, where what does not stand
 * in the text as it is (unquoted strings, names in UTF-8) is put.  Every function returns false when the input is not
 * what it looks for; the first of them says why in `problem`, a text that may be sent to the client.
 */
#ifndef IMAPD_IMAP_ARGS_H
#define IMAPD_IMAP_ARGS_H

#include "common/base/arena.h"
#include "common/base/view.h"
#include "imapd/imap_seqset.h"

enum {
	IMAP_DEPTH_MAX = 50, /* parentheses within parentheses, and NOT NOT NOT */
	IMAP_KEYWORD_LEN_MAX = 255,
	IMAP_FLAGS_MAX = 500, /* flags in one list */
};

struct imap_args {
	struct view rest;
	struct arena *arena; /* borrowed */
	unsigned depth;
	const char *problem; /* static text, or in the arena */
};

void imap_args_init(struct imap_args *p, struct view text, struct arena *a);
bool imap_args_fail(struct imap_args *p, const char *problem); /* always false */

bool imap_args_end(struct imap_args *p);          /* nothing is left */
bool imap_args_space(struct imap_args *p);        /* exactly one SP */
bool imap_args_char(struct imap_args *p, char c); /* required */
bool imap_args_try(struct imap_args *p, char c);  /* taken if it is there; says no problem */
bool imap_args_next_is(const struct imap_args *p, char c);
bool imap_args_open(struct imap_args *p); /* "(", counted */
bool imap_args_close(struct imap_args *p);

bool imap_args_tag(struct imap_args *p, struct view *out);
bool imap_args_atom(struct imap_args *p, struct view *out);
/* Letters, digits and dots: the names of fetch items and search keys. */
bool imap_args_word(struct imap_args *p, struct view *out);
bool imap_args_string(struct imap_args *p, struct view *out); /* quoted or literal */
bool imap_args_astring(struct imap_args *p, struct view *out);
bool imap_args_nstring(struct imap_args *p, struct view *out, bool *is_nil);
bool imap_args_list_mailbox(struct imap_args *p, struct view *out);
bool imap_args_number(struct imap_args *p, uint32_t *out);
bool imap_args_nz_number(struct imap_args *p, uint32_t *out);
bool imap_args_seqset(struct imap_args *p, struct imap_seqset *out);
bool imap_args_date(struct imap_args *p, int64_t *days);

/* A mailbox name in UTF-8, INBOX in capitals; problem "Mailbox name is not valid mUTF-7" is no syntax error. */
bool imap_args_mailbox(struct imap_args *p, const char **out);
extern const char imap_args_bad_name[];

struct imap_flags {
	uint16_t flags;        /* enum message_flags */
	const char **keywords; /* in the arena */
	size_t nkeywords;
};
/* One flag or keyword added to *out, which is zeroed before the first. */
bool imap_args_flag(struct imap_args *p, struct imap_flags *out);
bool imap_args_flag_list(struct imap_args *p, struct imap_flags *out); /* in parentheses */

/* The announcement of a literal that was streamed: its bytes are not in the text. */
bool imap_args_streamed_literal(struct imap_args *p, uint32_t *size);

bool imap_is_atom(struct view v);

#endif
