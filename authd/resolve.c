#include "authd/resolve.h"

#include "authd/aliases.h"
#include "authd/find.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/proto/address.h"
#include "common/proto/idn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* One address being expanded; the chain back to the recipient shows loops. */
struct step {
	const struct step *parent;
	const char *address;
	unsigned depth;
	const char *owner; /* the sender of what goes to it: the list's; NULL: the message's */
};

const char *const resolve_table_params[RESOLVE_TABLES] = {
	[RESOLVE_ALIASES] = "virtual_alias_maps",
	[RESOLVE_TRANSPORTS] = "transport_maps",
	[RESOLVE_RELAY_DOMAINS] = "relay_domains",
	[RESOLVE_RELAY_RECIPIENTS] = "relay_recipient_maps",
	[RESOLVE_SENDER_RELAYHOSTS] = "sender_dependent_relayhost_maps",
	[RESOLVE_SENDER_TRANSPORTS] = "sender_dependent_default_transport_maps",
	[RESOLVE_CANONICAL] = "canonical_maps",
	[RESOLVE_SENDER_CANONICAL] = "sender_canonical_maps",
	[RESOLVE_RECIPIENT_CANONICAL] = "recipient_canonical_maps",
	[RESOLVE_GENERIC] = "smtp_generic_maps",
	[RESOLVE_LMTP_GENERIC] = "lmtp_generic_maps",
	[RESOLVE_LOCAL_ALIASES] = "alias_maps",
};

struct walk {
	const struct resolve_conf *conf;
	const struct resolve_source *source;
	struct resolution *out;
	struct map done; /* addresses expanded or delivered to */
	struct buf value;
	size_t expanded;
	const char *sender; /* the message's */
	size_t nowners;     /* different senders, at most */
};

/* Not its tables; ".domain" keeps its dot. */
static void
add_domains(struct map *m, const char *list)
{
	struct view rest = view_of(list), item;

	map_init(m);
	while (table_spec_next(&rest, &item)) {
		char name[1 + IDN_DOMAIN_MAX] = ".";
		size_t dot = item.p[0] == '.' ? 1 : 0;

		if (memchr(item.p, ':', item.len) == NULL &&
		    idn_to_ascii(view_make(item.p + dot, item.len - dot), name + 1))
			map_put(m, view_of(name + 1 - dot), m);
	}
}

void
resolve_conf_init(struct resolve_conf *c, const char *mailbox_domains, const char *destination,
    const char *relay_domains)
{
	*c = (struct resolve_conf){ .origin = "",
		.relayhost = "",
		.delimiter = "",
		.null_relayhost_key = "<>",
		.null_transport_key = "<>",
		.keeps_extension = true,
		.owner_is_special = true,
		.relay_parents = true,
		.virtual_way = { TRANSPORT_VIRTUAL, "" },
		.relay_way = { TRANSPORT_SMTP, "" },
		.default_way = { TRANSPORT_SMTP, "" } };
	add_domains(&c->mailbox_domains, mailbox_domains);
	add_domains(&c->local_domains, destination);
	add_domains(&c->relay_domains, relay_domains);
}

void
resolve_conf_clear(struct resolve_conf *c)
{
	map_clear(&c->mailbox_domains);
	map_clear(&c->local_domains);
	map_clear(&c->relay_domains);
}

void
resolution_clear(struct resolution *r)
{
	free(r->results);
	arena_clear(&r->arena);
	*r = (struct resolution){ 0 };
}

static bool
is_ours(const struct resolve_conf *c, const char *address)
{
	struct view domain = view_of(address_domain(address));

	return map_get(&c->mailbox_domains, domain) != NULL ||
	       map_get(&c->local_domains, domain) != NULL;
}

/* The account's form of an address beyond ASCII that is in one of our domains: one mailbox, however its name is composed. */
static char *
fold_ours(struct arena *a, const struct resolve_conf *c, char *address)
{
	char folded[USER_ADDRESS_MAX + 1];
	struct err err;

	if (bytes_are_ascii(view_of(address)) || !is_ours(c, address) ||
	    user_address_fold(view_of(address), folded, &err) < 0)
		return address;
	return arena_strdup(a, folded);
}

