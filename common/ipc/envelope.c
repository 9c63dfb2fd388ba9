#include "common/ipc/envelope.h"
#include "common/base/utf8.h"
#include "common/proto/address.h"

enum {
	ENVELOPE_VERSION = 2, /* version 1 had neither client_port nor filter */
	ENVELOPE_SENDERS = 3, /* the same, and each recipient has its sender: never in the queue */
	ENVELOPE_FLAGS_KNOWN = ENVELOPE_8BIT | ENVELOPE_SMTPUTF8 | ENVELOPE_RET_FULL |
			       ENVELOPE_RET_HDRS | ENVELOPE_BOUNCE | ENVELOPE_TLS |
			       ENVELOPE_REQUIRETLS | ENVELOPE_HOLD | ENVELOPE_TLS_OPTIONAL,
	NOTIFY_KNOWN = NOTIFY_NEVER | NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY,
	RECIPIENT_MIN_BYTES = 4 * 6 + 4 * 5, /* four empty strings, four numbers */
};

const char *
transport_name(uint32_t transport)
{
	static const char *const names[TRANSPORT_COUNT] = {
		[TRANSPORT_VIRTUAL] = "virtual",
		[TRANSPORT_SMTP] = "smtp",
		[TRANSPORT_LMTP] = "lmtp",
		[TRANSPORT_ERROR] = "error",
		[TRANSPORT_RETRY] = "error", /* one program under two names */
		[TRANSPORT_DISCARD] = "discard",
	};

	return transport < TRANSPORT_COUNT && names[transport] != NULL ? names[transport] : "smtp";
}

static void
put_number(struct buf *b, char letter, uint64_t v, size_t bytes)
{
	char field[9] = { letter };

	for (size_t i = 0; i < bytes; i++)
		field[1 + i] = (char)(v >> (8 * i));
	buf_append(b, field, 1 + bytes);
}

static void
put_str(struct buf *b, const char *s)
{
	size_t len = s == NULL ? 0 : strlen(s);

	put_number(b, 's', len, 4);
	buf_append(b, s == NULL ? "" : s, len + 1);
}

static void
put_recipient(struct buf *b, const struct recipient *r, unsigned version)
{
	put_str(b, r->address);
	put_str(b, r->orig);
	put_str(b, r->orcpt);
	put_str(b, r->nexthop);
	put_number(b, 'u', r->notify, 4);
	put_number(b, 'u', r->transport, 4);
	put_number(b, 'u', r->uid, 4);
	put_number(b, 'u', r->gid, 4);
	if (version == ENVELOPE_SENDERS)
		put_str(b, r->sender);
}

const char *
envelope_sender_of(const struct envelope *e, const struct recipient *r)
{
	return r->sender != NULL && r->sender[0] != '\0' ? r->sender : e->sender;
}

size_t
envelope_count_senders(const struct envelope *e)
{
	const char *senders[ENVELOPE_MAX_SENDERS];
	size_t n = 0;

	for (size_t i = 0; i < e->nrcpts; i++) {
		const char *sender = envelope_sender_of(e, &e->rcpts[i]);
		size_t at = 0;

		while (at < n && strcmp(senders[at], sender) != 0)
			at++;
		if (at == ENVELOPE_MAX_SENDERS)
			return n + 1;
		if (at == n)
			senders[n++] = sender;
	}
	return n;
}

static unsigned
version_of(const struct envelope *e)
{
	for (size_t i = 0; i < e->nrcpts; i++)
		if (e->rcpts[i].sender != NULL && e->rcpts[i].sender[0] != '\0')
			return ENVELOPE_SENDERS;
	return ENVELOPE_VERSION;
}

int
envelope_encode(const struct envelope *e, struct buf *out)
{
	unsigned version = version_of(e);

	buf_append_byte(out, (char)version);
	put_str(out, e->sender);
	put_number(out, 'u', e->flags, 4);
	put_number(out, 'q', (uint64_t)e->arrival_ms, 8);
	put_number(out, 'q', e->size, 8);
	put_str(out, e->envid);
	put_str(out, e->client_name);
	put_str(out, e->client_address);
	put_str(out, e->helo);
	put_str(out, e->protocol);
	put_str(out, e->client_port);
	put_str(out, e->sasl_method);
	put_str(out, e->sasl_username);
	put_str(out, e->filter);
	put_number(out, 'u', e->nrcpts, 4);
	for (size_t i = 0; i < e->nrcpts && !out->failed; i++)
		put_recipient(out, &e->rcpts[i], version);
	return out->failed ? -1 : 0;
}

/* A reader that remembers its first fault: the callers check once at the end of a chain. */
struct reader {
	struct view left;
	struct arena *arena;
	struct err *err;
	bool failed;
};

static void
reader_fail(struct reader *r, enum err_kind kind, const char *text)
{
	if (!r->failed)
		err_set(r->err, kind, "envelope: %s", text);
	r->failed = true;
}

static uint64_t
get_number(struct reader *r, char letter, size_t bytes)
{
	uint64_t v = 0;

	if (!r->failed && (r->left.len < 1 + bytes || r->left.p[0] != letter))
		reader_fail(r, ERR_SYNTAX, "a field is missing or of another type");
	if (r->failed)
		return 0;
	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)(unsigned char)r->left.p[1 + i] << (8 * i);
	r->left.p += 1 + bytes;
	r->left.len -= 1 + bytes;
	return v;
}

