#include "qmgr/relay/tls_policy.h"
#include "common/config/conf.h"
#include "common/net/tls.h"
#include "qmgr/relay/nexthop.h"

enum { CIPHERS_BYTES = 16 << 10 };

static const char *const names[] = { "none", "may", "encrypt", "fingerprint", "dane", "dane-only",
	"verify", "secure" };

const char *
relay_tls_level_name(enum relay_tls_level level)
{
	return names[level];
}

bool
relay_tls_level_read(struct view word, enum relay_tls_level *out)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (view_case_eq_str(word, names[i])) {
			*out = (enum relay_tls_level)i;
			return true;
		}
	return false;
}

/* What of the parameters an entry takes the place of; p NULL: nothing. */
struct attributes {
	struct view protocols, grade, exclude, servername;
	bool has_match;
};

static int
set_once(struct view *to, struct view name, struct view value, struct err *err)
{
	if (value.len == 0)
		return err_set(
		    err, ERR_SYNTAX, "attribute \"%.*s\" has empty value", VIEW_ARG(name));
	if (to->p != NULL)
		return err_set(err, ERR_SYNTAX, "attribute \"%.*s\" is specified multiple times",
		    VIEW_ARG(name));
	*to = value;
	return 0;
}

/* "AA:BB:..." in one way of writing. */
static int
add_fingerprint(struct relay_tls_policy *p, struct view digest, struct err *err)
{
	for (size_t i = 0; i < digest.len; i++) {
		int c = ascii_lower((unsigned char)digest.p[i]);

		if (c == ':')
			continue;
		if (!ascii_is_digit(c) && (c < 'a' || c > 'f'))
			return err_set(
			    err, ERR_SYNTAX, "\"%.*s\" is no fingerprint", VIEW_ARG(digest));
		buf_append_byte(&p->match, c);
	}
	return 0;
}

static int
add_matches(struct relay_tls_policy *p, struct view list, struct err *err)
{
	bool is_fingerprint = p->level == RELAY_TLS_FINGERPRINT;
	struct view item;

	while (view_token(&list, is_fingerprint ? ", \t\r\n|" : ", \t\r\n:", &item)) {
		if (is_fingerprint && add_fingerprint(p, item, err) < 0)
			return -1;
		if (!is_fingerprint)
			buf_append_view(&p->match, item);
		buf_append_byte(&p->match, '\n');
	}
	return p->match.failed ? err_set(err, ERR_LIMIT, "too much to match") : 0;
}

static int
take_match(struct relay_tls_policy *p, struct attributes *a, struct view value, struct err *err)
{
	if (p->level != RELAY_TLS_FINGERPRINT && p->level < RELAY_TLS_VERIFY)
		return err_set(
		    err, ERR_SYNTAX, "attribute \"match\" invalid at this security level");
	if (value.len == 0)
		return err_set(err, ERR_SYNTAX, "attribute \"match\" has empty value");
	a->has_match = true;
	return add_matches(p, value, err);
}

static int
take_attribute(struct relay_tls_policy *p, struct attributes *a, struct view item, struct err *err)
{
	struct view name, value;

	if (!view_cut(item, '=', &name, &value))
		return err_set(
		    err, ERR_SYNTAX, "malformed attribute/value pair \"%.*s\"", VIEW_ARG(item));
	if (view_case_eq_str(name, "match"))
		return take_match(p, a, value, err);
	if (view_case_eq_str(name, "protocols"))
		return set_once(&a->protocols, name, value, err);
	if (view_case_eq_str(name, "ciphers"))
		return set_once(&a->grade, name, value, err);
	if (view_case_eq_str(name, "servername"))
		return set_once(&a->servername, name, value, err);
	if (view_case_eq_str(name, "exclude")) {
		a->exclude = value;
		return 0;
	}
	if (view_case_eq_str(name, "connection_reuse")) /* connections are kept under TLS, always */
		return 0;
	if (view_case_eq_str(name, "tafile"))
		return err_set(err, ERR_PERM,
		    "attribute \"tafile\" is not supported: use fingerprint or smtp_tls_CAfile");
	return err_set(err, ERR_SYNTAX, "invalid attribute name: \"%.*s\"", VIEW_ARG(name));
}

static int
read_entry(struct relay_tls_policy *p, struct attributes *a, const char *entry, struct err *err)
{
	struct view rest = view_of(entry), item;

	if (!view_token(&rest, ", \t\r\n", &item))
		return err_set(err, ERR_SYNTAX, "invalid empty policy");
	if (!relay_tls_level_read(item, &p->level))
		return err_set(err, ERR_SYNTAX, "invalid security level \"%.*s\"", VIEW_ARG(item));
	while (p->level > RELAY_TLS_NONE && view_token(&rest, ", \t\r\n", &item))
		if (take_attribute(p, a, item, err) < 0)
			return -1;
	return 0;
}

