/* master_cf.h - master.cf: the service table, in Postfix's columns (DESIGN 7). */
#ifndef COMMON_CONFIG_MASTER_CF_H
#define COMMON_CONFIG_MASTER_CF_H

#include "common/config/conf.h"
#include "common/ipc/edges.h"

#include <netdb.h>

struct service_option {
	const char *name, *value;
};
struct service {
	const char *name; /* "127.0.0.1:25", "smtp", "[::1]:25", "qmgr" */
	bool is_inet;
	bool is_public;   /* unix listeners of clients: private column "n" */
	const char *host; /* inet: "" = inet_interfaces */
	const char *port; /* inet: number or service name */
	enum role role;   /* from the command column */
	unsigned maxproc; /* 0: column was "-", the role's own default */
	const struct service_option *options;
	size_t noptions;
	const char *file; /* as master_cf_load was told */
	int line;
};
struct master_cf {
	struct arena arena;
	const char *file; /* in arena */
	struct service *services;
	size_t count;
	const char **notes; /* what is not honoured of Postfix's services: "master.cf:12: ..." */
	size_t nnotes;
	struct buf faults; /* all that is wrong with it, a line each */
	bool is_postfix; /* a line runs cleanup, which no Postfix is without: what is missing is implied */
};
void master_cf_clear(struct master_cf *m);
/* Pure.  -1 (ERR_SYNTAX) with file:line of one fault - m->faults has them all, and m the services without one: unknown command (with a suggestion), wrong column, -o of an
 * unknown parameter, service twice, exclusive service with maxproc > 1, missing required service.  Postfix's own services
 * are taken; those whose work nobody does here are noted.  Its "smtp unix ... smtp" is our relay. */
int master_cf_parse(struct master_cf *m, struct view text, const char *file, struct err *err);
/* A file that cannot be read is a fault too. */
int master_cf_load(struct master_cf *m, const char *path, struct err *err);
/* Addresses on which an inet service is to listen, one call each: its own host's, else those of inet_interfaces; only
 * families of inet_protocols.  Resolves names, so it blocks.  Ends with the first -1 of fn, and returns it.  An error of
 * inet_interfaces begins with its name. */
int service_each_address(const struct service *s, const struct conf *conf,
    int (*fn)(void *arg, const struct addrinfo *ai, struct err *err), void *arg, struct err *err);
/* The parameters that name certificates and keys of this role's listeners; NULL: they speak no TLS. */
struct role_tls {
	const char
	    *chains; /* list of files for all key types; if it is not empty, it alone counts */
	const char *cert, *key;     /* one pair of files */
	const char *eccert, *eckey; /* a second pair; NULL: the role has none */
	const char *names;          /* certificates by the name that the client asks for */
};
const struct role_tls *role_tls(enum role r);
/* What this configuration gives the listeners to show to a client that asks for no name: the values of chains, or of cert
 * and eccert.  Returns how many; 0: no TLS. */
enum { ROLE_TLS_SETS = 2 };
size_t role_tls_sets(
    const struct role_tls *t, const struct conf *conf, const char *sets[ROLE_TLS_SETS]);
/* base with the service's -o options laid over it. */
int service_conf(const struct service *s, const struct conf *base, struct conf *out, struct err *err);
/* fn(conf) for each service of role r, with its effective configuration, without what conf_check finds fault with.  Ends with the first -1, and returns it. */
int master_cf_each_conf(const struct master_cf *m, enum role r, const struct conf *base,
    int (*fn)(void *arg, const struct conf *conf, struct err *err), void *arg, struct err *err);

#endif
