#include "authd/srs.h"

#include "common/base/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAG = 4, HASH = 4, STAMP = 2, DAY = 86400, DAYS = 1024 };

int
srs_read_secrets(struct srs *s, struct view text, struct err *err)
{
	struct view line;

	while (text.len > 0) {
		view_cut(text, '\n', &line, &text);
		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		line = view_trim(line);
		if (line.len == 0)
			continue;
		if (line.len < SRS_SECRET_MIN || memchr(line.p, '\0', line.len) != NULL)
			return err_set(
			    err, ERR_SYNTAX, "a secret of less than %d characters", SRS_SECRET_MIN);
		if (s->nsecrets == SRS_SECRETS_MAX)
			return err_set(err, ERR_SYNTAX, "more than %d secrets", SRS_SECRETS_MAX);
		s->secrets[s->nsecrets++] = x_strndup(line.p, line.len);
	}
	return s->nsecrets > 0 ? 0 : err_set(err, ERR_SYNTAX, "no secret");
}

void
srs_clear(struct srs *s)
{
	for (size_t i = 0; i < s->nsecrets; i++) {
		mem_wipe(s->secrets[i], strlen(s->secrets[i]));
		free(s->secrets[i]);
	}
	*s = (struct srs){ 0 };
}

/* Of the parts, one behind the other and in lower case. */
static void
make_hash(const char *secret, const struct view *parts, size_t count, char out[HASH + 1])
{
	char text[3 * ADDRESS_MAX];
	unsigned char mac[EVP_MAX_MD_SIZE], base64[2 * EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;
	size_t len = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < parts[i].len && len < sizeof text; k++)
			text[len++] = (char)ascii_lower((unsigned char)parts[i].p[k]);
	if (HMAC(EVP_sha1(), secret, (int)strlen(secret), (unsigned char *)text, len, mac,
		&mac_len) == NULL)
		bug("HMAC-SHA1 is not there");
	EVP_EncodeBlock(base64, mac, (int)mac_len);
	memcpy(out, base64, HASH);
	out[HASH] = '\0';
}

/* On their way addresses may lose their case. */
static bool
hash_is_good(const struct srs *s, struct view hash, const struct view *parts, size_t count)
{
	bool is_good = false;

	for (size_t i = 0; i < s->nsecrets; i++) {
		char mine[HASH + 1];

		make_hash(s->secrets[i], parts, count, mine);
		is_good |= view_case_eq_str(hash, mine);
	}
	return is_good;
}

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static void
make_stamp(int64_t now, char out[STAMP + 1])
{
	unsigned day = (unsigned)(now / DAY % DAYS);

	out[0] = base32[day >> 5];
	out[1] = base32[day & 31];
	out[2] = '\0';
}

/* Days count modulo 1024. */
static bool
stamp_is_good(const struct srs *s, struct view stamp, int64_t now)
{
	int64_t day = 0;

	for (size_t i = 0; i < STAMP; i++) {
		unsigned char c = (unsigned char)stamp.p[i];
		const char *at = memchr(base32, c >= 'a' && c <= 'z' ? c - 32 : c, 32);

		if (at == NULL)
			return false;
		day = day * 32 + (at - base32);
	}
	return (now / DAY % DAYS - day + DAYS) % DAYS <= s->max_days;
}

static bool
has_tag(struct view local, const char *tag)
{
	return local.len > TAG && view_case_starts(local, tag) &&
	       (local.p[TAG] == '=' || local.p[TAG] == '+' || local.p[TAG] == '-');
}

/* Behind "SRS1=": hash, host, and what its SRS0 address had behind "SRS0". */
static bool
cut_srs1(struct view local, struct view *hash, struct view *host, struct view *rest)
{
	struct view behind = view_make(local.p + TAG + 1, local.len - TAG - 1);

	return view_cut(behind, '=', hash, &behind) && hash->len == HASH &&
	       view_cut(behind, '=', host, rest) && host->len > 0 && rest->len > 1 &&
	       (rest->p[0] == '=' || rest->p[0] == '+' || rest->p[0] == '-');
}

