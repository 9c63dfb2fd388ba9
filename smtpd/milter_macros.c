#include "smtpd/milter_macros.h"
#include "common/base/clock.h"
#include "smtpd/rate.h"
#include "smtpd/received.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <openssl/x509.h>
#include <stdio.h>

enum { NAME_MAX_BYTES = 64, VALUE_MAX_BYTES = 1000 };

typedef void macro_fn(struct smtpd_session *s, struct buf *out);

static void
put(struct buf *out, const char *text)
{
	if (text != NULL)
		buf_append_str(out, text);
}

static void
put_address(struct buf *out, const struct sockaddr_storage *a)
{
	char ip[ADDR_TEXT];

	put(out, addr_text(a, ip));
}

static void
macro_j(struct smtpd_session *s, struct buf *out)
{
	put(out, s->server->conf->myhostname);
}

static void
macro_daemon_name(struct smtpd_session *s, struct buf *out)
{
	put(out, s->server->conf->milters.daemon_name);
}

static void
macro_daemon_addr(struct smtpd_session *s, struct buf *out)
{
	put_address(out, smtpd_client_local(s));
}

static void
macro_daemon_port(struct smtpd_session *s, struct buf *out)
{
	buf_printf(out, "%u", addr_port(smtpd_client_local(s)));
}

static void
macro_v(struct smtpd_session *s, struct buf *out)
{
	put(out, s->server->conf->milters.v);
}

static void
macro_underscore(struct smtpd_session *s, struct buf *out)
{
	buf_printf(out, "%s [%s]", smtpd_client_name(s), s->client.ip);
}

static void
macro_client_name(struct smtpd_session *s, struct buf *out)
{
	put(out, smtpd_client_name(s));
}

static void
macro_client_addr(struct smtpd_session *s, struct buf *out)
{
	put(out, s->client.ip);
}

static void
macro_client_port(struct smtpd_session *s, struct buf *out)
{
	buf_printf(out, "%u", addr_port(&s->client.address));
}

static void
macro_i(struct smtpd_session *s, struct buf *out)
{
	put(out, s->tx != NULL ? s->tx->queue_id : NULL);
}

static void
macro_b(struct smtpd_session *s, struct buf *out)
{
	(void)s;
	mail_date_format(clock_wall_ms() / 1000, out);
}

static void
macro_auth_type(struct smtpd_session *s, struct buf *out)
{
	put(out, s->mechanism);
}

static void
macro_auth_authen(struct smtpd_session *s, struct buf *out)
{
	put(out, s->login);
}

/* No mechanism that is offered has a security layer (RFC 4422 3.7); that is TLS's business. */
static void
macro_auth_ssf(struct smtpd_session *s, struct buf *out)
{
	put(out, s->login != NULL ? "0" : NULL);
}

static void
macro_client_connections(struct smtpd_session *s, struct buf *out)
{
	buf_printf(out, "%u", smtpd_rate_connections(s));
}

static void
macro_tls_version(struct smtpd_session *s, struct buf *out)
{
	put(out, smtpd_session_has_tls(s) ? SSL_get_version(stream_ssl(s->stream)) : NULL);
}

static void
macro_cipher(struct smtpd_session *s, struct buf *out)
{
	put(out, smtpd_session_has_tls(s) ? SSL_get_cipher_name(stream_ssl(s->stream)) : NULL);
}

static void
macro_cipher_bits(struct smtpd_session *s, struct buf *out)
{
	if (smtpd_session_has_tls(s))
		buf_printf(out, "%d", SSL_get_cipher_bits(stream_ssl(s->stream), NULL));
}

static void
put_common_name(struct smtpd_session *s, bool is_issuer, struct buf *out)
{
	X509 *x =
	    smtpd_session_has_tls(s) ? SSL_get0_peer_certificate(stream_ssl(s->stream)) : NULL;
	char name[256];

	if (x != NULL && X509_NAME_get_text_by_NID(
			     is_issuer ? X509_get_issuer_name(x) : X509_get_subject_name(x),
			     NID_commonName, name, sizeof name) > 0)
		put(out, name);
}

static void
macro_cert_subject(struct smtpd_session *s, struct buf *out)
{
	put_common_name(s, false, out);
}

static void
macro_cert_issuer(struct smtpd_session *s, struct buf *out)
{
	put_common_name(s, true, out);
}

/* Of MAIL before there is a transaction. */
static const struct address *
sender(const struct smtpd_session *s)
{
	if (s->tx != NULL)
		return &s->tx->sender;
	return s->args != NULL ? &s->args->address : NULL;
}

static void
macro_mail_addr(struct smtpd_session *s, struct buf *out)
{
	const struct address *a = sender(s);

	put(out, a != NULL ? a->text : NULL);
}

