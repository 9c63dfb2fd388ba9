#include "qmgr/relay/esmtp.h"
#include "common/base/utf8.h"
#include "common/ipc/envelope.h"

#include <stdio.h>

enum { XFORWARD_VALUE_MAX = 255 };
enum { ENVID_MAX = 100, ORCPT_MAX = 500 /* RFC 3461 4.4, 4.2 */ };

static const struct keyword {
	const char *name;
	unsigned capability;
} keywords[] = {
	{ "PIPELINING", RELAY_CAP_PIPELINING },
	{ "8BITMIME", RELAY_CAP_8BITMIME },
	{ "SIZE", RELAY_CAP_SIZE },
	{ "STARTTLS", RELAY_CAP_STARTTLS },
	{ "DSN", RELAY_CAP_DSN },
	{ "SMTPUTF8", RELAY_CAP_SMTPUTF8 },
	{ "REQUIRETLS", RELAY_CAP_REQUIRETLS },
	{ "AUTH", RELAY_CAP_AUTH },
	{ "CHUNKING", RELAY_CAP_CHUNKING },
	{ "XFORWARD", RELAY_CAP_XFORWARD },
};

unsigned
relay_capability(struct view keyword)
{
	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
		if (view_case_eq_str(keyword, keywords[i].name))
			return keywords[i].capability;
	return 0;
}

static void
add_mechanisms(struct relay_ehlo *out, struct view words)
{
	size_t at = strlen(out->mechanisms);

	if (at + 1 + words.len < sizeof out->mechanisms)
		snprintf(
		    out->mechanisms + at, sizeof out->mechanisms - at, " %.*s", VIEW_ARG(words));
}

static const char *const xforward_names[XFORWARD_COUNT] = { "NAME", "ADDR", "PORT", "PROTO", "HELO",
	"IDENT", "SOURCE" };

static void
add_xforward(struct relay_ehlo *out, struct view words)
{
	struct view word;

	while (view_token(&words, " \t", &word))
		for (size_t i = 0; i < XFORWARD_COUNT; i++)
			if (view_case_eq_str(word, xforward_names[i]))
				out->xforward |= 1u << i;
}

static void
ehlo_line(struct view line, struct relay_ehlo *out)
{
	struct view word = { 0 }, rest = line;

	/* old servers, for clients older still: "AUTH=LOGIN PLAIN" */
	if (view_case_starts(line, "AUTH ") || view_case_starts(line, "AUTH=")) {
		add_mechanisms(out, view_make(line.p + 5, line.len - 5));
		rest = line = view_make(line.p, 4);
	}
	if (!view_token(&rest, " \t", &word))
		return;
	out->capabilities |= relay_capability(word);
	if (view_case_eq_str(word, "XFORWARD"))
		add_xforward(out, rest);
	if (view_case_eq_str(word, "SIZE") && view_token(&rest, " \t", &word) &&
	    !view_u64(word, UINT64_MAX, &out->size_limit))
		out->size_limit = 0;
}

void
relay_ehlo_parse(struct view text, struct relay_ehlo *out)
{
	struct view line, name = { 0 };

	memset(out, 0, sizeof *out);
	view_cut(text, '\n', &line, &text);
	if (view_token(&line, " \t", &name) && name.len < sizeof out->name)
		snprintf(out->name, sizeof out->name, "%.*s", VIEW_ARG(name));
	while (text.len > 0) {
		view_cut(text, '\n', &line, &text);
		ehlo_line(line, out);
	}
}

bool
relay_path_is_safe(const char *address, bool allow_utf8)
{
	bool quoted = false;

	for (const char *p = address; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < ' ' || c == 127 || (c >= 0x80 && !allow_utf8))
			return false;
		if (c == '"') {
			quoted = !quoted;
		} else if (quoted && c == '\\') {
			c = (unsigned char)*++p;
			if (c < ' ' || c >= 127)
				return false;
		} else if (!quoted && (c == ' ' || c == '<' || c == '>' || c == '\\')) {
			return false;
		}
	}
	return !quoted && strlen(address) <= ENVELOPE_MAX_STRING / 8;
}

/* RFC 3461 4: printable without '+' and '=', which stand as +HH. */
static bool
xtext_is_valid(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s <= ' ' || *s > '~' || *s == '=')
			return false;
		if (*s == '+') {
			for (int i = 1; i <= 2; i++)
				if (!ascii_is_digit(s[i]) && !(s[i] >= 'A' && s[i] <= 'F'))
					return false;
			s += 2;
		}
	}
	return true;
}

/* RFC 6533 3: an address of type utf-8 goes as it is to a server that takes SMTPUTF8, else with each character that is
 * not ASCII as "\x{HEX}". */
