/* content.h - the content of one message: parsed, looked at, stored. */
#ifndef SMTPD_CONTENT_H
#define SMTPD_CONTENT_H

#include "smtpd/body.h"
#include "smtpd/data_stream.h"
#include "smtpd/header_drop.h"
#include "smtpd/header_list.h"
#include "smtpd/header_scan.h"

struct smtpd_content {
	struct data_stream data;
	struct header_scan headers;
	struct body body;
	struct header_drop drop; /* what it leaves out is set before the first feed */
	uint64_t limit;          /* bytes, 0 = none */
	bool is_too_big;         /* nothing is stored any more, the end is still looked for */
	bool has_failed;         /* the same, and why says what */
	struct err why;

	/* Once somebody wanted to see or change the headers: smtpd_content_headers. */
	bool has_list;
	bool has_section; /* the content begins with a header section, maybe an empty one */
	struct header_list list;
	size_t ntop;      /* fields of the list, its first ones, that stand above our Received: */
	uint64_t body_at; /* where in the body's bytes the text behind the headers begins */
	bool is_replaced; /* the body is not what the client sent */
};

/* modes: enum data_mode. */
struct smtpd_content *smtpd_content_new(uint64_t limit, size_t line_max, unsigned modes);
/* Takes at most BODY_CHUNK bytes; *used says how many.  0 = the end, 1 = more. */
int smtpd_content_feed(struct smtpd_content *c, struct view in, size_t *used);
/* DATA_CHUNKED: the last chunk is in. */
void smtpd_content_end(struct smtpd_content *c);
void smtpd_content_fail(struct smtpd_content *c, const struct err *why);
/* Reads the header section of a complete content into c->list, once.  -1: ERR_LIMIT, ERR_TEMP. */
int smtpd_content_headers(struct smtpd_content *c, struct err *err);
/* The headers are to be written from the list, not taken as they were received. */
static inline bool
smtpd_content_is_rewritten(const struct smtpd_content *c)
{
	return c->is_replaced || (c->has_list && c->list.is_changed);
}
/* Something is wrong with it already. */
static inline bool
smtpd_content_is_spoilt(const struct smtpd_content *c)
{
	return c->data.faults != 0 || c->is_too_big || c->has_failed;
}

/* Why a complete content is refused.  False: it is not. */
struct content_verdict {
	int code; /* 0: it is not */
	const char *dsn, *text;
};
/* When smtpd_content_headers, or what was done to the headers, failed. */
struct content_verdict smtpd_content_unreadable(const struct err *why);
bool smtpd_content_is_refused(const struct smtpd_content *c, unsigned hop_limit,
    size_t header_limit, struct content_verdict *v);

#endif
