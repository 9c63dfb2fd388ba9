/* imap_section.h - BODY[section] (RFC 3501 6.4.5): its words, and the bytes it names.  Pure. */
#ifndef IMAPD_IMAP_SECTION_H
#define IMAPD_IMAP_SECTION_H

#include "common/mime/message.h"
#include "imapd/imap_args.h"

enum imap_section_kind {
	SECTION_ALL,
	SECTION_HEADER,
	SECTION_FIELDS,
	SECTION_FIELDS_NOT,
	SECTION_TEXT,
	SECTION_MIME,
};
enum { IMAP_SECTION_FIELDS_MAX = 1000 };

struct imap_section {
	enum imap_section_kind kind;
	uint32_t *path; /* part numbers, in the arena */
	size_t depth;
	struct view *fields; /* as the client named them */
	struct view *sorted; /* the same, for the search */
	size_t nfields;
};

/* Behind "[", up to and with "]". */
bool imap_section_parse(struct imap_args *p, struct imap_section *out);
/* "[1.2.HEADER.FIELDS (Subject)]" */
void imap_section_write(const struct imap_section *s, struct buf *out);
/* Can the message's header block alone answer it? */
bool imap_section_is_header_only(const struct imap_section *s);
/* 0: *out lies in message or in *scratch (which is reset); 1: the message has no such section; -1: scratch is full.
 * root may be NULL where imap_section_is_header_only, or where the section is [] or [TEXT]. */
int imap_section_find(const struct imap_section *s, struct view message,
    const struct mime_part *root, struct buf *scratch, struct view *out);
/* Does imap_section_find need the MIME tree? */
bool imap_section_needs_tree(const struct imap_section *s);

#endif