char *
resolve_normal(struct arena *a, const struct resolve_conf *c, struct view text, struct err *err)
{
	const char *at = text.len == 0 ? NULL : memrchr(text.p, '@', text.len);
	struct view local = at == NULL ? text : view_make(text.p, (size_t)(at - text.p));
	struct view domain =
	    at == NULL ? view_of(c->origin) : view_make(at + 1, text.len - local.len - 1);
	char host[IDN_DOMAIN_MAX], *out;

	if (local.len >= 2 && local.p[0] == '"' && local.p[local.len - 1] == '"' &&
	    memchr(local.p, '\\', local.len) == NULL)
		local = view_make(local.p + 1, local.len - 2);
	if (!bytes_are_ascii(domain) && idn_to_ascii(domain, host))
		domain = view_of(host);
	if (local.len == 0 || domain.len == 0 || local.len + domain.len + 1 > USER_ADDRESS_MAX) {
		err_set(err, ERR_SYNTAX, "not an address");
		return NULL;
	}
	out = arena_printf(a, "%.*s@%.*s", VIEW_ARG(local), VIEW_ARG(domain));
	if (out != NULL) {
		ascii_lower_str(out);
		out = fold_ours(a, c, out);
	}
	if (out == NULL)
		err_set(err, ERR_TEMP, "too many aliases");
	return out;
}

size_t
resolve_base_length(const struct resolve_conf *c, const char *address)
{
	static const char request[] = "-request";
	struct view local = view_make(address, address_local_length(address));
	bool is_special =
	    view_case_starts(local, "owner-") ||
	    (local.len > strlen(request) &&
		view_case_starts(
		    view_make(local.p + local.len - strlen(request), strlen(request)), request));

	return c->owner_is_special && is_special && strchr(c->delimiter, '-') != NULL
		   ? local.len
		   : address_base_length(address, c->delimiter);
}

/* --- aliases ---------------------------------------------------------------------------------- */

/* What one word of an alias stands for: @domain keeps the user, a missing extension is passed
 * on. */
static char *
target_address(
    struct walk *w, const char *from, struct view word, struct view extension, struct err *err)
{
	struct arena *a = &w->out->arena;
	const char *at = memrchr(word.p, '@', word.len);
	size_t local = address_local_length(from);
	char *text = NULL;

	if (word.p[0] == '@')
		text = arena_printf(a, "%.*s%.*s", (int)local, from, VIEW_ARG(word));
	else if (extension.len > 0 && at != NULL)
		text = arena_printf(a, "%.*s%.*s%.*s", (int)(at - word.p), word.p,
		    VIEW_ARG(extension), (int)(word.len - (size_t)(at - word.p)), at);
	else if (extension.len > 0)
		text = arena_printf(a, "%.*s%.*s", VIEW_ARG(word), VIEW_ARG(extension));
	else
		text = arena_strndup(a, word.p, word.len);
	if (text == NULL) {
		err_set(err, ERR_TEMP, "too many aliases");
		return NULL;
	}
	return resolve_normal(a, w->conf, view_of(text), err);
}

/* --- mailboxes -------------------------------------------------------------------------------- */

int
resolve_mailbox(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    char account[USER_ADDRESS_MAX + 1], struct user_record *out, struct err *err)
{
	size_t local = address_local_length(address);
	size_t base = resolve_base_length(c, address);
	int r;

	if (address_domain(address)[0] == '\0' || strlen(address) > USER_ADDRESS_MAX)
		return 1;
	snprintf(account, USER_ADDRESS_MAX + 1, "%s", address);
	ascii_lower_str(account);
	r = s->user(s->arg, account, out, err);
	if (r == 1 && base < local) {
		snprintf(
		    account, USER_ADDRESS_MAX + 1, "%.*s%s", (int)base, address, address + local);
		ascii_lower_str(account);
		r = s->user(s->arg, account, out, err);
	}
	if (r == 0 && out->uid == 0)
		out->uid = c->owner_uid;
	if (r == 0 && out->gid == 0)
		out->gid = c->owner_gid;
	return r;
}

