/* stream.h - one connected byte stream on the loop, plain or TLS, buffered, bounded, with deadlines.
 *
 * Input waits in the stream until the owner takes it: stream_input gives what is there, the owner's pure
 * parser says how much it used, stream_consume drops that.  When the buffer holds input_max bytes the
 * stream stops reading (the peer's TCP window fills).  Output is buffered up to output_max; a writer asks
 * stream_output_pending and waits for on_drained.  Buffers are freed while empty: an idle stream costs its
 * struct and, with TLS, OpenSSL's session.
 *
 * Callbacks may free the stream (stream_free) and their own session.  No callback comes from inside a
 * call made by the owner, but for stream_free'd ones: never.
 */
#ifndef COMMON_NET_STREAM_H
#define COMMON_NET_STREAM_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/event/loop.h"

#include <openssl/ssl.h>

struct stream;
struct tls_context;

struct stream_ops {
	/* There is (more) input.  Called again only after more came: the owner must loop over what is there
	 * before it returns, or call stream_poke later. */
	void (*on_input)(void *arg, struct stream *s);
	/* Output fell to zero after stream_want_drained. May be NULL. */
	void (*on_drained)(void *arg, struct stream *s);
	/* A handshake begun with stream_start_tls ended well.  May be NULL. */
	void (*on_tls)(void *arg, struct stream *s);
	/* The peer closed (ERR_GONE), broke (ERR_TEMP), a deadline passed (ERR_TEMP, sys = ETIMEDOUT), TLS
	 * failed (ERR_SYNTAX).  Input already received can still be read, and after a clean end output can still
	 * be sent (stream_finish).  A clean end is not told while the stream is paused: a client that pipelines its
	 * commands and half-closes gets its answers.  The owner frees the stream. */
	void (*on_close)(void *arg, struct stream *s, const struct err *why);
};

struct stream_limits {
	size_t input_max;  /* bytes held unread */
	size_t output_max; /* bytes queued; a write past it closes the stream (ERR_LIMIT) */
};

/* fd: a connected non-blocking socket, owned from here on. */
struct stream *stream_new(struct loop *l, int fd, const struct stream_limits *limits,
    const struct stream_ops *ops, void *arg);
/* An outgoing TCP connection: connects first, then is as any stream; on_drained tells of success when
 * stream_want_drained was called before (nothing written yet), on_close of failure. local may be NULL.  NULL: failed at
 * once; ERR_PERM: by binding to local. */
struct stream *stream_connect(struct loop *l, const struct sockaddr_storage *to,
    const struct sockaddr_storage *local, const struct stream_limits *limits,
    const struct stream_ops *ops, void *arg, struct err *err);
/* A new owner; what it may have missed, input above all, it is told from the loop. */
void stream_give(struct stream *s, const struct stream_ops *ops, void *arg);
void stream_free(struct stream *s); /* closes; unsent output is dropped.  NULL is allowed */
/* Sends what is queued (bounded by timeout_ms), closes TLS properly, then frees itself; no more callbacks.  False: all is
 * sent already, the process may end. */
bool stream_finish(struct stream *s, int64_t timeout_ms);

struct view stream_input(struct stream *s);
void stream_consume(struct stream *s, size_t len);
void stream_poke(struct stream *s); /* on_input again from the loop if there is input */
void stream_pause(struct stream *s, bool paused); /* stop and go on reading from the peer */
int stream_write(struct stream *s, const void *p, size_t len);
int stream_printf(struct stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t stream_output_pending(const struct stream *s);
void stream_want_drained(struct stream *s);

/* The deadline: on_close with ETIMEDOUT unless set again in time.  0 = none. */
void stream_set_deadline(struct stream *s, int64_t after_ms);

/* Turns the stream into TLS.  Unread input is dropped (RFC 3207 4.2, NO STARTTLS): what came before the
 * handshake never counts as sent under it.  As server: host is NULL.  As client: host is the SNI name and the
 * name to verify. Output queued before goes out in the clear first.  ERR_GONE: on_close has been called already. */
int stream_start_tls(struct stream *s, struct tls_context *ctx, const char *host, struct err *err);
/* The same as client, with all of the handshake set up by the owner; takes ssl. */
int stream_start_tls_client(struct stream *s, SSL *ssl, struct err *err);
bool stream_has_tls(const struct stream *s);
SSL *stream_ssl(struct stream *s); /* NULL without TLS */
int stream_fd(const struct stream *s);

/* Cuts the first line off input: returns 0 and the line without its CRLF, *used bytes with it; 1 = no
 * complete line yet; -1 (ERR_LIMIT) = more than max bytes without a line end, (ERR_SYNTAX) = a bare CR or a
 * bare LF or NUL (strict: SMTP).  Pure. */
int line_cut_strict(
    struct view input, size_t max, struct view *line, size_t *used, struct err *err);
/* The same, but a bare LF also ends a line (IMAP and POP3 clients in the wild). */
int line_cut(struct view input, size_t max, struct view *line, size_t *used, struct err *err);

#endif
