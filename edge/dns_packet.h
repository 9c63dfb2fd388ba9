/* dns_packet.h - what a resolver's answer says about one question.  Pure.
 *
 * libunbound hands its event callback a whole message in wire form (RFC 1035 4).  It made that message
 * itself, from data that it has checked, but the bytes still stem from strangers: read as such.
 * Ownership: the caller owns struct dns_packet; rdata lives in its buffer until the next parse or clear. */
#ifndef EDGE_DNS_PACKET_H
#define EDGE_DNS_PACKET_H

#include "common/net/dns.h"

enum {
	/* of one answer: what surely fits into one IPC packet beside the rest */
	DNS_PACKET_RDATA_MAX = 56 * 1024,
	DNS_PACKET_CNAMES_MAX = 16,
	DNS_WIRE_NAME_MAX = 255, /* RFC 1035 2.3.4 */
};

struct dns_packet {
	enum dns_status status;
	uint32_t ttl; /* least of all records used, or that of the negative answer */
	char canonical[DNS_NAME_MAX]; /* "" = as asked */
	struct buf bytes;             /* RDATA one behind the other, names uncompressed */
	size_t offsets[DNS_MAX_RECORDS + 1];
	size_t count;
};

void dns_packet_init(struct dns_packet *p);
void dns_packet_clear(struct dns_packet *p);
/* Can records of this type be brought to their uncompressed form here? */
bool dns_type_is_served(unsigned type);
/* Reads the records of this type at the end of name's CNAME chain.  More than DNS_MAX_RECORDS, or than
 * DNS_PACKET_RDATA_MAX bytes: the first that fit.  0, or -1: ERR_SYNTAX; status is set only with 0. */
int dns_packet_parse(struct dns_packet *p, struct view packet, unsigned type, struct err *err);
struct view dns_packet_rdata(const struct dns_packet *p, size_t index);

#endif
