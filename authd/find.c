#include "authd/find.h"

#include "common/proto/address.h"
#include "common/proto/idn.h"

#include <stdio.h>

enum { KEY_MAX = USER_ADDRESS_MAX + IDN_DOMAIN_MAX, VALUE_MAX = 1 << 16 };

struct finder {
	const struct resolve_conf *conf;
	const struct resolve_source *source;
	enum resolve_table table;
	struct buf *value;
	struct err *err;
};

static int
ask_as_it_is(const struct finder *f, struct view key, bool is_partial)
{
	buf_reset(f->value);
	return f->source->lookup(
	    f->source->arg, f->table, (struct lookup_key){ key, is_partial }, f->value, f->err);
}

/* Tables of patterns see whole addresses only. */
static int
ask(const struct finder *f, const char *key, size_t len, bool is_partial)
{
	struct view whole = view_make(key, len), local, domain = { 0 };
	char unicode[IDN_DOMAIN_MAX], other[KEY_MAX];
	int r = ask_as_it_is(f, whole, is_partial);

	if (r != 1 || !view_cut(whole, '@', &local, &domain) || !idn_to_unicode(domain, unicode))
		return r;
	snprintf(other, sizeof other, "%.*s@%s", VIEW_ARG(local), unicode);
	return ask_as_it_is(f, view_of(other), is_partial);
}

int
find_key(const struct resolve_conf *c, const struct resolve_source *s, enum resolve_table t,
    const char *key, struct buf *value, struct err *err)
{
	const struct finder f = { c, s, t, value, err };

	return c->has_table[t] ? ask_as_it_is(&f, view_of(key), false) : 1;
}

/* --- addresses ---------------------------------------------------------------------------------- */

/* user+ext@domain, user@domain */
static int
ask_whole(const struct finder *f, const char *address, struct view *extension)
{
	size_t local = address_local_length(address);
	size_t base = resolve_base_length(f->conf, address);
	char short_form[USER_ADDRESS_MAX + 1];
	int r = ask(f, address, strlen(address), false);

	if (r != 1 || base == local)
		return r;
	snprintf(short_form, sizeof short_form, "%.*s%s", (int)base, address, address + local);
	r = ask(f, short_form, strlen(short_form), true);
	if (r == 0)
		*extension = view_make(address + base, local - base);
	return r;
}

/* Does the bare name stand for this address too (virtual(5): "user")? */
static bool
is_of_this_machine(const struct resolve_conf *c, const char *address)
{
	struct view domain = view_of(address_domain(address));

	return view_case_eq_str(domain, c->origin) || map_get(&c->local_domains, domain) != NULL;
}

static int
ask_user(const struct finder *f, const char *address, bool is_partial, struct view *extension)
{
	size_t local = address_local_length(address);
	size_t base = resolve_base_length(f->conf, address);
	int r = ask(f, address, local, is_partial);

	if (r == 1 && base < local) {
		r = ask(f, address, base, true);
		if (r == 0)
			*extension = view_make(address + base, local - base);
	}
	return r;
}

int
find_address(const struct resolve_conf *c, const struct resolve_source *s, enum resolve_table t,
    const char *address, struct view *extension, struct buf *value, struct err *err)
{
	const struct finder f = { c, s, t, value, err };
	struct view left_out = { NULL, 0 };
	const char *at = address + address_local_length(address);
	int r;

	if (!c->has_table[t])
		return 1;
	r = ask_whole(&f, address, &left_out);
	if (r == 1 && is_of_this_machine(c, address))
		r = ask_user(&f, address, true, &left_out);
	if (r == 1)
		r = ask(&f, at, strlen(at), true);
	if (extension != NULL)
		*extension = left_out;
	return r;
}

int
find_alias(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    struct view *extension, struct buf *value, struct err *err)
{
	const struct finder f = { c, s, RESOLVE_LOCAL_ALIASES, value, err };

	*extension = (struct view){ NULL, 0 };
	return c->has_table[f.table] ? ask_user(&f, address, false, extension) : 1;
}

/* --- domains ------------------------------------------------------------------------------------ */

/* Of a.b.c: .b.c and .c, or b.c and c; NULL: that was the last. */
static const char *
parent_key(const char *key, bool without_dot)
{
	const char *dot = strchr(key + 1, '.');

	if (dot == NULL || dot[1] == '\0')
		return NULL;
	return without_dot ? dot + 1 : dot;
}

static int
ask_domain(const struct finder *f, const char *domain, bool without_dot)
{
	int r = 1;

	for (const char *key = domain; r == 1 && key != NULL; key = parent_key(key, without_dot))
		r = ask_as_it_is(f, view_of(key), true);
	return r;
}

/* In A-labels, then in U-labels. */
static int
ask_domains(const struct finder *f, const char *domain, bool without_dot)
{
	char unicode[IDN_DOMAIN_MAX];
	int r = domain[0] == '\0' ? 1 : ask_domain(f, domain, without_dot);

	if (r == 1 && idn_to_unicode(view_of(domain), unicode))
		r = ask_domain(f, unicode, without_dot);
	return r;
}

int
find_transport(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    struct buf *value, struct err *err)
{
	const struct finder f = { c, s, RESOLVE_TRANSPORTS, value, err };
	struct view extension;
	int r;

	if (!c->has_table[f.table])
		return 1;
	r = ask_whole(&f, address, &extension);
	if (r == 1)
		r = ask_domains(&f, address_domain(address), c->transport_parents);
	if (r == 1)
		r = ask_as_it_is(&f, VIEW_LIT("*"), true);
	return r;
}

int
find_relay_domain(const struct resolve_conf *c, const struct resolve_source *s, const char *domain,
    struct err *err)
{
	struct buf value;
	const struct finder f = { c, s, RESOLVE_RELAY_DOMAINS, &value, err };
	int r = 1;

	if (domain[0] == '\0')
		return 1;
	for (const char *key = domain; key != NULL; key = parent_key(key, c->relay_parents))
		if (map_get(&c->relay_domains, view_of(key)) != NULL)
			return 0;
	buf_init(&value, VALUE_MAX);
	if (c->has_table[f.table])
		r = ask_domains(&f, domain, c->relay_parents);
	buf_clear(&value);
	return r;
}
