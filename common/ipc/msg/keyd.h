/* keyd.h - the only process that reads TLS private keys; it signs, and shows certificates. */
#ifndef COMMON_IPC_MSG_KEYD_H
#define COMMON_IPC_MSG_KEYD_H

/* Certificates in answers: "(ub)", each with 1 if it begins a chain (a leaf), 0 if it is an issuer of the one before. */
enum {
	/* The chains configured under this name.  sig "s": value of a parameter *_tls_cert_file or *_tls_chain_files.
	 * Answer "u(ub)": 0 and the certificates in DER, or a status and none. */
	KEYD_CHAIN = 1,
	/* Sign a TLS handshake message.  sig "bub": SHA-256 of the certificate's SubjectPublicKeyInfo, TLS
	 * SignatureScheme (RFC 8446 4.2.3), the text to be signed (not a digest).  Answer "ub": status, signature.
	 * Refused unless the text is a TLS 1.3 CertificateVerify (RFC 8446 4.4.3) or a TLS 1.2 key exchange
	 * (RFC 5246 7.4.3) by its shape. */
	KEYD_SIGN = 2,
	/* The chains for a name that a client asked for (RFC 6066 3).  sig "ss": value of tls_server_sni_maps, name.
	 * Answer as for KEYD_CHAIN; KEYD_UNKNOWN: neither the name nor a .domain above it is there. */
	KEYD_NAME = 3,
	/* The keys of session tickets.  sig "".  Answer "uubb": status, seconds after which to ask again, the key in
	 * use, the one before it (empty: none); KEYD_TICKET_KEY bytes each.  Every role has keys of its own. */
	KEYD_TICKETS = 4,
};
#define KEYD_CHAIN_REPLY "u(ub)"
enum keyd_status { KEYD_OK = 0, KEYD_UNKNOWN = 1, KEYD_REFUSED = 2, KEYD_FAILED = 3 };
/* Name, AES-256 key, HMAC-SHA256 key. */
enum { KEYD_TICKET_NAME = 16, KEYD_TICKET_KEY = KEYD_TICKET_NAME + 32 + 32 };

#endif
