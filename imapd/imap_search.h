/* imap_search.h - SEARCH programs (RFC 3501 6.4.4): parsing, and deciding about one message.
 *
 * The tree is in the command's arena.  Keys joined by AND or OR stand in the order of their cost, so that no message is
 * opened that its flags or its UID already decide.
 */
#ifndef IMAPD_IMAP_SEARCH_H
#define IMAPD_IMAP_SEARCH_H

#include "common/store/store.h"
#include "imapd/imap_args.h"

enum imap_search_op {
	SEARCH_ALL,
	SEARCH_AND, /* of children */
	SEARCH_OR,
	SEARCH_SEQ,
	SEARCH_UID,
	SEARCH_FLAG, /* flags: all of them set */
	SEARCH_NEW,  /* recent and unseen */
	SEARCH_RECENT,
	SEARCH_KEYWORD,
	SEARCH_BEFORE, /* internal date, days */
	SEARCH_ON,
	SEARCH_SINCE,
	SEARCH_LARGER,
	SEARCH_SMALLER,
	SEARCH_SENTBEFORE, /* from here on the header is read */
	SEARCH_SENTON,
	SEARCH_SENTSINCE,
	SEARCH_HEADER,
	SEARCH_BODY, /* from here on all of the message */
	SEARCH_TEXT,
};

struct imap_search_key {
	enum imap_search_op op;
	bool is_negated;
	unsigned cost;
	struct imap_search_key *children, *next;
	struct imap_seqset set;
	uint16_t flags;
	int keyword;        /* number in the mailbox, -1: no message has it */
	const char *word;   /* keyword's name; header field's name */
	int64_t number;     /* days or bytes */
	struct view needle; /* folded UTF-8 */
};

enum { IMAP_SEARCH_KEYS_MAX = 5000 };
struct imap_search {
	struct imap_search_key *root;
	size_t nkeys;
	bool needs_sizes;     /* exact ones */
	bool has_bad_charset; /* the problem is to be answered with NO [BADCHARSET] */
};
/* All arguments of SEARCH, to the end. */
bool imap_search_parse(struct imap_args *p, struct imap_search *out);
/* Puts the numbers for "*" and of the keywords. */
void imap_search_resolve(
    struct imap_search_key *key, uint32_t last_seq, uint32_t last_uid, struct mailbox *box);

/* Case folding for needles and text alike: every letter to its lower case, invalid UTF-8 as it stands.
 * imap_search_preload: before the cage closes; without it only ASCII is folded. */
void imap_search_preload(void);
int imap_search_fold(struct view in, struct buf *out);

/* A message as the search sees it.  read_header and read_whole put the bytes into *out, -1: it is gone or unreadable. */
struct imap_search_source {
	int (*read_header)(void *arg, struct buf *out);
	int (*read_whole)(void *arg, struct buf *out);
	void *arg;
	uint32_t seq;
	bool is_recent;
	const struct message_info *info;
};
/* Buffers that one search uses for message after message.  The texts are folded UTF-8. */
struct imap_search_work {
	struct buf raw, header;
	struct buf decoded, utf8; /* on the way to the texts */
	struct buf field_text;    /* one field's value */
	struct buf head_text;     /* all header fields */
	struct buf mime_text;     /* headers of the parts and of embedded messages */
	struct buf body_text;     /* text parts; NUL between them */
	struct arena arena;
	bool has_raw, has_header, has_head_text, has_body_text;
};
void imap_search_work_init(struct imap_search_work *w);
void imap_search_work_clear(struct imap_search_work *w);
/* 1 matches, 0 does not, -1: the message could not be read. */
int imap_search_match(const struct imap_search_key *root, const struct imap_search_source *src,
    struct imap_search_work *w);

#endif
