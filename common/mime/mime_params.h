/* mime_params.h - "; name=value" lists of Content-Type and Content-Disposition (RFC 2045 5.1, RFC 2231).
 * Everything in the arena; scratch memory is the caller's, so that a message with thousands of parts allocates it once. */
#ifndef COMMON_MIME_MIME_PARAMS_H
#define COMMON_MIME_MIME_PARAMS_H

#include "common/mime/lexer.h"
#include "common/mime/message.h"

enum {
	MIME_MAX_FIELD_PARAMS = 1000,  /* segments looked at in one field */
	MIME_MAX_TOTAL_PARAMS = 50000, /* in one message */
};

struct mime_segment;
struct mime_params_scratch {
	struct mime_segment *segments; /* MIME_MAX_FIELD_PARAMS of them */
	struct buf text;               /* names and values of the segments */
	struct buf joined, decoded;
	size_t total; /* parameters made so far */
};
/* max_bytes: length of the longest field. */
void mime_params_scratch_init(struct mime_params_scratch *s, size_t max_bytes);
void mime_params_scratch_clear(struct mime_params_scratch *s);

/* Parses what stands behind the type: lx is at the first ';' or before it.  0, or -1 when the arena is full. */
int mime_params_parse(
    struct lexer *lx, struct arena *a, struct mime_params_scratch *s, struct mime_param **out);
/* Value of this parameter; NULL: none. */
const char *mime_param_find(const struct mime_param *list, const char *name);

#endif
