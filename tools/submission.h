/* submission.h - what sendmail(1) makes of the text it is given: headers completed, recipients found, line ends of
 * the wire.  Pure. */
#ifndef TOOLS_SUBMISSION_H
#define TOOLS_SUBMISSION_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct submission_options {
	bool recipients_from_headers; /* -t */
	bool ignore_dots;             /* -i: a line with nothing but a dot is text */
	const char *origin;           /* domain for addresses that have none */
	const char *sender;           /* with domain; "" = <> */
	const char *full_name;        /* "" = none */
	const char *message_id;       /* without <>: used when the message has none */
	const char *drop_headers;     /* names of fields to leave out: message_drop_headers */
	int64_t now;
	int zone_minutes;
};

struct submission {
	struct buf message;    /* CRLF, headers first */
	struct buf recipients; /* each with a NUL behind it */
	size_t nrecipients;
	bool has_8bit;
};

/* max_bytes: of the message. */
void submission_init(struct submission *s, size_t max_bytes);
void submission_clear(struct submission *s);
/* Adds the addresses of one command line argument, completed.  -1: ERR_SYNTAX, ERR_LIMIT. */
int submission_add_recipients(
    struct submission *s, struct view addresses, const char *origin, struct err *err);
/* Fills the message, and the recipients with -t.  From:, Date: and Message-ID: are added where
 * missing. */
int submission_build(
    struct submission *s, struct view input, const struct submission_options *o, struct err *err);
/* local@domain with the quotes it needs; a missing domain is filled in ("" = left out). */
int submission_put_address(
    struct buf *out, const char *local, const char *domain, const char *origin);

#endif