static int
add_result(struct walk *w, struct resolved result, struct err *err)
{
	struct resolution *out = w->out;

	for (size_t i = 0; i < out->count; i++)
		if (strcmp(out->results[i].address, result.address) == 0)
			return 0;
	if (out->count == RESOLVE_RESULTS_MAX)
		return err_set(err, ERR_TEMP, "more than %d recipients", RESOLVE_RESULTS_MAX);
	out->results = x_realloc(out->results, out->count + 1, sizeof *out->results);
	out->results[out->count++] = result;
	return 0;
}

/* --- routes ----------------------------------------------------------------------------------- */

/* Whose mailbox it is; 1: nobody's, and then it is mailbox_owner's. */
static int
find_owner(const struct resolve_conf *c, const struct resolve_source *s, struct resolved *out,
    struct err *err)
{
	char account[USER_ADDRESS_MAX + 1];
	struct user_record user;
	int r = resolve_mailbox(c, s, out->address, account, &user, err);

	out->uid = r == 0 ? user.uid : c->owner_uid;
	out->gid = r == 0 ? user.gid : c->owner_gid;
	return r;
}

/* Nobody reads what is sent to double_bounce_sender and address_verify_sender; but other servers must be able to see that
 * these exist. */
static bool
is_sink(const struct resolve_conf *c, const char *address)
{
	for (size_t i = 0; i < sizeof c->sinks / sizeof c->sinks[0]; i++)
		if (c->sinks[i] != NULL && strcasecmp(c->sinks[i], address) == 0)
			return true;
	return false;
}

static int
route_to_owner(const struct resolve_conf *c, const struct resolve_source *s, struct resolved *out,
    struct err *err)
{
	int r = find_owner(c, s, out, err);

	if (r != 1 || !is_sink(c, out->address))
		return r;
	out->transport = TRANSPORT_DISCARD;
	out->nexthop = "";
	return 0;
}

int
resolve_route(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    const char *sender, struct arena *a, struct resolved *out, struct err *err)
{
	const char *from = sender[0] == '\0' ? sender : resolve_normal(a, c, view_of(sender), err);
	enum address_class class;
	bool is_unavailable;
	struct way way;

	*out = (struct resolved){ .address = resolve_normal(a, c, view_of(address), err),
		.transport = TRANSPORT_ERROR,
		.nexthop = alias_refusal(address[0]) };
	/* what an alias names instead of an address (refuse_item) */
	if (out->address != NULL && out->nexthop != NULL &&
	    map_get(&c->local_domains, view_of(address_domain(out->address))) != NULL)
		return 0;
	if (out->address == NULL || routing_class(c, s, out->address, &class, err) < 0 ||
	    routing_find(c, s, out->address, class, from, a, &way, &is_unavailable, err) < 0)
		return -1;
	out->transport = way.transport;
	out->nexthop = way.nexthop;
	return way.transport == TRANSPORT_VIRTUAL ? route_to_owner(c, s, out, err) : 0;
}

/* 0 yes, 1 no, -1.  Without a table all are known (postconf(5)). */
static int
is_relay_recipient(struct walk *w, const char *address, struct err *err)
{
	int r;

	if (!w->conf->has_table[RESOLVE_RELAY_RECIPIENTS])
		return 0;
	buf_reset(&w->value);
	r = find_address(
	    w->conf, w->source, RESOLVE_RELAY_RECIPIENTS, address, NULL, &w->value, err);
	return r < 0 ? err_prefix(err, "relay_recipient_maps") : r;
}

/* Does its class know it?  0 yes, 1 no, -1.  What a transport table brings here is known by its mailbox, too. */
static int
check_recipient(struct walk *w, enum address_class class, struct resolved *r, struct err *err)
{
	bool is_elsewhere = class == CLASS_RELAY || class == CLASS_FOREIGN;
	int found = 0;

	if (!is_elsewhere || r->transport == TRANSPORT_VIRTUAL)
		found = route_to_owner(w->conf, w->source, r, err);
	return found == 0 && class == CLASS_RELAY ? is_relay_recipient(w, r->address, err) : found;
}

