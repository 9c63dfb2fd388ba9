/* dns.h - questions to dnsd; the client is common/net/dns.h. */
#ifndef COMMON_IPC_MSG_DNS_H
#define COMMON_IPC_MSG_DNS_H

enum {
	/* sig "su": name, RR type number (class IN).  Answer DNS_ANSWER_SIG. */
	DNS_QUERY = 1,
};
/* enum dns_status, flags (1 = validated), TTL seconds, canonical name, reason (bogus, failed), then each
 * record's RDATA in wire form (names uncompressed) */
#define DNS_ANSWER_SIG "uuuss(b)"

#endif