/* These strings end up in protocol lines, logs and headers: nothing that could break a line gets in. */
static const char *
get_str(struct reader *r)
{
	uint64_t len = get_number(r, 's', 4);
	struct view s;
	const char *copy;

	if (r->failed)
		return "";
	if (len > ENVELOPE_MAX_STRING) {
		reader_fail(r, ERR_LIMIT, "a string is too long");
		return "";
	}
	if (r->left.len <= len || r->left.p[len] != '\0') {
		reader_fail(r, ERR_SYNTAX, "a string is cut short");
		return "";
	}
	s = view_make(r->left.p, (size_t)len);
	r->left.p += len + 1;
	r->left.len -= len + 1;
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == '\0' || s.p[i] == '\r' || s.p[i] == '\n')
			reader_fail(r, ERR_SYNTAX, "NUL, CR or LF in a string");
	if (!utf8_is_valid(s))
		reader_fail(r, ERR_SYNTAX, "a string is not UTF-8");
	if (r->failed || s.len == 0)
		return "";
	copy = arena_strndup(r->arena, s.p, s.len);
	if (copy == NULL)
		reader_fail(r, ERR_LIMIT, "too large");
	return copy == NULL ? "" : copy;
}

static void
get_recipient(struct reader *r, unsigned version, struct recipient *to)
{
	to->address = get_str(r);
	to->orig = get_str(r);
	to->orcpt = get_str(r);
	to->nexthop = get_str(r);
	to->notify = (uint32_t)get_number(r, 'u', 4);
	to->transport = (uint32_t)get_number(r, 'u', 4);
	to->uid = (uint32_t)get_number(r, 'u', 4);
	to->gid = (uint32_t)get_number(r, 'u', 4);
	to->sender = version == ENVELOPE_SENDERS ? get_str(r) : "";
	if (r->failed)
		return;
	if (to->address[0] == '\0')
		reader_fail(r, ERR_SYNTAX, "a recipient without address");
	if (to->transport == 0 || to->transport >= TRANSPORT_COUNT)
		reader_fail(r, ERR_SYNTAX, "unknown transport");
	if ((to->notify & ~(uint32_t)NOTIFY_KNOWN) != 0 ||
	    ((to->notify & NOTIFY_NEVER) != 0 && to->notify != NOTIFY_NEVER))
		reader_fail(r, ERR_SYNTAX, "unknown NOTIFY"); /* RFC 3461 4.1: NEVER stands alone */
}

static void
get_head(struct reader *r, unsigned version, struct envelope *out)
{
	out->sender = get_str(r);
	out->flags = (uint32_t)get_number(r, 'u', 4);
	out->arrival_ms = (int64_t)get_number(r, 'q', 8);
	out->size = get_number(r, 'q', 8);
	out->envid = get_str(r);
	out->client_name = get_str(r);
	out->client_address = get_str(r);
	out->helo = get_str(r);
	out->protocol = get_str(r);
	out->client_port = version > 1 ? get_str(r) : "";
	out->sasl_method = get_str(r);
	out->sasl_username = get_str(r);
	out->filter = version > 1 ? get_str(r) : "";
	out->nrcpts = (size_t)get_number(r, 'u', 4);
	if (r->failed)
		return;
	if ((out->flags & ~(uint32_t)ENVELOPE_FLAGS_KNOWN) != 0)
		reader_fail(r, ERR_SYNTAX, "unknown flags");
	if (out->nrcpts > ENVELOPE_MAX_RCPTS || out->nrcpts > r->left.len / RECIPIENT_MIN_BYTES)
		reader_fail(r, ERR_LIMIT, "more recipients than it has room for");
	if (out->nrcpts == 0)
		reader_fail(r, ERR_SYNTAX, "no recipient");
}

int
envelope_decode(struct view bytes, struct arena *arena, struct envelope *out, struct err *err)
{
	struct reader r = { .left = bytes, .arena = arena, .err = err };

	*out = (struct envelope){ 0 };
	if (bytes.len > ENVELOPE_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "envelope: %zu bytes", bytes.len);
	if (bytes.len == 0 || bytes.p[0] < 1 || bytes.p[0] > ENVELOPE_SENDERS)
		return err_set(err, ERR_SYNTAX, "envelope: unknown version");
	r.left = view_make(bytes.p + 1, bytes.len - 1);
	get_head(&r, (unsigned char)bytes.p[0], out);
	if (r.failed)
		return -1;
	out->rcpts = arena_alloc(arena, out->nrcpts * sizeof *out->rcpts);
	if (out->rcpts == NULL)
		return err_set(err, ERR_LIMIT, "envelope: too large");
	for (size_t i = 0; i < out->nrcpts && !r.failed; i++)
		get_recipient(&r, (unsigned char)bytes.p[0], &out->rcpts[i]);
	if (!r.failed && envelope_count_senders(out) > ENVELOPE_MAX_SENDERS)
		reader_fail(&r, ERR_LIMIT, "too many senders");
	if (!r.failed && r.left.len > 0)
		reader_fail(&r, ERR_SYNTAX, "bytes behind the last recipient");
	return r.failed ? -1 : 0;
}
