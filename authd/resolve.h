/* resolve.h - who takes mail for an address?  Aliases, then mailboxes and routes (DESIGN 7; virtual(5)).
 * Pure but for the two questions that it asks through struct resolve_source.
 *
 * First of all it becomes what canonical_maps and their kin say (rewrite.h).  An alias is looked for as
 * user+ext@domain, user@domain, user+ext and user (domains of this machine only), @domain; what it gives is looked up again, until nothing is found or an address
 * gives itself.  Names of mydestination are then looked for in alias_maps (aliases(5)), whose values may name files and, in
 * vain, commands; an owner- alias beside a list's own becomes the sender of what goes to it.  postmaster of any of our domains is postmaster of this machine where it is nothing else. */
#ifndef AUTHD_RESOLVE_H
#define AUTHD_RESOLVE_H

#include "authd/rewrite.h"
#include "authd/routing.h"
#include "authd/srs.h"
#include "common/base/map.h"
#include "common/table/table.h"
#include "common/user/user_record.h"

enum { RESOLVE_DEPTH_MAX = 100, RESOLVE_RESULTS_MAX = 1000, RESOLVE_ALIAS_BYTES = 1 << 18 };

enum resolve_table {
	RESOLVE_ALIASES,
	RESOLVE_TRANSPORTS,
	RESOLVE_RELAY_DOMAINS, /* what relay_domains has beside names */
	RESOLVE_RELAY_RECIPIENTS,
	RESOLVE_SENDER_RELAYHOSTS,
	RESOLVE_SENDER_TRANSPORTS,
	RESOLVE_CANONICAL,
	RESOLVE_SENDER_CANONICAL,
	RESOLVE_RECIPIENT_CANONICAL,
	RESOLVE_GENERIC,
	RESOLVE_LMTP_GENERIC,
	RESOLVE_LOCAL_ALIASES, /* aliases(5): names of mydestination */
	RESOLVE_TABLES
};
extern const char *const resolve_table_params[RESOLVE_TABLES]; /* their names in main.cf */

struct resolve_conf {
	struct map mailbox_domains; /* virtual_mailbox_domains, lower case -> any value */
	struct map local_domains;   /* mydestination */
	struct map relay_domains;   /* relay_domains, ".domain" too */
	/* parent_domain_matches_subdomains names relay_domains, transport_maps */
	bool relay_parents, transport_parents;
	bool has_table[RESOLVE_TABLES];
	struct way virtual_way, relay_way, default_way;
	struct rewrite_conf rewrite;
	bool keeps_extension; /* propagate_unmatched_extensions names virtual */
	bool keeps_alias_extension, keeps_include_extension; /* alias, include */
	bool expand_owner, owner_is_special, reset_owner; /* *_owner_alias, owner_request_special */
	struct srs srs;
	const char *origin; /* myorigin */
	const char *sinks[2]; /* addresses of our own programs; what comes to them, if they are nobody's, is thrown away */
	const char *relayhost;
	const char *null_relayhost_key, *null_transport_key; /* empty_address_..._maps_lookup_key */
	const char *delimiter;                               /* characters of recipient_delimiter */
	uint32_t owner_uid,
	    owner_gid; /* mailbox_owner: whose mailboxes are those without an owner */
};
/* The three lists of domains; for the rest what Postfix has by default. */
void resolve_conf_init(struct resolve_conf *c, const char *mailbox_domains, const char *destination,
    const char *relay_domains);
void resolve_conf_clear(struct resolve_conf *c);

struct resolve_source {
	/* 0 and the value appended, 1 = none, -1 = no answer for now */
	int (*lookup)(void *arg, enum resolve_table t, struct lookup_key key, struct buf *value,
	    struct err *err);
	/* A file that :include: names.  0 and its text appended, -1: it may not be read, or not now */
	int (*include)(void *arg, const char *path, struct buf *text, struct err *err);
	/* 0 found, 1 = no such account, -1 */
	int (*user)(void *arg, const char *address, struct user_record *out, struct err *err);
	void *arg;
};

struct resolved {
	enum transport transport;
	const char *nexthop; /* as struct way's */
	const char *address;
	uint32_t uid, gid;  /* TRANSPORT_VIRTUAL */
	const char *sender; /* that it leaves with; NULL: the message's */
	enum authd_sender sender_kind;
};
struct resolution {
	struct arena arena;
	enum address_class class;
	bool is_known; /* false: no such recipient; results is empty */
	struct resolved *results;
	size_t count;
};
void resolution_clear(struct resolution *r);

/* Lower case, A-labels, origin added to a bare name, quotes dropped where they are not needed: how addresses are compared and
 * looked up.  NULL: ERR_SYNTAX (not an address), ERR_TEMP (the arena is full). */
char *resolve_normal(
    struct arena *a, const struct resolve_conf *c, struct view text, struct err *err);

/* The bytes of the local part before its extension; an owner- or -request address has none (owner_request_special). */
size_t resolve_base_length(const struct resolve_conf *c, const char *address);

/* address as in RCPT TO without brackets; sender: the message's, "" = <>, which stays.  -1: ERR_TEMP (a table or the database does not
 * answer, an alias loop or too many aliases: mail waits until the admin has mended it),
 * ERR_SYNTAX (not an address). */
int resolve_address(const struct resolve_conf *c, const struct resolve_source *s,
    const char *address, const char *sender, struct resolution *out, struct err *err);

/* An address that was resolved before, and is not expanded again: its route now, for mail from sender ("" = <>).  0; 1: it is
 * for a mailbox here, and there is none; -1 (ERR_TEMP, ERR_SYNTAX).  Strings are in a, or of the configuration. */
int resolve_route(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    const char *sender, struct arena *a, struct resolved *out, struct err *err);

/* The account that an address is delivered to, extension dropped where only then it exists.  0
 * found and the account's name in account, 1 none, -1. */
int resolve_mailbox(const struct resolve_conf *c, const struct resolve_source *s,
    const char *address, char account[USER_ADDRESS_MAX + 1], struct user_record *out,
    struct err *err);

#endif