/* Whose mail comes back to whom: a list's to its owner, and what an alias sends to other systems to us, who may send it for
 * the sender's domain nowhere else (SPF). */
static int
set_sender(struct walk *w, const struct step *at, enum address_class class, struct resolved *r,
    struct err *err)
{
	char rewritten[ADDRESS_MAX + 1];

	if (at->owner != NULL) {
		r->sender = at->owner;
		r->sender_kind = AUTHD_SENDER_LIST;
		return 0;
	}
	if (class != CLASS_FOREIGN || at->parent == NULL || w->sender[0] == '\0' ||
	    is_ours(w->conf, w->sender) ||
	    srs_forward(&w->conf->srs, w->sender, clock_wall_ms() / 1000, rewritten) != 0)
		return 0;
	r->sender = arena_strdup(&w->out->arena, rewritten);
	r->sender_kind = AUTHD_SENDER_SRS;
	return r->sender != NULL ? 0 : err_set(err, ERR_TEMP, "too many aliases");
}

/* An address that is no alias.  An unknown mailbox behind an alias is handed to the delivery
 * agent all the same: its bounce tells the sender that not all of the list was reached. */
static int
deliver_to(struct walk *w, const struct step *at, struct err *err)
{
	const char *address = at->address;
	struct resolved result = { .address = address };
	enum address_class class;
	bool is_unavailable;
	struct way way;
	int r;

	if (routing_class(w->conf, w->source, address, &class, err) < 0 ||
	    routing_find(w->conf, w->source, address, class, NULL, &w->out->arena, &way,
		&is_unavailable, err) < 0)
		return -1;
	/* what the admin has written wrongly is to wait in the queue */
	result.transport = is_unavailable ? TRANSPORT_SMTP : way.transport;
	result.nexthop = is_unavailable ? "" : way.nexthop;
	r = check_recipient(w, class, &result, err);
	if (r < 0)
		return -1;
	w->out->is_known |= r == 0;
	return set_sender(w, at, class, &result, err) < 0 ? -1 : add_result(w, result, err);
}

static bool
is_above(const struct step *s, const char *address)
{
	for (; s != NULL; s = s->parent)
		if (strcmp(s->address, address) == 0)
			return true;
	return false;
}

/* The client hears of a temporary failure only; the admin is told whose address it is (Postfix's words). */
static int __attribute__((format(printf, 5, 6))) unreasonable(struct err *err,
    const struct step *at, enum resolve_table t, const char *what, const char *fmt, ...)
{
	char why[USER_ADDRESS_MAX + 32];
	va_list ap;

	while (at->parent != NULL)
		at = at->parent;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	log_warn("unreasonable %s map %s for %s: %s -- message not accepted, try again later",
	    resolve_table_params[t], what, lqs(at->address), lqs(why));
	return err_set(err, ERR_TEMP, "unreasonable alias %s: %s", what, why);
}

static int expand(struct walk *w, const struct step *at, struct err *err);
static int deliver_local(struct walk *w, const struct step *at, struct err *err);

static int
expand_word(struct walk *w, const struct step *from, struct view word, struct view extension,
    struct err *err)
{
	struct step next = { from, target_address(w, from->address, word, extension, err),
		from->depth + 1, from->owner };

	if (next.address == NULL)
		return -1;
	if (strcmp(next.address, from->address) == 0)
		return deliver_local(w, &next, err); /* an address that gives itself is final */
	if (is_above(from, next.address))
		return unreasonable(
		    err, from, RESOLVE_ALIASES, "nesting", "alias loop at %s", next.address);
	return expand(w, &next, err);
}

static int
expand_words(
    struct walk *w, const struct step *at, struct view rest, struct view extension, struct err *err)
{
	struct view word;
	int r = 0;

	while (r == 0 && view_token(&rest, ", \t\r\n", &word))
		r = expand_word(w, at, word, extension, err);
	return r;
}

