#include "common/proto/idn.h"

#include <idn2.h>
#include <stdio.h>

bool
bytes_are_ascii(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.p[i] >= 0x80)
			return false;
	return true;
}

static bool
take(int rc, char *made, char out[IDN_DOMAIN_MAX])
{
	bool ok = rc == IDN2_OK && strlen(made) < IDN_DOMAIN_MAX;

	if (ok)
		snprintf(out, IDN_DOMAIN_MAX, "%s", made);
	idn2_free(made);
	return ok;
}

bool
idn_to_ascii(struct view domain, char out[IDN_DOMAIN_MAX])
{
	char text[IDN_DOMAIN_MAX], *made = NULL;
	int rc;

	out[0] = '\0';
	if (domain.len >= sizeof text || memchr(domain.p, '\0', domain.len) != NULL)
		return false;
	snprintf(text, sizeof text, "%.*s", VIEW_ARG(domain));
	if (bytes_are_ascii(domain)) {
		ascii_lower_str(text);
		memcpy(out, text, domain.len + 1);
		return true;
	}
	rc = idn2_to_ascii_8z(text, &made, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	return take(rc, made, out);
}

bool
idn_to_unicode(struct view domain, char out[IDN_DOMAIN_MAX])
{
	char text[IDN_DOMAIN_MAX], *made = NULL;
	int rc;

	if (domain.len >= sizeof text || view_find(domain, VIEW_LIT("xn--")) == NULL)
		return false;
	snprintf(text, sizeof text, "%.*s", VIEW_ARG(domain));
	rc = idn2_to_unicode_8z8z(text, &made, 0);
	return take(rc, made, out) && strcmp(text, out) != 0;
}
