/* endpoint.h - the places that the smtpd services name: milters and policy servers.
 *
 * "inet:host:port", "inet:[2001:db8::1]:port", "host:port", "unix:/path", "local:/path"; a path that does not begin with
 * "/" lies beneath queue_directory, as in Postfix.  The list is made before the cage closes; the directory of a Unix socket
 * is opened then. */
#ifndef EDGE_ENDPOINT_H
#define EDGE_ENDPOINT_H

#include "common/base/map.h"
#include "common/config/conf.h"

struct endpoint {
	char *host; /* owned; NULL: a Unix socket */
	unsigned port;
	char *directory, *name; /* owned; Unix: where the socket lies, and its name there */
	int dirfd;              /* owned; -1: the directory was not there */
};

/* Pure.  queue_directory is for relative paths.  -1: ERR_SYNTAX.  A port's name is looked up in services(5). */
int endpoint_parse(
    struct view text, const char *queue_directory, struct endpoint *out, struct err *err);
void endpoint_clear(struct endpoint *e);

/* What the configuration of every smtpd service of master.cf names: text as it stands there -> struct endpoint, owned
 * by the map.  A malformed one is -1 (ERR_SYNTAX): nothing starts with it.  All of them are named with their place, the last
 * one in *err. */
int endpoints_collect(struct map *endpoints, const char *config_directory, struct err *err);
void endpoints_clear(struct map *endpoints);

#endif
