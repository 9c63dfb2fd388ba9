/* frame.h - one IPC message: a fixed header and typed fields, descriptors beside it (DESIGN 4).
 *
 * On the wire, one SOCK_SEQPACKET packet of at most IPC_MAX_PACKET bytes, little endian:
 *   u16 type, u16 zero, u32 request id, u32 length of what follows,
 * then fields, each one letter and its value:
 *   'u' u32 · 'q' u64 · 's' u32 length, bytes without NUL, one NUL · 'b' u32 length, bytes ·
 *   'h' a descriptor, the next of the packet's SCM_RIGHTS array (no bytes but the letter).
 *
 * A message has a signature, the exact letters it must consist of: "usb", or "us(sub)" where the
 * trailing group stands 0..n times.  ipc_in_check verifies the whole packet against it before any
 * handler sees it, so that the getters below cannot fail afterwards; a getter of the wrong type or past
 * the end is a bug of ours and panics.  Groups: while (ipc_in_more(in)) { ipc_get...; }
 */
#ifndef COMMON_IPC_FRAME_H
#define COMMON_IPC_FRAME_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum { IPC_MAX_PACKET = 65536, IPC_HEADER = 12, IPC_MAX_FDS = 16 };

/* A message being written. */
struct ipc_out {
	uint16_t type;
	struct buf body; /* the fields */
	int fds[IPC_MAX_FDS]; /* borrowed until the send call returns */
	unsigned nfds;
	bool failed; /* did not fit */
};
void ipc_out_init(struct ipc_out *o, uint16_t type);
void ipc_out_clear(struct ipc_out *o); /* the send calls of conn.h do it; only for one never sent */
void ipc_put_u32(struct ipc_out *o, uint32_t v);
void ipc_put_u64(struct ipc_out *o, uint64_t v);
void ipc_put_str(struct ipc_out *o, const char *s); /* NULL is sent as "" */
void ipc_put_view_str(struct ipc_out *o, struct view s); /* a NUL inside makes the message fail */
void ipc_put_bytes(struct ipc_out *o, const void *p, size_t len);
void ipc_put_fd(struct ipc_out *o, int fd);

/* A message being read.  Views and strings point into the packet: valid during the handler only. */
struct ipc_in {
	uint16_t type;
	uint32_t id; /* 0 = no reply wanted */
	const unsigned char *p;
	size_t len, off;
	int fds[IPC_MAX_FDS]; /* owned until taken by ipc_get_fd; the rest is closed after the handler */
	unsigned nfds, next_fd;
};
/* Parses the header; the packet must be exactly one message.  0 or -1 (ERR_SYNTAX). */
int ipc_in_parse(struct ipc_in *in, const void *packet, size_t len, struct err *err);
/* Does the message consist of exactly these fields and descriptors?  0 or -1 (ERR_SYNTAX). */
int ipc_in_check(const struct ipc_in *in, const char *signature, struct err *err);
void ipc_in_close_fds(struct ipc_in *in);
uint32_t ipc_get_u32(struct ipc_in *in);
uint64_t ipc_get_u64(struct ipc_in *in);
const char *ipc_get_str(struct ipc_in *in);
struct view ipc_get_bytes(struct ipc_in *in); /* 'b' */
int ipc_get_fd(struct ipc_in *in);            /* the caller owns it now */
bool ipc_in_more(const struct ipc_in *in);

#endif
