/* header_drop.h - leaves Return-Path: out of a message as it passes by: what our own users hand in has none yet (RFC 5321 4.4:
 * a message-originating system should not send one).  Pure and incremental: the same result however the input is cut.
 * Input is what data_stream gives: lines end in CRLF. */
#ifndef SMTPD_HEADER_DROP_H
#define SMTPD_HEADER_DROP_H

#include "common/base/buf.h"

enum { HEADER_DROP_NAME = 12 /* "Return-Path:" */ };

struct header_drop {
	int state;    /* private */
	bool is_over; /* the header section has ended: everything passes */
	size_t nheld; /* bytes of a line that may still turn out to be the field's name */
	char held[HEADER_DROP_NAME];
	uint64_t dropped; /* bytes left out so far */
};

/* Appends at most in.len + HEADER_DROP_NAME bytes. */
void header_drop_feed(struct header_drop *d, struct view in, struct buf *out);
/* The content has ended: what is held was text. */
void header_drop_end(struct header_drop *d, struct buf *out);

#endif
