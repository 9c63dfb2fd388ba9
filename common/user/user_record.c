#include "common/user/user_record.h"
#include "common/proto/idn.h"
#include "common/user/saslprep.h"

#include <stdio.h>

enum { LOCAL_MAX = 64, DOMAIN_MAX = 255 };

static bool
has_control(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return true;
	return false;
}

int
user_record_encode(const struct user_record *r, struct buf *out, struct err *err)
{
	if (has_control(r->crypt) || has_control(r->scram) || has_control(r->home))
		return err_set(err, ERR_SYNTAX, "user record: control character in a field");
	if (buf_printf(out, "1\t%u\t%u\t%s\t%s\t%s", (unsigned)r->uid, (unsigned)r->gid, r->crypt,
		r->scram, r->home) < 0)
		return err_set(err, ERR_LIMIT, "user record: too long");
	return 0;
}

static bool
take_number(struct view *rest, uint32_t *out)
{
	struct view field;
	uint64_t n;

	if (!view_cut(*rest, '\t', &field, rest) || !view_u64(field, UINT32_MAX, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool
take_text(struct view *rest, bool is_last, char *out, size_t size)
{
	struct view field;

	if (view_cut(*rest, '\t', &field, rest) == is_last || field.len >= size)
		return false;
	if (field.len > 0)
		memcpy(out, field.p, field.len);
	out[field.len] = '\0';
	return strlen(out) == field.len && !has_control(out);
}

int
user_record_decode(struct view bytes, struct user_record *out, struct err *err)
{
	struct view version, rest;

	*out = (struct user_record){ 0 };
	if (!view_cut(bytes, '\t', &version, &rest))
		return err_set(err, ERR_SYNTAX, "user record: damaged");
	if (!view_eq_str(version, "1"))
		return err_set(err, ERR_SYNTAX, "user record: unknown version");
	if (!take_number(&rest, &out->uid) || !take_number(&rest, &out->gid) ||
	    !take_text(&rest, false, out->crypt, sizeof out->crypt) ||
	    !take_text(&rest, false, out->scram, sizeof out->scram) ||
	    !take_text(&rest, true, out->home, sizeof out->home))
		return err_set(err, ERR_SYNTAX, "user record: damaged");
	return 0;
}

/* Bytes that are harmless in a file name, a log line, an alias list and a SASL exchange. */
static bool
local_is_valid(struct view v)
{
	if (v.len == 0 || v.len > LOCAL_MAX || v.p[0] == '.')
		return false;
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c <= ' ' || c == 0x7f || strchr("/\\\"@,;:<>()[]", c) != NULL)
			return false;
	}
	return true;
}

static bool
domain_is_valid(struct view v)
{
	if (v.len == 0 || v.len > DOMAIN_MAX || v.p[0] == '.' || v.p[v.len - 1] == '.')
		return false;
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == '.' && v.p[i - 1] == '.')
			return false;
		if (c < 0x80 && !ascii_is_alnum(c) && c != '-' && c != '.' && c != '_')
			return false;
	}
	return true;
}

/* Twice: what is lower case may compose where the capital did not ("T" and a diaeresis), and the first round may give
 * new capitals. */
static bool
fold(char text[USER_ADDRESS_MAX + 1])
{
	char prepared[USER_ADDRESS_MAX + 1];

	for (int i = 0; i < 2; i++) {
		ascii_lower_str(text);
		if (!saslprep(text, prepared, sizeof prepared))
			return false;
		memcpy(text, prepared, strlen(prepared) + 1);
	}
	return true;
}

int
user_address_fold(struct view address, char out[USER_ADDRESS_MAX + 1], struct err *err)
{
	char text[USER_ADDRESS_MAX + 1], host[IDN_DOMAIN_MAX];
	struct view local, domain;
	const char *at;

	if (address.len > USER_ADDRESS_MAX)
		return err_set(err, ERR_LIMIT, "address too long");
	if (address.len > 0)
		memcpy(text, address.p, address.len);
	text[address.len] = '\0';
	if (strlen(text) != address.len || !fold(text))
		return err_set(err, ERR_SYNTAX, "not an address for an account");
	address = view_of(text);
	at = strrchr(text, '@');
	if (at == NULL)
		return err_set(err, ERR_SYNTAX, "not an address: no domain");
	local = view_make(address.p, (size_t)(at - address.p));
	domain = view_make(at + 1, address.len - local.len - 1);
	if (!bytes_are_ascii(domain)) {
		if (!idn_to_ascii(domain, host) || local.len + 1 + strlen(host) > USER_ADDRESS_MAX)
			return err_set(err, ERR_SYNTAX, "not an address: bad domain");
		domain = view_of(host);
	}
	if (!local_is_valid(local) || !domain_is_valid(domain))
		return err_set(err, ERR_SYNTAX, "not an address for an account");
	memcpy(out, text, local.len + 1);
	memcpy(out + local.len + 1, domain.p, domain.len);
	out[local.len + 1 + domain.len] = '\0';
	return 0;
}

static bool
has_dotdot(const char *path)
{
	struct view rest = view_of(path), part;

	while (view_token(&rest, "/", &part))
		if (view_eq_str(part, ".."))
			return true;
	return false;
}

int
user_home_path(const struct user_record *r, const char *base, const char *address,
    char out[USER_HOME_MAX], struct err *err)
{
	const char *at = strrchr(address, '@');
	int n;

	if (has_dotdot(r->home))
		return err_set(err, ERR_SYNTAX, "home of %s: \"..\" in it", address);
	if (r->home[0] == '/')
		n = snprintf(out, USER_HOME_MAX, "%s", r->home);
	else if (r->home[0] != '\0')
		n = snprintf(out, USER_HOME_MAX, "%s/%s", base, r->home);
	else if (at == NULL)
		return err_set(err, ERR_SYNTAX, "home of %s: no domain", address);
	else
		n = snprintf(
		    out, USER_HOME_MAX, "%s/%s/%.*s", base, at + 1, (int)(at - address), address);
	if (n < 0 || n >= USER_HOME_MAX)
		return err_set(err, ERR_LIMIT, "home of %s: too long", address);
	return 0;
}

const char *
user_home_beneath(const char *home, const char *base)
{
	size_t len = strlen(base);

	while (len > 0 && base[len - 1] == '/')
		len--;
	if (strncmp(home, base, len) != 0 || home[len] != '/')
		return NULL;
	home += len;
	while (*home == '/')
		home++;
	return *home == '\0' ? NULL : home;
}
