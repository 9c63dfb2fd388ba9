/* keyd.h - the only process that reads TLS private keys; it signs, and shows certificates. */
#ifndef COMMON_IPC_MSG_KEYD_H
#define COMMON_IPC_MSG_KEYD_H

enum {
	/* The chain configured under this file name.  sig "s": tls_cert_file value.  Answer "u(b)": 0 and the
	 * certificates in DER, leaf first, or a status and none. */
	KEYD_CHAIN = 1,
	/* Sign a TLS handshake message.  sig "bub": SHA-256 of the certificate's SubjectPublicKeyInfo, TLS
	 * SignatureScheme (RFC 8446 4.2.3), the text to be signed (not a digest).  Answer "ub": status, signature.
	 * Refused unless the text is a TLS 1.3 CertificateVerify (RFC 8446 4.4.3) or a TLS 1.2 key exchange
	 * (RFC 5246 7.4.3) by its shape. */
	KEYD_SIGN = 2,
};
enum keyd_status { KEYD_OK = 0, KEYD_UNKNOWN = 1, KEYD_REFUSED = 2, KEYD_FAILED = 3 };

#endif