static const char *
keep_value(struct walk *w, struct err *err)
{
	const char *copy = arena_strndup(&w->out->arena, w->value.p, w->value.len);

	if (copy == NULL)
		err_set(err, ERR_TEMP, "too many aliases");
	return copy;
}

static int
count_expansion(struct walk *w, const struct step *at, enum resolve_table t, struct err *err)
{
	if (at->depth > RESOLVE_DEPTH_MAX)
		return unreasonable(
		    err, at, t, "nesting", "more than %d levels", RESOLVE_DEPTH_MAX);
	if (++w->expanded > RESOLVE_RESULTS_MAX)
		return unreasonable(
		    err, at, t, "expansion size", "more than %d addresses", RESOLVE_RESULTS_MAX);
	return 0;
}

static int
expand(struct walk *w, const struct step *at, struct err *err)
{
	struct view extension;
	const char *words;
	int r;

	if (map_put(&w->done, view_of(at->address), w) != NULL)
		return 0; /* reached another way already */
	if (count_expansion(w, at, RESOLVE_ALIASES, err) < 0)
		return -1;
	buf_reset(&w->value);
	r = find_address(
	    w->conf, w->source, RESOLVE_ALIASES, at->address, &extension, &w->value, err);
	if (r < 0)
		return -1;
	if (r == 1)
		return deliver_local(w, at, err);
	if (!w->conf->keeps_extension)
		extension.len = 0;
	words = keep_value(w, err);
	return words == NULL ? -1 : expand_words(w, at, view_of(words), extension, err);
}

/* --- aliases(5) ------------------------------------------------------------------------------- */

static int expand_list(struct walk *w, const struct step *at, struct view list,
    struct view extension, struct err *err);

/* Lines that begin with '#' are comments. */
static int
expand_file(
    struct walk *w, const struct step *at, const char *path, struct view extension, struct err *err)
{
	const struct step inside = { at, at->address, at->depth + 1, at->owner };
	struct view rest, line;
	const char *text;
	int r = 0;

	if (count_expansion(w, &inside, RESOLVE_LOCAL_ALIASES, err) < 0)
		return -1;
	buf_reset(&w->value);
	if (w->source->include(w->source->arg, path, &w->value, err) < 0 ||
	    (text = keep_value(w, err)) == NULL)
		return -1;
	if (!w->conf->keeps_include_extension)
		extension.len = 0;
	for (rest = view_of(text); r == 0 && rest.len > 0;) {
		view_cut(rest, '\n', &line, &rest);
		if (line.len > 0 && line.p[0] != '#')
			r = expand_list(w, &inside, line, extension, err);
	}
	return r;
}

/* There is nobody to run commands or to write to files: the sender hears of it, by the name of what was meant. */
static int
refuse_item(struct walk *w, const struct step *from, const struct alias_item *item, struct err *err)
{
	const char *name = item->text + (item->kind == ALIAS_FILE);
	size_t len =
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-");
	char first = item->kind == ALIAS_FILE ? '/' : '|';
	struct resolved result = { .transport = TRANSPORT_ERROR,
		.nexthop = alias_refusal(first),
		.address = arena_printf(&w->out->arena, "%c%.*s@%s", first,
		    (int)(len < 60 ? len : 60), name, address_domain(from->address)) };

	if (result.address == NULL)
		return err_set(err, ERR_TEMP, "too many aliases");
	w->out->is_known = true;
	return set_sender(w, from, CLASS_LOCAL, &result, err) < 0 ? -1 : add_result(w, result, err);
}

static int
expand_item(struct walk *w, const struct step *from, const struct alias_item *item,
    struct view extension, struct err *err)
{
	struct step next = { from, NULL, from->depth + 1, from->owner };

	if (item->kind == ALIAS_INCLUDE)
		return expand_file(w, from, item->text, extension, err);
	if (item->kind == ALIAS_COMMAND || item->kind == ALIAS_FILE)
		return refuse_item(w, from, item, err);
	next.address = target_address(w, from->address, view_of(item->text), extension, err);
	if (next.address == NULL)
		return err_set(err, ERR_TEMP, "alias_maps: %s: bad destination \"%.100s\"",
		    from->address, item->text);
	if (item->kind == ALIAS_USER || strcmp(next.address, from->address) == 0)
		return deliver_to(w, &next, err);
	if (is_above(from, next.address))
		return unreasonable(
		    err, from, RESOLVE_LOCAL_ALIASES, "nesting", "alias loop at %s", next.address);
	return expand(w, &next, err);
}

