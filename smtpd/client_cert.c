#include "smtpd/client_cert.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

/* The first one, as in Postfix. */
static void
name_part(const X509_NAME *name, int nid, char out[CLIENT_CERT_NAME_MAX + 1])
{
	int at = X509_NAME_get_index_by_NID((X509_NAME *)(uintptr_t)name, nid, -1), len;
	unsigned char *text = NULL;

	out[0] = '\0';
	if (at < 0)
		return;
	len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (len > 0 && len <= CLIENT_CERT_NAME_MAX && memchr(text, '\0', (size_t)len) == NULL) {
		for (int i = 0; i < len; i++)
			out[i] = text[i] >= ' ' && text[i] < 127 ? (char)text[i] : '?';
		out[len] = '\0';
	}
	if (len >= 0)
		OPENSSL_free(text);
}

static void
fingerprint(const EVP_MD *md, const unsigned char *der, int len, char out[CLIENT_CERT_PRINT_MAX])
{
	static const char hex[] = "0123456789ABCDEF";
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	char *p = out;

	*out = '\0';
	if (len <= 0 || EVP_Digest(der, (size_t)len, digest, &n, md, NULL) != 1)
		return;
	for (unsigned i = 0; i < n; i++) {
		*p++ = hex[digest[i] >> 4];
		*p++ = hex[digest[i] & 15];
		*p++ = ':';
	}
	p[-1] = '\0';
}

struct client_cert *
client_cert_new(SSL *ssl, const char *digest)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	EVP_MD *md = cert == NULL ? NULL : EVP_MD_fetch(NULL, digest, NULL);
	unsigned char *der = NULL, *spki = NULL;
	struct client_cert *c;

	if (cert == NULL)
		return NULL;
	c = x_calloc(1, sizeof *c);
	c->is_trusted = SSL_get_verify_result(ssl) == X509_V_OK;
	name_part(X509_get_subject_name(cert), NID_commonName, c->subject_cn);
	name_part(X509_get_issuer_name(cert), NID_commonName, c->issuer_cn);
	if (c->issuer_cn[0] == '\0')
		name_part(X509_get_issuer_name(cert), NID_organizationName, c->issuer_cn);
	if (md != NULL) {
		int len = i2d_X509(cert, &der),
		    spki_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);

		fingerprint(md, der, len, c->fingerprint);
		fingerprint(md, spki, spki_len, c->key_fingerprint);
	}
	OPENSSL_free(der);
	OPENSSL_free(spki);
	EVP_MD_free(md);
	ERR_clear_error();
	return c;
}

void
client_cert_free(struct client_cert *c)
{
	free(c);
}

/* Between quotes inside a comment: what could end either becomes '?'. */
static void
put_name(struct buf *out, const char *name)
{
	for (; *name != '\0'; name++)
		buf_append_byte(
		    out, strchr("()<>\\\"", *name) == NULL ? (unsigned char)*name : '?');
}

void
client_cert_comment(const struct client_cert *c, bool was_asked, struct buf *out)
{
	if (c == NULL) {
		buf_append_str(out, was_asked ? "(Client did not present a certificate)"
					      : "(No client certificate requested)");
		return;
	}
	buf_append_str(out, "(Client CN \"");
	put_name(out, c->subject_cn);
	buf_append_str(out, "\", Issuer \"");
	put_name(out, c->issuer_cn);
	buf_printf(out, "\" (%s))", c->is_trusted ? "verified OK" : "not verified");
}
