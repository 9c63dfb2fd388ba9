/* relay.h - qmgr to a relay worker.  A worker serves one qmgr connection at a time. */
#ifndef COMMON_IPC_MSG_RELAY_H
#define COMMON_IPC_MSG_RELAY_H

enum {
	/* One message to one nexthop.  sig RELAY_JOB_SIG: job number, enum relay_protocol, queue id, nexthop ("example.com",
	 * "[host]:port"), sender, flags (enum envelope_flags), DSN ENVID, body size, body offset, arrival (wall ms), headers,
	 * body, login of the sender; for XFORWARD, else "": client's name, address and port, its HELO name, protocol; then each
	 * recipient: number, address, NOTIFY flags, ORCPT. */
	RELAY_JOB = 1,
	/* relay -> qmgr, one a recipient.  sig RELAY_RESULT_SIG: job, recipient number, enum delivery_status,
	 * enhanced code, text (the remote's reply or our reason, quoted), relay ("host[ip]:port" or "none"),
	 * remote's reply code (0: none), connection setup ms, transmission ms, connection use count,
	 * flags (enum relay_result_flags), site: the domain's mail exchangers of best preference, sorted, with commas
	 * between, "" = the nexthop is no domain, or they were not asked for. */
	RELAY_RESULT = 2,
	/* relay -> qmgr, once, when it has accepted the connection.  sig RELAY_READY_SIG: nothing.  The first jobs may be for a
	 * destination that never answers; that they are not in the backlog of a listener nobody serves is known so. */
	RELAY_READY = 3,
	/* Would this recipient be taken?  A transaction that ends behind RCPT TO (address_verify_sender).  sig RELAY_PROBE_SIG: job
	 * number, enum relay_protocol, queue id, nexthop, sender, address.  Answered by one RELAY_RESULT, for recipient 0:
	 * DELIVERY_SENT means that he would be. */
	RELAY_PROBE = 4,
	/* What would be done at a next hop?  sig "ususs": enum relay_protocol, nexthop, flags (enum envelope_flags), sender, login.
	 * Answer RELAY_EXPLAIN_SIG: particulars, name and value (docs/estafeta.8). */
	RELAY_EXPLAIN = 6,
};
#define RELAY_EXPLAIN_SIG "(ss)"
enum relay_result_flags {
	RELAY_UNREACHABLE = 1, /* the destination itself: counts against the nexthop */
	RELAY_TOOK_DSN =
	    2, /* the peer offers DSN and got NOTIFY: it answers for the recipient now */
};
enum relay_protocol { RELAY_SMTP = 0, RELAY_LMTP = 1 };
#define RELAY_JOB_SIG "uusssusqqqhhssssss(usus)"
#define RELAY_RESULT_SIG "uuusssuuuuus"
#define RELAY_PROBE_SIG "uussss"
enum { RELAY_SITE_MAX = 512 };
#define RELAY_READY_SIG ""

#endif
