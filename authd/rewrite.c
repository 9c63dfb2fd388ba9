#include "authd/rewrite.h"

#include "authd/find.h"
#include "common/log/log.h"

#include <stdio.h>

enum { MAP_DEPTH_MAX = 10 /* cleanup_map11.c */, VALUE_MAX = 1 << 16, ARENA_MAX = 1 << 20 };

struct rewriting {
	const struct resolve_conf *conf;
	const struct resolve_source *source;
	struct arena arena; /* of one lookup */
	struct buf value;
	char *address; /* char[ADDRESS_MAX + 1] */
	bool keeps_extension;
	struct err *err;
};

/* The table's words, as an address: @domain keeps the user, what the key left out of the user's name is passed on, a name
 * without a domain is of this machine. */
static int
take_value(struct rewriting *w, const char *param, struct view extension)
{
	struct view rest = buf_view(&w->value), word = { 0 }, more;
	const char *at;
	struct address parsed;
	struct view local;
	char *text;

	view_token(&rest, ", \t\r\n", &word);
	if (view_token(&rest, ", \t\r\n", &more))
		log_warn("multi-valued %s entry for %s", param, lqs(w->address));
	at = word.len > 0 ? memrchr(word.p, '@', word.len) : NULL;
	local = at != NULL ? view_make(word.p, (size_t)(at - word.p)) : word;
	if (at == word.p && at != NULL)
		local = view_make(w->address, address_local_length(w->address));
	text = arena_printf(&w->arena, "%.*s%.*s@%.*s", VIEW_ARG(local), VIEW_ARG(extension),
	    at != NULL ? (int)(word.len - (size_t)(at + 1 - word.p)) : (int)strlen(w->conf->origin),
	    at != NULL ? at + 1 : w->conf->origin);
	if (text == NULL)
		return err_set(w->err, ERR_TEMP, "%s: a value too long", param);
	if (address_parse(view_of(text), ADDRESS_ALLOW_UTF8, &parsed, w->err) < 0) {
		err_set(w->err, ERR_TEMP, "%s: %.100s: not an address: \"%.100s\"", param,
		    w->address, text);
		return -1;
	}
	memcpy(w->address, parsed.text, strlen(parsed.text) + 1);
	return 0;
}

/* 0: w->address is what the table has for it; 1: nothing; -1. */
static int
map_once(struct rewriting *w, enum resolve_table t)
{
	struct view extension = { 0 };
	struct err syntax;
	const char *key;
	int r;

	arena_clear(&w->arena);
	arena_init(&w->arena, ARENA_MAX);
	key = resolve_normal(&w->arena, w->conf, view_of(w->address), &syntax);
	if (key == NULL)
		return 1; /* no table has what is no address */
	buf_reset(&w->value);
	r = find_address(w->conf, w->source, t, key, &extension, &w->value, w->err);
	if (r < 0)
		return err_prefix(w->err, "%s: %.100s", resolve_table_params[t], w->address);
	if (r == 1)
		return 1;
	if (!w->keeps_extension)
		extension.len = 0;
	else if (extension.len > 0 && address_local_length(key) == address_local_length(w->address))
		extension.p = w->address + (extension.p - key); /* as it is written there */
	return take_value(w, resolve_table_params[t], extension);
}

/* cleanup_map11_internal: until a table has nothing more, or an address gives itself. */
static int
map_address(struct rewriting *w, enum resolve_table t)
{
	if (!w->conf->has_table[t])
		return 0;
	for (int i = 0; i < MAP_DEPTH_MAX; i++) {
		char before[ADDRESS_MAX + 1];
		int r;

		memcpy(before, w->address, strlen(w->address) + 1);
		r = map_once(w, t);
		if (r != 0)
			return r < 0 ? -1 : 0;
		if (view_case_eq_str(view_of(before), w->address))
			return 0;
	}
	log_warn("unreasonable %s map nesting for %s -- message not accepted, try again later",
	    resolve_table_params[t], lqs(w->address));
	return err_set(w->err, ERR_TEMP, "unreasonable %s map nesting", resolve_table_params[t]);
}

