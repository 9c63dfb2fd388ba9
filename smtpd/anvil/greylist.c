#include "smtpd/anvil/greylist.h"

enum {
	KEY_NETWORK = 'N',
	KEY_TRIPLET = 'T',
	NETWORK_UPDATE = 3600, /* seconds: how exactly it is known when a network came last */
};

struct record {
	int64_t first, last; /* seconds since 1970 */
	uint64_t passes;
};

struct key {
	char bytes[STORE_KEY_MAX];
	size_t len;
};

void
greylist_conf_read(struct greylist_conf *g, const struct conf *conf)
{
	g->delay = conf_seconds(conf, "smtpd_greylist_delay");
	g->max_age = conf_seconds(conf, "smtpd_greylist_max_age");
	g->retry_window = conf_seconds(conf, "smtpd_greylist_retry_window");
	g->auto_allow = (unsigned)conf_int(conf, "smtpd_greylist_auto_allow");
}

/* Case does not matter in the domain and hardly in the local part.  What does not fit is cut: addresses that agree
 * in their first 500 bytes are taken for one. */
static void
key_add(struct key *k, const char *text)
{
	for (size_t i = 0; i < 500 && text[i] != '\0' && k->len < sizeof k->bytes - 1; i++)
		k->bytes[k->len++] = (char)ascii_lower((unsigned char)text[i]);
	if (k->len < sizeof k->bytes)
		k->bytes[k->len++] = '\0';
}

static struct view
key_view(const struct key *k)
{
	return view_make(k->bytes, k->len);
}

static bool
is_old(const struct greylist_conf *g, const struct record *r, int64_t now)
{
	/* a clock that was ahead when it was written must not keep it for ever */
	if (r->first > now + g->max_age || r->last > now + g->max_age)
		return true;
	return r->passes > 0 ? now - r->last > g->max_age : now - r->first > g->retry_window;
}

/* 0 found, 1 none, -1 */
static int
load(struct store *s, const struct greylist_conf *g, const struct key *k, int64_t now,
    struct record *r, struct err *err)
{
	int found = store_get(s, STORE_GREYLIST, key_view(k), r, sizeof *r, err);

	if (found == 0 && is_old(g, r, now))
		found = 1;
	if (found == 1)
		*r = (struct record){ .first = now, .last = now };
	return found;
}

static int
save(struct store *s, const struct key *k, const struct record *r, struct err *err)
{
	return store_put(s, STORE_GREYLIST, key_view(k), r, sizeof *r, err);
}

/* 1: the network is let through. */
static int
check_network(struct store *s, const struct greylist_conf *g, const struct key *k, int64_t now,
    struct err *err)
{
	struct record r;
	int found = g->auto_allow == 0 ? 1 : load(s, g, k, now, &r, err);

	if (found != 0 || r.passes < g->auto_allow)
		return found < 0 ? -1 : 0;
	if (now - r.last < NETWORK_UPDATE)
		return 1;
	r.last = now;
	return save(s, k, &r, err) < 0 ? -1 : 1;
}

static int
count_network(struct store *s, const struct greylist_conf *g, const struct key *k, int64_t now,
    struct err *err)
{
	struct record r;

	if (g->auto_allow == 0)
		return 0;
	if (load(s, g, k, now, &r, err) < 0)
		return -1;
	r.passes++;
	r.last = now;
	return save(s, k, &r, err);
}

static int
check_triplet(struct store *s, const struct greylist_conf *g, const struct key *network,
    const struct key *k, int64_t now, struct greylist_answer *out, struct err *err)
{
	struct record r;
	int found = load(s, g, k, now, &r, err);
	int64_t waited = now > r.first ? now - r.first : 0;

	if (found < 0)
		return -1;
	if (found == 1 || (r.passes == 0 && waited < g->delay)) {
		*out = (struct greylist_answer){ ANVIL_GREY_WAIT, (uint32_t)(g->delay - waited),
			found == 1 ? "new" : "early-retry" };
		return found == 1 ? save(s, k, &r, err) : 0;
	}
	*out = (struct greylist_answer){ ANVIL_GREY_PASS, 0, NULL };
	if (r.passes == 0) {
		out->seconds = (uint32_t)waited;
		out->reason = "triplet found";
		if (count_network(s, g, network, now, err) < 0)
			return -1;
	}
	r.passes++;
	r.last = now;
	return save(s, k, &r, err);
}

int
greylist_check(struct store *s, const struct greylist_conf *g, const char *network,
    const char *sender, const char *recipient, int64_t now, struct greylist_answer *out,
    struct err *err)
{
	struct key n = { .bytes = { KEY_NETWORK }, .len = 1 },
		   t = { .bytes = { KEY_TRIPLET }, .len = 1 };
	int r;

	key_add(&n, network);
	key_add(&t, network);
	key_add(&t, sender);
	key_add(&t, recipient);
	r = check_network(s, g, &n, now, err);
	*out = (struct greylist_answer){ ANVIL_GREY_PASS, 0, NULL };
	if (r == 0)
		r = check_triplet(s, g, &n, &t, now, out, err);
	if (r < 0)
		*out = (struct greylist_answer){ ANVIL_GREY_TEMP, 0, NULL };
	return r < 0 ? -1 : 0;
}

struct sweep {
	const struct greylist_conf *conf;
	int64_t now;
};

static bool
is_expired(void *arg, struct view key, struct view value)
{
	const struct sweep *w = arg;
	struct record r;

	(void)key;
	if (value.len != sizeof r)
		return true;
	memcpy(&r, value.p, sizeof r);
	return is_old(w->conf, &r, w->now);
}

int
greylist_sweep(
    struct store *s, const struct greylist_conf *g, unsigned max, int64_t now, struct err *err)
{
	struct sweep w = { g, now };

	return store_sweep(s, STORE_GREYLIST, max, is_expired, &w, err);
}
