/* client_cert.h - the certificate that a client has shown (permit_tls_clientcerts, check_ccert_access). */
#ifndef SMTPD_CLIENT_CERT_H
#define SMTPD_CLIENT_CERT_H

#include <openssl/ssl.h>
#include <stdbool.h>

struct buf;

enum { CLIENT_CERT_NAME_MAX = 255, CLIENT_CERT_PRINT_MAX = EVP_MAX_MD_SIZE * 3 };

struct client_cert {
	/* Common names (of an issuer without: its organization); "" if there is none, or one that could mislead (a NUL, too long).  Printable ASCII: other bytes
	 * are '?'. */
	char subject_cn[CLIENT_CERT_NAME_MAX + 1], issuer_cn[CLIENT_CERT_NAME_MAX + 1];
	/* "AB:CD:...", digests of the certificate in DER and of its SubjectPublicKeyInfo */
	char fingerprint[CLIENT_CERT_PRINT_MAX], key_fingerprint[CLIENT_CERT_PRINT_MAX];
	bool is_trusted; /* smtpd_tls_CAfile or smtpd_tls_CApath vouches for it */
};

/* TLS is up.  NULL: the client has shown none. */
struct client_cert *client_cert_new(SSL *ssl, const char *digest);
void client_cert_free(struct client_cert *c);
/* The comment of a Received: line, as Postfix writes it; c may be NULL. */
void client_cert_comment(const struct client_cert *c, bool was_asked, struct buf *out);

#endif
