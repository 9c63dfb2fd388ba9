/* lookup.h - the lookup tables of main.cf as smtpd sees them.
 *
 * A table that is read whole at start (cidr:, pcre:, regexp:, texthash:, inline:, static:) is opened before the cage
 * closes and looked up in place.  A table that is read at each lookup (hash:, btree:, lmdb:, cdb:, and what is made of
 * them) is asked for over the authd edge, by its name in main.cf; authd answers for names that main.cf and master.cf
 * hold, and for no other file. */
#ifndef SMTPD_LOOKUP_H
#define SMTPD_LOOKUP_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/ipc/msg/authd.h"
#include "common/proto/address.h"
#include "common/table/table.h"

struct conf;
struct smtpd_server;
struct smtpd_tables; /* one value of type CONF_TABLES: "type:name, type:name"; the first hit wins */

/* specs is copied.  Only resident tables are opened: before the cage closes.  0 or -1: ERR_SYNTAX, ERR_GONE, ERR_TEMP. */
int smtpd_tables_open(struct view specs, struct smtpd_tables **out, struct err *err);
/* Those that a parameter names; NULL: it names none.  The text of an error begins with the parameter's name. */
int smtpd_tables_open_of(
    const struct conf *conf, const char *name, struct smtpd_tables **out, struct err *err);
void smtpd_tables_close(struct smtpd_tables *t); /* NULL is allowed */
const char *smtpd_tables_name(const struct smtpd_tables *t);
/* Nothing but tables in memory: smtpd_lookup_now never gives LOOKUP_ASK. */
bool smtpd_tables_are_resident(const struct smtpd_tables *t);
/* -1 (ERR_SYNTAX): they are not all in memory, as they must be where nobody waits for an answer.  NULL is allowed. */
int smtpd_tables_need_memory(const struct smtpd_tables *t, struct err *err);

enum lookup_result { LOOKUP_FOUND, LOOKUP_NONE, LOOKUP_TEMP, LOOKUP_ASK };

/* The keys to try (struct lookup_key), best first.  A partial key (a parent domain, "user@", a network) is not looked for in
 * tables of patterns (pcre:, regexp:, cidr:), which see whole keys only (access(5)). */
enum { LOOKUP_KEYS_MAX = AUTHD_LOOKUP_KEYS };

/* Keys for a mail address: user+ext@domain, user@domain (delimiters: recipient_delimiter).  Their number; the texts are
 * address and stripped. */
size_t lookup_address_keys(const char *address, const char *delimiters,
    char stripped[ADDRESS_MAX + 1], struct lookup_key keys[2]);

/* From memory, if all of t is there; else LOOKUP_ASK.  LOOKUP_FOUND: the value is appended to *value and *which is
 * the number of the key.  LOOKUP_TEMP: *err says why. */
enum lookup_result smtpd_lookup_now(struct smtpd_tables *t, const struct lookup_key *keys,
    size_t count, struct buf *value, size_t *which, struct err *err);

struct smtpd_lookup;
/* For any table.  cb comes once, from the loop, with LOOKUP_FOUND, _NONE or _TEMP; value is borrowed for the call.
 * Never after smtpd_lookup_cancel.  The keys are copied. */
struct smtpd_lookup *smtpd_lookup_start(struct smtpd_server *v, struct smtpd_tables *t,
    const struct lookup_key *keys, size_t count,
    void (*cb)(void *arg, enum lookup_result r, size_t which, const char *value), void *arg);
void smtpd_lookup_cancel(struct smtpd_lookup *l); /* NULL is allowed */

#endif
