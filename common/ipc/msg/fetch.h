/* fetch.h - what is fetched by HTTPS, for those who parse mail (DESIGN 3), and counted for TLS reports.  Nobody hands in a
 * URL. */
#ifndef COMMON_IPC_MSG_FETCH_H
#define COMMON_IPC_MSG_FETCH_H

enum {
	/* The MTA-STS policy of a domain (RFC 8461): the one that is kept, or, where this is another version, a new one.
	 * sig "ss": domain, id of its TXT record, "" when it has none: then nothing is fetched.  A question; the answer,
	 * FETCH_STS_SIG, may take a minute. */
	FETCH_STS_POLICY = 13,
	/* How a session with a mail server came to TLS (RFC 8460), where tlsrpt_enable is set.  sig FETCH_TLS_SIG; no answer. */
	FETCH_TLS_RESULT = 14,
};
/* enum sts_mode (STS_NONE: also where there is no policy, or none that can be had), id of the version that this is, patterns
 * for MX hosts, a line each; enum fetch_sts_fault: why there is no policy where there should be one */
#define FETCH_STS_SIG "ussu"
enum fetch_sts_fault {
	FETCH_STS_GOOD,
	FETCH_STS_UNREACHED,
	FETCH_STS_INVALID,
	FETCH_STS_UNTRUSTED
};

/* domain, enum fetch_tls_policy, TLSA records, a line each (of FETCH_TLSA only), result-type (RFC 8460 4.3; "" = TLS as the
 * policy has it), failure-reason-code, our address, MX host, its address; "" = not known */
#define FETCH_TLS_SIG "sussssss"
enum fetch_tls_policy { FETCH_TLSA, FETCH_STS, FETCH_NO_POLICY };

#endif
