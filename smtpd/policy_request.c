#include "smtpd/policy_request.h"
#include "smtpd/client_cert.h"
#include "smtpd/cmd_data.h"
#include "smtpd/policy_service.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <unistd.h>

/* Postfix's names of the states, by the command under way. */
static const char *
protocol_state(const struct smtpd_session *s)
{
	return s->state == ST_CONTENT ? "END-OF-MESSAGE" : s->row != NULL ? s->row->verb : "CONNECT";
}

static void
put_number(struct buf *out, const char *name, unsigned long long n)
{
	buf_printf(out, "%s=%llu\n", name, n);
}

/* "1a2b.65f0c1.3.0": one message, one instance, whatever number of recipients asks. */
static void
put_instance(struct smtpd_session *s, struct buf *out)
{
	int64_t t = s->tx != NULL ? s->tx->arrival_ms : 0;

	buf_printf(out, "instance=%x.%llx.%x.0\n", (unsigned)getpid(), (unsigned long long)t, s->serial);
}

static void
put_tls(struct smtpd_session *s, struct buf *out)
{
	SSL *ssl = stream_ssl(s->stream);
	const SSL_CIPHER *cipher = ssl != NULL ? SSL_get_current_cipher(ssl) : NULL;

	policy_put(out, "encryption_protocol", ssl != NULL ? SSL_get_version(ssl) : "");
	policy_put(out, "encryption_cipher", cipher != NULL ? SSL_CIPHER_get_name(cipher) : "");
	put_number(out, "encryption_keysize", cipher != NULL ? (unsigned)SSL_CIPHER_get_bits(cipher, NULL) : 0);
}

static void
put_client(struct smtpd_session *s, const struct restrict_ctx *c, struct buf *out)
{
	const struct sockaddr_storage *local = smtpd_client_local(s);
	char ip[ADDR_TEXT];

	policy_put(out, "client_address", c->client_ip);
	policy_put(out, "client_name", c->client_name);
	put_number(out, "client_port", addr_port(&s->client.address));
	policy_put(out, "reverse_client_name", c->reverse_name != NULL ? c->reverse_name : "unknown");
	policy_put(out, "server_address", addr_text(local, ip));
	put_number(out, "server_port", addr_port(local));
	policy_put(out, "helo_name", c->helo);
}

void
smtpd_policy_request(struct smtpd_session *s, const struct restrict_ctx *c, const char *context,
    struct buf *out)
{
	const struct smtpd_transaction *tx = s->tx;
	const struct client_cert *cert = s->client.cert;
	uint64_t size = tx == NULL ? 0 : s->state == ST_CONTENT ? smtpd_content_size(s) : tx->announced_size;

	policy_put(out, "request", "smtpd_access_policy");
	policy_put(out, "protocol_state", protocol_state(s));
	policy_put(out, "protocol_name", smtpd_session_protocol(s));
	put_client(s, c, out);
	policy_put(out, "sender", c->sender);
	policy_put(out, "recipient", c->recipient != NULL ? c->recipient : tx != NULL ? tx->only_rcpt : NULL);
	put_number(out, "recipient_count", s->state == ST_CONTENT && tx != NULL ? tx->naccepted : 0);
	policy_put(out, "queue_id", tx != NULL ? tx->queue_id : NULL);
	put_instance(s, out);
	put_number(out, "size", size);
	policy_put(out, "etrn_domain", "");
	policy_put(out, "stress", s->server->is_stressed ? "yes" : "");
	policy_put(out, "sasl_method", s->mechanism);
	policy_put(out, "sasl_username", s->login);
	policy_put(out, "sasl_sender", "");
	policy_put(out, "ccert_subject", cert != NULL ? cert->subject_cn : "");
	policy_put(out, "ccert_issuer", cert != NULL ? cert->issuer_cn : "");
	policy_put(out, "ccert_fingerprint", cert != NULL ? cert->fingerprint : "");
	policy_put(out, "ccert_pubkey_fingerprint", cert != NULL ? cert->key_fingerprint : "");
	put_tls(s, out);
	policy_put(out, "policy_context", context);
	buf_append_byte(out, '\n');
}
