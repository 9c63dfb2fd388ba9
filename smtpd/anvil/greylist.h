/* greylist.h - a message from a client network, sender and recipient not seen together before is asked to come again
 * (RFC 6647 3.1): a mail server does, most senders of junk do not.  A network that has come again a few times is
 * not asked any more. */
#ifndef SMTPD_ANVIL_GREYLIST_H
#define SMTPD_ANVIL_GREYLIST_H

#include "common/config/conf.h"
#include "common/ipc/msg/anvil.h"
#include "smtpd/anvil/store.h"

/* In seconds. */
struct greylist_conf {
	int64_t delay, max_age, retry_window;
	unsigned auto_allow; /* 0: never */
};
void greylist_conf_read(struct greylist_conf *g, const struct conf *conf);

struct greylist_answer {
	enum anvil_greylist verdict;
	uint32_t seconds;   /* to wait, or waited */
	const char *reason; /* for the log; NULL: known already, nothing to say */
};

/* Takes place in the store's thread. now: seconds since 1970.  -1: the store has failed, and the verdict is
 * ANVIL_GREY_TEMP. */
int greylist_check(struct store *s, const struct greylist_conf *g, const char *network,
    const char *sender, const char *recipient, int64_t now, struct greylist_answer *out,
    struct err *err);
/* Deletes some of what is too old. */
int greylist_sweep(
    struct store *s, const struct greylist_conf *g, unsigned max, int64_t now, struct err *err);

#endif
