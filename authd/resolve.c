#include "authd/resolve.h"

#include "authd/find.h"
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
};

struct walk {
	const struct resolve_conf *conf;
	const struct resolve_source *source;
	struct resolution *out;
	struct map done; /* addresses expanded or delivered to */
	struct buf value;
	size_t expanded;
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
	size_t base = address_base_length(address, c->delimiter);
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

int
resolve_route(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    const char *sender, struct arena *a, struct resolved *out, struct err *err)
{
	const char *from = sender[0] == '\0' ? sender : resolve_normal(a, c, view_of(sender), err);
	enum address_class class;
	bool is_unavailable;
	struct way way;

	*out = (struct resolved){ .address = resolve_normal(a, c, view_of(address), err) };
	if (out->address == NULL || routing_class(c, s, out->address, &class, err) < 0 ||
	    routing_find(c, s, out->address, class, from, a, &way, &is_unavailable, err) < 0)
		return -1;
	out->transport = way.transport;
	out->nexthop = way.nexthop;
	return way.transport == TRANSPORT_VIRTUAL ? find_owner(c, s, out, err) : 0;
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
		found = find_owner(w->conf, w->source, r, err);
	return found == 0 && class == CLASS_RELAY ? is_relay_recipient(w, r->address, err) : found;
}

/* An address that is no alias.  An unknown mailbox behind an alias is handed to the delivery
 * agent all the same: its bounce tells the sender that not all of the list was reached. */
static int
deliver_to(struct walk *w, const char *address, struct err *err)
{
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
	return add_result(w, result, err);
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
static int __attribute__((format(printf, 4, 5)))
unreasonable(struct err *err, const struct step *at, const char *what, const char *fmt, ...)
{
	char why[USER_ADDRESS_MAX + 32];
	va_list ap;

	while (at->parent != NULL)
		at = at->parent;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	log_warn("unreasonable virtual_alias_maps map %s for %s: %s -- message not accepted, "
		 "try again later",
	    what, lqs(at->address), lqs(why));
	return err_set(err, ERR_TEMP, "unreasonable alias %s: %s", what, why);
}

static int expand(struct walk *w, const struct step *at, struct err *err);

static int
expand_word(struct walk *w, const struct step *from, struct view word, struct view extension,
    struct err *err)
{
	struct step next = { from, target_address(w, from->address, word, extension, err),
		from->depth + 1 };

	if (next.address == NULL)
		return -1;
	if (strcmp(next.address, from->address) == 0)
		return deliver_to(w, next.address, err); /* an address that gives itself is final */
	if (is_above(from, next.address))
		return unreasonable(err, from, "nesting", "alias loop at %s", next.address);
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

static int
expand(struct walk *w, const struct step *at, struct err *err)
{
	struct view extension;
	char *words;
	int r;

	if (map_put(&w->done, view_of(at->address), w) != NULL)
		return 0; /* reached another way already */
	if (at->depth > RESOLVE_DEPTH_MAX)
		return unreasonable(err, at, "nesting", "more than %d levels", RESOLVE_DEPTH_MAX);
	if (++w->expanded > RESOLVE_RESULTS_MAX)
		return unreasonable(
		    err, at, "expansion size", "more than %d addresses", RESOLVE_RESULTS_MAX);
	buf_reset(&w->value);
	r = find_address(
	    w->conf, w->source, RESOLVE_ALIASES, at->address, &extension, &w->value, err);
	if (r < 0)
		return -1;
	if (r == 1)
		return deliver_to(w, at->address, err);
	if (!w->conf->keeps_extension)
		extension.len = 0;
	words = arena_strndup(&w->out->arena, w->value.p, w->value.len);
	if (words == NULL)
		return err_set(err, ERR_TEMP, "too many aliases");
	return expand_words(w, at, view_of(words), extension, err);
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

int
resolve_address(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    struct resolution *out, struct err *err)
{
	struct walk w = { .conf = c, .source = s, .out = out };
	enum address_class class;
	const char *name;
	int r = -1;

	*out = (struct resolution){ 0 };
	arena_init(&out->arena, 4 * RESOLVE_ALIAS_BYTES);
	map_init(&w.done);
	buf_init(&w.value, RESOLVE_ALIAS_BYTES);
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
	r = class == CLASS_FOREIGN ? deliver_to(&w, name, err)
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
