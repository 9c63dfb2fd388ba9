#include "smtpd/milter_proto.h"
#include "common/net/addr.h"

#include <stdio.h>
#include <stdlib.h>

uint32_t
milter_protocol_bits(unsigned version)
{
	uint32_t bits = MILTER_NO_CONNECT | MILTER_NO_HELO | MILTER_NO_MAIL | MILTER_NO_RCPT |
			MILTER_NO_BODY | MILTER_NO_HEADERS | MILTER_NO_EOH;

	if (version >= 3)
		bits |= MILTER_NO_UNKNOWN;
	if (version >= 4)
		bits |= MILTER_NO_DATA;
	if (version >= 6)
		bits |= MILTER_NR_HEADER | MILTER_SKIP_OK | MILTER_NR_CONNECT | MILTER_NR_HELO |
			MILTER_NR_MAIL | MILTER_NR_RCPT | MILTER_NR_DATA | MILTER_NR_UNKNOWN |
			MILTER_NR_EOH | MILTER_NR_BODY | MILTER_LEADING_SPACE;
	return bits;
}

uint32_t
milter_action_bits(unsigned version)
{
	return version >= 6 ? MILTER_ACTIONS : MILTER_ACTIONS_V2;
}

/* --- writing ------------------------------------------------------------------------------------------ */

static void
set32(char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (char)(v >> (24 - 8 * i));
}

static void
put32(struct buf *out, uint32_t v)
{
	char bytes[4];

	set32(bytes, v);
	buf_append(out, bytes, sizeof bytes);
}

static void
put_string(struct buf *out, struct view s)
{
	buf_append_view(out, s);
	buf_append_byte(out, '\0');
}

/* Header with a length that packet_end fills in. */
static size_t
packet_begin(struct buf *out, enum milter_command command)
{
	size_t at = out->len;

	put32(out, 0);
	buf_append_byte(out, command);
	return at;
}

static void
packet_end(struct buf *out, size_t at)
{
	if (!out->failed)
		set32(out->p + at, (uint32_t)(out->len - at - 4));
}

void
milter_put(struct buf *out, enum milter_command command, const void *data, size_t len)
{
	size_t at = packet_begin(out, command);

	buf_append(out, data, len);
	packet_end(out, at);
}

void
milter_put_optneg(struct buf *out, unsigned version)
{
	size_t at = packet_begin(out, MILTER_OPTNEG);

	put32(out, version);
	put32(out, milter_action_bits(version));
	put32(out, milter_protocol_bits(version));
	packet_end(out, at);
}

void
milter_put_strings(
    struct buf *out, enum milter_command command, struct view a, const struct view *b)
{
	size_t at = packet_begin(out, command);

	put_string(out, a);
	if (b != NULL)
		put_string(out, *b);
	packet_end(out, at);
}

void
milter_put_connect(struct buf *out, const char *host, const struct sockaddr_storage *address)
{
	size_t at = packet_begin(out, MILTER_CONNECT);
	char ip[ADDR_TEXT];
	unsigned port = addr_port(address);

	put_string(out, view_of(host));
	addr_text(address, ip);
	if (address->ss_family != AF_INET && address->ss_family != AF_INET6) {
		buf_append_byte(out, 'U');
	} else {
		buf_append_byte(out, strchr(ip, ':') != NULL ? '6' : '4'); /* v4-mapped is IPv4 */
		buf_append_byte(out, (int)(port >> 8));
		buf_append_byte(out, (int)(port & 0xff));
		put_string(out, view_of(ip));
	}
	packet_end(out, at);
}

size_t
milter_macros_begin(struct buf *out, enum milter_command command)
{
	size_t at = packet_begin(out, MILTER_MACRO);

	buf_append_byte(out, command);
	return at;
}

void
milter_put_macro(struct buf *out, struct view name, const char *value)
{
	put_string(out, name);
	put_string(out, view_of(value));
}

void
milter_macros_end(struct buf *out, size_t begin)
{
	if (out->len == begin + 6)
		out->len = begin;
	else
		packet_end(out, begin);
}

/* --- reading ------------------------------------------------------------------------------------------ */

static uint32_t
get32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

