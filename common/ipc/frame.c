#include "common/ipc/frame.h"
#include "common/base/fd.h"

#include <unistd.h>

static void
put_le(char *to, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (char)(v >> (8 * i));
}

static uint64_t
get_le(const unsigned char *from, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)from[i] << (8 * i);
	return v;
}

void
ipc_out_init(struct ipc_out *o, uint16_t type)
{
	*o = (struct ipc_out){ .type = type };
	buf_init(&o->body, IPC_MAX_PACKET - IPC_HEADER);
}

void
ipc_out_clear(struct ipc_out *o)
{
	buf_wipe(&o->body); /* it may have carried a password */
	o->nfds = 0;
}

static void
put_number(struct ipc_out *o, char letter, uint64_t v, size_t bytes)
{
	char field[9] = { letter };

	put_le(field + 1, v, bytes);
	if (buf_append(&o->body, field, 1 + bytes) < 0)
		o->failed = true;
}

void
ipc_put_u32(struct ipc_out *o, uint32_t v)
{
	put_number(o, 'u', v, 4);
}

void
ipc_put_u64(struct ipc_out *o, uint64_t v)
{
	put_number(o, 'q', v, 8);
}

void
ipc_put_bytes(struct ipc_out *o, const void *p, size_t len)
{
	if (len > IPC_MAX_PACKET) {
		o->failed = true;
		return;
	}
	put_number(o, 'b', len, 4);
	if (buf_append(&o->body, p, len) < 0)
		o->failed = true;
}

void
ipc_put_view_str(struct ipc_out *o, struct view s)
{
	if (s.len > IPC_MAX_PACKET || (s.len > 0 && memchr(s.p, '\0', s.len) != NULL)) {
		o->failed = true;
		return;
	}
	put_number(o, 's', s.len, 4);
	if (buf_append_view(&o->body, s) < 0 || buf_append_byte(&o->body, '\0') < 0)
		o->failed = true;
}

void
ipc_put_str(struct ipc_out *o, const char *s)
{
	ipc_put_view_str(o, view_of(s == NULL ? "" : s));
}

void
ipc_put_fd(struct ipc_out *o, int fd)
{
	if (o->nfds == IPC_MAX_FDS || fd < 0 || buf_append_byte(&o->body, 'h') < 0) {
		o->failed = true;
		return;
	}
	o->fds[o->nfds++] = fd;
}

int
ipc_in_parse(struct ipc_in *in, const void *packet, size_t len, struct err *err)
{
	const unsigned char *p = packet;

	if (len < IPC_HEADER || len > IPC_MAX_PACKET)
		return err_set(err, ERR_SYNTAX, "ipc: packet of %zu bytes", len);
	if (get_le(p + 2, 2) != 0 || get_le(p + 8, 4) != len - IPC_HEADER)
		return err_set(err, ERR_SYNTAX, "ipc: wrong length in header");
	in->type = (uint16_t)get_le(p, 2);
	in->id = (uint32_t)get_le(p + 4, 4);
	in->p = p + IPC_HEADER;
	in->len = len - IPC_HEADER;
	in->off = 0;
	in->next_fd = 0;
	return 0;
}

/* Length of the field at off with this letter, or 0 if it is not one. */
static size_t
field_length(const struct ipc_in *in, size_t off, char letter)
{
	size_t left = in->len - off;
	const unsigned char *p = in->p + off;
	uint64_t n;

	if (left == 0 || p[0] != (unsigned char)letter)
		return 0;
	switch (letter) {
	case 'u':
		return left >= 5 ? 5 : 0;
	case 'q':
		return left >= 9 ? 9 : 0;
	case 'h':
		return 1;
	case 'b':
		if (left < 5 || (n = get_le(p + 1, 4)) > left - 5)
			return 0;
		return 5 + (size_t)n;
	case 's':
		if (left < 6 || (n = get_le(p + 1, 4)) > left - 6 || p[5 + n] != '\0' ||
		    memchr(p + 5, '\0', (size_t)n) != NULL)
			return 0;
		return 6 + (size_t)n;
	default:
		bug("ipc: letter '%c' in a signature", letter);
	}
}

int
ipc_in_check(const struct ipc_in *in, const char *signature, struct err *err)
{
	const char *group = signature;
	size_t off = 0;
	unsigned nfds = 0;

	for (const char *s = signature; *s != '\0' || off < in->len; s++) {
		size_t n;

		if (*s == '(') {
			group = s + 1;
			if (off == in->len)
				break;
			continue;
		}
		if (*s == ')') {
			if (off == in->len)
				break;
			s = group - 1;
			continue;
		}
		n = *s == '\0' ? 0 : field_length(in, off, *s);
		if (n == 0)
			return err_set(err, ERR_SYNTAX, "ipc: message %u does not match \"%s\"", in->type,
			    signature);
		nfds += *s == 'h';
		off += n;
	}
	if (nfds != in->nfds)
		return err_set(err, ERR_SYNTAX, "ipc: message %u with %u descriptors instead of %u",
		    in->type, in->nfds, nfds);
	return 0;
}

void
ipc_in_close_fds(struct ipc_in *in)
{
	for (unsigned i = in->next_fd; i < in->nfds; i++)
		fd_close(&in->fds[i]);
	in->nfds = in->next_fd = 0;
}

static const unsigned char *
take(struct ipc_in *in, char letter, size_t *len)
{
	const unsigned char *p = in->p + in->off;

	*len = field_length(in, in->off, letter);
	if (*len == 0)
		bug("ipc: message %u read past its signature", in->type);
	in->off += *len;
	return p;
}

uint32_t
ipc_get_u32(struct ipc_in *in)
{
	size_t len;

	return (uint32_t)get_le(take(in, 'u', &len) + 1, 4);
}

uint64_t
ipc_get_u64(struct ipc_in *in)
{
	size_t len;

	return get_le(take(in, 'q', &len) + 1, 8);
}

const char *
ipc_get_str(struct ipc_in *in)
{
	size_t len;

	return (const char *)take(in, 's', &len) + 5;
}

struct view
ipc_get_bytes(struct ipc_in *in)
{
	size_t len;
	const unsigned char *p = take(in, 'b', &len);

	return view_make(p + 5, len - 5);
}

int
ipc_get_fd(struct ipc_in *in)
{
	size_t len;

	take(in, 'h', &len);
	if (in->next_fd >= in->nfds)
		bug("ipc: message %u has no more descriptors", in->type);
	return in->fds[in->next_fd++];
}

bool
ipc_in_more(const struct ipc_in *in)
{
	return in->off < in->len;
}
