/* header_scan.h - looks on while a message's header section passes by: counts Received: fields, keeps the
 * Message-ID, notes what is there.  Nothing is stored but the Message-ID.  Pure and incremental: the same
 * result however the input is cut.  Input is what data_stream gives: lines end in CRLF. */
#ifndef SMTPD_HEADER_SCAN_H
#define SMTPD_HEADER_SCAN_H

#include "common/base/view.h"

enum { HEADER_SCAN_NAME_MAX = 32, HEADER_SCAN_ID_MAX = 1000 };

/* What the content begins with: that decides how our own fields can be put before it. */
enum header_scan_start {
	HEADER_START_NONE,  /* nothing yet */
	HEADER_START_FIELD, /* a header field */
	HEADER_START_EMPTY, /* an empty line: no header section */
	HEADER_START_FROM,  /* an mbox "From " line */
	HEADER_START_BODY,  /* text that is no header field */
};

struct header_scan {
	int state;    /* private */
	bool is_over; /* the header section has ended; nothing is looked at any more */
	enum header_scan_start start;
	unsigned received; /* number of Received: fields (RFC 5321 6.3) */
	bool has_date, has_message_id, has_from;
	bool is_compound; /* Content-Type is multipart/... or message/...: there may be headers further down */
	bool says_tls_optional; /* TLS-Required: No (RFC 8689 3) */
	uint64_t field_size;    /* of the present field, folded lines and all */
	uint64_t longest_field;
	unsigned name_len;               /* private from here on */
	char name[HEADER_SCAN_NAME_MAX]; /* lower case, first bytes of the present line */
	bool name_is_complete;
	bool keep_id, keep_type, keep_tls;
	unsigned type_len, tls_len;
	char type[10]; /* first bytes of Content-Type:, lower case */
	char tls[4];   /* first bytes of the value of TLS-Required:, lower case */
	unsigned id_len;
	char id[HEADER_SCAN_ID_MAX +
		1]; /* value of the first Message-ID:, unfolded and trimmed at its start */
};

void header_scan_init(struct header_scan *h);
void header_scan_feed(struct header_scan *h, struct view in);
/* The Message-ID's value, "" = none; without white space at the ends. */
struct view header_scan_message_id(const struct header_scan *h);
/* To be called when the content has ended: a last line without CRLF counts too. */
void header_scan_finish(struct header_scan *h);

#endif
