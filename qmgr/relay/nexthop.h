/* nexthop.h - where a job goes, in the words of relayhost and transport maps.  Pure.
 *
 *   example.com  example.com:587      its MX hosts, else its own address
 *   [mx.example.com]  [..]:587        that host, no MX lookup
 *   [192.0.2.1]  [IPv6:2001:db8::1]   that address
 * Names with non-ASCII letters become A-labels (RFC 5890); a trailing dot is dropped. */
#ifndef QMGR_RELAY_NEXTHOP_H
#define QMGR_RELAY_NEXTHOP_H

#include "common/base/err.h"
#include "common/net/dns.h"

struct relay_nexthop {
	char host[DNS_NAME_MAX]; /* lower case; text of the address when is_address */
	unsigned port;
	bool use_mx;
	bool is_address;
	struct sockaddr_storage address; /* with port, when is_address */
};

/* 0, or -1 (ERR_SYNTAX). */
int relay_nexthop_parse(
    const char *text, unsigned default_port, struct relay_nexthop *out, struct err *err);
/* Letters, digits, hyphen, underscore in labels of 1..63; not all digits in the last one: what is an address, or
 * looks like one, is no host name. */
bool relay_hostname_is_usable(const char *name);

#endif