static const char *
default_match(const struct relay_tls_defaults *d, enum relay_tls_level level)
{
	switch (level) {
	case RELAY_TLS_FINGERPRINT:
		return d->fingerprint_match;
	case RELAY_TLS_VERIFY:
		return d->verify_match;
	case RELAY_TLS_SECURE:
		return d->secure_match;
	default:
		return NULL;
	}
}

static int
set_match(struct relay_tls_policy *p, const struct relay_tls_defaults *d,
    const struct attributes *a, struct err *err)
{
	const char *match = default_match(d, p->level);

	if (match == NULL)
		return 0;
	if (!a->has_match && add_matches(p, view_of(match), err) < 0)
		return -1;
	if (p->match.len == 0)
		return err_set(err, ERR_PERM,
		    p->level == RELAY_TLS_FINGERPRINT ? "no fingerprints to match"
						      : "no names to match");
	return 0;
}

static int
set_protocols(struct relay_tls_policy *p, const char *from_conf, struct view own, struct err *err)
{
	char text[200];

	if (own.len >= sizeof text)
		return err_set(err, ERR_LIMIT, "list of protocols too long");
	memcpy(text, own.len > 0 ? own.p : "", own.len);
	text[own.len] = '\0';
	return tls_protocols_parse(
	    own.len > 0 ? text : from_conf, &p->min_version, &p->max_version, err);
}

static void
exclude(struct buf *ciphers, struct view list)
{
	struct view item;

	while (view_token(&list, ", \t\r\n:", &item))
		buf_printf(ciphers, ":!%.*s", VIEW_ARG(item));
}

static int
set_ciphers(struct relay_tls_policy *p, const struct relay_tls_defaults *d,
    const struct attributes *a, struct err *err)
{
	bool is_mandatory = p->level > RELAY_TLS_MAY;
	struct view grade = a->grade.len > 0 ? a->grade : view_of(d->grade[is_mandatory]);

	if (view_case_eq_str(grade, "high"))
		buf_append_str(&p->ciphers, d->high_cipherlist);
	else if (view_case_eq_str(grade, "medium") || view_case_eq_str(grade, "low") ||
		 view_case_eq_str(grade, "export"))
		buf_append_str(&p->ciphers, "DEFAULT");
	else
		return err_set(err, ERR_SYNTAX, "invalid cipher grade \"%.*s\"", VIEW_ARG(grade));
	buf_append_str(&p->ciphers, ":!aNULL:!eNULL");
	if (a->exclude.p != NULL) {
		exclude(&p->ciphers, a->exclude);
	} else {
		exclude(&p->ciphers, view_of(d->exclude[0]));
		if (is_mandatory)
			exclude(&p->ciphers, view_of(d->exclude[1]));
	}
	return p->ciphers.failed ? err_set(err, ERR_LIMIT, "list of ciphers too long") : 0;
}

static int
set_servername(struct relay_tls_policy *p, const char *from_conf, struct view own, struct err *err)
{
	struct view name = own.len > 0 ? own : view_of(from_conf);

	if (name.len < sizeof p->servername)
		memcpy(p->servername, name.p, name.len);
	if (name.len > 0 && !relay_hostname_is_usable(p->servername))
		return err_set(
		    err, ERR_SYNTAX, "servername: \"%.*s\" is no hostname", VIEW_ARG(name));
	return 0;
}

int
relay_tls_policy_read(const struct relay_tls_defaults *d, const char *entry,
    enum relay_tls_level at_most, struct relay_tls_policy *out, struct err *err)
{
	struct attributes a = { 0 };

	*out = (struct relay_tls_policy){ .level = d->level };
	buf_init(&out->match, RELAY_TLS_MATCH_BYTES);
	buf_init(&out->ciphers, CIPHERS_BYTES);
	if (entry != NULL && read_entry(out, &a, entry, err) < 0)
		return -1;
	if (d->is_wrapped && out->level < RELAY_TLS_ENCRYPT)
		return err_set(err, ERR_PERM,
		    "smtp_tls_wrappermode requires \"smtp_tls_security_level = encrypt\" (or stronger)");
	if (out->level > at_most) {
		out->level = at_most;
		buf_reset(&out->match);
	}
	if (out->level == RELAY_TLS_NONE)
		return 0;
	if (set_match(out, d, &a, err) < 0 ||
	    set_protocols(out, d->protocols[out->level > RELAY_TLS_MAY], a.protocols, err) < 0 ||
	    set_ciphers(out, d, &a, err) < 0)
		return -1;
	return set_servername(out, d->servername, a.servername, err);
}

void
relay_tls_policy_clear(struct relay_tls_policy *p)
{
	buf_clear(&p->match);
	buf_clear(&p->ciphers);
}