static int
expand_list(
    struct walk *w, const struct step *at, struct view list, struct view extension, struct err *err)
{
	struct alias_item item;
	int r;

	while ((r = alias_next(&list, &item, err)) == 0)
		if (expand_item(w, at, &item, extension, err) < 0)
			return -1;
	if (r == 1)
		return 0;
	log_warn("alias_maps: %s: %s", lqs(at->address), lqs(err->text));
	err->kind = ERR_TEMP;
	return -1;
}

/* What owner-NAME stands for, where that is asked for and one address. */
static const char *
expanded_owner(const struct walk *w)
{
	struct view list = buf_view(&w->value);
	struct alias_item item, more;

	if (!w->conf->expand_owner || alias_next(&list, &item, NULL) != 0 ||
	    item.kind != ALIAS_ADDRESS || alias_next(&list, &more, NULL) != 1)
		return NULL;
	return arena_strdup(&w->out->arena, item.text);
}

/* The sender of what goes to the list: owner-NAME, where there is such an alias.  The null sender stays: what comes back of a
 * bounce is for nobody.  Senders beyond what a message may have are those of the list around it. */
static int
find_owner_alias(struct walk *w, struct step *at, size_t name_len, struct err *err)
{
	char *owner = arena_printf(&w->out->arena, "owner-%.*s", (int)name_len, at->address);
	const char *expanded;
	int r;

	if (owner == NULL)
		return err_set(err, ERR_TEMP, "too many aliases");
	if (!w->conf->owner_is_special || w->sender[0] == '\0')
		return 0;
	buf_reset(&w->value);
	r = find_key(w->conf, w->source, RESOLVE_LOCAL_ALIASES, owner, &w->value, err);
	if (r < 0)
		return -1;
	if (r == 1 && w->conf->reset_owner)
		at->owner = NULL;
	if (r == 1 || w->nowners + 2 >= ENVELOPE_MAX_SENDERS)
		return 0;
	expanded = expanded_owner(w);
	at->owner = resolve_normal(
	    &w->out->arena, w->conf, view_of(expanded != NULL ? expanded : owner), err);
	w->nowners++;
	return at->owner == NULL ? -1 : 0;
}

/* A name of mydestination that virtual_alias_maps have nothing more for. */
static int
deliver_local(struct walk *w, const struct step *at, struct err *err)
{
	struct step list = *at;
	struct view extension;
	const char *text;
	int r;

	if (map_get(&w->conf->local_domains, view_of(address_domain(at->address))) == NULL)
		return deliver_to(w, at, err);
	buf_reset(&w->value);
	r = find_alias(w->conf, w->source, at->address, &extension, &w->value, err);
	if (r != 0)
		return r < 0 ? -1 : deliver_to(w, at, err);
	if (count_expansion(w, at, RESOLVE_LOCAL_ALIASES, err) < 0 ||
	    (text = keep_value(w, err)) == NULL ||
	    find_owner_alias(w, &list, address_local_length(at->address) - extension.len, err) < 0)
		return -1;
	if (!w->conf->keeps_alias_extension)
		extension.len = 0;
	return expand_list(w, &list, view_of(text), extension, err);
}

/* A name of a domain that is not ours, and that no alias leads away, would only be relayed back to us. */
static int
expand_ours(struct walk *w, const char *address, struct err *err)
{
	const struct step first = { .address = address };
	struct resolution *out = w->out;
	int r = expand(w, &first, err);

	if (r == 0 && !is_ours(w->conf, address) && out->count == 1 &&
	    strcmp(out->results[0].address, address) == 0)
		out->is_known = false;
	if (r == 0 && !out->is_known)
		out->count = 0;
	return r;
}