static bool
put_utf8_address(struct buf *out, struct view address, bool allow_utf8)
{
	uint32_t c;

	while (address.len > 0) {
		size_t n = utf8_take(address, &c);

		if (n == 0 || c <= ' ' || c == 127 || c == '=')
			return false;
		if (c < 0x80 || allow_utf8)
			buf_append(out, address.p, n);
		else
			buf_printf(out, "\\x{%X}", (unsigned)c);
		address = view_make(address.p + n, address.len - n);
	}
	return true;
}

/* " ORCPT=type;address", or nothing when it is none. */
static void
put_orcpt(struct buf *out, const char *orcpt, bool allow_utf8)
{
	struct view type, address;
	size_t before = out->len;
	bool is_valid;

	if (strlen(orcpt) > ORCPT_MAX || !view_cut(view_of(orcpt), ';', &type, &address) ||
	    type.len == 0)
		return;
	for (size_t i = 0; i < type.len; i++)
		if (!ascii_is_alnum(type.p[i]) && type.p[i] != '-')
			return;
	buf_printf(out, " ORCPT=%.*s;", VIEW_ARG(type));
	if (view_case_eq_str(type, "utf-8"))
		is_valid = put_utf8_address(out, address, allow_utf8);
	else if ((is_valid = xtext_is_valid(address.p)))
		buf_append_view(out, address);
	if (!is_valid)
		out->len = before;
}

int
relay_mail_command(struct buf *out, const struct relay_mail *m, unsigned capabilities)
{
	buf_printf(out, "MAIL FROM:<%s>", m->sender);
	if ((capabilities & RELAY_CAP_SIZE) && m->size > 0)
		buf_printf(out, " SIZE=%llu", (unsigned long long)m->size);
	if ((m->flags & ENVELOPE_8BIT) && (capabilities & RELAY_CAP_8BITMIME))
		buf_append_str(out, " BODY=8BITMIME");
	if (m->needs_utf8 && (capabilities & RELAY_CAP_SMTPUTF8))
		buf_append_str(out, " SMTPUTF8");
	if ((m->flags & ENVELOPE_REQUIRETLS) && (capabilities & RELAY_CAP_REQUIRETLS))
		buf_append_str(out, " REQUIRETLS");
	if (capabilities & RELAY_CAP_DSN) {
		if (m->flags & (ENVELOPE_RET_FULL | ENVELOPE_RET_HDRS))
			buf_printf(out, " RET=%s", m->flags & ENVELOPE_RET_FULL ? "FULL" : "HDRS");
		if (*m->envid != '\0' && strlen(m->envid) <= ENVID_MAX && xtext_is_valid(m->envid))
			buf_printf(out, " ENVID=%s", m->envid);
	}
	return buf_append_str(out, "\r\n");
}

/* RFC 3461 4 */
static void
put_xtext(struct buf *out, const char *s)
{
	for (; *s != '\0'; s++)
		if (*s > ' ' && *s <= '~' && *s != '+' && *s != '=')
			buf_append_byte(out, *s);
		else
			buf_printf(out, "+%02X", (unsigned char)*s);
}

int
relay_xforward_command(struct buf *out, const char *const values[XFORWARD_COUNT], unsigned mask)
{
	buf_append_str(out, "XFORWARD");
	for (size_t i = 0; i < XFORWARD_COUNT; i++) {
		if ((mask & 1u << i) == 0)
			continue;
		buf_printf(out, " %s=", xforward_names[i]);
		if (*values[i] == '\0' || strlen(values[i]) > XFORWARD_VALUE_MAX)
			buf_append_str(out, "[UNAVAILABLE]");
		else
			put_xtext(out, values[i]);
	}
	return buf_append_str(out, "\r\n");
}

static void
put_notify(struct buf *out, uint32_t notify)
{
	static const struct {
		uint32_t flag;
		const char *word;
	} words[] = { { NOTIFY_SUCCESS, "SUCCESS" }, { NOTIFY_FAILURE, "FAILURE" },
		{ NOTIFY_DELAY, "DELAY" } };
	const char *sep = " NOTIFY=";

	/* RFC 3461 4.1: NEVER stands alone */
	if (notify & NOTIFY_NEVER) {
		buf_append_str(out, " NOTIFY=NEVER");
		return;
	}
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if ((notify & words[i].flag) == 0)
			continue;
		buf_printf(out, "%s%s", sep, words[i].word);
		sep = ",";
	}
}

int
relay_rcpt_command(struct buf *out, const char *address, uint32_t notify, const char *orcpt,
    bool allow_utf8, unsigned capabilities)
{
	buf_printf(out, "RCPT TO:<%s>", address);
	if (capabilities & RELAY_CAP_DSN) {
		put_notify(out, notify);
		put_orcpt(out, orcpt, allow_utf8);
	}
	return buf_append_str(out, "\r\n");
}
