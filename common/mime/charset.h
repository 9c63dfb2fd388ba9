/* charset.h - what the decoders of this folder share about character sets. */
#ifndef COMMON_MIME_CHARSET_H
#define COMMON_MIME_CHARSET_H

#include "common/base/buf.h"

/* Appends in with every byte that is not part of well-formed UTF-8 as U+FFFD.  -1: out is full. */
int utf8_append_valid(struct view in, struct buf *out);

#endif
