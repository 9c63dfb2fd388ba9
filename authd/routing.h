/* routing.h - by which transport, and where next, mail for an address goes (transport(5), trivial-rewrite(8)).
 * Pure but for the questions asked through struct resolve_source. */
#ifndef AUTHD_ROUTING_H
#define AUTHD_ROUTING_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/authd.h"

struct resolve_conf;
struct resolve_source;

/* Whose domain it is, as Postfix's address classes have it. */
enum address_class {
	CLASS_FOREIGN, /* anybody's: default_transport */
	CLASS_LOCAL,   /* mydestination: mailboxes here */
	CLASS_MAILBOX, /* virtual_mailbox_domains: virtual_transport */
	CLASS_RELAY,   /* relay_domains: relay_transport */
};

struct way {
	enum transport transport;
	const char *nexthop; /* "" = by the domain; of ERROR, RETRY and DISCARD the text */
};

/* "transport[:nexthop]"; the nexthop is borrowed from text.  -1 (ERR_SYNTAX): there is no such transport, or no such nexthop. */
int way_parse(const char *text, struct way *out, struct err *err);

/* address is normal (resolve.c).  -1: ERR_TEMP. */
int routing_class(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    enum address_class *out, struct err *err);
/* sender: normal, "" = <>, NULL = not known.  Strings are in a, or of the configuration.  A table's value that means nothing
 * is logged, and sets *is_unavailable: nothing is sent before the admin has mended it.  -1: ERR_TEMP. */
int routing_find(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    enum address_class class, const char *sender, struct arena *a, struct way *out,
    bool *is_unavailable, struct err *err);

#endif
