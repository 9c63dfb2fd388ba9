/* resolve.h - who takes mail for an address?  Aliases, then mailboxes (DESIGN 7; virtual(5)).
 * Pure but for the two questions that it asks through struct resolve_source.
 *
 * An alias is looked for as user+ext@domain, user@domain, user+ext and user (domains of this
 * machine only), @domain; what it gives is looked up again, until nothing is found or an address
 * gives itself.  postmaster of any of our domains is postmaster of this machine where it is nothing else. */
#ifndef AUTHD_RESOLVE_H
#define AUTHD_RESOLVE_H

#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/ipc/envelope.h"
#include "common/table/table.h"
#include "common/user/user_record.h"

enum { RESOLVE_DEPTH_MAX = 100, RESOLVE_RESULTS_MAX = 1000, RESOLVE_ALIAS_BYTES = 1 << 18 };

struct resolve_conf {
	struct map mailbox_domains; /* virtual_mailbox_domains, lower case -> any value */
	struct map local_domains;   /* mydestination */
	const char *origin;         /* myorigin */
	const char *relayhost;
	const char *delimiter;         /* characters of recipient_delimiter */
	uint32_t owner_uid, owner_gid; /* mailbox_owner: whose mailboxes are those without an owner */
};
void resolve_conf_init(
    struct resolve_conf *c, const char *mailbox_domains, const char *destination);
void resolve_conf_clear(struct resolve_conf *c);

struct resolve_source {
	/* 0 and the value appended, 1 = none, -1 = no answer for now */
	int (*alias)(void *arg, struct lookup_key key, struct buf *value, struct err *err);
	/* 0 found, 1 = no such account, -1 */
	int (*user)(void *arg, const char *address, struct user_record *out, struct err *err);
	void *arg;
};

struct resolved {
	enum transport transport;
	const char *nexthop; /* "" = by the domain */
	const char *address;
	uint32_t uid, gid; /* TRANSPORT_VIRTUAL */
};
struct resolution {
	struct arena arena;
	bool is_local; /* one of our domains */
	bool is_known; /* false: no such recipient; results is empty */
	struct resolved *results;
	size_t count;
};
void resolution_clear(struct resolution *r);

/* address as in RCPT TO without brackets.  -1: ERR_TEMP (a table or the database does not
 * answer, an alias loop or too many aliases: mail waits until the admin has mended it),
 * ERR_SYNTAX (not an address). */
int resolve_address(const struct resolve_conf *c, const struct resolve_source *s,
    const char *address, struct resolution *out, struct err *err);

/* The account that an address is delivered to, extension dropped where only then it exists.  0
 * found and the account's name in account, 1 none, -1. */
int resolve_mailbox(const struct resolve_conf *c, const struct resolve_source *s,
    const char *address, char account[USER_ADDRESS_MAX + 1], struct user_record *out,
    struct err *err);

#endif
