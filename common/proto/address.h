/* address.h - mail addresses on the SMTP wire (RFC 5321 4.1.2) and their parts.  Pure. */
#ifndef COMMON_PROTO_ADDRESS_H
#define COMMON_PROTO_ADDRESS_H

#include "common/base/err.h"
#include "common/base/view.h"

/* RFC 5321 4.5.3.1.1 asks for local parts of at least 64 octets; the bounce, SRS and forwarding addresses of
 * large senders are longer, and refusing them would refuse their mail. */
enum { ADDRESS_MAX = 320, ADDRESS_LOCAL_MAX = 254, ADDRESS_DOMAIN_MAX = 255 };

enum address_options {
	ADDRESS_ALLOW_NULL = 1,   /* <> : MAIL FROM */
	ADDRESS_ALLOW_BARE = 2,   /* local part without domain: RCPT TO:<postmaster> (RFC 5321 4.5.1) */
	ADDRESS_ALLOW_UTF8 = 4,   /* SMTPUTF8 (RFC 6531 3.3) */
	ADDRESS_STRICT = 8,       /* angle brackets required, no white space inside */
};

/* Address text, NUL-terminated: quoted local parts are kept in the shortest form that needs the quotes;
 * a source route is checked and dropped (RFC 5321 4.1.2, appendix C); the domain is lower case, a trailing dot is an
 * error, an address literal stays in brackets. */
struct address {
	char text[ADDRESS_MAX + 1]; /* "" = null address */
	size_t local_len;           /* bytes before the last @ */
	const char *domain;         /* into text; "" when bare */
};

/* Parses "<...>" at the start of input; *used = bytes up to and including '>'. */
int address_parse_path(struct view input, unsigned options, struct address *out, size_t *used, struct err *err);
/* A whole address without brackets (RCPT answers, configuration, user database). */
int address_parse(struct view text, unsigned options, struct address *out, struct err *err);
/* The local part without quotes and quoted pairs, as databases and file names know it.  Length or -1. */
int address_local_plain(const struct address *a, char *out, size_t size);
/* Of an address as text: what stands behind its last @, "" when it is bare; and the bytes before that @. */
const char *address_domain(const char *address);
size_t address_local_length(const char *address);
/* The bytes of the local part before its extension (delimiters: recipient_delimiter), all of them when it has none.  A
 * delimiter in first place separates nothing. */
size_t address_base_length(const char *address, const char *delimiters);
/* A host name of LDH labels (underscore allowed when lax), or an address literal with brackets. */
bool hostname_is_valid(struct view name, bool lax);
bool address_literal_is_valid(struct view literal);

#endif
