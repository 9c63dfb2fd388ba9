/* letter.h - one message as qmgr hands it over, and how it is written to a mailbox file.
 *
 * The message is the headers memfd followed by the body descriptor from an offset on; both are read with
 * pread only, since their offsets are shared with others.  A letter serves all recipients of its job; the headers
 * are read once, by the first. */
#ifndef DELIVERY_LETTER_H
#define DELIVERY_LETTER_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"

struct letter {
	int headers_fd, body_fd; /* owned */
	uint64_t body_size, body_off;
	bool is_loaded;
	struct buf headers;      /* without Return-Path: fields, line ends as they came */
	struct map delivered_to; /* values of Delivered-To: fields, lower case */
};

/* Takes both descriptors.  -1 (ERR_PERM): they are not what they should be; the letter is cleared. */
int letter_init(struct letter *l, int headers_fd, int body_fd, uint64_t body_size,
    uint64_t body_off, struct err *err);
void letter_clear(struct letter *l);
/* Reads and looks through the headers; nothing to do the second time. */
int letter_load(struct letter *l, struct err *err);
/* Was it delivered to this address before?  (letter_load first) */
bool letter_was_delivered_to(const struct letter *l, const char *address);

struct letter_envelope {
	const char *sender;   /* "" = <> */
	const char *address;  /* final recipient */
	const char *original; /* as given to RCPT TO */
};
struct letter_size {
	uint64_t disk; /* bytes in the file: S= */
	uint64_t crlf; /* with every line end as CRLF: W= */
};
/* Writes Return-Path:, X-Original-To: (where different), Delivered-To: and the message with LF line ends.
 * -1: errno is that of the failing call; ENODATA if the content ended before its size. */
int letter_write(
    struct letter *l, const struct letter_envelope *e, int fd, struct letter_size *size);

#endif
