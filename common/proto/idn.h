/* idn.h - domains beyond ASCII in the one form in which they are compared and looked up (RFC 5890).  Pure. */
#ifndef COMMON_PROTO_IDN_H
#define COMMON_PROTO_IDN_H

#include "common/base/view.h"

enum { IDN_DOMAIN_MAX = 254 };

bool bytes_are_ascii(struct view v);
/* A-labels in lower case; ASCII is only lowered.  false: not a domain name, or too long (out is "" then). */
bool idn_to_ascii(struct view domain, char out[IDN_DOMAIN_MAX]);
/* U-labels, where there are any.  false: none, or not convertible. */
bool idn_to_unicode(struct view domain, char out[IDN_DOMAIN_MAX]);

#endif