int
milter_packet_read(struct view in, struct milter_packet *out, size_t *used, struct err *err)
{
	uint32_t len;

	if (in.len < 4)
		return 1;
	len = get32(in.p);
	if (len == 0)
		return err_set(err, ERR_SYNTAX, "empty packet");
	if (len > MILTER_PACKET_MAX)
		return err_set(err, ERR_LIMIT, "packet of %u bytes", len);
	if (in.len - 4 < len)
		return 1;
	out->command = in.p[4];
	out->data = view_make(in.p + 5, len - 1);
	*used = 4 + (size_t)len;
	return 0;
}

static bool
take32(struct view *rest, uint32_t *out)
{
	if (rest->len < 4)
		return false;
	*out = get32(rest->p);
	*rest = view_make(rest->p + 4, rest->len - 4);
	return true;
}

static bool
take_string(struct view *rest, struct view *out)
{
	return view_cut(*rest, '\0', out, rest);
}

static int
read_macro_lists(struct view rest, struct milter_options *out, struct err *err)
{
	uint32_t stage;
	struct view list;

	while (rest.len > 0) {
		if (!take32(&rest, &stage) || !take_string(&rest, &list) ||
		    stage >= MILTER_MACRO_STAGES)
			return err_set(err, ERR_SYNTAX, "malformed macro list");
		out->macros[stage] = list;
	}
	return 0;
}

int
milter_options_read(
    struct view data, unsigned offered_version, struct milter_options *out, struct err *err)
{
	uint32_t version;

	*out = (struct milter_options){ 0 };
	if (!take32(&data, &version) || !take32(&data, &out->actions) ||
	    !take32(&data, &out->protocol))
		return err_set(err, ERR_SYNTAX, "short answer to option negotiation");
	if (version < MILTER_VERSION_MIN || version > offered_version)
		return err_set(err, ERR_SYNTAX, "protocol version %u", version);
	out->version = version;
	if ((out->actions & ~milter_action_bits(offered_version)) != 0 ||
	    (out->protocol & ~milter_protocol_bits(offered_version)) != 0)
		return err_set(err, ERR_SYNTAX,
		    "asks for what was not offered: actions 0x%x, protocol 0x%x", out->actions,
		    out->protocol);
	return read_macro_lists(data, out, err);
}

struct reply_row {
	char command;
	enum milter_answer answer;
	const char *fields; /* i: index, s: string, o: a string that may be missing, b: bytes */
	uint32_t needs;     /* of enum milter_actions */
};
/* clang-format off */
static const struct reply_row reply_rows[] = {
	{ 'c', MILTER_CONTINUE,   "",    0 },
	{ 'a', MILTER_ACCEPT,     "",    0 },
	{ 'r', MILTER_REJECT,     "",    0 },
	{ 't', MILTER_TEMPFAIL,   "",    0 },
	{ 'd', MILTER_DISCARD,    "",    0 },
	{ 'y', MILTER_REPLY,      "s",   0 },
	{ '4', MILTER_SHUTDOWN,   "",    0 },
	{ 'f', MILTER_CONN_FAIL,  "",    0 },
	{ 's', MILTER_SKIP,       "",    0 },
	{ 'p', MILTER_PROGRESS,   "",    0 },
	{ '+', MILTER_ADDRCPT,    "s",   MILTER_MAY_ADDRCPT },
	{ '2', MILTER_ADDRCPT,    "so",  MILTER_MAY_ADDRCPT_PAR },
	{ '-', MILTER_DELRCPT,    "s",   MILTER_MAY_DELRCPT },
	{ 'e', MILTER_CHGFROM,    "so",  MILTER_MAY_CHGFROM },
	{ 'h', MILTER_ADDHEADER,  "ss",  MILTER_MAY_ADDHDRS },
	{ 'i', MILTER_INSHEADER,  "iss", MILTER_MAY_ADDHDRS },
	{ 'm', MILTER_CHGHEADER,  "iss", MILTER_MAY_CHGHDRS },
	{ 'b', MILTER_REPLBODY,   "b",   MILTER_MAY_CHGBODY },
	{ 'q', MILTER_QUARANTINE, "s",   MILTER_MAY_QUARANTINE },
};
/* clang-format on */

