#include "smtpd/header_rewrite.h"
#include "common/base/mem.h"
#include "common/ipc/rewriting.h"
#include "common/log/log.h"
#include "smtpd/client_cert.h"
#include "smtpd/lookup.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <stdlib.h>

enum {
	GROWTH_MAX =
	    1 << 20 /* bytes added to one message: a list of thousands of bare names fits */
};

enum permit {
	PERMIT_INET_INTERFACES = 1,
	PERMIT_MYNETWORKS = 2,
	PERMIT_SASL_AUTHENTICATED = 4,
	PERMIT_TLS_ALL_CLIENTCERTS = 8,
};

struct smtpd_rewrite {
	gate_then *then;
	bool has_asked_for_cert;
	size_t at;                            /* of the tables of clients, the next one */
	struct smtpd_lookup *lookup;          /* owned */
	const struct address_completion *how; /* of the header; NULL: it stays */
	struct rewriting *rewriting;          /* owned */
};

/* --- the parameters ----------------------------------------------------------------------------------------- */

static int
add_clients(struct rewrite_config *c, struct view spec, struct err *err)
{
	c->clients = x_realloc(c->clients, c->nclients + 1, sizeof *c->clients);
	if (smtpd_tables_open(spec, &c->clients[c->nclients], err) < 0)
		return -1;
	c->nclients++;
	return 0;
}

static int
read_clients(struct rewrite_config *c, const struct conf *conf, struct err *err)
{
	static const struct {
		const char *name;
		enum permit permit;
	} words[] = { { "permit_inet_interfaces", PERMIT_INET_INTERFACES },
		{ "permit_mynetworks", PERMIT_MYNETWORKS },
		{ "permit_sasl_authenticated", PERMIT_SASL_AUTHENTICATED },
		{ "permit_tls_all_clientcerts", PERMIT_TLS_ALL_CLIENTCERTS } };
	struct view rest = view_of(conf_str(conf, "local_header_rewrite_clients")), item;

	while (conf_next(&rest, &item)) {
		bool is_word = view_eq_str(item, "check_address_map"); /* its table follows */

		for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
			if (view_eq_str(item, words[i].name)) {
				c->permits |= words[i].permit;
				is_word = true;
			}
		if (view_eq_str(item, "permit_tls_clientcerts"))
			c->asks_clientcerts = is_word = true;
		if (is_word)
			continue;
		if (!table_spec_is_known(item))
			return err_set(err, ERR_SYNTAX, "unknown word \"%.*s\"", VIEW_ARG(item));
		if (add_clients(c, item, err) < 0)
			return -1;
	}
	if (c->permits & PERMIT_INET_INTERFACES)
		return own_addresses_read(&c->own, conf, "inet_interfaces", err);
	return 0;
}

int
rewrite_config_read(struct rewrite_config *c, const struct conf *conf, struct err *err)
{
	const char *remote = conf_str(conf, "remote_header_rewrite_domain");
	bool has_origin = conf_bool(conf, "append_at_myorigin");
	bool has_domain = conf_bool(conf, "append_dot_mydomain");

	*c =
	    (struct rewrite_config){ .always_adds = conf_bool(conf, "always_add_missing_headers") };
	c->local.origin = view_of(has_origin ? conf_str(conf, "myorigin") : "");
	c->local.domain = view_of(has_domain ? conf_str(conf, "mydomain") : "");
	c->remote.origin = view_of(has_origin ? remote : "");
	c->remote.domain = view_of(has_domain ? remote : "");
	c->has_remote = remote[0] != '\0';
	c->classes = rewriting_classes(conf);
	if (read_clients(c, conf, err) < 0)
		return err_prefix(err, "local_header_rewrite_clients");
	return 0;
}

void
rewrite_config_clear(struct rewrite_config *c)
{
	own_addresses_clear(&c->own);
	for (size_t i = 0; i < c->nclients; i++)
		smtpd_tables_close(c->clients[i]);
	x_free(&c->clients);
	c->nclients = 0;
}

/* --- the header --------------------------------------------------------------------------------------------- */

