/* milter_proto.h - the wire protocol between MTA and milter (Sendmail's libmilter, mfdef.h), versions 2 to 6.  Pure.
 *
 * A packet is u32 length (big endian, of what follows), a command byte, data.  Strings end in NUL. */
#ifndef SMTPD_MILTER_PROTO_H
#define SMTPD_MILTER_PROTO_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <sys/socket.h>

enum {
	MILTER_VERSION_MIN = 2,
	MILTER_VERSION = 6,
	MILTER_CHUNK = 65535,       /* of a body, as libmilter has it */
	MILTER_PACKET_MAX = 1 << 20 /* that we take; libmilter sends less */
};

/* What we send. */
enum milter_command {
	MILTER_ABORT = 'A',
	MILTER_BODY = 'B',
	MILTER_CONNECT = 'C',
	MILTER_MACRO = 'D',
	MILTER_EOM = 'E',
	MILTER_HELO = 'H',
	MILTER_HEADER = 'L',
	MILTER_MAIL = 'M',
	MILTER_EOH = 'N',
	MILTER_OPTNEG = 'O',
	MILTER_QUIT = 'Q',
	MILTER_RCPT = 'R',
	MILTER_DATA = 'T',
	MILTER_UNKNOWN = 'U',
};

/* What a milter may want to do (SMFIF_*). */
enum milter_actions {
	MILTER_MAY_ADDHDRS = 0x1,
	MILTER_MAY_CHGBODY = 0x2,
	MILTER_MAY_ADDRCPT = 0x4,
	MILTER_MAY_DELRCPT = 0x8,
	MILTER_MAY_CHGHDRS = 0x10,
	MILTER_MAY_QUARANTINE = 0x20,
	MILTER_MAY_CHGFROM = 0x40,
	MILTER_MAY_ADDRCPT_PAR = 0x80,
	MILTER_MAY_SETSYMLIST = 0x100,
	MILTER_ACTIONS_V2 = 0x3f,
	MILTER_ACTIONS = 0x1ff,
};

/* What it does not want to see, and to what it will not reply (SMFIP_*).  RCPT_REJ is not offered: who is refused by
 * a restriction never gets as far as a milter. */
enum milter_protocol {
	MILTER_NO_CONNECT = 0x1,
	MILTER_NO_HELO = 0x2,
	MILTER_NO_MAIL = 0x4,
	MILTER_NO_RCPT = 0x8,
	MILTER_NO_BODY = 0x10,
	MILTER_NO_HEADERS = 0x20,
	MILTER_NO_EOH = 0x40,
	MILTER_NR_HEADER = 0x80,
	MILTER_NO_UNKNOWN = 0x100,
	MILTER_NO_DATA = 0x200,
	MILTER_SKIP_OK = 0x400,
	MILTER_NR_CONNECT = 0x1000,
	MILTER_NR_HELO = 0x2000,
	MILTER_NR_MAIL = 0x4000,
	MILTER_NR_RCPT = 0x8000,
	MILTER_NR_DATA = 0x10000,
	MILTER_NR_UNKNOWN = 0x20000,
	MILTER_NR_EOH = 0x40000,
	MILTER_NR_BODY = 0x80000,
	MILTER_LEADING_SPACE = 0x100000,
};
/* What a version knows of them. */
uint32_t milter_protocol_bits(unsigned version);
uint32_t milter_action_bits(unsigned version);

/* Whole packets, appended to out. */
void milter_put(struct buf *out, enum milter_command command, const void *data, size_t len);
void milter_put_optneg(struct buf *out, unsigned version);
/* One or two strings; b NULL: one. */
void milter_put_strings(
    struct buf *out, enum milter_command command, struct view a, const struct view *b);
/* Family by the address; its port is in there. */
void milter_put_connect(struct buf *out, const char *host, const struct sockaddr_storage *address);
/* Macros for a command: begin, then milter_put_macro for each, then end.  One without macros leaves out as it was. */
size_t milter_macros_begin(struct buf *out, enum milter_command command);
void milter_put_macro(struct buf *out, struct view name, const char *value);
void milter_macros_end(struct buf *out, size_t begin);

/* The next packet of in: 0 and *used; 1: needs more; -1 (ERR_SYNTAX, ERR_LIMIT). */
struct milter_packet {
	char command; /* 0: none */
	struct view data;
};
int milter_packet_read(struct view in, struct milter_packet *out, size_t *used, struct err *err);

/* The answer to OPTNEG. */
enum {
	MILTER_MACRO_STAGES = 7
}; /* connect, helo, mail, rcpt, data, eom, eoh, as SMFIM_* number them */
struct milter_options {
	unsigned version;
	uint32_t actions, protocol;
	struct view macros[MILTER_MACRO_STAGES]; /* p NULL: the milter did not say */
};
/* -1: ERR_SYNTAX, or it asks for what was not offered. */
int milter_options_read(
    struct view data, unsigned offered_version, struct milter_options *out, struct err *err);

enum milter_answer {
	MILTER_CONTINUE,
	MILTER_ACCEPT,
	MILTER_REJECT,
	MILTER_TEMPFAIL,
	MILTER_DISCARD,
	MILTER_REPLY, /* code, text */
	MILTER_SHUTDOWN,
	MILTER_CONN_FAIL,
	MILTER_SKIP,
	MILTER_PROGRESS,
	/* changes: only as answers to the end of the message, and only if negotiated */
	MILTER_ADDRCPT, /* a: address; b: ESMTP parameters, if any (CHGFROM too) */
	MILTER_DELRCPT,
	MILTER_CHGFROM,
	MILTER_ADDHEADER, /* a: name, b: value */
	MILTER_INSHEADER, /* index too */
	MILTER_CHGHEADER,
	MILTER_REPLBODY,   /* a: bytes */
	MILTER_QUARANTINE, /* a: reason */
};
struct milter_reply {
	enum milter_answer answer;
	uint32_t index;
	struct view a, b; /* into the packet */
};
/* -1: ERR_SYNTAX: no such answer, fields that are not there, bytes left over. */
int milter_reply_read(
    const struct milter_packet *p, uint32_t actions, struct milter_reply *out, struct err *err);

/* "550 5.7.1 text", more than one line as in SMTP: code, and the lines behind it, "\n" between them, each without
 * code and enhanced code; dsn "" when there is none.  Bytes that are not printable become '?'.
 * -1: ERR_SYNTAX: not 4xx or 5xx, lines that do not agree. */
struct milter_text {
	int code;
	char dsn[12];
	char text[900];
};
int milter_text_read(struct view reply, struct milter_text *out, struct err *err);

#endif
