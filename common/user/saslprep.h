/* saslprep.h - user names and passwords in the one form in which they are compared (RFC 4013; RFC 4616 2, RFC 5802 2.2).
 *
 * Code points that Unicode 3.2 did not know are let through as they stand: people have them in their passwords, and the
 * tables of GNU libidn never change. */
#ifndef COMMON_USER_SASLPREP_H
#define COMMON_USER_SASLPREP_H

#include <stdbool.h>
#include <stddef.h>

/* Printable ASCII stays as it is.  false: not UTF-8, forbidden characters, or the result is longer than size - 1. */
bool saslprep(const char *in, char *out, size_t size);

#endif