static int
rewrite_field(struct header_list *l, size_t at, const struct address_completion *how,
    size_t *growth, struct err *err)
{
	struct view value = l->fields[at].value;
	struct buf out;
	int r;

	buf_init(&out, value.len + *growth);
	r = address_complete(value, how, &out);
	if (r < 0) {
		r = err_set(err, ERR_LIMIT, "too many addresses to rewrite");
	} else if (r > 0) {
		*growth -= out.len - value.len;
		r = header_list_replace(l, at, l->fields[at].name, buf_view(&out), err);
	}
	buf_clear(&out);
	return r;
}

/* What cannot be rewritten stays as it is: no reason to refuse a message. */
static void
rewrite_header(struct smtpd_session *s, const struct smtpd_rewrite *w)
{
	struct header_list *l = &s->tx->content->list;
	size_t growth = GROWTH_MAX;
	struct err err;

	for (size_t i = 0; i < l->count; i++) {
		enum address_field kind = address_field_kind(view_trim(l->fields[i].name));
		struct rewriting_field f;
		const struct address_completion how =
		    rewriting_of_field(w->how, &f, w->rewriting, kind, REWRITING_APPLY);

		if (kind != ADDRESS_FIELD_NONE && rewrite_field(l, i, &how, &growth, &err) < 0) {
			log_warn("%s: addresses in the header are left as they are: %s",
			    s->tx->queue_id, err.text);
			return;
		}
	}
}

static void
collect_header(struct smtpd_session *s, struct smtpd_rewrite *w)
{
	const struct header_list *l = &s->tx->content->list;
	struct rewriting_field f;
	struct buf none;

	buf_init(&none, GROWTH_MAX);
	for (size_t i = 0; i < l->count; i++) {
		enum address_field kind = address_field_kind(view_trim(l->fields[i].name));
		const struct address_completion how =
		    rewriting_of_field(w->how, &f, w->rewriting, kind, REWRITING_COLLECT);

		buf_reset(&none);
		if (kind != ADDRESS_FIELD_NONE)
			address_complete(l->fields[i].value, &how, &none);
	}
	buf_clear(&none);
}

/* --- the message -------------------------------------------------------------------------------------------- */

static enum cmd_result
end(struct smtpd_session *s, bool ok)
{
	gate_then *then = s->tx->rewrite->then;

	smtpd_rewrite_free(s->tx->rewrite);
	s->tx->rewrite = NULL;
	return then(s, ok);
}

static enum cmd_result
put_in(struct smtpd_session *s)
{
	struct smtpd_rewrite *w = s->tx->rewrite;
	const char *sender =
	    rewriting_find(w->rewriting, REWRITE_ENVELOPE_SENDER, view_of(s->tx->sender.text));
	struct address other;
	struct err err;

	if (sender != NULL &&
	    address_parse(view_of(sender), ADDRESS_ALLOW_UTF8, &other, &err) == 0) {
		s->tx->sender = other;
		s->tx->sender.domain = s->tx->sender.text + (other.domain - other.text);
	}
	if (w->how != NULL)
		rewrite_header(s, w);
	return end(s, true);
}

static enum cmd_result
refuse_for_now(struct smtpd_session *s)
{
	smtpd_reply(s, 451, "4.3.0", "Temporary lookup failure");
	return end(s, false);
}

static void
on_rewritten(void *arg, bool ok)
{
	struct smtpd_session *s = arg;

	smtpd_gate_settled(s, ok ? put_in(s) : refuse_for_now(s));
}

