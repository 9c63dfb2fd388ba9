/* find.h - what a table says of an address or a domain: the keys, and their order.
 * All of them: 0 and the value appended to *value, 1 = none, -1 (ERR_TEMP) = no answer for now.  Addresses are normal
 * (resolve.c).  Tables are written by people: where the domain has U-labels, it may stand in them. */
#ifndef AUTHD_FIND_H
#define AUTHD_FIND_H

#include "authd/resolve.h"

/* One key as it stands. */
int find_key(const struct resolve_conf *c, const struct resolve_source *s, enum resolve_table t,
    const char *key, struct buf *value, struct err *err);
/* virtual(5): user+ext@domain, user@domain, user+ext and user (domains of this machine only), @domain.  *extension: what the
 * key left out of the local part; NULL is allowed. */
int find_address(const struct resolve_conf *c, const struct resolve_source *s, enum resolve_table t,
    const char *address, struct view *extension, struct buf *value, struct err *err);
/* aliases(5): user+ext, user. */
int find_alias(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    struct view *extension, struct buf *value, struct err *err);
/* transport(5): user+ext@domain, user@domain, domain, its parents, "*". */
int find_transport(const struct resolve_conf *c, const struct resolve_source *s,
    const char *address, struct buf *value, struct err *err);
/* Is it one of relay_domains?  0 yes, 1 no, -1. */
int find_relay_domain(const struct resolve_conf *c, const struct resolve_source *s,
    const char *domain, struct err *err);

#endif
