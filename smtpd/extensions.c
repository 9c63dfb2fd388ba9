#include "smtpd/extensions.h"
#include "common/log/log.h"
#include "smtpd/session.h"
#include "smtpd/xclient.h"

static bool
has_starttls(const struct smtpd_session *s)
{
	return s->server->tls != NULL && s->server->conf->tls_level != SMTPD_TLS_NONE &&
	       !smtpd_session_has_tls(s);
}

/* Where it would work right now. */
static bool
has_auth(const struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;

	return conf->has_auth && s->login == NULL &&
	       (smtpd_session_has_tls(s) || !conf->tls_auth_only);
}

/* RFC 6531 3.1: 8BITMIME goes with it. */
static bool
has_utf8(const struct smtpd_session *s)
{
	return s->server->conf->ext.has_utf8 && smtpd_offers(s, EXT_8BITMIME);
}

static void
put_size(const struct smtpd_session *s, struct buf *out)
{
	/* RFC 1870 3: no number, no fixed limit */
	if (s->server->conf->message_size_limit > 0)
		buf_printf(out, " %llu", (unsigned long long)s->server->conf->message_size_limit);
}

/* RFC 9422 4: what is not named has no limit of its own. */
static void
put_limits(const struct smtpd_session *s, struct buf *out)
{
	buf_printf(out, " RCPTMAX=%zu", s->server->conf->recipient_limit);
}

/* PLAIN and LOGIN show the password: never without TLS, whatever smtpd_tls_auth_only says. */
static void
put_mechanisms(const struct smtpd_session *s, struct buf *out)
{
	struct view rest = view_of(s->server->conf->mechanisms), word;

	while (conf_next(&rest, &word))
		if (smtpd_session_has_tls(s) ||
		    (!view_case_eq_str(word, "PLAIN") && !view_case_eq_str(word, "LOGIN")))
			buf_printf(out, " %.*s", VIEW_ARG(word));
}

static bool
has_xclient(const struct smtpd_session *s)
{
	return net_list_has(&s->server->conf->ext.xclient_hosts, &s->client.address);
}

static void
put_xclient(const struct smtpd_session *s, struct buf *out)
{
	(void)s;
	smtpd_attributes_put(EXT_XCLIENT, out);
}

static bool
has_xforward(const struct smtpd_session *s)
{
	return net_list_has(&s->server->conf->ext.xforward_hosts, &s->client.address);
}

static void
put_xforward(const struct smtpd_session *s, struct buf *out)
{
	(void)s;
	smtpd_attributes_put(EXT_XFORWARD, out);
}

struct extension {
	const char *keyword;
	bool (*is_there)(const struct smtpd_session *s);             /* NULL: always */
	void (*put)(const struct smtpd_session *s, struct buf *out); /* NULL: no parameters */
};

/* clang-format off */
static const struct extension extensions[EXT_COUNT] = {
	[EXT_PIPELINING]          = { "PIPELINING", NULL, NULL },
	[EXT_SIZE]                = { "SIZE", NULL, put_size },
	[EXT_STARTTLS]            = { "STARTTLS", has_starttls, NULL },
	[EXT_AUTH]                = { "AUTH", has_auth, put_mechanisms },
	[EXT_ENHANCEDSTATUSCODES] = { "ENHANCEDSTATUSCODES", NULL, NULL },
	[EXT_DSN]                 = { "DSN", NULL, NULL },
	[EXT_CHUNKING]            = { "CHUNKING", NULL, NULL },
	[EXT_SMTPUTF8]            = { "SMTPUTF8", has_utf8, NULL },
	[EXT_REQUIRETLS]          = { "REQUIRETLS", smtpd_session_has_tls, NULL },
	[EXT_LIMITS]              = { "LIMITS", NULL, put_limits },
	[EXT_XCLIENT]             = { "XCLIENT", has_xclient, put_xclient },
	[EXT_XFORWARD]            = { "XFORWARD", has_xforward, put_xforward },
	[EXT_8BITMIME]            = { "8BITMIME", NULL, NULL },
};
/* clang-format on */

static unsigned
bit_of(struct view word)
{
	for (unsigned e = 0; e < EXT_COUNT; e++)
		if (view_case_eq_str(word, extensions[e].keyword))
			return 1u << e;
	return 0;
}

unsigned
smtpd_extensions_parse(const char *words)
{
	struct view rest = view_of(words), word;
	unsigned mask = 0, bit;

	while (conf_next(&rest, &word)) {
		if ((bit = bit_of(word)) == 0 && !view_case_eq_str(word, "silent-discard"))
			log_warn("smtpd_discard_ehlo_keywords: no such keyword: %s", lq(word));
		mask |= bit;
	}
	return mask;
}

bool
smtpd_discards(const struct smtpd_session *s, enum smtpd_extension e)
{
	return (s->server->conf->ext.discarded >> e & 1) != 0;
}

bool
smtpd_offers(const struct smtpd_session *s, enum smtpd_extension e)
{
	const struct extension *x = &extensions[e];

	return !smtpd_discards(s, e) && (x->is_there == NULL || x->is_there(s));
}

void
smtpd_extensions_put(const struct smtpd_session *s, struct buf *out)
{
	size_t last = 0;

	buf_printf(out, "250-%s\r\n", s->server->conf->myhostname);
	for (enum smtpd_extension e = 0; e < EXT_COUNT; e++) {
		if (!smtpd_offers(s, e))
			continue;
		last = out->len;
		buf_printf(out, "250-%s", extensions[e].keyword);
		if (extensions[e].put != NULL)
			extensions[e].put(s, out);
		buf_append_str(out, "\r\n");
	}
	if (!out->failed)
		out->p[last + 3] = ' ';
}