static bool
take_field(char kind, struct view *rest, struct milter_reply *out, struct view *text)
{
	switch (kind) {
	case 'i':
		return take32(rest, &out->index);
	case 's':
		return take_string(rest, text);
	case 'o':
		return rest->len == 0 || take_string(rest, text);
	default:
		*text = *rest;
		*rest = view_make(rest->p + rest->len, 0);
		return true;
	}
}

static int
read_fields(const struct reply_row *row, struct view rest, struct milter_reply *out)
{
	size_t n = 0;

	for (const char *f = row->fields; *f != '\0'; f++) {
		if (!take_field(*f, &rest, out, n == 0 ? &out->a : &out->b))
			return -1;
		n += *f != 'i';
	}
	return rest.len == 0 ? 0 : -1;
}

int
milter_reply_read(
    const struct milter_packet *p, uint32_t actions, struct milter_reply *out, struct err *err)
{
	const struct reply_row *row = reply_rows;
	const struct reply_row *end = row + sizeof reply_rows / sizeof reply_rows[0];

	*out = (struct milter_reply){ 0 };
	while (row < end && row->command != p->command)
		row++;
	if (row == end)
		return err_set(err, ERR_SYNTAX, "unknown reply 0x%02x", (unsigned char)p->command);
	out->answer = row->answer;
	if ((row->needs & ~actions) != 0)
		return err_set(err, ERR_SYNTAX, "reply '%c' was not negotiated", p->command);
	if (read_fields(row, p->data, out) < 0)
		return err_set(err, ERR_SYNTAX, "malformed reply '%c'", p->command);
	return 0;
}

/* --- the text of a reply -------------------------------------------------------------------------------- */

/* "5.7.1": class, subject, detail of RFC 3463; 0: it is not one. */
static size_t
dsn_length(struct view v, char class)
{
	size_t n = 1, digits;

	if (v.len < 5 || v.p[0] != class)
		return 0;
	for (int part = 0; part < 2; part++) {
		if (n >= v.len || v.p[n++] != '.')
			return 0;
		for (digits = 0; n < v.len && ascii_is_digit(v.p[n]); digits++)
			n++;
		if (digits < 1 || digits > 3)
			return 0;
	}
	return n == v.len || v.p[n] == ' ' ? n : 0;
}

static int
take_code(struct view line, int *code)
{
	uint64_t n;

	if (line.len < 3 || !view_u64(view_make(line.p, 3), 599, &n) || n < 400 ||
	    (line.len > 3 && line.p[3] != ' ' && line.p[3] != '-'))
		return -1;
	*code = (int)n;
	return 0;
}

/* libmilter has filters double '%'. */
static void
put_text(struct milter_text *out, struct view text)
{
	size_t n = strlen(out->text);

	for (size_t i = 0; i < text.len && n + 1 < sizeof out->text; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c == '%' && i + 1 < text.len && text.p[i + 1] == '%')
			i++;
		out->text[n++] = (char)((c < ' ' && c != '\n') || c >= 127 ? '?' : c);
	}
	out->text[n] = '\0';
}

static void
take_line(struct milter_text *out, struct view line, bool is_first)
{
	struct view text =
	    view_make(line.p + (line.len > 3 ? 4 : 3), line.len > 3 ? line.len - 4 : 0);
	size_t dsn = dsn_length(text, line.p[0]);

	if (is_first && dsn > 0)
		snprintf(out->dsn, sizeof out->dsn, "%.*s", (int)dsn, text.p);
	if (!is_first)
		put_text(out, VIEW_LIT("\n"));
	put_text(out, view_trim(view_make(text.p + dsn, text.len - dsn)));
}

int
milter_text_read(struct view reply, struct milter_text *out, struct err *err)
{
	bool is_first = true;
	struct view line;
	int code;

	*out = (struct milter_text){ 0 };
	do {
		view_cut(reply, '\n', &line, &reply);
		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		if (take_code(line, &code) < 0 || (!is_first && code != out->code))
			return err_set(err, ERR_SYNTAX, "malformed SMTP reply");
		out->code = code;
		take_line(out, line, is_first);
		is_first = false;
	} while (reply.len > 0);
	return 0;
}
