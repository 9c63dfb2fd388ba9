#include "smtpd/xclient.h"
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/client_name.h"
#include "smtpd/command.h"
#include "smtpd/extensions.h"
#include "smtpd/opening.h"
#include "smtpd/session.h"

#include <stdlib.h>

enum { VALUE_MAX = 255 };

struct attribute {
	const char *name;
	bool in_xclient, in_xforward;
	bool (*is_valid)(const char *value); /* NULL: any */
};

static bool
is_address(const char *v)
{
	struct sockaddr_storage a;

	return addr_parse(view_of(view_case_starts(view_of(v), "IPV6:") ? v + 5 : v), &a);
}

static bool
is_port(const char *v)
{
	uint64_t n;

	return view_u64(view_of(v), 65535, &n);
}

static bool
is_host(const char *v)
{
	return hostname_is_valid(view_of(v), true);
}

static bool
is_protocol(const char *v)
{
	return strcasecmp(v, "SMTP") == 0 || strcasecmp(v, "ESMTP") == 0;
}

static bool
is_source(const char *v)
{
	return strcasecmp(v, "LOCAL") == 0 || strcasecmp(v, "REMOTE") == 0;
}

/* clang-format off */
static const struct attribute attributes[ATTR_COUNT] = {
	[ATTR_NAME]     = { "NAME",     true,  true,  is_host },
	[ATTR_ADDR]     = { "ADDR",     true,  true,  is_address },
	[ATTR_PORT]     = { "PORT",     true,  true,  is_port },
	[ATTR_PROTO]    = { "PROTO",    true,  true,  is_protocol },
	[ATTR_HELO]     = { "HELO",     true,  true,  NULL },
	[ATTR_LOGIN]    = { "LOGIN",    true,  false, NULL },
	[ATTR_DESTADDR] = { "DESTADDR", true,  false, is_address },
	[ATTR_DESTPORT] = { "DESTPORT", true,  false, is_port },
	[ATTR_IDENT]    = { "IDENT",    false, true,  NULL },
	[ATTR_SOURCE]   = { "SOURCE",   false, true,  is_source },
};
/* clang-format on */

void
smtpd_attributes_free(struct smtpd_attributes *a)
{
	for (size_t i = 0; a != NULL && i < ATTR_COUNT; i++)
		free(a->value[i]);
	free(a);
}

static bool
is_xclient(const struct smtpd_session *s)
{
	return s->row->cmd == smtpd_cmd_xclient;
}

/* xtext (RFC 3461 4) into text.  false: malformed, too long, or not printable. */
static bool
decode(struct view v, char text[VALUE_MAX + 1])
{
	size_t len = 0;

	if (!xtext_is_valid(v))
		return false;
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == '+' && hex_decode(&c, 1, view_make(v.p + i + 1, 2)))
			i += 2;
		if (c <= ' ' || c >= 127 || len == VALUE_MAX)
			return false;
		text[len++] = (char)c;
	}
	text[len] = '\0';
	return true;
}

static bool
take_value(struct smtpd_attributes *a, size_t i, struct view value)
{
	bool is_temporary = view_case_eq_str(value, "[TEMPUNAVAIL]");
	char text[VALUE_MAX + 1] = "";

	if (!is_temporary && !view_case_eq_str(value, "[UNAVAILABLE]") &&
	    (!decode(value, text) ||
		(attributes[i].is_valid != NULL && !attributes[i].is_valid(text))))
		return false;
	if (i == ATTR_HELO)
		smtpd_hello_clean(text);
	free(a->value[i]);
	a->value[i] = x_strdup(text);
	a->is_temporary[i] = is_temporary;
	return true;
}

static bool
take_attribute(struct smtpd_session *s, struct smtpd_attributes *a, struct view word)
{
	struct view name, value;

	if (!view_cut(word, '=', &name, &value))
		return false;
	for (size_t i = 0; i < ATTR_COUNT; i++)
		if (view_case_eq_str(name, attributes[i].name) &&
		    (is_xclient(s) ? attributes[i].in_xclient : attributes[i].in_xforward))
			return take_value(a, i, value);
	return false;
}

bool
smtpd_check_attributes(struct smtpd_session *s, struct view args)
{
	struct smtpd_attributes *a = s->args->attributes = x_calloc(1, sizeof *a);
	struct view word;
	size_t n = 0;

	if (!smtpd_offers(s, is_xclient(s) ? EXT_XCLIENT : EXT_XFORWARD)) {
		smtpd_reply(s, 550, "5.7.0", "Error: insufficient authorization");
		return false;
	}
	for (; view_token(&args, " \t", &word); n++) {
		if (take_attribute(s, a, word))
			continue;
		smtpd_reply(s, 501, "5.5.4", "Bad %s attribute: %.*s", s->row->verb,
		    word.len < 64 ? (int)word.len : 64, word.p);
		return false;
	}
	if (n == 0)
		smtpd_reply(s, 501, "5.5.4", "Syntax: %s attribute=value...", s->row->verb);
	return n > 0;
}