/* generic(5): what the table gives is not looked up again. */
static int
generic(struct rewriting *w, enum rewrite_class class)
{
	enum resolve_table t = class == REWRITE_GENERIC ? RESOLVE_GENERIC : RESOLVE_LMTP_GENERIC;

	return w->conf->has_table[t] && map_once(w, t) < 0 ? -1 : 0;
}

/* --- masquerading ------------------------------------------------------------------------------- */

static bool
is_exception(const struct rewrite_conf *c, struct view local)
{
	struct view rest = view_of(c->exceptions), name;

	while (c->exceptions != NULL && view_token(&rest, ", \t\r\n", &name))
		if (view_case_eq(name, local))
			return true;
	return false;
}

/* a.b.example.com becomes example.com, by the first domain that it lies in; of "!domain" everything stays. */
static void
masquerade(const struct rewrite_conf *c, char *address)
{
	size_t local = address_local_length(address);
	struct view domain = view_of(address_domain(address)),
		    rest = view_of(c->masquerade_domains);
	struct view word;

	if (domain.len == 0 || is_exception(c, view_make(address, local)))
		return;
	while (c->masquerade_domains != NULL && view_token(&rest, ", \t\r\n", &word)) {
		bool stays = false;
		size_t head;

		for (; word.len > 0 && word.p[0] == '!'; word.p++, word.len--)
			stays = !stays;
		if (word.len == 0 || word.len > domain.len)
			continue;
		head = domain.len - word.len;
		if (!view_case_eq(view_make(domain.p + head, word.len), word) ||
		    (head > 0 && domain.p[head - 1] != '.'))
			continue;
		if (!stays && head > 0) {
			memcpy(address + local + 1, word.p, word.len);
			address[local + 1 + word.len] = '\0';
		}
		return;
	}
}

static int
canonical(struct rewriting *w, enum rewrite_class class)
{
	const struct rewrite_conf *conf = &w->conf->rewrite;
	const unsigned bit = class < REWRITE_CLASSES ? 1U << class : 0;
	const bool is_sender = class == REWRITE_ENVELOPE_SENDER || class == REWRITE_HEADER_SENDER;
	int r = 0;

	if (is_sender && (conf->sender_canonical & bit))
		r = map_address(w, RESOLVE_SENDER_CANONICAL);
	if (!is_sender && (conf->recipient_canonical & bit))
		r = map_address(w, RESOLVE_RECIPIENT_CANONICAL);
	if (r == 0 && (conf->canonical & bit))
		r = map_address(w, RESOLVE_CANONICAL);
	if (r == 0 && (conf->masquerade & bit))
		masquerade(conf, w->address);
	return r;
}

int
rewrite_address(const struct resolve_conf *c, const struct resolve_source *s,
    enum rewrite_class class, const char *address, char to[ADDRESS_MAX + 1], struct err *err)
{
	const bool is_generic = class == REWRITE_GENERIC || class == REWRITE_LMTP_GENERIC;
	struct rewriting w = { .conf = c, .source = s, .address = to, .err = err };
	int r;

	/* the null sender is nobody's address */
	if (address[0] == '\0' || strlen(address) > ADDRESS_MAX)
		return 1;
	memcpy(to, address, strlen(address) + 1);
	w.keeps_extension =
	    is_generic ? c->rewrite.keeps_generic_extension : c->rewrite.keeps_extension;
	arena_init(&w.arena, ARENA_MAX);
	buf_init(&w.value, VALUE_MAX);
	r = is_generic ? generic(&w, class) : canonical(&w, class);
	buf_clear(&w.value);
	arena_clear(&w.arena);
	return r < 0 ? -1 : strcmp(to, address) == 0;
}
