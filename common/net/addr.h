/* addr.h - IP addresses and networks as text and as bytes. */
#ifndef COMMON_NET_ADDR_H
#define COMMON_NET_ADDR_H

#include "common/base/err.h"
#include "common/base/view.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum { ADDR_TEXT = 64 }; /* room for any address with brackets and port */

struct net_prefix {
	int family; /* AF_INET or AF_INET6 */
	unsigned char bytes[16];
	unsigned bits;
	bool is_negated; /* "!net" in a list: not this one */
};

/* "192.0.2.1", "::1": no brackets, no zone; v4-mapped IPv6 becomes IPv4. */
bool addr_parse(struct view text, struct sockaddr_storage *out);
void addr_set_port(struct sockaddr_storage *a, unsigned port);
unsigned addr_port(const struct sockaddr_storage *a);
socklen_t addr_len(const struct sockaddr_storage *a);
/* "192.0.2.1" or "2001:db8::1"; v4-mapped as IPv4; "unknown" for another family.  Returns out. */
const char *addr_text(const struct sockaddr_storage *a, char out[ADDR_TEXT]);
/* As in an SMTP address literal without the brackets: "IPv6:2001:db8::1" (RFC 5321 4.1.3). */
const char *addr_literal(const struct sockaddr_storage *a, char out[ADDR_TEXT]);

/* Postfix's mynetworks syntax: "127.0.0.0/8", "[::1]/128", "!192.0.2.1".  Host bits must be zero. */
int net_prefix_parse(struct view text, struct net_prefix *out, struct err *err);
/* First match decides; false when none matches. */
bool net_list_match(const struct net_prefix *list, size_t count, const struct sockaddr_storage *a);

#endif