void
smtpd_attributes_put(enum smtpd_extension e, struct buf *out)
{
	for (size_t i = 0; i < ATTR_COUNT; i++)
		if (e == EXT_XCLIENT ? attributes[i].in_xclient : attributes[i].in_xforward)
			buf_printf(out, " %s", attributes[i].name);
}

/* --- XCLIENT ---------------------------------------------------------------------------------------------- */

/* "" is an address that nobody knows; the port is kept. */
static void
set_address(struct sockaddr_storage *a, const char *text)
{
	unsigned port = addr_port(a);

	*a = (struct sockaddr_storage){ .ss_family = AF_UNSPEC };
	if (text[0] == '\0')
		return;
	addr_parse(view_of(strncasecmp(text, "IPV6:", 5) == 0 ? text + 5 : text), a);
	addr_set_port(a, port);
}

static void
set_port(struct sockaddr_storage *a, const char *text)
{
	uint64_t n = 0;

	if (text[0] != '\0')
		view_u64(view_of(text), 65535, &n);
	addr_set_port(a, (unsigned)n);
}

static void
replace_client(struct smtpd_session *s, const struct smtpd_attributes *a)
{
	struct sockaddr_storage client = s->client.address, local = *smtpd_client_local(s);

	if (a->value[ATTR_ADDR] != NULL)
		set_address(&client, a->value[ATTR_ADDR]);
	if (a->value[ATTR_PORT] != NULL)
		set_port(&client, a->value[ATTR_PORT]);
	if (a->value[ATTR_DESTADDR] != NULL)
		set_address(&local, a->value[ATTR_DESTADDR]);
	if (a->value[ATTR_DESTPORT] != NULL)
		set_port(&local, a->value[ATTR_DESTPORT]);
	if (a->value[ATTR_ADDR] != NULL || a->value[ATTR_PORT] != NULL ||
	    a->value[ATTR_NAME] != NULL)
		smtpd_client_replace(s, &client, a->value[ATTR_NAME], a->is_temporary[ATTR_NAME]);
	s->client.local = local;
}

/* Everything begins anew, with the greeting; what XCLIENT said of HELO and login is known already. */
enum cmd_result
smtpd_cmd_xclient(struct smtpd_session *s)
{
	struct smtpd_attributes *a = s->args->attributes;

	smtpd_session_forget(s);
	replace_client(s, a);
	if (a->value[ATTR_HELO] != NULL && a->value[ATTR_HELO][0] != '\0')
		s->helo = x_strdup(a->value[ATTR_HELO]);
	s->is_esmtp =
	    a->value[ATTR_PROTO] != NULL && strcasecmp(a->value[ATTR_PROTO], "ESMTP") == 0;
	if (a->value[ATTR_LOGIN] != NULL && a->value[ATTR_LOGIN][0] != '\0') {
		s->login = x_strdup(a->value[ATTR_LOGIN]);
		s->mechanism = x_strdup("XCLIENT");
	}
	return smtpd_opening_again(s);
}

/* --- XFORWARD --------------------------------------------------------------------------------------------- */

enum cmd_result
smtpd_cmd_xforward(struct smtpd_session *s)
{
	struct smtpd_attributes *a = s->args->attributes;

	if (s->forwarded == NULL)
		s->forwarded = x_calloc(1, sizeof *s->forwarded);
	for (size_t i = 0; i < ATTR_COUNT; i++) {
		if (a->value[i] == NULL)
			continue;
		free(s->forwarded->value[i]);
		s->forwarded->value[i] = a->value[i];
		a->value[i] = NULL;
	}
	smtpd_reply(s, 250, "2.0.0", "Ok");
	return CMD_DONE;
}

static const char *
forwarded(const struct smtpd_session *s, enum smtpd_attribute i, const char *otherwise)
{
	const char *v = s->forwarded->value[i];

	return v != NULL && v[0] != '\0' ? v : otherwise;
}

void
smtpd_xforward_envelope(const struct smtpd_session *s, struct envelope *e)
{
	if (s->forwarded == NULL)
		return;
	e->client_name = forwarded(s, ATTR_NAME, "unknown");
	e->client_address = forwarded(s, ATTR_ADDR, "unknown");
	e->client_port = forwarded(s, ATTR_PORT, "");
	e->helo = forwarded(s, ATTR_HELO, "");
	e->protocol = forwarded(s, ATTR_PROTO, e->protocol);
}

void
smtpd_xforward_log(const struct smtpd_session *s, struct buf *line)
{
	if (s->forwarded == NULL)
		return;
	if (forwarded(s, ATTR_IDENT, NULL) != NULL)
		buf_printf(line, ", orig_queue_id=%s", lqs(forwarded(s, ATTR_IDENT, "")));
	buf_printf(line, ", orig_client=%s[%s]", lqs(forwarded(s, ATTR_NAME, "unknown")),
	    lqs(forwarded(s, ATTR_ADDR, "unknown")));
}