static void
macro_mail_host(struct smtpd_session *s, struct buf *out)
{
	const struct address *a = sender(s);

	put(out, a != NULL ? a->domain : NULL);
}

static void
macro_mail_mailer(struct smtpd_session *s, struct buf *out)
{
	(void)s;
	put(out, "smtp");
}

static const struct address *
recipient(const struct smtpd_session *s)
{
	return s->tx != NULL && s->args != NULL && s->args->address.text[0] != '\0'
		   ? &s->args->address
		   : NULL;
}

static void
macro_rcpt_addr(struct smtpd_session *s, struct buf *out)
{
	const struct address *a = recipient(s);

	put(out, a != NULL ? a->text : NULL);
}

static void
macro_rcpt_host(struct smtpd_session *s, struct buf *out)
{
	const struct address *a = recipient(s);

	put(out, a != NULL ? a->domain : NULL);
}

static void
macro_rcpt_mailer(struct smtpd_session *s, struct buf *out)
{
	const struct smtpd_found *f = s->tx != NULL ? &s->tx->found : NULL;

	if (recipient(s) != NULL && f->count > 0)
		put(out, transport_name(f->rcpts[0].transport));
}

/* {auth_author} has no value here but what milter_macro_defaults gives it. */
/* clang-format off */
static const struct macro_row {
	const char *name;
	macro_fn *fn;
} macro_rows[] = {
	{ "j",             macro_j },
	{ "v",             macro_v },
	{ "_",             macro_underscore },
	{ "i",             macro_i },
	{ "b",             macro_b },
	{ "daemon_name",   macro_daemon_name },
	{ "daemon_addr",   macro_daemon_addr },
	{ "daemon_port",   macro_daemon_port },
	{ "if_name",       macro_j },
	{ "if_addr",       macro_daemon_addr },
	{ "client_name",   macro_client_name },
	{ "client_ptr",    macro_client_name },
	{ "client_addr",   macro_client_addr },
	{ "client_port",   macro_client_port },
	{ "client_connections", macro_client_connections },
	{ "auth_type",     macro_auth_type },
	{ "auth_authen",   macro_auth_authen },
	{ "auth_ssf",      macro_auth_ssf },
	{ "tls_version",   macro_tls_version },
	{ "cipher",        macro_cipher },
	{ "cipher_bits",   macro_cipher_bits },
	{ "cert_subject",  macro_cert_subject },
	{ "cert_issuer",   macro_cert_issuer },
	{ "mail_addr",     macro_mail_addr },
	{ "mail_host",     macro_mail_host },
	{ "mail_mailer",   macro_mail_mailer },
	{ "rcpt_addr",     macro_rcpt_addr },
	{ "rcpt_host",     macro_rcpt_host },
	{ "rcpt_mailer",   macro_rcpt_mailer },
};
/* clang-format on */

/* "{name}" -> "name" */
static struct view
bare(struct view name)
{
	if (name.len >= 2 && name.p[0] == '{' && name.p[name.len - 1] == '}')
		return view_make(name.p + 1, name.len - 2);
	return name;
}

static void
put_default(struct smtpd_session *s, struct view name, struct buf *out)
{
	struct view rest = view_of(s->server->conf->milters.defaults), item, key, value;

	while (conf_next(&rest, &item)) {
		view_cut(item, '=', &key, &value);
		if (view_eq(bare(view_trim(key)), name)) {
			buf_append_view(out, view_trim(value));
			return;
		}
	}
}

static void
put_value(struct smtpd_session *s, struct view name, struct buf *out)
{
	for (size_t i = 0; i < sizeof macro_rows / sizeof macro_rows[0]; i++)
		if (view_eq_str(name, macro_rows[i].name))
			macro_rows[i].fn(s, out);
	if (out->len == 0)
		put_default(s, name, out);
}

void
milter_put_macros(
    struct smtpd_session *s, enum milter_command command, struct view names, struct buf *out)
{
	size_t begin = milter_macros_begin(out, command);
	struct view name;
	struct buf value;

	buf_init(&value, VALUE_MAX_BYTES);
	while (view_token(&names, " \t\n,", &name)) {
		char label[NAME_MAX_BYTES];

		name = bare(name);
		if (name.len == 0 || name.len > sizeof label - 3)
			continue;
		/* one letter stands alone, longer names are in braces */
		if (name.len == 1)
			snprintf(label, sizeof label, "%c", name.p[0]);
		else
			snprintf(label, sizeof label, "{%.*s}", VIEW_ARG(name));
		buf_reset(&value);
		put_value(s, name, &value);
		if (value.len > 0 && !value.failed)
			milter_put_macro(out, view_of(label), buf_cstr(&value));
	}
	buf_clear(&value);
	milter_macros_end(out, begin);
}