static enum cmd_result
rewrite(struct smtpd_session *s, bool is_local)
{
	const struct rewrite_config *c = &s->server->conf->rewrite;
	const unsigned header = 1U << REWRITE_HEADER_SENDER | 1U << REWRITE_HEADER_RECIPIENT;
	struct smtpd_rewrite *w = s->tx->rewrite;
	struct err err;

	s->tx->adds_missing |= is_local || c->always_adds;
	if (is_local || c->has_remote)
		w->how = is_local ? &c->local : &c->remote;
	if (w->how != NULL && w->how->origin.len == 0 && w->how->domain.len == 0 &&
	    !(c->classes & header))
		w->how = NULL;
	if (w->how != NULL && smtpd_content_headers(s->tx->content, &err) < 0) {
		struct content_verdict v = smtpd_content_unreadable(&err);

		log_warn("%s: %s", s->tx->queue_id, err.text);
		smtpd_reply(s, v.code, v.dsn, "%s", v.text);
		return end(s, false);
	}
	w->rewriting = rewriting_new(c->classes);
	rewriting_add(w->rewriting, REWRITE_ENVELOPE_SENDER, view_of(s->tx->sender.text));
	if (w->how != NULL && (c->classes & header))
		collect_header(s, w);
	return rewriting_ask(w->rewriting, s->server->authd, on_rewritten, s) ? CMD_WAIT
									      : put_in(s);
}

/* --- who is local -------------------------------------------------------------------------------------------- */

static bool
is_local(const struct smtpd_session *s)
{
	const struct rewrite_config *c = &s->server->conf->rewrite;

	return ((c->permits & PERMIT_INET_INTERFACES) &&
		   own_addresses_have(&c->own, &s->client.address)) ||
	       ((c->permits & PERMIT_MYNETWORKS) && s->client.in_mynetworks) ||
	       ((c->permits & PERMIT_SASL_AUTHENTICATED) && s->login != NULL) ||
	       ((c->permits & PERMIT_TLS_ALL_CLIENTCERTS) && s->client.cert != NULL &&
		   s->client.cert->is_trusted);
}

void
smtpd_rewrite_free(struct smtpd_rewrite *w)
{
	if (w == NULL)
		return;
	smtpd_lookup_cancel(w->lookup);
	rewriting_free(w->rewriting);
	free(w);
}

static enum cmd_result ask(struct smtpd_session *s);

static enum cmd_result
decided(struct smtpd_session *s, enum lookup_result r)
{
	return r != LOOKUP_TEMP ? rewrite(s, r == LOOKUP_FOUND) : refuse_for_now(s);
}

static void
on_looked_up(void *arg, enum lookup_result r, size_t which, const char *value)
{
	struct smtpd_session *s = arg;

	(void)which;
	(void)value;
	s->tx->rewrite->lookup = NULL;
	smtpd_gate_settled(s, r == LOOKUP_NONE ? ask(s) : decided(s, r));
}

static struct smtpd_lookup *
ask_clientcerts(struct smtpd_session *s)
{
	struct smtpd_tables *t = s->server->conf->restrict_env->clientcerts;
	const struct client_cert *cert = s->client.cert;
	struct lookup_key keys[2];

	if (!s->server->conf->rewrite.asks_clientcerts || t == NULL || cert == NULL)
		return NULL;
	keys[0] = (struct lookup_key){ .text = view_of(cert->fingerprint) };
	keys[1] = (struct lookup_key){ .text = view_of(cert->key_fingerprint) };
	return smtpd_lookup_start(s->server, t, keys, 2, on_looked_up, s);
}

static enum cmd_result
ask(struct smtpd_session *s)
{
	const struct rewrite_config *c = &s->server->conf->rewrite;
	const struct lookup_key address = { .text = view_of(s->client.ip) };
	struct smtpd_rewrite *w = s->tx->rewrite;

	if (!w->has_asked_for_cert) {
		w->has_asked_for_cert = true;
		if ((w->lookup = ask_clientcerts(s)) != NULL)
			return CMD_WAIT;
	}
	if (w->at == c->nclients)
		return decided(s, LOOKUP_NONE);
	w->lookup =
	    smtpd_lookup_start(s->server, c->clients[w->at++], &address, 1, on_looked_up, s);
	return CMD_WAIT;
}

enum cmd_result
smtpd_rewrite_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	if (stage != STAGE_END_OF_DATA)
		return then(s, true);
	s->tx->rewrite = x_calloc(1, sizeof *s->tx->rewrite);
	s->tx->rewrite->then = then;
	return is_local(s) ? rewrite(s, true) : ask(s);
}
