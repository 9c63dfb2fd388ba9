/* content.h - the content of one message: parsed, looked at, stored. */
#ifndef SMTPD_CONTENT_H
#define SMTPD_CONTENT_H

#include "smtpd/body.h"
#include "smtpd/data_stream.h"
#include "smtpd/header_scan.h"

struct smtpd_content {
	struct data_stream data;
	struct header_scan headers;
	struct body body;
	uint64_t limit;  /* bytes, 0 = none */
	bool is_too_big; /* nothing is stored any more, the end is still looked for */
	bool has_failed; /* the same, and why says what */
	struct err why;
};

struct smtpd_content *smtpd_content_new(uint64_t limit, size_t line_max);
/* Takes at most BODY_CHUNK bytes; *used says how many.  0 = the end, 1 = more. */
int smtpd_content_feed(struct smtpd_content *c, struct view in, size_t *used);
void smtpd_content_fail(struct smtpd_content *c, const struct err *why);
/* Something is wrong with it already. */
static inline bool
smtpd_content_is_spoilt(const struct smtpd_content *c)
{
	return c->data.faults != 0 || c->is_too_big || c->has_failed;
}

/* Why a complete content is refused: code, enhanced code, text for the client.  False: it is not. */
struct content_verdict {
	int code;
	const char *dsn, *text;
};
bool smtpd_content_is_refused(const struct smtpd_content *c, unsigned hop_limit,
    size_t header_limit, struct content_verdict *v);

#endif
