/* cert_names.h - the table of a TLS server's names and their certificates (tls_server_sni_maps). */
#ifndef COMMON_TABLE_CERT_NAMES_H
#define COMMON_TABLE_CERT_NAMES_H

#include "common/base/err.h"

/* fn gets each name, in lower case, and its list of files; 0 or -1
 * to go no further.  The tables' text is read, whatever is built from it: hash:FILE is FILE here.  0 or -1. */
int cert_names_read(const char *maps,
    int (*fn)(void *arg, const char *name, const char *files, struct err *err), void *arg,
    struct err *err);

#endif
