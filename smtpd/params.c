#include "smtpd/params.h"
#include "common/base/buf.h"
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/ipc/envelope.h"
#include "common/proto/idn.h"
#include "smtpd/command.h"
#include "smtpd/session.h"

#include <string.h>

enum { ORCPT_MAX = 500, ENVID_MAX = 100 /* RFC 3461 5.4 */ };

bool
smtpd_param_unsupported(struct smtpd_session *s, struct view keyword)
{
	smtpd_reply(s, 555, "5.5.4", "Unsupported option: %.*s",
	    keyword.len < 64 ? (int)keyword.len : 64, keyword.p);
	return false;
}

bool
smtpd_address_is_allowed(struct smtpd_session *s, unsigned flags)
{
	if ((flags & ENVELOPE_SMTPUTF8) || bytes_are_ascii(view_of(s->args->address.text)))
		return true;
	smtpd_reply(s, 553, "5.6.7", "Must declare SMTPUTF8 to send to or from such an address");
	return false;
}

static const struct esmtp_param *
find(const struct smtpd_session *s, struct view keyword, const struct esmtp_param *table,
    size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (view_case_eq_str(keyword, table[i].keyword))
			return table[i].extension == EXT_COUNT ||
				       smtpd_offers(s, table[i].extension)
				   ? &table[i]
				   : NULL;
	return NULL;
}

bool
smtpd_params_take(
    struct smtpd_session *s, struct view rest, const struct esmtp_param *table, size_t count)
{
	struct view keyword, value;
	const struct esmtp_param *p;
	unsigned seen = 0, bit;
	struct err err;
	int r;

	while ((r = esmtp_param_next(&rest, &keyword, &value, &err)) == 0) {
		if ((p = find(s, keyword, table, count)) == NULL)
			return smtpd_param_unsupported(s, keyword);
		bit = 1u << (p - table);
		if (seen & bit) {
			smtpd_reply(s, 501, "5.5.4", "Duplicate option: %s", p->keyword);
			return false;
		}
		seen |= bit;
		if (!p->take(s, value))
			return false;
	}
	if (r < 0)
		smtpd_reply(s, 501, "5.5.4", "Error: %s", err.text);
	return r == 1;
}

/* --- RFC 3461 -------------------------------------------------------------------------------------------- */

unsigned
dsn_notify_parse(struct view value)
{
	static const struct {
		const char *word;
		unsigned flag;
	} words[] = { { "NEVER", NOTIFY_NEVER }, { "SUCCESS", NOTIFY_SUCCESS },
		{ "FAILURE", NOTIFY_FAILURE }, { "DELAY", NOTIFY_DELAY } };
	unsigned flags = 0, flag;
	struct view word;
	bool more;

	do {
		more = view_cut(value, ',', &word, &value);
		flag = 0;
		for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
			if (view_case_eq_str(word, words[i].word))
				flag = words[i].flag;
		if (flag == 0 || (flags & flag) != 0)
			return 0;
		flags |= flag;
	} while (more);
	/* 4.1: NEVER stands alone */
	return (flags & NOTIFY_NEVER) && flags != NOTIFY_NEVER ? 0 : flags;
}

/* The bytes that stand encoded in v are printable, or allow_8bit and beyond ASCII. */
static bool
xtext_holds_text(struct view v, bool allow_8bit)
{
	unsigned char c;

	if (!xtext_is_valid(v))
		return false;
	for (size_t i = 0; i + 2 < v.len; i++)
		if (v.p[i] == '+' && (!hex_decode(&c, 1, view_make(v.p + i + 1, 2)) || c < ' ' ||
					 c == 127 || (c > 127 && !allow_8bit)))
			return false;
	return true;
}

bool
dsn_xtext_is_valid(struct view v)
{
	return xtext_holds_text(v, false);
}

uint32_t
dsn_ret_parse(struct view value)
{
	return view_case_eq_str(value, "FULL")   ? ENVELOPE_RET_FULL
	       : view_case_eq_str(value, "HDRS") ? ENVELOPE_RET_HDRS
						 : 0;
}

bool
dsn_envid_is_valid(struct view value)
{
	return value.len <= ENVID_MAX && dsn_xtext_is_valid(value);
}

/* RFC 6533 3: utf-8-addr-xtext, whose backslash begins "\x{...}", and under SMTPUTF8 utf-8-addr-unitext. */
static bool
utf8_address_is_valid(struct view v, bool allow_utf8)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c <= ' ' || c == 127 || c == '=' || (c >= 0x80 && !allow_utf8))
			return false;
		if (c == '\\' && (v.len - i < 5 || v.p[i + 1] != 'x' || v.p[i + 2] != '{' ||
				     memchr(v.p + i, '}', v.len - i) == NULL))
			return false;
	}
	return v.len > 0 && utf8_is_valid(v);
}

/* Postfix 3.7 writes an address beyond ASCII as xtext of type rfc822: it becomes what RFC 6533 3 has for it.
 * NULL: that is no UTF-8, or too long. */
static char *
utf8_orcpt(struct view xtext)
{
	struct buf out;
	char *text = NULL;

	buf_init(&out, ORCPT_MAX);
	buf_append_str(&out, "utf-8;");
	for (size_t i = 0; i < xtext.len; i++) {
		unsigned char c = (unsigned char)xtext.p[i];

		if (c == '+') {
			hex_decode(&c, 1, view_make(xtext.p + i + 1, 2));
			i += 2;
		}
		if (strchr(" \\+=", c) != NULL)
			buf_printf(&out, "\\x{%02X}", c);
		else
			buf_append_byte(&out, c);
	}
	if (!out.failed && utf8_is_valid(buf_view(&out)))
		text = x_strndup(out.p, out.len);
	buf_clear(&out);
	return text;
}

char *
dsn_orcpt_take(struct view value, bool allow_utf8)
{
	struct view type, address;

	if (value.len > ORCPT_MAX || !view_cut(value, ';', &type, &address) || type.len == 0)
		return NULL;
	for (size_t i = 0; i < type.len; i++)
		if (!ascii_is_alnum((unsigned char)type.p[i]) && type.p[i] != '-')
			return NULL;
	if (view_case_eq_str(type, "utf-8") ? utf8_address_is_valid(address, allow_utf8)
					    : xtext_holds_text(address, false))
		return x_strndup(value.p, value.len);
	if (allow_utf8 && view_case_eq_str(type, "rfc822") && xtext_holds_text(address, true))
		return utf8_orcpt(address);
	return NULL;
}
