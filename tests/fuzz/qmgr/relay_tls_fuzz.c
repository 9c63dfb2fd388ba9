/* What decides about TLS: entries of smtp_tls_policy_maps, and RDATA of TLSA records. */
#include "qmgr/relay/dane.h"
#include "qmgr/relay/tls_policy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct relay_tls_defaults defaults = {
	.level = RELAY_TLS_MAY,
	.protocols = { ">=TLSv1.2", ">=TLSv1.2" },
	.grade = { "medium", "high" },
	.exclude = { "", "MD5" },
	.high_cipherlist = "HIGH",
	.fingerprint_match = "",
	.verify_match = "hostname",
	.secure_match = "nexthop, dot-nexthop",
	.servername = "",
};

/* Whoever is to be known is known by something. */
static void
check_policy(const char *entry, enum relay_tls_level at_most)
{
	struct relay_tls_policy p;
	struct err e;

	if (relay_tls_policy_read(&defaults, entry, at_most, &p, &e) == 0) {
		bool needs_match = p.level == RELAY_TLS_FINGERPRINT || p.level >= RELAY_TLS_VERIFY;

		if (p.level > at_most || needs_match != (p.match.len > 0) || p.match.failed ||
		    p.ciphers.failed || (p.level > RELAY_TLS_NONE && p.ciphers.len == 0))
			abort();
	}
	relay_tls_policy_clear(&p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct relay_tlsa r;
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	check_policy(text, RELAY_TLS_SECURE);
	check_policy(text, RELAY_TLS_MAY);
	if (relay_tlsa_read(view_make(data, size), &r) &&
	    (r.len + 3 != size || r.usage < TLSA_DANE_TA || r.usage > TLSA_DANE_EE))
		abort();
	free(text);
	return 0;
}