/* Aliases count for relay_domains too. */
static int
expand_relayed(struct walk *w, const char *address, struct err *err)
{
	const struct step first = { .address = address };
	int r = expand(w, &first, err);

	if (r == 0 && !w->out->is_known)
		w->out->count = 0;
	return r;
}

/* RFC 5321 4.5.1: each domain has a postmaster.  One without an alias or a mailbox of its own has this machine's. */
static int
expand_local(struct walk *w, const char *address, struct err *err)
{
	const char *postmaster;
	int r = expand_ours(w, address, err);

	if (r < 0 || w->out->is_known || !view_starts(view_of(address), "postmaster@"))
		return r;
	postmaster = resolve_normal(&w->out->arena, w->conf, VIEW_LIT("postmaster"), err);
	return postmaster == NULL ? -1 : expand_ours(w, postmaster, err);
}

/* What canonical_maps and their kin make of it; *class, too, where they make something of it. */
static const char *
rewritten(struct walk *w, const char *address, const char *name, enum address_class *class,
    struct err *err)
{
	char other[ADDRESS_MAX + 1];
	int r =
	    rewrite_address(w->conf, w->source, REWRITE_ENVELOPE_RECIPIENT, address, other, err);

	if (r != 0)
		return r < 0 ? NULL : name;
	name = resolve_normal(&w->out->arena, w->conf, view_of(other), err);
	return name == NULL || routing_class(w->conf, w->source, name, class, err) < 0 ? NULL
										       : name;
}

/* What was sent under one of our SRS addresses goes where that came from, as what an alias forwards.  1: it is no such
 * address. */
static int
resolve_reversed(struct walk *w, const char *address, struct err *err)
{
	const struct step from = { .address = address };
	struct step to = { .parent = &from, .depth = 1 };
	char original[ADDRESS_MAX + 1];
	enum address_class class;
	int r = srs_reverse(&w->conf->srs, address, clock_wall_ms() / 1000, original);

	if (r == 1)
		return 1;
	w->out->class = CLASS_LOCAL;
	if (r < 0)
		return 0; /* nobody's */
	to.address = resolve_normal(&w->out->arena, w->conf, view_of(original), err);
	if (to.address == NULL || routing_class(w->conf, w->source, to.address, &class, err) < 0)
		return -1;
	if (class != CLASS_FOREIGN)
		return expand(w, &to, err);
	/* another's user names may differ in case only */
	to.address = arena_strdup(&w->out->arena, original);
	return to.address != NULL ? deliver_to(w, &to, err)
				  : err_set(err, ERR_TEMP, "too many aliases");
}

int
resolve_address(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    const char *sender, struct resolution *out, struct err *err)
{
	struct walk w = { .conf = c, .source = s, .out = out, .sender = sender };
	struct step first = { 0 };
	enum address_class class;
	const char *name;
	int r = -1;

	*out = (struct resolution){ 0 };
	arena_init(&out->arena, 4 * RESOLVE_ALIAS_BYTES);
	map_init(&w.done);
	buf_init(&w.value, RESOLVE_ALIAS_BYTES);
	r = resolve_reversed(&w, address, err);
	if (r != 1)
		goto out;
	r = -1;
	name = resolve_normal(&out->arena, c, view_of(address), err);
	if (name == NULL)
		goto out;
	if (routing_class(c, s, name, &out->class, err) < 0)
		goto out;
	/* RFC 5321 4.5.1: a name without a domain is a name of this machine, "postmaster" above all */
	if (strchr(address, '@') == NULL)
		out->class = CLASS_LOCAL;
	/* whose domain it is, is asked of the address as it came: who may send here may not send to all that it becomes */
	class = out->class;
	if ((name = rewritten(&w, address, name, &class, err)) == NULL)
		goto out;
	first.address = name;
	r = class == CLASS_FOREIGN ? deliver_to(&w, &first, err)
	    : class == CLASS_RELAY ? expand_relayed(&w, name, err)
				   : expand_local(&w, name, err);
out:
	map_clear(&w.done);
	buf_clear(&w.value);
	if (r < 0) {
		err_prefix(err, "%s", address);
		resolution_clear(out);
	}
	return r;
}
