/* keyd_shape.h - what keyd signs: the two messages by which a TLS server (or client) proves its key.
 * Whoever can ask keyd must not get a signature under anything else: no certificate, no request, no mail. */
#ifndef AUTHD_KEYD_SHAPE_H
#define AUTHD_KEYD_SHAPE_H

#include "common/base/view.h"

/* Bit mask: what a caller may have signed. */
enum keyd_shape {
	KEYD_SHAPE_SERVER_VERIFY = 1, /* TLS 1.3 server CertificateVerify (RFC 8446 4.4.3) */
	KEYD_SHAPE_CLIENT_VERIFY = 2, /* TLS 1.3 client CertificateVerify */
	KEYD_SHAPE_KEY_EXCHANGE =
	    4, /* TLS 1.2 ServerKeyExchange with a named curve (RFC 8422 5.4) */
};

/* What this text is, 0 = nothing that is ever signed.  Pure.  A client's TLS 1.2 CertificateVerify is the
 * whole of the handshake's bytes (RFC 5246 7.4.8) and finite-field parameters are numbers of any length:
 * neither has a shape that could be told from other data, so neither is signed. */
unsigned keyd_shape_of(struct view tbs);
/* May this SignatureScheme (RFC 8446 4.2.3) stand in a message of this shape?  TLS 1.3 has no PKCS #1 v1.5. */
bool keyd_shape_allows(unsigned shape, unsigned scheme);

#endif