static int
check_address(const char *text, char out[ADDRESS_MAX + 1])
{
	struct address a;

	if (address_parse(view_of(text), ADDRESS_ALLOW_UTF8, &a, NULL) < 0 || a.domain[0] == '\0')
		return 1;
	memcpy(out, a.text, strlen(a.text) + 1);
	return 0;
}

/* -1: that host cannot be told of it. */
static int
put_srs1(const struct srs *s, struct view host, struct view rest, char out[ADDRESS_MAX + 1])
{
	const struct view parts[] = { host, rest };
	char hash[HASH + 1], text[2 * ADDRESS_MAX];

	snprintf(text, sizeof text, "SRS0%.*s@%.*s", VIEW_ARG(rest), VIEW_ARG(host));
	if (check_address(text, out) != 0)
		return -1;
	make_hash(s->secrets[0], parts, 2, hash);
	snprintf(text, sizeof text, "SRS1=%s=%.*s=%.*s@%s", hash, VIEW_ARG(host), VIEW_ARG(rest),
	    s->domain);
	return check_address(text, out);
}

int
srs_forward(const struct srs *s, const char *sender, int64_t now, char out[ADDRESS_MAX + 1])
{
	struct view domain = view_of(address_domain(sender)), hash, host, rest,
		    local = view_make(sender, address_local_length(sender));
	char stamp[STAMP + 1], text[2 * ADDRESS_MAX], mine[HASH + 1];
	int r;

	if (s->nsecrets == 0 || domain.len == 0 || local.len == 0 || local.p[0] == '"' ||
	    strlen(sender) > ADDRESS_MAX || view_case_eq_str(domain, s->domain))
		return 1;
	if (has_tag(local, "SRS0") && local.len > TAG + 1)
		return put_srs1(s, domain, view_make(local.p + TAG, local.len - TAG), out);
	if (has_tag(local, "SRS1") && cut_srs1(local, &hash, &host, &rest) &&
	    (r = put_srs1(s, host, rest, out)) >= 0)
		return r;
	make_stamp(now, stamp);
	make_hash(s->secrets[0], (const struct view[]){ view_of(stamp), domain, local }, 3, mine);
	snprintf(text, sizeof text, "SRS0=%s=%s=%.*s=%.*s@%s", mine, stamp, VIEW_ARG(domain),
	    VIEW_ARG(local), s->domain);
	return check_address(text, out);
}

static int
reverse_srs0(const struct srs *s, struct view local, int64_t now, char text[2 * ADDRESS_MAX])
{
	struct view hash, stamp, domain, rest = view_make(local.p + TAG + 1, local.len - TAG - 1);

	if (!view_cut(rest, '=', &hash, &rest) || hash.len != HASH ||
	    !view_cut(rest, '=', &stamp, &rest) || stamp.len != STAMP ||
	    !view_cut(rest, '=', &domain, &rest) ||
	    !hash_is_good(s, hash, (const struct view[]){ stamp, domain, rest }, 3) ||
	    !stamp_is_good(s, stamp, now))
		return -1;
	snprintf(text, 2 * ADDRESS_MAX, "%.*s@%.*s", VIEW_ARG(rest), VIEW_ARG(domain));
	return 0;
}

static int
reverse_srs1(const struct srs *s, struct view local, char text[2 * ADDRESS_MAX])
{
	struct view hash, host, rest;

	if (!cut_srs1(local, &hash, &host, &rest) ||
	    !hash_is_good(s, hash, (const struct view[]){ host, rest }, 2))
		return -1;
	snprintf(text, 2 * ADDRESS_MAX, "SRS0%.*s@%.*s", VIEW_ARG(rest), VIEW_ARG(host));
	return 0;
}

int
srs_reverse(const struct srs *s, const char *address, int64_t now, char out[ADDRESS_MAX + 1])
{
	struct view local = view_make(address, address_local_length(address));
	char text[2 * ADDRESS_MAX];
	int r = 1;

	if (s->nsecrets == 0 || strlen(address) > ADDRESS_MAX ||
	    !view_case_eq_str(view_of(address_domain(address)), s->domain))
		return 1;
	if (has_tag(local, "SRS0"))
		r = reverse_srs0(s, local, now, text);
	else if (has_tag(local, "SRS1"))
		r = reverse_srs1(s, local, text);
	return r != 0 ? r : check_address(text, out) == 0 ? 0 : -1;
}
